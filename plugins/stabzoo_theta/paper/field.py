"""The network of the paper's examples: 2n hidden states that follow a vector field, one implicit step a layer."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional

from stabzoo import SolverSettings
from stabzoo_theta.schemes import Theta

__all__ = ["Field", "VectorFieldNet"]


class Field(nn.Module):
    """F(y) = h gamma_2 relu(gamma_1 y + b), the slope of eq. (11) times the step size h.

    Args:
        states: Number of hidden states 2n.
        hidden: Rows of gamma_1.
        step: The step size h.
        parabolic: gamma_2 = -gamma_1^T, which makes F dissipative: a step of backward Euler, and a one-leg step with
            theta >= 1/2, takes no two states apart, whatever h.

    The weights start normally distributed, both divided by sqrt(rho), rho the spectral radius of gamma_2 gamma_1; the
    bias starts at zero.
    """

    def __init__(self, states: int, hidden: int, step: float, *, parabolic: bool = False) -> None:
        super().__init__()
        self.step = step
        self.one_sided_lipschitz = 0.0 if parabolic else None  # known from the structure alone
        self.inner = nn.Parameter(torch.randn(hidden, states))
        self.outer = None if parabolic else nn.Parameter(torch.randn(states, hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))
        with torch.no_grad():
            size = torch.linalg.eigvals(self.gamma_2 @ self.inner).abs().max().sqrt()
            self.inner /= size
            if self.outer is not None:
                self.outer /= size

    @property
    def gamma_2(self) -> Tensor:
        """(states, hidden)."""
        return -self.inner.T if self.outer is None else self.outer

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, states) -> scale * F(y), (B, states)."""
        hidden = functional.relu(functional.linear(y, self.inner, self.bias))
        return functional.linear(hidden, self.gamma_2) * (scale * self.step)

    def lipschitz(self) -> float:
        """L = h ||gamma_2|| ||gamma_1||, rounded up."""
        norms = [float(torch.linalg.matrix_norm(w.detach().double().cpu(), 2)) for w in (self.gamma_2, self.inner)]
        return self.step * math.prod(norms) * (1 + 1e-10)

    def one_sided_bound(self) -> float:
        """Upper bound of mu, <F(u) - F(v), u - v> <= mu ||u - v||^2; 0 of a parabolic field.

        Where F is linear, F' = h sum_i d_i c_i r_i^T with 0 <= d_i <= 1, the columns c_i of gamma_2 and the rows r_i of
        gamma_1; the symmetric part of c r^T has the eigenvalues (c.r +- |c| |r|) / 2.
        """
        if self.outer is None:
            return 0.0
        columns, rows = self.outer.detach().double().cpu().T, self.inner.detach().double().cpu()
        parts = ((columns * rows).sum(1) + columns.norm(dim=1) * rows.norm(dim=1)) / 2
        return min(self.lipschitz(), self.step * float(parts.sum()) * (1 + 1e-10))


class VectorFieldNet(nn.Module):
    """y' = gamma_2(t) relu(gamma_1(t) y + b_1(t)) on [0, T], y(0) = (x, x), by the theta method (eq. (11)).

    Every layer has weights of its own; all start equal (the paper's stationary initial weights).

    Args:
        inputs: n, the size of x; there are 2n states.
        layers: Number of steps, of size h = T / layers.
        theta: Weight of the new slope; 0 is the explicit residual network.
        hidden: Rows of gamma_1.
        horizon: T.
        parabolic: Fields with gamma_2 = -gamma_1^T.
        one_leg: F((1-theta) x + theta y) instead of (1-theta) F(x) + theta F(y).
        solver: How the equations are solved; by default as in the paper, by at most 50 fixed-point iterations to 1e-5.
    """

    def __init__(
        self,
        inputs: int,
        layers: int,
        theta: Fraction | float | str = Fraction(1, 2),
        *,
        hidden: int = 100,
        horizon: float = 10.0,
        parabolic: bool = False,
        one_leg: bool = False,
        solver: SolverSettings | None = None,
    ) -> None:
        super().__init__()
        solver = solver or SolverSettings(method="fixed_point", rtol=1e-5, max_evaluations=50)
        scheme = Theta.model_validate({"theta": theta, "one_leg": one_leg, "solver": solver})
        fields = [Field(2 * inputs, hidden, horizon / layers, parabolic=parabolic) for _ in range(layers)]
        for field in fields[1:]:
            field.load_state_dict(fields[0].state_dict())
        self.steps = nn.ModuleList(scheme.block(field) for field in fields)

    def blocks(self) -> list[nn.Module]:
        """The layers, in the order of the steps."""
        return list(self.steps)

    def states(self, x: Tensor) -> list[Tensor]:
        """(B, n) -> the states y_0, ..., y_T, each (B, 2n)."""
        y = torch.cat((x, x), dim=1)
        states = [y]
        for step in self.steps:
            y = step(y, [y])
            states.append(y)
        return states

    def forward(self, x: Tensor) -> Tensor:
        """(B, n) -> the last state (B, 2n)."""
        return self.states(x)[-1]
