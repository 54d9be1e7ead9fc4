"""How a perturbation of the input grows along the depth: ||x_n - y_n|| after every block, clean against perturbed.

The measured side of the stability constants: a zero-stable scheme bounds what the history does to a perturbation, the
branches and the batch norms do the rest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.diagnostics.capture import in_parts, noted, pair_distances, residual_blocks
from stabzoo.diagnostics.measurement import Measurement

__all__ = ["PerturbationGrowth", "Spread", "StateGrowth", "perturbation_growth"]


@dataclass(frozen=True)
class Spread:
    """Mean, median and maximum over the images of a batch."""

    mean: Measurement
    median: Measurement
    max: Measurement

    @classmethod
    def of(cls, values: Tensor) -> Spread:
        """The spread of ``values`` (B,); where some are not finite, the note says how many."""
        numbers = values.double().tolist()
        broken = sum(not math.isfinite(number) for number in numbers)
        note = f"{broken} of {len(numbers)} images are not finite" if broken else ""
        # A nan compares with nothing, so it would hide: an overflow is infinite growth.
        numbers = [math.inf if math.isnan(number) else number for number in numbers]
        found = (statistics.fmean(numbers), statistics.median(numbers), max(numbers))
        return cls(*(Measurement(value, "exact", note) for value in found))

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {"mean": self.mean.to_dict(), "median": self.median.to_dict(), "max": self.max.to_dict()}


@dataclass(frozen=True)
class StateGrowth:
    """The distance of the perturbed from the clean state at one place: ||x - y|| and ||x - y|| / ||x||."""

    name: str
    absolute: Spread
    relative: Spread

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {"name": self.name, "absolute": self.absolute.to_dict(), "relative": self.relative.to_dict()}


@dataclass(frozen=True)
class PerturbationGrowth:
    """The distances at the input, after each block in the order in which they finish, and at the output."""

    states: tuple[StateGrowth, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {"states": [state.to_dict() for state in self.states]}


def perturbation_growth(
    model: nn.Module, x: Tensor, noise: Tensor, blocks: Sequence[str] | None = None
) -> PerturbationGrowth:
    """Run ``model`` on ``x`` and on ``x + noise``, in evaluation mode, and compare the states along the depth.

    Args:
        model: Any model; its training flags are as before afterwards.
        x: Images (B, C, H, W), as the model takes them.
        noise: What is added, of a shape that broadcasts to that of ``x``.
        blocks: Names of the modules to look at; by default every block (see `residual_blocks`).

    Returns:
        The values of this input (kind exact, up to the rounding of the model's own arithmetic): nothing is said of
        others. Relative to a clean state that is zero, a distance is 0 or infinite.

    Raises:
        ValueError: the batch is empty, the noise does not fit it, or the model has no (such) blocks.
    """
    if not len(x):
        raise ValueError("x: expected at least one image, got none")
    try:
        noise = noise.expand_as(x)
    except RuntimeError:
        raise ValueError(
            f"noise: expected a shape that broadcasts to that of x, {tuple(x.shape)}; got {tuple(noise.shape)}"
        ) from None
    # The output is what the model itself, the module named "", returns.
    names = [*(residual_blocks(model) if blocks is None else blocks), ""]
    distances: dict[str, list[Tensor]] = {}
    sizes: dict[str, list[Tensor]] = {}
    for clean, other in zip(in_parts(x), in_parts(x + noise), strict=True):
        pair = torch.cat([clean, other])
        for name, (distance, size) in [("input", pair_distances(pair)), *noted(model, pair, names, pair_distances)]:
            distances.setdefault(name or "output", []).append(distance)
            sizes.setdefault(name or "output", []).append(size)
    return PerturbationGrowth(
        tuple(_growth(name, torch.cat(distances[name]), torch.cat(sizes[name])) for name in distances)
    )


def _growth(name: str, distance: Tensor, size: Tensor) -> StateGrowth:
    relative = torch.where(distance == 0, 0.0, distance / size)
    return StateGrowth(name, Spread.of(distance), Spread.of(relative))
