"""RevNet and i-RevNet: the formulas of the papers, and the numbers of i-RevNet's release."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import stabzoo
from fixtures.messages import raises
from stabzoo.errors import PluginError

RELEASED = [
    10.851028350923, -8.006840872749, 0.393778495641, -12.19598086364, 7.50968083652, 75.385341141693, 112.321967618954,
    244.893870285304, -12.396738435517, -76.026121573843,
]  # fmt: skip
"""Of three blocks of pytorch-i-revnet (commit 61b4b49): every fifth channel of (x_1, x_2), every seventh number."""


class ReleasedBranch(nn.Module):
    """The branch of i-RevNet's block for 8 channels: three BN-ReLU-conv with 2 inner channels."""

    def __init__(self, number: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in ((8, 2), (2, 2), (2, 8)):
            layers += [nn.BatchNorm2d(a), nn.ReLU(), nn.Conv2d(a, b, 3, padding=1, bias=False)]
        layers.insert(6, nn.Identity())  # the release's dropout
        self.body = nn.Sequential(*layers).double().eval()
        with torch.no_grad():
            for i, (_, value) in enumerate(sorted(self.body.state_dict().items())):
                if value.is_floating_point():
                    x = torch.sin(0.7 * torch.arange(value.numel(), dtype=torch.float64) + i).reshape(value.shape)
                    value.copy_(0.3 * x if value.dim() > 1 else 1 + 0.2 * x)
            for parameter in self.body.parameters():
                parameter.mul_(1 + 0.1 * number)

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """F(y), scaled."""
        return scale * self.body(y)


def test_irevnets_block_is_the_two_step_rule() -> None:
    """(x_1, x_2) -> (x_2, x_1 + F(x_2)) of the release is y_{n+1} = y_{n-1} + f(y_n), numbers and inverse."""
    steps: list[Any] = [stabzoo.get_scheme("irevnet").block(ReleasedBranch(n)) for n in range(3)]
    x = torch.sin(0.3 * torch.arange(2 * 16 * 4 * 4, dtype=torch.float64)).reshape(2, 16, 4, 4)
    oldest, newest = x.chunk(2, 1)
    with torch.no_grad():
        for step in steps:
            oldest, newest = newest, step(newest, [newest, oldest])
        measured = torch.cat((oldest, newest), 1)[1, ::5].flatten()[::7]
        torch.testing.assert_close(measured, torch.tensor(RELEASED, dtype=torch.float64), rtol=1e-11, atol=1e-11)
        for step in steps[::-1]:
            oldest, newest = step.inverse(newest, [oldest]), oldest
    torch.testing.assert_close(torch.cat((oldest, newest), 1), x, rtol=0, atol=1e-12)


def test_revnets_block_is_the_papers() -> None:
    """y_1 = x_1 + F(x_2), y_2 = x_2 + G(y_1), eq. (6): the second half of the channels is x_1; also of odd widths."""
    torch.manual_seed(0)
    model: Any = timm.create_model("revnet20", width=6).double().eval()
    step = model.blocks()[1].step
    state = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    x_2, x_1 = state.chunk(2, 1)
    with torch.no_grad():
        y_1 = x_1 + step.g(x_2)
        y_2 = x_2 + step.f(y_1)
        torch.testing.assert_close(step(state, [state]), torch.cat((y_2, y_1), 1))


def test_what_is_claimed_is_of_the_method() -> None:
    """i-RevNet's weight on f is half of the midpoint rule's, so that it is not consistent; both are weakly stable."""
    midpoint, irevnet = (stabzoo.card(stabzoo.get_scheme(name)) for name in ("midpoint", "irevnet"))
    assert (midpoint.order, midpoint.status) == (2, "weak")
    assert (irevnet.order or 0, irevnet.status) == (0, "weak")
    revnet: Any = stabzoo.card(stabzoo.get_scheme("revnet"))
    assert (revnet.order, revnet.is_symplectic, revnet.is_symmetric) == (1, True, False)


@pytest.mark.parametrize("model", ["revnet20", "hamiltonian20"])
def test_an_odd_width_is_refused_by_name(model: str) -> None:
    """Halves of channels need an even number of them."""
    with raises(PluginError, model[:-2], "5 -> 5 channels"):
        timm.create_model(model, width=5)
