"""Bdf2: y_{n+1} = sum_j alpha_j y_{n-j} + beta_next f(y_{n+1}) + sum_j beta_j f(y_{n-j})."""

from stabzoo import ImplicitMultistep, hookimpl


class Bdf2(ImplicitMultistep):
    """y[n+1] = 4/3 y[n] - 1/3 y[n-1] + 2/3 h f[n+1]."""

    name = "bdf2"
    alpha, beta, beta_next = ("4/3", "-1/3"), (), "2/3"


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Bdf2]
