"""A proof of a verdict on the root condition, and its check.

Miller's reduction (see `root_condition`) is undone by the Levinson step

    phi(z) = z phi_1(z) + k phi_1*(z),

so the reflection coefficients k and the polynomial at which the reduction stopped determine rho: whoever rebuilds the
given rho from them, with |k| < 1 on the way, has proved the verdict.

Source: Miller (1971); N. Levinson, The Wiener RMS error criterion in filter design and prediction, J. Math. Phys. 25
(1946), 261-278.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import gcd, lcm
from typing import Literal, TypeAlias, cast, get_args

from stabzoo.methods.multistep import MAX_STEPS
from stabzoo.stability.root_condition import (
    cleared,
    derivative,
    is_self_inversive,
    rational_text,
    reduced,
)

Ending: TypeAlias = Literal["schur", "simple von neumann", "root outside", "not self-inversive", "derivative not schur"]

_MAX_TEXT = 1_000_000  # characters of one number
_RATIONAL = re.compile(r"(-?[0-9]+)(?:/([0-9]+))?")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A proof that rho satisfies, or violates, the root condition.

    `reflection` holds k for degrees d, d-1, ... as far as the reduction went, `derivative` those of phi' where phi =
    +-phi* was reached, and `witness` the monic polynomial (highest power first) at which it stopped, (1,) if that is
    a constant. `ending`:

    - "schur": every |k| < 1 down to a constant, all roots are inside the unit circle;
    - "simple von neumann": phi = +-phi*, phi' is Schur: the roots of phi are simple and on the circle, others inside;
    - "root outside": the last |k| > 1, the roots of the witness have a product of modulus > 1;
    - "not self-inversive": the last |k| = 1 but the witness is not +- its own reversal, so a root is outside;
    - "derivative not schur": phi = +-phi*, and for phi' the last |k| >= 1: phi has a root outside or a multiple one.
    """

    ending: Ending
    reflection: tuple[Fraction, ...]
    derivative: tuple[Fraction, ...]
    witness: tuple[Fraction, ...]

    @property
    def is_zero_stable(self) -> bool:
        """Whether this certifies the root condition (else its violation)."""
        return self.ending in ("schur", "simple von neumann")

    @property
    def unit_roots(self) -> int | None:
        """Number of roots on the unit circle, all simple; None if the root condition is violated."""
        return None if not self.is_zero_stable else len(self.derivative) + (self.ending == "simple von neumann")

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe form, rationals as strings."""
        return {
            "ending": self.ending,
            "is_zero_stable": self.is_zero_stable,
            "reflection": [rational_text(k) for k in self.reflection],
            "derivative": [rational_text(k) for k in self.derivative],
            "witness": [rational_text(c) for c in self.witness],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Certificate:
        """Read `to_dict`'s form.

        Raises:
            ValueError: a missing, unknown or malformed entry, or an `is_zero_stable` that contradicts the ending.

        """
        expected = {"ending", "is_zero_stable", "reflection", "derivative", "witness"}
        if not isinstance(data, Mapping) or set(data) != expected:
            raise ValueError(f"expected a certificate with the keys {sorted(expected)}, got {data!r:.80}")
        if data["ending"] not in get_args(Ending):
            raise ValueError(f"expected an ending out of {get_args(Ending)}, got {data['ending']!r:.60}")
        numbers = [_rationals(data[key], key) for key in ("reflection", "derivative", "witness")]
        certificate = cls(cast(Ending, data["ending"]), *numbers)
        if data["is_zero_stable"] is not certificate.is_zero_stable:
            raise ValueError(
                f"the ending {certificate.ending!r} contradicts is_zero_stable = {data['is_zero_stable']!r:.20}"
            )
        return certificate


def certified(polynomial: list[int]) -> Certificate:
    """Decide the root condition of a polynomial, lowest power first, leading coefficient positive, with a proof."""
    levels, phi = reduced(polynomial)
    below: list[tuple[int, int]] = []
    ending: Ending = "schur"
    if len(phi) > 1:
        levels.append((phi[0], phi[-1]))
        if is_self_inversive(phi):
            below, phi = reduced(derivative(phi))
            ending = "simple von neumann"
            if len(phi) > 1:
                below.append((phi[0], phi[-1]))
                ending = "derivative not schur"
        else:
            ending = "root outside" if abs(phi[0]) > phi[-1] else "not self-inversive"
    lead = phi[-1]
    return Certificate(
        ending,
        tuple([Fraction(p, q) for p, q in levels]),
        tuple([Fraction(p, q) for p, q in below]),
        tuple([Fraction(c, lead) for c in reversed(phi)]) if len(phi) > 1 else (Fraction(1),),
    )


def polynomial_of(certificate: Certificate, degree: int = MAX_STEPS) -> list[int] | None:
    """Rebuild the polynomial that a certificate is about, in O(d^2) integer operations; None if it proves nothing.

    It is built upward from the witness by the Levinson step, up to a constant factor; none is of a higher ``degree``.
    """
    levels, below, ending = list(certificate.reflection), list(certificate.derivative), certificate.ending
    if not certificate.witness or len(levels) + len(below) > 2 * (degree + 1) or len(certificate.witness) > degree + 1:
        return None
    phi = cleared(reversed(certificate.witness))
    if certificate.witness[0] != 1:
        return None
    stopped = below if ending in ("simple von neumann", "derivative not schur") else levels
    if ending in ("schur", "simple von neumann"):
        if len(phi) != 1:
            return None
    else:
        if not stopped or len(phi) == 1 or stopped.pop() != Fraction(phi[0], phi[-1]):
            return None
        if ending == "root outside" and abs(phi[0]) <= phi[-1]:
            return None
        if ending == "not self-inversive" and (abs(phi[0]) != phi[-1] or is_self_inversive(phi)):
            return None
        if ending == "derivative not schur" and abs(phi[0]) < phi[-1]:
            return None
    if stopped is below:
        phi = _rebuild(phi, below)
        if phi is None or not levels or abs(unit := levels.pop()) != 1:
            return None
        phi = _antiderivative(phi, int(unit))
        if not is_self_inversive(phi):
            return None
    elif below:
        return None
    return _rebuild(phi, levels)


def _antiderivative(phi: list[int], constant: int) -> list[int]:
    """Return the integral of `phi` whose constant term is `constant` times its leading coefficient."""
    scale = lcm(*range(1, len(phi) + 1))
    integral = [0, *(c * (scale // (j + 1)) for j, c in enumerate(phi))]
    integral[0] = constant * integral[-1]
    return integral


def _rebuild(phi: list[int], levels: list[Fraction]) -> list[int] | None:
    """Undo Miller's reduction for the k in `levels`, last one first; None unless every |k| < 1."""
    for k in reversed(levels):
        p, q = k.numerator, k.denominator
        if not -q < p < q:
            return None
        phi = [q * a + p * b for a, b in zip([0, *phi], [*reversed(phi), 0], strict=True)]
        content = gcd(*phi)
        phi = [c // content for c in phi]
    return phi


def _rationals(entries: object, name: str) -> tuple[Fraction, ...]:
    if not isinstance(entries, list | tuple):
        raise ValueError(f"expected {name} to be a list of strings such as '-1/3', got {entries!r:.60}")
    return tuple([_rational(entry, name) for entry in cast("list[object]", entries)])


def _rational(text: object, name: str) -> Fraction:
    match = _RATIONAL.fullmatch(text) if isinstance(text, str) and len(text) <= _MAX_TEXT else None
    if match is None:
        raise ValueError(f"expected {name} to hold strings such as '-1/3', got {text!r:.60}")
    denominator = int(Decimal(match[2] or 1))
    if denominator == 0:
        raise ValueError(f"expected a denominator other than zero in {name}, got {text!r:.60}")
    return Fraction(int(Decimal(match[1])), denominator)
