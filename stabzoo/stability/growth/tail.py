"""The powers of a companion matrix beyond any finite n, from certified roots.

The first row of C^n is r_n = coefficients of z^N mod rho (highest power first), N = n + d - 1. For a zero-stable rho
= u v q, with the roots of u roots of unity, those of v others on the unit circle, and those of q inside,

    r_n = p_n + F_n + E_n.

p_n = z^N e mod rho is rational and periodic, with the idempotent e = 1 mod u, 0 mod v q. F_n is a sum over the pairs
of roots of v of 2 Re(zeta^N w), almost periodic. E_n tends to zero and is bounded for all n at once:

    E_n,c = sum over roots zeta of q, of multiplicity mu, of the coefficient of t^{mu-1} in
            (zeta + t)^N W_c(zeta + t) / (rho(zeta + t) / t^mu),      W_0 = 1, W_c = z W_{c-1} - alpha_{c-1}

With free phases phi_k in place of N arg(zeta_k), |p + F|_1 is a maximum over signs s of s . p + sum_k 2 Re(e^{i phi_k}
s . w_k), so its supremum over the torus of phases is the maximum over s of s . p + sum_k 2 |s . w_k|. The phases come
as near as one likes to any point of the torus if the zeta_k are multiplicatively independent (Kronecker), as one alone
is. Otherwise the supremum over the torus is an upper bound.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING

from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability.enclosure import Enclosure
from stabzoo.stability.roots import complex_roots, integer_polynomial

if TYPE_CHECKING:
    from flint import acb, arb, fmpq_poly, fmpz_poly

_PRECISION = 192
_MAX_PERIOD = 360
_MAX_SIGNS = 1 << 13
_TINY = Fraction(1, 1 << 1024)


@dataclass(frozen=True, slots=True)
class _Mode:
    """Root `zeta` of q: E_n,c has the terms binomial(N, i) zeta^{N-i} weights[c][mu-1-i], i < mu."""

    zeta: acb
    weights: list[list[acb]]
    sizes: list[list[Fraction]]  # bounds on the moduli of the weights


@dataclass(frozen=True, slots=True)
class Tail:
    """r_n = p_n + F_n + E_n of one zero-stable method."""

    steps: int
    phases: list[list[Fraction]]  # p_n for n = 1..period
    free: list[_Mode]  # of F_n, one of each conjugate pair
    peaks: list[Enclosure]  # for each phase, the supremum of |p_n + F|_1 over free phases of F
    is_dense: bool  # the phases of F_n come near to all: each peak is a limit of |r_n|_1
    modes: list[_Mode]
    residual: list[list[Fraction]]  # F_n + E_n for n = 1..d, exactly
    precision: int  # bits, at which every mode is seen to be inside the circle

    @classmethod
    def of(cls, method: LinearMultistep) -> Tail:
        """Split the rows of the powers of the companion matrix of a zero-stable method."""
        from flint import ctx, fmpq, fmpq_poly, fmpz_poly

        d, rho = method.steps, integer_polynomial(method.rho)
        unit, period = fmpz_poly([1]), 1
        inner: list[tuple[fmpz_poly, int]] = []
        outer: list[fmpz_poly] = []
        for f, multiplicity in rho.factor()[1]:
            if not _on_circle(f):
                inner.append((f, multiplicity))
            elif (order := _order(f)) and math.lcm(period, order) <= _MAX_PERIOD:
                unit, period = unit * f, math.lcm(period, order)
            else:
                outer.append(f)
        modulus, q = fmpq_poly(rho), fmpq_poly(rho // unit)
        idempotent = q * (q % fmpq_poly(unit)).xgcd(fmpq_poly(unit))[1] if unit.degree() else fmpq_poly([0])
        full = _powers(fmpq_poly([fmpq(1)]), modulus, d, d)
        kept = _powers(idempotent, modulus, d, max(d, period))
        residual = [[a - b for a, b in zip(r, p, strict=True)] for r, p in zip(full, kept, strict=False)]
        phases, precision = kept[:period], _PRECISION
        while True:
            with ctx.workprec(precision):
                modes = [_mode(zeta, m, method) for f, m in inner for zeta in complex_roots(f)]
                free = [_mode(zeta, 1, method) for f in outer for zeta in complex_roots(f) if zeta.imag > 0]
                if all(mode is not None and abs(mode.zeta) < 1 for mode in modes) and None not in free:
                    found = [mode for mode in free if mode]
                    peaks = [_peak(p, [(m.weights, 2) for m in found]) for p in phases]
                    known = [mode for mode in modes if mode]
                    return cls(d, phases, found, peaks, _are_independent(outer), known, residual, precision)
            precision *= 2

    def supremum(self, largest: Fraction, seen: int) -> Fraction | Enclosure:
        """Return sup_n |r_n|_1, `largest` being its maximum over n <= `seen`; a Fraction as soon as that is proved."""
        from flint import ctx

        with ctx.workprec(self.precision):
            bounds = self.bounds(seen + self.steps)
            upper = max(peak.upper for peak in self.peaks) + sum(bounds)
            if largest >= upper:
                return largest
            # every peak is a limit of |r_n|_1, or else |p|_1 is not above one: F_n is 0 in the mean over equal phases
            limits = [peak.lower for peak in self.peaks] if self.is_dense else map(_norm, self.phases)
            lower = max(largest, *limits)
            if not self.free and all(
                _norm(p) + sum(bounds) <= lower or self._approached_from_below(p, bounds, seen) for p in self.phases
            ):
                return lower
            return Enclosure(lower, upper)

    def peak(self, phase: int, start: int) -> Fraction:
        """Bound |r_n|_1 for all n of this phase with N >= start: modes turn freely, and have the moduli at start."""
        if self.steps << self.steps > _MAX_SIGNS >> 4 or any(len(m.weights[0]) > 1 for m in self.modes):
            return self.peaks[phase % len(self.phases)].upper + sum(self.bounds(start))
        decaying = [(m.weights, _ball(_envelope(0, abs(m.zeta), start))) for m in self.modes]
        return _peak(self.phases[phase % len(self.phases)], [(m.weights, 2) for m in self.free] + decaying).upper

    def row(self, phase: int, power: arb) -> list[arb]:
        """Enclose the entries of r_n for all N = n + d - 1 in a ball with n - 1 = phase mod an even period."""
        factors = [(m.zeta.log() * power).exp() * 2 for m in self.free]
        row = [_ball(p) for p in self.phases[phase % len(self.phases)]]
        for c in range(self.steps):
            row[c] += sum(((f * m.weights[c][0]).real for f, m in zip(factors, self.free, strict=True)), power * 0)
        for m in self.modes:
            if m.zeta == 0:  # gone for N > d
                continue
            turn = -1 if m.zeta.imag == 0 and m.zeta.real < 0 else 1  # the sign of an even or odd power is known
            logarithm, binomial = (turn * m.zeta).log(), power * 0 + 1
            for i in range(len(m.weights[0])):
                factor = (logarithm * (power - i)).exp() * binomial * turn ** (phase + self.steps - i)
                row = [x + (factor * w[-1 - i]).real for x, w in zip(row, m.weights, strict=True)]
                binomial = binomial * (power - i) / (i + 1)
        return row

    def bounds(self, start: int) -> list[Fraction]:
        """Bound |E_n,c| for every n with N >= start, for each c."""
        total = [Fraction(0)] * self.steps
        for m in self.modes:
            for i in range(len(m.sizes[0])):
                envelope = _envelope(i, abs(m.zeta), start)
                total = [t + size[-1 - i] * envelope for t, size in zip(total, m.sizes, strict=True)]
        return total

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
    if h[0].rel_accuracy_bits() < 96:
        return None
    weights = [_divided(series, h) for series in w]
    return _Mode(zeta, weights, [[_upper(abs(x)) for x in series] for series in weights])


def _peak(p: list[Fraction], turning: Sequence[tuple[list[list[acb]], arb | int]]) -> Enclosure:
    """Enclose the maximum over signs s of s . p + sum_k f_k |s . w_k|: exactly, or by |p|_1 and the sum of moduli.

    The signs are tried one by one while that is at most `_MAX_SIGNS` sums, the first one fixed: s and -s have the same
    moduli, and s . p of both is covered by |s . p|.
    """
    if not turning:
        return Enclosure(_norm(p), _norm(p))
    d = len(p)
    if d << d > _MAX_SIGNS:
        return Enclosure(_norm(p), _norm(p) + sum(_upper(f * abs(w[0])) for weights, f in turning for w in weights))
    best = Enclosure(Fraction(0), Fraction(0))
    for rest in product((1, -1), repeat=d - 1):
        signs = (1, *rest)
        total = _ball(abs(sum(map(operator.mul, signs, p), Fraction(0))))
        for weights, f in turning:
            total += f * abs(sum((w[0] * s for s, w in zip(signs, weights, strict=True)), weights[0][0] * 0))
        value = Enclosure.of_ball(total)
        best = Enclosure(max(best.lower, value.lower), max(best.upper, value.upper))
    return best


def _are_independent(factors: list[fmpz_poly]) -> bool:
    """Whether the roots on the circle, one of each pair, are proved to be multiplicatively independent.

    For quadratic factors q z^2 + b z + q: a prime that divides one q and no other gives the roots of that one a
    valuation, and the others none. One factor alone has such a prime: with q = 1 its roots are roots of unity.
    """
    leading = [int(f.leading_coefficient()) for f in factors]
    if any(f.degree() > 2 for f in factors):
        return False
    for i, q in enumerate(leading):
        for j, other in enumerate(leading):
            while i != j and (common := math.gcd(q, other)) > 1:
                q //= common
        if q == 1:
            return False
    return True


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
    """Bound a number >= 0; what is below `_TINY` counts as that, whose denominator would be all that fits in memory."""
    return Enclosure.of_ball(ball).upper if not ball < _ball(_TINY) else _TINY


def _ball(value: Fraction) -> arb:
    from flint import arb, fmpq

    return arb(fmpq(value.numerator, value.denominator))
