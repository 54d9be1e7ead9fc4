"""PolyNet: the polynomials of the paper, and what is and is not a truncated backward Euler step."""

from fractions import Fraction
from typing import Any

import pytest
import timm
import torch

import stabzoo
from stabzoo_polynet.poly2 import SquaredSlope


def test_poly2_is_a_truncated_backward_euler_step_where_f_is_linear() -> None:
    """And nowhere else: the two differ already where f is affine."""
    truncated = stabzoo.TruncatedSolve(stabzoo.bdf(1), 2)
    poly2, y = SquaredSlope(), Fraction(2, 3)
    assert poly2.linear == truncated.linear
    assert poly2.step([y], lambda y: y / 5) == truncated.step([y], lambda y: y / 5)
    assert poly2.step([y], lambda y: y / 5 + 1) != truncated.step([y], lambda y: y / 5 + 1)


@pytest.mark.parametrize(("shift", "slope"), [(0, 1), (1, 2)])
def test_poly2_is_consistent_where_f_of_0_is_0(shift: int, slope: int) -> None:
    """(y_{n+1} - y_n) / h tends to f(y) + f(0); here f = y^2 + shift at y = 1, where f + f(0) is ``slope`` + 2 shift."""
    h = Fraction(1, 10**9)
    new = SquaredSlope().step([Fraction(1)], lambda y: h * (y * y + shift))
    assert abs((new - 1) / h - (slope - shift + 2 * shift)) < 10 * h


def test_networks_compute_the_polynomials() -> None:
    """Of block 1, within a stage; poly-2 has the parameters of PreResNet, the others nearly twice as many."""
    torch.manual_seed(0)
    models: dict[str, Any] = {
        kind: timm.create_model(f"polynet20_{kind}", width=4).double().eval() for kind in ("poly2", "mpoly2", "2way")
    }
    y = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        new = {kind: model.blocks()[1].step(y, [y]) for kind, model in models.items()}
        steps: dict[str, Any] = {kind: model.blocks()[1].step for kind, model in models.items()}
        f = steps["poly2"].f
        torch.testing.assert_close(new["poly2"], y + f(y) + f(f(y)))
        f, g = steps["mpoly2"].f.f, steps["mpoly2"].f.g
        torch.testing.assert_close(new["mpoly2"], y + f(y) + g(f(y)))
        f, g = steps["2way"].f.f, steps["2way"].f.g
        torch.testing.assert_close(new["2way"], y + f(y) + g(y))
    assert [model.stability_card().order for model in models.values()] == [stabzoo.NOT_DECIDED, 1, 1]
