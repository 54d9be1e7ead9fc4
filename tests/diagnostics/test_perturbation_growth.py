"""The growth of a perturbation along the depth, of ours, timm's and any network."""

import json
import math

import pytest
import timm
import torch
from torch import nn

from fixtures.messages import raises
from stabzoo.diagnostics.capture import evaluating, residual_blocks
from stabzoo.diagnostics.growth import perturbation_growth


def test_a_linear_network_gives_the_distances_by_hand() -> None:
    """Doubling in each block: 2^n times the noise, relative to the state the same throughout."""

    class Double(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mul_(2)  # in place: what was kept must not change

    model = nn.Sequential(nn.Identity(), Double(), Double())
    x = torch.tensor([[[[3.0]]], [[[4.0]]], [[[0.0]]]])
    found = perturbation_growth(model, x, torch.tensor([0.0, 2.0, 1.0]).reshape(3, 1, 1, 1)).states
    assert [state.name for state in found] == ["input", "1", "2", "output"]


@pytest.mark.parametrize(
    ("name", "size", "first", "count"),
    [("zerosnet20_opt", 8, "stages.0.blocks.0", 9), ("preresnet18", 32, "stages.0.blocks.0", 8), ("resnet18", 32, "layer1.0", 8)],
)  # fmt: skip
def test_every_block_of_a_model(name: str, size: int, first: str, count: int) -> None:
    """In the order of the depth; the values are those of the states; training flags and weights stay."""
    torch.manual_seed(0)
    model = timm.create_model(name).train()
    model.head.eval() if hasattr(model, "head") else model.fc.eval()
    flags = [module.training for module in model.modules()]
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(3, 3, size, size)
    noise = 0.01 * torch.randn_like(x)
    found = perturbation_growth(model, x, noise)
    names = [state.name for state in found.states]
    assert names == ["input", *residual_blocks(model), "output"]
    assert (names[1], len(names)) == (first, count + 2)
    assert flags == [module.training for module in model.modules()]
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    with evaluating(model), torch.no_grad():
        distance = (model(x) - model(x + noise)).double().norm(dim=1)
        relative = distance / model(x).double().norm(dim=1)
    last = found.states[-1]
    assert last.absolute.max.value == pytest.approx(float(distance.max()), rel=1e-5)
    assert last.relative.mean.value == pytest.approx(float(relative.mean()), rel=1e-5)
    assert last.relative.median.value == pytest.approx(float(relative.median()), rel=1e-5)
    json.dumps(found.to_dict(), allow_nan=False)


def test_an_overflow_is_infinite_and_said() -> None:
    """Rather than nan, which no maximum sees."""
    model = nn.Sequential(nn.Sequential(nn.Linear(1, 1)), nn.Identity())
    nn.init.constant_(model[0][0].weight, 1e38)
    found = perturbation_growth(model, torch.tensor([[1e10], [0.0]]), torch.tensor([[1e10]]), ["0"]).states[1]
    assert found.absolute.max.value == math.inf
    assert "2 of 2 images are not finite" in found.absolute.max.note
    json.dumps(found.to_dict(), allow_nan=False)


def test_what_cannot_be_done_is_said() -> None:
    """Expected, got, what to do."""
    model, x = nn.Sequential(nn.Linear(2, 2)), torch.ones(1, 2)
    with raises(ValueError, "no blocks", "Sequential", "blocks="):
        perturbation_growth(model, x, x)
    with raises(ValueError, "noise", "(1, 2)", "got (3,)"):
        perturbation_growth(model, x, torch.ones(3), ["0"])
    with raises(ValueError, "x: ", "one image", "none"):
        perturbation_growth(model, x[:0], x, ["0"])
    with raises(ValueError, "nine", "Sequential"):
        perturbation_growth(model, x, x, ["nine"])
