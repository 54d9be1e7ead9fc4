"""The interval of a rate that was counted on test images."""

from __future__ import annotations

import math
import statistics

__all__ = ["LEVEL", "TAIL", "wilson"]

LEVEL = 0.95
"""Confidence level of every interval."""

TAIL = (1 - LEVEL) / 2


def wilson(percent: float, images: int, tail: float = TAIL) -> tuple[float, float]:
    """Wilson's interval, in percent, of a rate measured on ``images`` images, with probability ``tail`` on each side.

    >>> [round(limit, 2) for limit in wilson(90.0, 100)]
    [82.56, 94.48]
    """
    z = statistics.NormalDist().inv_cdf(1 - tail)
    p, weight = percent / 100, z * z / images
    middle = (p + weight / 2) / (1 + weight)
    half = math.sqrt(max(0.0, p * (1 - p)) * weight + weight * weight / 4) / (1 + weight)
    return max(0.0, 100 * (middle - half)), min(100.0, 100 * (middle + half))
