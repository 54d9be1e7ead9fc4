"""The powers of a companion matrix beyond any finite n, from certified roots.

The first row of C^n is r_n = coefficients of z^N mod rho (highest power first), N = n + d - 1. For a zero-stable rho
= u q, with the roots of u on the unit circle and those of q inside, r_n = p_n + E_n: with the idempotent e = 1 mod u,
0 mod q,

    p_n = z^N e mod rho,    E_n,c = sum over roots zeta of q, of multiplicity mu, of the coefficient of t^{mu-1} in
                            (zeta + t)^N W_c(zeta + t) / (rho(zeta + t) / t^mu),      W_0 = 1, W_c = z W_{c-1} -
                            alpha_{c-1}

p_n is rational, and periodic if the roots of u are roots of unity. E_n tends to zero and is bounded for all n at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from stabzoo.multistep import LinearMultistep
from stabzoo.stability.enclosure import Enclosure
from stabzoo.stability.roots import complex_roots, integer_polynomial

if TYPE_CHECKING:
    from flint import acb, arb, fmpq_poly, fmpz_poly

_PRECISION = 192
_MAX_PERIOD = 360


@dataclass(frozen=True, slots=True)
class _Mode:
    """Root `zeta` of q: E_n,c has the terms binomial(N, i) zeta^{N-i} weights[c][mu-1-i], i < mu."""

    zeta: acb
    weights: list[list[acb]]


@dataclass(frozen=True, slots=True)
class Tail:
    """r_n = p_n + E_n of one zero-stable method."""

    steps: int
    phases: list[list[Fraction]] | None  # p_n for n = 1..period; None if not (known to be) periodic
    amplitude: Fraction  # of p_n: sup |p_n|_1 is at most this
    modes: list[_Mode]
    residual: list[list[Fraction]]  # E_n for n = 1..d, exactly
    precision: int  # bits, at which every mode is seen to be inside the circle

    @classmethod
    def of(cls, method: LinearMultistep) -> Tail:
        """Split the rows of the powers of the companion matrix of a zero-stable method."""
        from flint import ctx, fmpq, fmpq_poly, fmpz_poly

        d, rho = method.steps, integer_polynomial(method.rho)
        unit, inner, period = fmpz_poly([1]), list[tuple["fmpz_poly", int]](), 1
        for f, multiplicity in rho.factor()[1]:
            if _on_circle(f):
                unit *= f
                period = math.lcm(period, _order(f)) if period else 0
            else:
                inner.append((f, multiplicity))
        modulus, q = fmpq_poly(rho), fmpq_poly(rho // unit)
        idempotent = q * (q % fmpq_poly(unit)).xgcd(fmpq_poly(unit))[1] if unit.degree() else fmpq_poly([0])
        full = _powers(fmpq_poly([fmpq(1)]), modulus, d, d)
        kept = _powers(idempotent, modulus, d, d)
        residual = [[a - b for a, b in zip(r, p, strict=True)] for r, p in zip(full, kept, strict=True)]
        phases = _powers(idempotent, modulus, d, period) if 0 < period <= _MAX_PERIOD else None
        precision = _PRECISION
        while True:
            with ctx.workprec(precision):
                modes = [_mode(zeta, m, method) for f, m in inner for zeta in complex_roots(f)]
                on = [] if phases is not None else [_mode(zeta, 1, method) for zeta in complex_roots(unit)]
                if all(mode is not None and abs(mode.zeta) < 1 for mode in modes) and None not in on:
                    amplitude = (
                        max(map(_norm, phases))
                        if phases is not None
                        else sum((_upper(abs(w[0])) for mode in on if mode for w in mode.weights), Fraction(0))
                    )
                    return cls(d, phases, amplitude, [mode for mode in modes if mode], residual, precision)
            precision *= 2

    def supremum(self, largest: Fraction, seen: int) -> Fraction | Enclosure:
        """Return sup_n |r_n|_1, `largest` being its maximum over n <= `seen`; a Fraction as soon as that is proved."""
        from flint import ctx

        with ctx.workprec(self.precision):
            bounds = self._bounds(seen + self.steps)
            upper = self.amplitude + sum(bounds)
            if largest >= upper:
                return largest
            if self.phases is None:
                return Enclosure(largest, upper)
            lower = max(largest, self.amplitude)  # every |p_n|_1 is a limit of |r_n|_1
            if all(
                _norm(p) + sum(bounds) <= lower or self._approached_from_below(p, bounds, seen) for p in self.phases
            ):
                return lower
            return Enclosure(lower, upper)

    def _bounds(self, start: int) -> list[Fraction]:
        """Bound |E_n,c| for every n with N >= start, for each c."""
        return [
            sum(
                (
                    _upper(abs(w)) * _envelope(i, abs(m.zeta), start)
                    for m in self.modes
                    for i, w in enumerate(reversed(m.weights[c]))
                ),
                Fraction(0),
            )
            for c in range(self.steps)
        ]

    def _approached_from_below(self, p: list[Fraction], bounds: list[Fraction], seen: int) -> bool:
        """Whether |p + E_n|_1 <= |p|_1 is proved for all n > seen: signs s of p are settled and s . E_n <= 0."""
        if any(bound > abs(x) for x, bound in zip(p, bounds, strict=True)):
            return False
        sign = [(x > 0) - (x < 0) for x in p]
        if not any(sum(s * e for s, e in zip(sign, row, strict=True)) for row in self.residual):
            return True  # s . E_n satisfies a d-term recurrence: d zeros make it zero
        return self._negative(sign, seen + self.steps)

    def _negative(self, sign: list[int], start: int) -> bool:
        """Whether s . E_n < 0 for all N >= start because a simple positive root dominates."""
        leading = max(self.modes, key=lambda m: float(abs(m.zeta)))
        zeta = leading.zeta.real
        if leading.zeta.imag != 0 or not zeta > 0 or len(leading.weights[0]) > 1:
            return False
        weight = sum((s * w[0] for s, w in zip(sign, leading.weights, strict=True)), leading.zeta * 0).real
        others = Fraction(0)
        for mode in self.modes:
            if mode is not leading:
                ratio = abs(mode.zeta) / zeta
                if not ratio < 1:
                    return False
                for i in range(len(mode.weights[0])):
                    total = sum((s * w[-1 - i] for s, w in zip(sign, mode.weights, strict=True)), mode.zeta * 0)
                    others += _upper(abs(total) / zeta**i) * _envelope(i, ratio, start)
        return bool(weight < 0) and Enclosure.of_ball(-weight).lower > others


def _mode(zeta: acb, multiplicity: int, method: LinearMultistep) -> _Mode | None:
    """Expand W_c / (rho / t^mu) at zeta to mu terms; None if the precision is too low."""
    from flint import acb

    alpha = [_ball(a) for a in method.alpha]
    taylor = [acb(1)]  # of rho at zeta, lowest power of t first, by Horner's rule
    w: list[list[acb]] = []
    for a in alpha:
        w.append(_padded(taylor, multiplicity))
        taylor = [x + y for x, y in zip([zeta * c for c in taylor] + [acb(0)], [acb(0), *taylor], strict=True)]
        taylor[0] -= a
    h = _padded(taylor[multiplicity:], multiplicity)
    if h[0].rel_accuracy_bits() < 32:
        return None
    return _Mode(zeta, [_divided(series, h) for series in w])


def _divided(numerator: list[acb], denominator: list[acb]) -> list[acb]:
    quotient: list[acb] = []
    for i, c in enumerate(numerator):
        quotient.append((c - sum((quotient[j] * denominator[i - j] for j in range(i)), c * 0)) / denominator[0])
    return quotient


def _padded(series: list[acb], length: int) -> list[acb]:
    from flint import acb

    return (series + [acb(0)] * length)[:length]


def _envelope(i: int, modulus: arb, start: int) -> Fraction:
    """Bound binomial(N, i) modulus^{N-i} for all N >= start >= i; it rises until N = i / (1 - modulus), then falls."""
    from flint import arb

    if modulus == 0:
        return Fraction(int(start <= i))
    high = _upper(modulus)
    peak = max(start, math.floor(i / (1 - high)))
    return max(
        _upper(arb(math.comb(n, i)) * (_ball(high).log() * (n - i)).exp()) for n in {start, peak, max(start, peak - 1)}
    )


def _powers(factor: fmpq_poly, modulus: fmpq_poly, d: int, count: int) -> list[list[Fraction]]:
    """Return the coefficients, highest power first, of z^{n+d-1} factor mod modulus for n = 1..count."""
    from flint import fmpq_poly

    z, rows = fmpq_poly([0, 1]), list[list[Fraction]]()
    power = (factor * z ** (d - 1)) % modulus
    for _ in range(count):
        power = (power * z) % modulus
        rows.append([Fraction(int(power[j].p), int(power[j].q)) for j in reversed(range(d))])
    return rows


def _on_circle(f: fmpz_poly) -> bool:
    """Whether an irreducible factor of a zero-stable rho has its roots on the circle: if palindromic, or z - 1."""
    coefficients = [int(c) for c in f.coeffs()]
    return coefficients == coefficients[::-1] or coefficients == [-1, 1]


def _order(f: fmpz_poly) -> int:
    """Return n if `f` is the n-th cyclotomic polynomial, else 0."""
    from flint import fmpz_poly

    if f.leading_coefficient() != 1:
        return 0
    limit = 6 * f.degree() ** 2 + 6  # euler_phi(n) >= sqrt(n / 2)
    return next((n for n in range(1, min(limit, _MAX_PERIOD) + 1) if fmpz_poly.cyclotomic(n) == f), 0)


def _norm(row: list[Fraction]) -> Fraction:
    return sum(map(abs, row), Fraction(0))


def _upper(ball: arb) -> Fraction:
    return Enclosure.of_ball(ball).upper


def _ball(value: Fraction) -> arb:
    from flint import arb, fmpq

    return arb(fmpq(value.numerator, value.denominator))
