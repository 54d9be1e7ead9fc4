"""What is proved of one piece of a network: how far it spreads two inputs, and how much it lets one grow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from stabzoo.diagnostics.bounds.joint import Kernel, ReluStep

__all__ = ["HasBound", "Shape", "StepBound", "rounded_up"]

Shape = tuple[int | None, ...]
"""Of a state, without the batch: (channels, height, width), (channels, length) or (features,); None: not known."""


def rounded_up(value: float) -> float:
    """Return value (1 + 1e-10): above a float64 result that a few hundred roundings may have lowered."""
    return value * (1 + 1e-10)


@dataclass(frozen=True)
class StepBound:
    """||F(x) - F(y)|| <= sensitivity ||x - y|| and ||F(x)|| <= growth ||x|| + offset, for all x, y of one image size.

    Norms are Euclidean, over channels and pixels. The numbers are upper bounds, rounded up; infinite ones mean that
    nothing is proved, and `refused` says why.

    Attributes:
        theorem: The theorem that proves the sensitivity, with its condition.
        sensitivity: Lipschitz constant.
        grid: Height and width of the result; None if it has no pixels, or if they are unknown.
        growth, offset: Bound of the result's norm; the offset includes the bias at every pixel.
        refused: Hypotheses of the literature's theorem that do not hold here, each with what was found.
        paper: The literature's sensitivity factor, whether or not its hypotheses hold; None where it has none.
        paper_offset: The literature's contribution to c; None where it has none.
        form: The piece as a step of `joint_sensitivity`, where it is one.
        name: Of the module, given by `forward_bounds`.
        shape: Of the result, without the batch, as the rule models it; None where it says no more than `grid`.
        until: Name of the module whose result is the piece's, where it is not `name`: a batch norm folded in.
    """

    theorem: str
    sensitivity: float
    grid: tuple[int, int] | None
    growth: float = math.inf
    offset: float = math.inf
    refused: tuple[str, ...] = ()
    paper: float | None = None
    paper_offset: float | None = None
    form: ReluStep | Kernel | None = None
    name: str = ""
    shape: Shape | None = None
    until: str = ""

    @classmethod
    def of(cls, theorem: str, value: float, shape: Shape | None, **numbers: Any) -> StepBound:
        """A piece whose rule models the whole shape of its result; the growth is ``value``, too, if not said."""
        grid = (shape[1], shape[2]) if shape is not None and len(shape) == 3 else None
        assert grid is None or (grid[0] is not None and grid[1] is not None)
        return cls(theorem, value, grid, **{"growth": value, "offset": 0.0, **numbers}, shape=shape)  # type: ignore[arg-type]  # pyright: ignore

    @classmethod
    def unknown(cls, reason: str) -> StepBound:
        """Nothing is proved, for this reason."""
        return cls("none", math.inf, None, refused=(reason,))

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe: infinite numbers are strings."""
        numbers = {k: getattr(self, k) for k in ("sensitivity", "growth", "offset", "paper", "paper_offset")}
        return {
            "name": self.name,
            "theorem": self.theorem,
            **{k: v if v is None or math.isfinite(v) else str(v) for k, v in numbers.items()},
            "grid": list(self.grid) if self.grid else None,
            "refused": list(self.refused),
        }


@runtime_checkable
class HasBound(Protocol):
    """A module that knows its own bound."""

    def bound(self, grid: tuple[int, int]) -> StepBound:
        """Return what is proved for inputs of this height and width, in evaluation mode, weights as they are."""
        ...
