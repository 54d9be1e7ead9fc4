"""Randomized smoothing: certified l2 radii of any network, sound in the arithmetic that it computes in.

The smoothed classifier g answers x with the class that a network f gives most often for x + noise.  If it gives class c
with probability p > 1/2, no change of the pixels below sigma Phi^-1(p) takes c from g (Cohen, Rosenfeld, Kolter, ICML
2019, Theorem 1, with the runner-up's probability bounded by 1 - p).  The theorem takes real numbers and a normal
distribution; with floats instead the sums x + noise of two images lie on different sets of numbers, which a network
can tell apart, and certificates are then wrong (Jin, Liu, Ohrimenko 2022; Voracek & Hein, ICLR 2023).  So here, as the
latter propose:

- f is z -> network(round(z)), rounded to whole multiples of `STEP`, to which the theorem applies as to any function.
- Images are rounded first, and the distance by which that moves one is taken from its radius.  Images of 8 bits, and of
  bits up to 2^-8, are such multiples already.
- round(x + noise) is x + round(noise), and round(noise) is drawn as an integer from its own distribution, by inversion
  with integers of 63 bits.  How far that distribution is from the true one is bounded, and taken from p.
- A sample counts as a vote only where the first class is ahead of the second by more than rounding within the network.

Everything is rounded outward.  Of each image the certificate is wrong with probability at most alpha; of N images none
is, with probability at least 1 - N alpha.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import betaincinv, ndtr, ndtri
from torch import Tensor, nn

from stabzoo.evaluation.batches import device_of, logits_of
from stabzoo.metric import TestImages

__all__ = ["STEP", "DiscreteNormal", "lower_limit", "smoothed_radii"]

LEVELS = 255 * 256
STEP = 1 / LEVELS
"""Pixels and noise are whole multiples of it."""

_REACH = 10  # deviations: what lies beyond has probability 2e-23
_BITS = 63
_CDF = 1e-15  # error of scipy's ndtr, far above what its tests find
_OUTWARD = 1e-9
_AHEAD = 1e-4  # of the largest logit: float32 rounds to 6e-8, and depth multiplies that
_CHUNK = 2**22  # numbers drawn at once


class DiscreteNormal:
    """Normal noise of deviation ``sigma``, rounded to whole multiples of `STEP`.

    Attributes:
        error: Bound of the total variation between the distribution that is drawn from and the true one, per pixel.
    """

    def __init__(self, sigma: float) -> None:
        self.scale = sigma * LEVELS
        self.reach = math.ceil(_REACH * self.scale)
        edges = (np.arange(-self.reach, self.reach) + 0.5) / self.scale
        self.edges = (ndtr(edges) * 2.0**_BITS).astype(np.uint64)  # noise <= k where what is drawn is below edge k
        self.error = len(edges) * (_CDF + 2.0**-_BITS) + 2 * float(ndtr(-_REACH))

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Whole numbers of steps."""
        drawn = generator.integers(2**_BITS, size=shape, dtype=np.uint64)
        # the table decides; the inverse in floats only says where to look first, four times faster than a search
        near = np.rint(self.scale * ndtri(drawn * 2.0**-_BITS)) + self.reach
        place = np.clip(near, 1, len(self.edges) - 1).astype(np.int64)
        wrong = (self.edges[place - 1] > drawn) | (self.edges[place] <= drawn)
        place[wrong] = np.searchsorted(self.edges, drawn[wrong], side="right")
        return place - self.reach


def lower_limit(successes: int, trials: int, alpha: float) -> float:
    """Clopper and Pearson's: the true probability is below it with probability at most ``alpha``; rounded down.

    >>> round(lower_limit(990, 1000, 0.001), 4)
    0.976
    """
    if not successes:
        return 0.0
    return max(0.0, float(betaincinv(successes, trials - successes + 1, alpha)) - _OUTWARD)


def smoothed_radii(
    network: nn.Module, images: TestImages, count: int, *, sigma: float, n0: int, n: int, alpha: float, seed: int
) -> Tensor:
    """Certified l2 radii of the smoothed network on ``count`` test images at equal distances, (count,).

    0 where the answer is wrong, -1 where there is none.  An image's noise depends on the seed and its number alone.
    """
    network.eval()
    noise, device = DiscreteNormal(sigma), device_of(network)
    numbers = np.linspace(0, images.test_count - 1, count, dtype=int)
    radii = torch.zeros(count, dtype=torch.float64)
    for i, (pixels, labels) in enumerate(images.testing([torch.tensor([number]) for number in numbers])):
        exact = pixels[0].double().numpy()
        rounded = np.rint(exact * LEVELS).astype(np.int64)
        moved = float(np.linalg.norm(exact - rounded * STEP)) + _OUTWARD
        generator = np.random.default_rng([seed, int(numbers[i])])
        answer = int(_votes(network, rounded, noise, n0, generator, device).argmax())
        votes = int(_votes(network, rounded, noise, n, generator, device)[answer])
        probability = lower_limit(votes, n, alpha) - rounded.size * noise.error
        if probability <= 0.5:
            radii[i] = -1
        elif answer == int(labels):
            radii[i] = max(0.0, sigma * (float(ndtri(probability)) - _OUTWARD) * (1 - _OUTWARD) - moved)
    return radii


def _votes(
    network: nn.Module,
    image: np.ndarray,
    noise: DiscreteNormal,
    samples: int,
    generator: np.random.Generator,
    device: torch.device,
) -> Tensor:
    """How often each class is the answer for the image (C, H, W) and noise, where there is a clear one."""
    counts, batch = torch.zeros(1, dtype=torch.int64), max(1, min(1024, _CHUNK // image.size))
    for first in range(0, samples, batch):
        shape = (min(batch, samples - first), *image.shape)
        drawn = torch.from_numpy((image + noise.draw(shape, generator)) * STEP).float()
        logits = logits_of(network, drawn.to(device))
        largest, classes = logits.topk(2)
        clear = largest[:, 0] - largest[:, 1] > _AHEAD * logits.abs().amax(1)  # false where one is not a number
        found = torch.bincount(classes[clear, 0].cpu(), minlength=logits.shape[1])
        counts = found if len(counts) == 1 else counts + found
    return counts
