"""The root condition, decided in integer arithmetic.

A polynomial satisfies the root condition (is a *simple von Neumann polynomial*) if all its roots lie in |z| <= 1 and
those with |z| = 1 are simple. With phi*(z) = z^n phi(1/z) and the reflection coefficient k = phi(0) / lead(phi),
Miller's reduction is

    phi_1(z) = (phi(z) - k phi*(z)) / ((1 - k^2) z)

    Schur              <=>  |k| < 1 and phi_1 Schur
    simple von Neumann <=>  (|k| < 1 and phi_1 simple von Neumann)  or  (phi = +-phi* and phi' Schur)

Only rational comparisons occur: no roots are computed and there is no tolerance. Polynomials are lists of integers,
lowest power first, with a positive leading coefficient.

Source: J. J. H. Miller, On the location of zeros of certain classes of polynomials, J. Inst. Math. Appl. 8 (1971),
397-406.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from math import gcd, lcm
from typing import TYPE_CHECKING

from stabzoo.methods.multistep import HasCoefficients, LinearMultistep, Number, exact_sequence

if TYPE_CHECKING:
    from flint import fmpz_poly

_FEW, _LONG = 12, 1 << 14  # coefficients, and bits in all of them, from which FLINT is faster
_CONTENT = 512  # bits from which a common factor is looked for


def is_zero_stable(alpha: Sequence[Number] | HasCoefficients) -> bool:
    """Decide the root condition of rho(z) = z^d - sum_j alpha_j z^{d-1-j}, of a method, a scheme or an alpha."""
    return is_zero_stable_integer(integer_rho(alpha_of(alpha)))


def is_zero_stable_integer(rho: list[int]) -> bool:
    """Decide the root condition of a polynomial with integer coefficients, lowest power first, leading one positive.

    A root 1 is divided out first, which most methods have: what is left has smaller numbers.
    """
    if not sum(rho):
        rho = list(accumulate(reversed(rho)))[-2::-1]  # Horner's rule at 1
        if not sum(rho):
            return False
    _, phi = reduced(rho)
    if len(phi) == 1:
        return True
    return is_self_inversive(phi) and len(reduced(derivative(phi))[1]) == 1


def satisfies_root_condition(method: LinearMultistep, real: Fraction, imag: Fraction = Fraction(0)) -> bool:
    """Decide the root condition of rho - z sigma at z = real + i imag exactly.

    False where the leading coefficient vanishes: a root is infinite. The reduction is the same over the Gaussian
    rationals, with phi*(z) = z^n conj(phi(1/conj(z))).
    """
    from flint import fmpz_poly

    pairs = list(zip(reversed(method.rho), reversed(method.sigma), strict=True))
    phi = cleared([*[r - real * s for r, s in pairs], *[-imag * s for _, s in pairs]])
    a, b = phi[: len(pairs)], phi[len(pairs) :]
    if not a[-1] and not b[-1]:
        return False
    if not any(b):
        return is_zero_stable_integer(a if a[-1] > 0 else [-c for c in a])
    degree, re, im = _reduced_gaussian(len(a) - 1, fmpz_poly(a), fmpz_poly(b))
    if degree == 0:
        return True
    if any(part != 0 for part in _reduced_once(degree, re, im)):
        return False
    return _reduced_gaussian(degree - 1, re.derivative(), im.derivative())[0] == 0


def _reduced_gaussian(degree: int, a: fmpz_poly, b: fmpz_poly) -> tuple[int, fmpz_poly, fmpz_poly]:
    """Apply Miller's reduction to a + ib while |phi(0)| < |lead|; divisors as in `_reduced_long`, all real."""
    from flint import fmpz

    divisor, is_first = fmpz(1), True
    while degree and a[0] ** 2 + b[0] ** 2 < a[degree] ** 2 + b[degree] ** 2:
        lead = a[degree]
        a, b = (part // divisor for part in _reduced_once(degree, a, b))
        degree, divisor, is_first = degree - 1, fmpz(1) if is_first else lead, False
    return degree, a, b


def _reduced_once(degree: int, a: fmpz_poly, b: fmpz_poly) -> tuple[fmpz_poly, fmpz_poly]:
    """Return (conj(lead) phi - phi(0) phi*) / z, for phi = a + ib."""
    from flint import fmpz_poly

    p, q, r, s = a[degree], b[degree], a[0], b[0]
    e, f = (fmpz_poly([part[degree - j] for j in range(degree + 1)]) for part in (a, b))
    z = fmpz_poly([0, 1])
    return (p * a + q * b - r * e - s * f) // z, (p * b - q * a - s * e + r * f) // z


def alpha_of(alpha: Sequence[Number] | HasCoefficients) -> tuple[Fraction, ...]:
    """Return the exact alpha of a method, of a scheme, or of a sequence of numbers."""
    if isinstance(alpha, LinearMultistep):
        return alpha.alpha
    if isinstance(alpha, HasCoefficients):  # slower: it looks for the method by name
        return alpha.coefficients().alpha
    numbers = exact_sequence(alpha, "alpha")
    if not numbers:
        raise ValueError("expected at least one alpha, got none; a one-step method has alpha = (1,)")
    return numbers


def integer_rho(alpha: tuple[Fraction, ...]) -> list[int]:
    """Return rho(z) = z^d - sum_j alpha_j z^{d-1-j} times the common denominator of alpha."""
    ratios = [a.as_integer_ratio() for a in alpha]
    denominator = lcm(*[q for _, q in ratios])
    return [*[-p * (denominator // q) for p, q in reversed(ratios)], denominator]


def reduced(phi: list[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Apply Miller's reduction while |k| < 1; return the k = p/q as pairs and the polynomial at which it stopped.

    Common factors are divided out where numbers are long and steps are left: elsewhere finding them costs more.
    """
    if len(phi) > _FEW and len(phi) * max(map(abs, phi)).bit_length() > _LONG:
        return _reduced_long(phi)
    levels: list[tuple[int, int]] = []
    while len(phi) > 1:
        const, lead = phi[0], phi[-1]
        if not -lead < const < lead:
            break
        if len(phi) > 4:
            common = gcd(const, lead)
            const, lead = const // common, lead // common
        levels.append((const, lead))
        if len(phi) == 2:
            return levels, [1]  # a positive constant
        if not const:
            phi = phi[1:]
            continue
        phi = [lead * a - const * b for a, b in zip(phi[1:], phi[-2::-1])]  # noqa: B905 (equally long)
        if phi[-1].bit_length() > _CONTENT:
            content = gcd(*phi)
            phi = [c // content for c in phi]
    return levels, phi


def _reduced_long(phi: list[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Do the same for long numbers, which FLINT multiplies and divides faster.

    A step lead phi - phi(0) phi* makes numbers twice as long. From the third on all of them have a factor, the leading
    coefficient of the step before: they are minors of the Schur-Cohn matrix, as in Bareiss's elimination. With it
    divided out, lengths grow by the same amount each step.
    """
    from flint import fmpz_poly

    levels: list[tuple[int, int]] = []
    p, divisor, is_first = fmpz_poly(phi), fmpz_poly([1]), True
    while (degree := p.degree()) > 0:
        const, lead = p[0], p[degree]
        if not -lead < const < lead:
            break
        levels.append((int(const), int(lead)))
        p = (lead * p - const * fmpz_poly(p.coeffs()[::-1])) // (fmpz_poly([0, 1]) * divisor)
        divisor, is_first = fmpz_poly([1 if is_first else lead]), False
    return levels, [int(c) for c in p.coeffs()]


def is_self_inversive(phi: list[int]) -> bool:
    """Whether phi = +-phi*."""
    return phi == phi[::-1] or phi == [-c for c in reversed(phi)]


def derivative(phi: list[int]) -> list[int]:
    """Return phi'."""
    return [j * c for j, c in enumerate(phi)][1:]


def cleared(coefficients: Iterable[Fraction]) -> list[int]:
    """Return the coefficients times their common denominator."""
    fractions = list(coefficients)
    denominator = lcm(*[c.denominator for c in fractions])
    return [c.numerator * (denominator // c.denominator) for c in fractions]


def rational_text(value: Fraction) -> str:
    """Return `str(value)` for numbers of any length (`str` of an int stops at 4300 digits)."""
    if value.denominator == 1:
        return f"{Decimal(value.numerator):f}"
    return f"{Decimal(value.numerator):f}/{Decimal(value.denominator):f}"
