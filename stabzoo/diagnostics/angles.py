"""Median principal angles within and between classes: Med arccos(<u, v> / (||u|| ||v||)) over pairs of vectors.

Within a class the pairs are i < j, between two classes all pairs.  Up to 1e5 vectors a side (5e9 and 1e10 pairs) the
median is selected exactly, from cosines that are never all in memory: the bits of a cosine, read as an integer, are
ordered as the cosine is, so a histogram of the leading 16 bits says which of them the median has, a second pass over
the pairs that begin so gives the next 16, and so on: two passes in float32, four in float64, whatever the angles are.
Beyond, random pairs give an estimate with an interval that the order statistics of the sample prove.

Source: Understanding ResNet from a Discrete Dynamical System Perspective (ICLR 2022 submission), Definition 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom
from torch import Tensor, nn

from stabzoo.diagnostics.capture import feature_layers, outputs
from stabzoo.diagnostics.measurement import Measurement

__all__ = ["ClassAngles", "MedianAngle", "PrincipalAngles", "class_angles", "layer_angles", "median_angle"]

EXACT_UP_TO = 100_000
BLOCK = 2048  # rows and columns of cosines at once: 16 MB in float32
GATHERED = 1 << 24  # numbers of sampled vectors at once


@dataclass(frozen=True)
class MedianAngle:
    """A median principal angle in radians.

    ``pairs`` is how many pairs have an angle, ``unusable`` how many vectors have none with any other: zero (a dead
    layer) or not finite (a network that overflowed).  Of a sampled median, ``interval`` covers that of all pairs with
    probability ``confidence``.
    """

    angle: Measurement
    pairs: int
    unusable: int = 0
    interval: tuple[float, float] | None = None
    confidence: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        sampled = {"interval": list(self.interval), "confidence": self.confidence} if self.interval else {}
        return {**self.angle.to_dict(), "pairs": self.pairs, "unusable": self.unusable, **sampled}


@dataclass(frozen=True)
class ClassAngles:
    """Median angles ``within`` each class, and ``between`` each two, by their labels."""

    within: dict[int, MedianAngle]
    between: dict[tuple[int, int], MedianAngle]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe: the classes 0 and 1 have the key "0,1"."""
        return {
            "within": {str(label): angle.to_dict() for label, angle in self.within.items()},
            "between": {f"{a},{b}": angle.to_dict() for (a, b), angle in self.between.items()},
        }


def median_angle(
    u: Tensor,
    v: Tensor | None = None,
    *,
    exact_up_to: int = EXACT_UP_TO,
    samples: int = 1_000_000,
    confidence: float = 0.99,
    seed: int = 0,
) -> MedianAngle:
    """The median of the angles between the vectors of ``u``, or between those of ``u`` and those of ``v``.

    Of an even number of pairs it is the mean of the two middle angles.  Cosines are computed in the vectors' own type:
    a cosine is off by a few units of its last place, so angles below about 1e-3 (float32) or 3e-8 (float64) drown.

    Args:
        u: Vectors (n, d), float32 or float64; each is flattened where there are more dimensions.
        v: Vectors (m, d) of another class.
        exact_up_to: Sample pairs where n or m is larger.
        samples: How many.
        confidence: With which the sampled interval covers the median of all pairs.
        seed: Of the sampling.

    Raises:
        ValueError: the vectors differ in type or length, or an argument is out of range.
        RuntimeError: the device's matrix products are not reproducible, so nothing can be selected.
    """
    if exact_up_to < 0 or samples < 1 or not 0 < confidence < 1:
        raise ValueError(
            "expected exact_up_to >= 0, samples >= 1 and 0 < confidence < 1, "
            f"got {exact_up_to}, {samples} and {confidence}"
        )
    sides = [u] if v is None else [u, v]
    for side in sides:
        if side.ndim < 2 or side.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"expected vectors (n, d) in float32 or float64, got {tuple(side.shape)} in {side.dtype}; convert them"
            )
    if len({(side[:0].flatten(1).shape[1], side.dtype) for side in sides}) > 1:
        raise ValueError(
            f"expected two sets of vectors of the same length and type, got {tuple(u.shape)} in {u.dtype} and "
            f"{tuple(sides[1].shape)} in {sides[1].dtype}"
        )
    units = [_unit_vectors(side.detach()) for side in sides]
    unusable = sum(len(side) for side in sides) - sum(len(unit) for unit in units)
    counts = [len(unit) for unit in units]
    pairs = counts[0] * (counts[0] - 1) // 2 if v is None else counts[0] * counts[1]
    if not pairs:
        reason = f"no pair of vectors; {unusable} of {sum(map(len, sides))} are zero or not finite"
        return MedianAngle(Measurement(math.nan, "exact", reason), 0, unusable)
    a, b = units[0], (None if v is None else units[1])
    if max(counts) <= exact_up_to:
        low, high = _select(a, b, (pairs - 1) // 2, pairs // 2)
        angle = (math.acos(low) + math.acos(high)) / 2
        return MedianAngle(Measurement(angle, "exact", f"cosines in {str(a.dtype)[6:]}"), pairs, unusable)
    angles = np.sort(np.arccos(_sampled_cosines(a, b, samples, seed)))
    # X_(l) <= median <= X_(samples + 1 - l) but for (1 - confidence) / 2 on either side: a binomial tail, no normality.
    rank = int(binom.ppf((1 - confidence) / 2, samples, 0.5))
    interval = (float(angles[rank - 1]), float(angles[samples - rank])) if rank else (0.0, math.pi)
    note = f"{samples} random pairs"
    value = Measurement(float(np.median(angles)), "heuristic", note)
    return MedianAngle(value, pairs, unusable, interval, confidence)


def class_angles(features: Tensor, labels: Tensor, **options: Any) -> ClassAngles:
    """Median angles within and between the classes of ``features`` (N, ...), whose labels are ``labels`` (N,).

    Takes the options of `median_angle`, and raises what it raises.

    Raises:
        ValueError: there is not one label for each feature.
    """
    if labels.shape != features.shape[:1]:
        raise ValueError(
            f"expected one label for each of the {len(features)} features, got labels {tuple(labels.shape)}"
        )
    classes = {int(label): features[labels == label] for label in labels.unique()}
    return ClassAngles(
        within={label: median_angle(vectors, **options) for label, vectors in classes.items()},
        between={(a, b): median_angle(classes[a], classes[b], **options) for a, b in combinations(classes, 2)},
    )


def layer_angles(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    layers: Sequence[str] | None = None,
    *,
    vectors: Literal["flat", "pooled"] = "flat",
    batch_size: int = 256,
    **options: Any,
) -> dict[str, ClassAngles]:
    """Median angles within and between classes at each of a model's layers, in evaluation mode.

    Args:
        model: Any model that maps images to logits.
        images: (N, C, H, W), as the model takes them.
        labels: (N,).
        layers: Names of modules, and ``"penultimate"``; by default those before each downsampling, and that.
        vectors: The whole feature map of an image, as in the paper, or its mean over the pixels (one layer's features
            of all images are kept in memory, so large maps of many images need the latter).
        batch_size: Images at once.
        options: Those of `median_angle`.

    Raises:
        ValueError: there is no layer of a name, not one label for each image, or ``vectors`` is neither.
    """
    if vectors not in ("flat", "pooled"):
        raise ValueError(f"vectors: expected 'flat' or 'pooled', got {vectors!r}")
    if not len(images) or labels.shape != images.shape[:1]:
        raise ValueError(
            f"expected one label for each of at least one image, got {len(images)} images, labels {tuple(labels.shape)}"
        )
    names = list(layers) if layers is not None else feature_layers(model, images[:1])
    kept: dict[str, list[Tensor]] = {}
    for batch in images.split(batch_size):
        for name, feature in outputs(model, batch, names):
            pooled = vectors == "pooled" and feature.ndim > 2
            feature = feature.flatten(2).mean(2) if pooled else feature.flatten(1)
            kept.setdefault(name, []).append(feature if feature.dtype == torch.float64 else feature.float())
    return {name: class_angles(torch.cat(kept.pop(name)), labels, **options) for name in list(kept)}


@dataclass
class PrincipalAngles:
    """Records the angles of a network that is being trained: call it with the network after an epoch.

    ``history`` holds, for each call, ``{"epoch": e, "layers": {name: angles}}``, JSON-safe.  ``options`` are those of
    `layer_angles`.
    """

    images: Tensor
    labels: Tensor
    options: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, network: nn.Module, epoch: int) -> None:
        """Append the angles that ``network`` has now."""
        angles = layer_angles(network, self.images, self.labels, **self.options)
        self.history.append({"epoch": epoch, "layers": {name: found.to_dict() for name, found in angles.items()}})


def _unit_vectors(vectors: Tensor) -> Tensor:
    """The vectors that have a direction, at length 1; divided by their largest entry first, so no square overflows."""
    vectors = vectors.flatten(1)
    largest = vectors.abs().amax(1) if vectors.shape[1] else vectors.new_zeros(len(vectors))
    usable = (largest > 0) & torch.isfinite(largest)
    scaled = vectors[usable] / largest[usable, None]
    return scaled / torch.linalg.vector_norm(scaled, dim=1, keepdim=True)


def _cosine_blocks(u: Tensor, v: Tensor | None) -> Iterator[NDArray[Any]]:
    """Cosines of all pairs, each once, a block at a time; the same blocks, so the same bits, whenever it is called."""
    for i in range(0, len(u), BLOCK):
        rows = u[i : i + BLOCK]
        other = u[i:] if v is None else v
        for j in range(0, len(other), BLOCK):
            cosines = (rows @ other[j : j + BLOCK].T).clamp_(-1, 1).cpu().numpy()
            if v is None and j == 0:
                cosines = cosines[np.triu_indices(len(cosines), 1)]
            yield cosines.ravel()


def _ordered_bits(cosines: NDArray[Any]) -> NDArray[Any]:
    """Unsigned integers that are ordered as the numbers are: flip the bits of a negative one, else its sign."""
    unsigned = np.uint32 if cosines.dtype == np.float32 else np.uint64
    bits = (cosines + cosines.dtype.type(0)).view(unsigned)  # -0 + 0 = 0
    sign = unsigned(1) << unsigned(8 * bits.itemsize - 1)
    return np.where(bits & sign, ~bits, bits | sign)


def _number(bits: int, dtype: torch.dtype) -> float:
    """The number whose `_ordered_bits` are ``bits``."""
    unsigned, signed = (np.uint32, np.float32) if dtype == torch.float32 else (np.uint64, np.float64)
    width = 8 * unsigned().itemsize
    sign = 1 << (width - 1)
    raw = bits ^ sign if bits & sign else bits ^ ((1 << width) - 1)
    return float(np.array(raw, unsigned).view(signed))


def _select(u: Tensor, v: Tensor | None, *ranks: int) -> list[float]:
    """The cosines of these ranks, from 0 for the smallest: a radix selection, 16 bits a pass."""
    width = 32 if u.dtype == torch.float32 else 64
    prefixes = dict.fromkeys(ranks, 0)
    before = {rank: rank for rank in ranks}  # rank among those of the prefix
    expected: dict[int, int] = {}
    for shift in range(width - 16, -1, -16):
        histograms = {prefix: np.zeros(1 << 16, np.int64) for prefix in set(prefixes.values())}
        for cosines in _cosine_blocks(u, v):
            bits = _ordered_bits(cosines)
            heads = None if shift == width - 16 else bits >> bits.dtype.type(shift + 16)
            for prefix, histogram in histograms.items():
                inside = bits if heads is None else bits[heads == prefix]
                if len(inside):
                    digits = (inside >> inside.dtype.type(shift)) & inside.dtype.type(0xFFFF)
                    histogram += np.bincount(digits.astype(np.intp), minlength=1 << 16)
        if any(histograms[prefix].sum() != count for prefix, count in expected.items()):
            raise RuntimeError(
                "the matrix products of two passes differ, so no median can be selected; use a device and library "
                "settings whose products are reproducible, or exact_up_to=0 for a sampled median"
            )
        expected = {}
        for rank in before:
            histogram = histograms[prefixes[rank]]
            below = np.cumsum(histogram)
            digit = int(np.searchsorted(below, before[rank], side="right"))
            before[rank] -= int(below[digit - 1]) if digit else 0
            prefixes[rank] = prefixes[rank] << 16 | digit
            expected[prefixes[rank]] = int(histogram[digit])
    return [_number(prefixes[rank], u.dtype) for rank in ranks]


def _sampled_cosines(u: Tensor, v: Tensor | None, samples: int, seed: int) -> NDArray[np.float64]:
    """Cosines of pairs drawn uniformly and independently."""
    random = np.random.default_rng(seed)
    first = random.integers(len(u), size=samples)
    if v is None:
        second = random.integers(len(u) - 1, size=samples)
        second += second >= first  # uniform over the others
    else:
        second = random.integers(len(v), size=samples)
    other = u if v is None else v
    step = max(1, GATHERED // u.shape[1])
    cosines = [
        (u[first[k : k + step]] * other[second[k : k + step]]).sum(1).clamp_(-1, 1).double().cpu().numpy()
        for k in range(0, samples, step)
    ]
    return np.concatenate(cosines)
