"""The harmonic oscillator y' = -omega^2 z, z' = y, on which no step may grow or decay: one-step methods and Verlet.

The exact flow turns (y, omega z) by the angle omega t. With q = h omega the propagators over one step have

    forward Euler   1 +- iq                                     modulus sqrt(1 + q^2) > 1
    backward Euler  1 / (1 -+ iq)                               modulus 1 / sqrt(1 + q^2) < 1
    theta method    R(+-iq), R(z) = (1 + (1-theta) z) / (1 - theta z)
                                                                modulus^2 (1 + (1-theta)^2 q^2) / (1 + theta^2 q^2)
    trapezoidal     theta = 1/2                                 modulus 1 for every q
    Verlet          1 - q^2/2 +- (q/2) sqrt(q^2 - 4)            modulus 1 for q <= 2, else (q + sqrt(q^2 - 4))^2 / 4

as eigenvalues. At q = 2 that of Verlet is double and defective: the powers grow linearly, the radius is 1 nevertheless.

Source: Reshniak, Webster, Robust learning with implicit residual networks, 2019, eq. (6).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from stabzoo.methods.multistep import LinearMultistep, Number, exact
from stabzoo.stability.enclosure import Enclosure, rational_square_root

__all__ = ["SCHEMES", "Propagator", "oscillator_propagator", "verlet_propagator"]

_BITS = 96


@dataclass(frozen=True, slots=True)
class Propagator:
    """What one step does to a state (y, z): the 2x2 matrix ((yy, yz), (zy, zz)), exactly."""

    yy: Fraction
    yz: Fraction
    zy: Fraction
    zz: Fraction

    @property
    def determinant(self) -> Fraction:
        """1 just if the step keeps areas."""
        return self.yy * self.zz - self.yz * self.zy

    @property
    def spectral_radius(self) -> Fraction | Enclosure:
        """Largest modulus of an eigenvalue, exactly where it is rational."""
        half = (self.yy + self.zz) / 2
        square = half**2 - self.determinant
        if square <= 0:  # a conjugate pair, or a double eigenvalue
            return _square_root(self.determinant)
        root = _square_root(square)
        if isinstance(root, Fraction):
            return abs(half) + root
        return Enclosure(abs(half) + root.lower, abs(half) + root.upper)

    @property
    def is_stable(self) -> bool:
        """Whether all its powers are bounded: radius at most 1, and no defective eigenvalue of modulus 1."""
        radius = self.spectral_radius
        if radius == 1:
            double = (self.yy - self.zz) ** 2 + 4 * self.yz * self.zy == 0
            return not double or self.yz == self.zy == 0
        return radius < 1 if isinstance(radius, Fraction) else radius.upper < 1


def oscillator_propagator(method: LinearMultistep, h: Number, omega: Number) -> Propagator:
    """Return R(hA), A = ((0, -omega^2), (1, 0)): one step of a one-step method, forward and backward Euler and theta.

    Raises:
        ValueError: ``method`` has more than one step.

    """
    if method.steps != 1:
        raise ValueError(f"expected a one-step method, got {method}; a propagator of (y, z) needs one")
    step, square = exact(h), exact(omega) ** 2
    a, b, c = method.alpha[0], method.beta[0], -method.beta_next
    # with A^2 = -omega^2 I: (a + b hA)(1 + c hA)^-1 = (a + b hA)(1 - c hA) / (1 + c^2 q^2)
    q2 = step**2 * square
    scale = 1 + c * c * q2
    even, odd = (a + b * c * q2) / scale, (b - a * c) * step / scale
    return Propagator(even, -odd * square, odd, even)


def verlet_propagator(h: Number, omega: Number) -> Propagator:
    """Return one step of Verlet's scheme: half a step of y, a step of z, half a step of y."""
    step, square = exact(h), exact(omega) ** 2
    q2 = step**2 * square
    return Propagator(1 - q2 / 2, -step * square * (1 - q2 / 4), step, 1 - q2 / 2)


SCHEMES = {
    "forward Euler": lambda h, omega: oscillator_propagator(LinearMultistep((1,), (1,)), h, omega),
    "backward Euler": lambda h, omega: oscillator_propagator(LinearMultistep((1,), (), 1), h, omega),
    "trapezoidal": lambda h, omega: oscillator_propagator(LinearMultistep((1,), ("1/2",), "1/2"), h, omega),
    "Verlet": verlet_propagator,
}
"""The four schemes of the source's Figure 2: name -> propagator of (h, omega)."""


def _square_root(value: Fraction) -> Fraction | Enclosure:
    """Return the square root of a number >= 0, exactly if it is rational, else within a relative 2^-96."""
    from flint import arb, ctx, fmpq

    if (root := rational_square_root(value)) is not None:
        return root
    with ctx.workprec(_BITS + 32):
        return Enclosure.of_ball(arb(fmpq(*value.as_integer_ratio())).sqrt())
