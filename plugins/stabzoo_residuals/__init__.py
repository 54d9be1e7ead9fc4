"""Kinds of residual branches: the usual one, squeeze-and-excitation, and two whose Jacobians have no growing modes."""

from stabzoo import hookimpl
from stabzoo_residuals.kinds import Antisymmetric, Parabolic, Plain, SqueezeExcite


@hookimpl
def stabzoo_branches() -> list[type]:
    """The kinds of branches of this plugin."""
    return [Plain, SqueezeExcite, Parabolic, Antisymmetric]
