"""The theta method and its two best-known members as discretizations of residual networks."""

from __future__ import annotations

from fractions import Fraction

from pydantic import field_validator

from stabzoo import ImplicitFamily, ImplicitMultistep, LinearMultistep, Rational

__all__ = ["BackwardEuler", "Theta", "Trapezoidal"]


class Theta(ImplicitFamily):
    """y_{n+1} = y_n + (1 - theta) f(y_n) + theta f(y_{n+1}): eq. (7), an equation for y_{n+1} unless theta = 0.

    R(z) = (1 + (1-theta) z) / (1 - theta z); A-stable exactly when theta >= 1/2, L-stable at 1; order 2 at 1/2, else 1.

    With ``one_leg`` the step is y_{n+1} = y_n + f((1-theta) y_n + theta y_{n+1}), which the authors' released code
    computes.  It has the same R and one evaluation of f less, and is another method where f is not linear: it never
    takes two states apart for which f is dissipative (B-stable) once theta >= 1/2; the form above only at theta = 1.

    References:
        Reshniak, Webster: Robust learning with implicit residual networks.  2019, eq. (7). Hairer, Wanner: Solving
        ordinary differential equations II, IV.3, IV.12.
    """

    name = "theta"
    theta: Rational = Fraction(1, 2)

    @field_validator("theta")
    @classmethod
    def _between_the_ends(cls, theta: Fraction) -> Fraction:
        if not 0 <= theta <= 1:
            raise ValueError(f"expected 0 <= theta <= 1, the new slope's weight; got {theta}")
        return theta

    def coefficients(self) -> LinearMultistep:
        """The coefficients alpha = (1), beta = (1 - theta), beta_next = theta."""
        return LinearMultistep((1,), (1 - self.theta,), self.theta)


class BackwardEuler(ImplicitMultistep):
    """y_{n+1} = y_n + f(y_{n+1}): A-, L- and B-stable, order 1.

    References:
        Hairer, Wanner: Solving ordinary differential equations II, IV.3.
    """

    name = "backward_euler"
    alpha, beta, beta_next = (1,), (), 1


class Trapezoidal(ImplicitMultistep):
    """y_{n+1} = y_n + (f(y_n) + f(y_{n+1})) / 2: A-stable, not L-stable, order 2; keeps |y| where y' = i omega y.

    References:
        Hairer, Wanner: Solving ordinary differential equations II, IV.3.
    """

    name = "trapezoidal"
    alpha, beta, beta_next = (1,), (Fraction(1, 2),), Fraction(1, 2)
