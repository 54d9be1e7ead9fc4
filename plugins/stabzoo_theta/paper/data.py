"""The data of the paper's examples."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Points", "function_values", "spirals"]


class Points(NamedTuple):
    """Inputs (N, n) and targets (N,) for training, and others for validation."""

    inputs: Tensor
    targets: Tensor
    validation_inputs: Tensor
    validation_targets: Tensor


def function_values(points: int = 51) -> Points:
    """Example 1: f(x) = sin x + 0.1 cos 19x at equidistant points of [-5, 5], validated on a finer grid."""

    def f(x: Tensor) -> Tensor:
        return (x.sin() + 0.1 * (19 * x).cos())[:, 0]

    x, finer = (torch.linspace(-5, 5, n)[:, None] for n in (points, 10 * points - 9))
    return Points(x, f(x), finer, f(finer))


def spirals(points: int = 200) -> Points:
    """Example 2: two spirals of ``points`` points, labelled 0 and 1; every other point is for validation."""
    turn = torch.linspace(0, 1, points // 2)
    angle, radius = 3 * math.pi * turn, 0.15 + 0.85 * turn
    arm = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)
    x = torch.stack((arm, -arm), dim=1).flatten(0, 1)  # one of each in turn
    labels = torch.tensor([0.0, 1.0]).repeat(points // 2)
    train = torch.arange(points) // 2 % 2 == 0
    return Points(x[train], labels[train], x[~train], labels[~train])
