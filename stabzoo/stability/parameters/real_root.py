"""Real algebraic numbers: where they lie, and the signs of polynomials there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from stabzoo.stability.enclosure import Enclosure
from stabzoo.stability.root_condition import rational_text
from stabzoo.stability.roots import complex_roots
from stabzoo.stability.stability_card import polynomial_text

if TYPE_CHECKING:
    from flint import fmpq_poly, fmpz_poly

_PRECISION = 96


@dataclass(frozen=True, slots=True)
class RealRoot:
    """A real root of an irreducible polynomial over the integers.

    Attributes:
        factor: Its coefficients, lowest power first.
        index: Which of its real roots, from below, the first being 0.
        enclosure: Both ends are the root itself where it is rational.

    """

    factor: tuple[int, ...]
    index: int
    enclosure: Enclosure

    @property
    def rational(self) -> Fraction | None:
        """The root itself if it is rational."""
        return self.enclosure.lower if len(self.factor) == 2 else None

    @property
    def minimal_polynomial(self) -> fmpq_poly:
        """The irreducible polynomial over Q."""
        from flint import fmpq_poly, fmpz_poly

        return fmpq_poly(fmpz_poly(list(self.factor)))

    def text(self, parameter: str) -> str:
        """Return ``1/3``, ``-sqrt(2)``, ``root(s^3 - s - 1, 1.32472)``, or ``root(degree 9, 1.2)``."""
        if self.rational is not None:
            return rational_text(self.rational)
        if len(self.factor) == 3 and not self.factor[1]:
            square = Fraction(-self.factor[0], self.factor[2])
            return f"{'' if self.index else '-'}sqrt({rational_text(square)})"
        degree = len(self.factor) - 1
        polynomial = polynomial_text(self.factor).replace("z", parameter) if degree <= 4 else f"degree {degree}"
        return f"root({polynomial}, {self.enclosure})"


def real_roots(polynomials: Iterable[fmpz_poly]) -> list[RealRoot]:
    """Return the distinct real roots of polynomials that are not zero, ascending, their enclosures disjoint."""
    factors = {tuple(int(c) for c in f.coeffs()) for p in polynomials if p.degree() > 0 for f, _ in p.factor()[1]}
    precision = _PRECISION
    while True:
        found = [RealRoot(f, i, e) for f in factors for i, e in enumerate(_enclosures(f, precision))]
        found.sort(key=lambda root: root.enclosure.lower)
        if all(a.enclosure.upper < b.enclosure.lower for a, b in pairwise(found)):
            return found
        precision *= 2


@lru_cache(maxsize=256)  # of one root the signs of many polynomials are asked
def _enclosures(factor: tuple[int, ...], precision: int) -> list[Enclosure]:
    """Disjoint enclosures of the real roots of an irreducible polynomial, ascending."""
    from flint import ctx, fmpz_poly

    if len(factor) == 2:
        root = Fraction(-factor[0], factor[1])
        return [Enclosure(root, root)]
    with ctx.workprec(precision):
        balls = complex_roots(fmpz_poly(list(factor)))
        return sorted((Enclosure.of_ball(b.real) for b in balls if b.imag == 0), key=lambda e: e.lower)


def sign_at(root: RealRoot, element: fmpq_poly) -> int:
    """Return the sign of a polynomial at the root, 0 only where it is reduced and 0 itself."""
    from flint import arb, ctx

    if not element:
        return 0
    precision = _PRECISION
    while True:
        place = _enclosures(root.factor, precision)[root.index]
        with ctx.workprec(precision):
            t, total = place.ball(), arb(0)
            for c in reversed(element.coeffs()):
                total = total * t + arb(c)
            if total != 0:
                return 1 if total > 0 else -1
        precision *= 2
