"""Accuracy within l2 distances of pixels: certified by the forward bounds, and left by attacks at the same radii."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.data.labelled import LabelledImages
from stabzoo.diagnostics.bounds.certificate import certificate, least_move
from stabzoo.diagnostics.bounds.pixels import Normalization
from stabzoo.evaluation.attacks import margin, pgd
from stabzoo.evaluation.interval import LEVEL, wilson
from stabzoo.evaluation.spec import RADII, radius_text
from stabzoo.metric import is_right

__all__ = ["Robustness", "robustness"]

PGD_STEPS, MARGIN_STEPS = 10, 5
NEAR = 100  # where all certified radii are this many times smaller than asked for, attacks would only take time


@dataclass(frozen=True)
class Robustness:
    """Accuracies in percent, of ``radii`` in the l2 norm of pixels in [0, 1].

    Attributes:
        images: How many they are counted on.
        clean: Of the images as they are.
        radii: Of the balls.
        certified: Proved: no change up to the radius takes these answers away.
        attacked: What PGD and the margin's own direction leave together: an upper bound of what the worst change does.
        certified_radii: Of each image; 0 where the answer is wrong, or nothing is proved.
        sensitivity: Certified, from pixels to logits.
        features: The same, to the features that the classifier reads.
    """

    images: int
    clean: float
    radii: tuple[Fraction, ...]
    certified: tuple[float, ...]
    attacked: tuple[float, ...]
    certified_radii: tuple[float, ...]
    sensitivity: float
    features: float

    @property
    def median(self) -> float:
        """The median certified radius."""
        return statistics.median(self.certified_radii)

    def interval(self, percent: float) -> tuple[float, float]:
        """Wilson's, for the test images."""
        return wilson(percent, self.images)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        levels = zip(self.radii, self.certified, self.attacked, strict=True)
        return {
            "norm": "l2",
            "scale": "pixels in [0, 1]",
            "images": self.images,
            "clean": self.clean,
            "median_certified_radius": _json(self.median),
            "sensitivity": _json(self.sensitivity),
            "feature_sensitivity": _json(self.features),
            "level": LEVEL,
            "radii": [
                {
                    "radius": float(radius),
                    "certified": {"value": certified, "interval": self.interval(certified)},
                    "attacked": {"value": attacked, "interval": self.interval(attacked)},
                }
                for radius, certified, attacked in levels
            ],
        }


def robustness(
    model: nn.Module,
    data: LabelledImages,
    radii: Sequence[Fraction] = RADII,
    *,
    sensitivity: float = 0.0,
    iterations: int = 0,
    seconds: float = math.inf,
) -> Robustness:
    """Certify and attack a network in evaluation mode.

    Args:
        model: Takes images as ``data`` normalises them.
        data: What it is tested on.
        radii: In the l2 norm of pixels in [0, 1]; above 0.
        sensitivity: Of the logits, on the scale of ``data``, if it is bounded already: where that bound tells that
            nothing near these radii can be certified, the features are not bounded, too.
        iterations: Gradient steps of the joint bound, as for `forward_bounds`.
        seconds: What these steps may take.

    Raises:
        ValueError: Nothing can be certified near these radii, so nothing was attacked; the message says why.
        CertificateError: The network contradicts its bound.
    """
    of_pixels = nn.Sequential(Normalization(-data.black / data.scale, 1 / data.scale), model).eval()
    pixels, labels = data.pixels, data.labels
    largest = _largest_margin(of_pixels, pixels)
    _refuse_hopeless(largest, least_move(model, sensitivity * float(data.scale.min())), min(radii))
    certify = certificate(of_pixels, data.input_size, iterations=iterations, seconds=seconds)
    if certify.pairs is None:
        raise ValueError(f"nothing is certified: {certify.refused}")
    _refuse_hopeless(largest, certify.least, min(radii))
    certified = certify(pixels, labels).tolist()
    right = _right(of_pixels, pixels, labels)
    left = []
    for radius in map(float, radii):
        generator = torch.Generator().manual_seed(0)
        attacked = [
            pgd(of_pixels, pixels, labels, radius, PGD_STEPS, generator, "l2"),
            margin(of_pixels, pixels, labels, radius, MARGIN_STEPS),
        ]
        left.append(right & torch.stack([_right(of_pixels, found, labels) for found in attacked]).all(0))
    return Robustness(
        images=len(labels),
        clean=_percent(right),
        radii=tuple(radii),
        certified=tuple(100 * sum(own >= radius for own in certified) / len(certified) for radius in radii),
        attacked=tuple(map(_percent, left)),
        certified_radii=tuple(certified),
        sensitivity=certify.sensitivity,
        features=certify.features,
    )


def _json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


@torch.no_grad()
def _largest_margin(model: nn.Module, pixels: Tensor) -> float:
    first, second = model(pixels).topk(2, dim=1).values.double().unbind(1)
    return float((first - second).max())


def _refuse_hopeless(margin: float, move: float, radius: Fraction) -> None:
    """Refuse what no radius can come near to, where margins are up to ``margin`` and each may ``move`` at least so far.

    Raises:
        ValueError: None can.
    """
    if margin < float(radius) / NEAR * move:
        raise ValueError(
            f"nothing is certified at an l2 radius of {radius_text(radius)}: margins are up to {margin:.4g}, and the "
            f"bounds allow a change of 1 of the pixels to move one by {move:.4g} or more"
        )


@torch.no_grad()
def _right(model: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    return is_right(model(pixels), labels)


def _percent(found: Tensor) -> float:
    return 100 * int(found.sum()) / len(found)
