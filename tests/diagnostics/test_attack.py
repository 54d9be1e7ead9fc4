"""Measured lower bounds: exact where the answer is known, repeatable, honest in their counts."""

import runpy

import pytest
import torch
from torch import Tensor, nn

from fixtures import ROOT
from fixtures.messages import says
from stabzoo.diagnostics.attack import sensitivity_attack


class Counting(nn.Module):
    """Counts the images it is applied to."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    images = 0

    def forward(self, x: Tensor) -> Tensor:
        """Apply and count."""
        Counting.images += x.shape[0]
        return self.inner(x)


def test_a_linear_map_gives_its_norm() -> None:
    """Power iteration converges to it, from below."""
    linear = nn.Linear(6, 4).double()
    norm = torch.linalg.matrix_norm(linear.weight, 2).item()
    found = sensitivity_attack(linear, torch.randn(5, 6), power=200).sensitivity
    assert found.kind == "certified_lower"
    assert norm * (1 - 1e-8) <= found.value <= norm


def test_the_pair_attains_what_is_reported() -> None:
    """Recomputed from the two images, in float64; the model is left as it was."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(48, 3)).train()
    found = sensitivity_attack(model, torch.randn(4, 1, 4, 4))
    assert model.training
    assert next(model.parameters()).dtype == torch.float32
    assert all(p.grad is None for p in model.parameters())
    model = model.double().eval()
    with torch.no_grad():
        quotient = (model(found.x[None]) - model(found.y[None])).norm() / (found.x - found.y).norm()
    assert found.sensitivity.value == pytest.approx(float(quotient), rel=1e-6)
    assert found.sensitivity.value == float(found.largest.max())
    again = sensitivity_attack(model, torch.zeros(1, 1, 4, 4), seed=3)
    assert again.sensitivity == sensitivity_attack(model, torch.zeros(1, 1, 4, 4), seed=3).sensitivity


def test_ascent_crosses_kinks() -> None:
    """relu(x - 5): the slope is 0 at the start and 1 beyond; the search gets there."""
    layer = nn.Linear(1, 1).double()
    nn.init.ones_(layer.weight)
    nn.init.constant_(layer.bias, -0.1)
    model = nn.Sequential(layer, nn.ReLU())
    assert sensitivity_attack(model, torch.tensor([[0.0999], [0.2]])).sensitivity.value == pytest.approx(1)


def test_features_and_evaluations() -> None:
    """Forward passes are counted as they are made; the products with the Jacobian on top."""
    import timm

    model = timm.create_model("preresnet20", width=2, num_classes=3)
    found = sensitivity_attack(model, torch.randn(2, 3, 8, 8), of="features", rounds=1, power=2, ascent=2)
    assert found.sensitivity.value > 0
    Counting.images = 0
    found = sensitivity_attack(Counting(nn.Linear(3, 2)), torch.randn(2, 3), rounds=1, power=2, ascent=2)
    assert Counting.images <= found.evaluations


def test_second_derivatives_are_not_needed() -> None:
    """Attention and hard gates have none on a CPU."""

    class Attending(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    torch.manual_seed(0)
    for model, shape in ((Attending(), (2, 1, 4, 8)), (nn.Sequential(nn.Linear(8, 8), nn.Hardsigmoid()), (2, 8))):
        found = sensitivity_attack(model, torch.randn(shape), rounds=1, power=3, ascent=2).sensitivity
        assert found.value > 0


def test_a_search_ends_with_its_time() -> None:
    """What it has found by then is a lower bound, too."""
    linear = nn.Linear(6, 4).double()
    norm = torch.linalg.matrix_norm(linear.weight, 2).item()
    found = sensitivity_attack(linear, torch.randn(5, 6), seconds=0)
    says(found.sensitivity.note, "time")
    assert 0 < found.sensitivity.value <= norm
    assert found.evaluations < sensitivity_attack(linear, torch.randn(5, 6)).evaluations


@pytest.mark.parametrize(
    ("inputs", "of", "match"),
    [
        (torch.zeros(0, 3), "logits", "batch"),
        (torch.full((1, 3), torch.nan), "logits", "finite"),
        (torch.zeros(1, 3), "x", "of:"),
    ],
)
def test_wrong_arguments(inputs: Tensor, of: str, match: str) -> None:
    """Said before anything is computed."""
    with pytest.raises(ValueError, match=match):
        sensitivity_attack(nn.Linear(3, 2), inputs, of=of)


def test_ten_thousand_evaluations_exceed_no_bound() -> None:
    """The benchmark that spends a million, shortened."""
    script = runpy.run_path(str(ROOT / "benchmarks" / "certificates.py"))
    assert script["violations"](10_000, seed=1) is False
