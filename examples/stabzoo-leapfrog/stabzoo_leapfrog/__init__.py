"""Leapfrog: y_{n+1} = sum_j alpha_j y_{n-j} + sum_j beta_j f(y_{n-j})."""

from stabzoo import ExplicitMultistep, hookimpl


class Leapfrog(ExplicitMultistep):
    """y[n+1] = y[n-1] + 2 h f[n]."""

    name = "leapfrog"
    alpha, beta = (0, 1), (2,)


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Leapfrog]
