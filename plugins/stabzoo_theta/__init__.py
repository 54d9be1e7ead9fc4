"""Implicit residual networks: the theta method, backward Euler and the trapezoidal rule, and the paper's networks."""

from stabzoo import hookimpl
from stabzoo_theta.schemes import BackwardEuler, Theta, Trapezoidal


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Theta, BackwardEuler, Trapezoidal]
