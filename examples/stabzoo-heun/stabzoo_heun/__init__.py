"""Heun: y_{n+1} = y_n + (f(y_n) + f(y_n + f(y_n))) / 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stabzoo import ExplicitMultistep, RungeKutta, hookimpl

if TYPE_CHECKING:
    from torch import nn


class Heun(ExplicitMultistep):
    """y_{n+1} = y_n + (f(y_n) + f(y_n + f(y_n))) / 2."""

    name = "heun"
    alpha, beta = (1,), (1,)  # what is left of the step when f is small
    at_downsampling, needs_equal_shapes = "restart", True  # the second stage needs f(y) in the shape of y

    def method(self) -> RungeKutta:
        """The method that the step is."""
        return RungeKutta(((), (1,)), ("1/2", "1/2"))

    def block(self, f: nn.Module) -> nn.Module:
        """One step around f."""
        from stabzoo_heun.step import HeunStep  # imports torch

        return HeunStep(f)


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Heun]
