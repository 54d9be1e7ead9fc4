"""Explicit Runge-Kutta networks: a block is a step of several stages, which share the weights of its f.

References:
    Hairer, Norsett, Wanner: Solving ordinary differential equations I, II.1. Shu, Osher: Efficient implementation of
    essentially non-oscillatory shock-capturing schemes.  J. Comput. Phys. 77, 1988. Zhu, Chang, Fu: Convolutional
    neural networks combined with Runge-Kutta methods.  2018.
"""

from stabzoo import ExplicitRungeKutta, hookimpl


class RK2(ExplicitRungeKutta):
    """The explicit midpoint rule, y_{n+1} = y_n + f(y_n + f(y_n) / 2): Runge 1895, of order 2."""

    name = "rk2"
    a, b = ((), ("1/2",)), (0, 1)


class RK4(ExplicitRungeKutta):
    """The classical method of four stages: Kutta 1901, of order 4."""

    name = "rk4"
    a, b = ((), ("1/2",), (0, "1/2"), (0, 0, 1)), ("1/6", "1/3", "1/3", "1/6")


class SSPRK3(ExplicitRungeKutta):
    """Three stages of order 3 that are convex combinations of Euler steps: Shu and Osher 1988, eq. (2.18).

    Where an Euler step takes no norm (or other convex functional) beyond its value, neither does this step: the SSP
    coefficient is 1.
    """

    name = "ssp_rk3"
    a, b = ((), (1,), ("1/4", "1/4")), ("1/6", "1/6", "2/3")


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [RK2, RK4, SSPRK3]
