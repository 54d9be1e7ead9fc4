"""A stability card and its certificate in the field's words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from stabzoo.cli.console import brief, decimal, full
from stabzoo.methods import (
    NOT_DECIDED,
    GeneralLinear,
    NotDecided,
    OneLeg,
    OscillatorMatrix,
    OscillatorPolynomial,
    OwnStep,
)
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import Root, SecondOrderCertificate, StabilityCard
from stabzoo.stability.enclosure import Enclosure, Real
from stabzoo.stability.properties.waves import WaveError
from stabzoo.stability.root_condition import rational_text
from stabzoo.stability.zero_stability import Proof

__all__ = ["LABEL_WIDTH", "card_rows", "certificate_sentences", "coefficients_text", "verdict"]

LABEL_WIDTH = len("stability constant")


def card_rows(card: StabilityCard) -> Iterator[tuple[str, str]]:
    """Every field of a card as (label, text), each as soon as it is known; without a label it continues the one above.

    No label is longer than `LABEL_WIDTH`.
    """
    yield "kind", card.method.kind
    if isinstance(card.method, GeneralLinear):
        yield "quantities", _quantities(card.method)
    else:
        yield "coefficients", coefficients_text(card.coefficients)
    yield "zero stability", f"{card.status}: {card.reason}{_of_what(card)}"
    yield "steps", str(card.method.steps)
    yield "order", _order(card)
    yield "convergent", verdict(card.is_convergent, "yes: consistent and zero-stable")
    yield "error constant", _error_constant(card)
    yield from _labelled("roots of rho", [_root(root) for root in card.roots if root.midpoint.imag >= 0])
    yield "parasitic radius", full(card.parasitic_radius)
    if card.stability_constant is not NOT_DECIDED:
        yield "stability constant", f"sup ||C^n|| = {full(card.stability_constant)}, in the maximum norm"
    if isinstance(card.method.linear, OscillatorMatrix | OscillatorPolynomial):
        yield "oscillator", f"bounded on y'' = -omega^2 y for |h omega| < {full(card.imaginary_interval)}"
    else:
        yield "real interval", _interval(card.real_interval, "(-{0}, 0)")
        yield "imaginary interval", _interval(card.imaginary_interval, "(-{0} i, {0} i)")
        yield "A-stable", verdict(card.is_A_stable)
        yield from _stiff_rows(card)
        yield from _implicit_rows(card)
    yield "SSP coefficient", full(card.ssp_coefficient)
    yield from _wave_rows(card)


def _quantities(method: GeneralLinear) -> str:
    """How many, and what they are of y and h y'."""
    q, c = method.preconsistency, method.consistency
    if q is None or c is None:
        return f"{method.parts}, not consistent" if q else f"{method.parts}, not preconsistent"
    return f"{method.parts}, near q y + c h y' with q = {_tuple(q)}, c = {_tuple(c)}"


def _stiff_rows(card: StabilityCard) -> list[tuple[str, str]]:
    """How near to A-stable a method is, or what more it is."""
    rows: list[tuple[str, str]] = []
    angle, abscissa = card.sector_angle, card.stiff_abscissa
    if card.is_A_stable is False and isinstance(angle, Fraction | Enclosure):
        sector = f"all z != 0 with |arg(-z)| < {full(angle)} degrees"
        beyond = f", and with Re z < -{full(abscissa)}" if isinstance(abscissa, Fraction | Enclosure) else ""
        rows.append(("A(alpha)-stable", sector + beyond))
    if card.energy_matrix is not None:
        of = "" if isinstance(card.method, OneLeg) else "the one-leg twin, "
        rows.append(("G-stable", f"{of}by G = ({', '.join(map(_tuple, card.energy_matrix))})"))
    if card.is_A_stable is True and isinstance(card.is_contractive, bool):
        rows.append(("B-stable", "yes, and AN-stable" if card.is_contractive else "no, nor AN-stable"))
    return rows


def _wave_rows(card: StabilityCard) -> list[tuple[str, str]]:
    """What happens to oscillations, y' = i nu y / h; and what the parasitic roots on the circle do."""
    rows: list[tuple[str, str]] = []
    errors, parameters = card.wave_errors, card.growth_parameters
    if isinstance(errors, tuple):
        damping, shift = errors
        texts = ["no dissipation" if not damping.constant else _wave("dissipation", damping)]
        rows.append(("oscillations", ", ".join([*texts, _wave("dispersion", shift)])))
    if card.is_symmetric is True:
        rows.append(("symmetric", "yes: a step with -h undoes one with h"))
    if card.is_symplectic is True:
        rows.append(("symplectic", f"yes: {_preserved(card)}"))
    if card.status == "weak" and isinstance(parameters, list):
        texts = [
            f"{brief(g.real)}{'' if g.imag == 0 else f' + {brief(g.imag)} i'} at {g.root:.6g}"
            if g.root.imag
            else f"{brief(g.real)} at {g.root.real:g}"
            for g in parameters
        ]
        rows.append(("growth parameters", ", ".join(texts)))
    return rows


def _preserved(card: StabilityCard) -> str:
    """What a symplectic step does."""
    systems = "H = T(z) + V(y)" if card.method.parts == 2 else "H(y)"
    return f"it keeps the symplectic form of every Hamiltonian system, {systems}"


def _wave(what: str, error: WaveError) -> str:
    return f"{what} of order {error.order} ({brief(error.constant)} nu^{error.order + 1} per step)"


def _implicit_rows(card: StabilityCard) -> list[tuple[str, str]]:
    """What no explicit linear multistep method can be, and R(z), which tells one-step methods apart."""
    if card.method is card.coefficients and card.method.is_explicit:
        return []
    rows, function = [("L-stable", verdict(card.is_L_stable))], card.stability_function
    if function is not None:
        rows.append(("stability function", str(function) if function is NOT_DECIDED else f"R(z) = {function}"))
    return rows


def verdict(holds: bool | NotDecided, yes: str = "yes") -> str:
    """``yes``, ``no`` or ``not decided``."""
    return str(holds) if holds is NOT_DECIDED else yes if holds else "no"


def _of_what(card: StabilityCard) -> str:
    """Of which method rho is, where a block computes something that nobody has stated."""
    if isinstance(card.method, GeneralLinear):
        return " (rho: the minimal polynomial of V, but for factors z)"
    if not isinstance(card.method, OwnStep):
        return ""
    return f" (of the stated coefficients; what the {card.method.kind} computes is not stated)"


def certificate_sentences(certificate: Proof) -> list[str]:
    """What the certificate proves, and by which numbers."""
    if isinstance(certificate, SecondOrderCertificate):
        return [
            "rho is a product of two polynomials: a root on the circle may be simple in each of them",
            *(f"of its distinct factors, each once: {text}" for text in certificate_sentences(certificate.distinct)),
            *(f"of the rest: {text}" for text in certificate_sentences(certificate.repeated)),
        ]
    numbers = _tuple(certificate.reflection)
    below = _tuple(certificate.derivative)
    witness = polynomial(certificate.witness)
    start = f"reflection coefficients of Miller's reduction: k = {numbers}"
    mirrored = "the last is +-1 and the polynomial phi reached there is +-phi*, its own reversal"
    match certificate.ending:
        case "schur":
            return [start, "every |k| < 1 down to a constant: all roots lie inside the unit circle"]
        case "simple von neumann":
            derivative = f"phi' has k = {below}, every |k| < 1" if certificate.derivative else "phi' is a constant"
            return [start, mirrored, f"{derivative}: the roots of phi are simple and on the circle, all others inside"]
        case "root outside":
            return [start, f"the last |k| > 1: the roots of {witness}, reached there, have a product of modulus > 1"]
        case "not self-inversive":
            return [
                start,
                f"the last |k| = 1, but {witness}, reached there, is not +- its own reversal: a root is outside",
            ]
        case "derivative not schur":
            return [
                start,
                mirrored,
                f"phi' has k = {below}, the last |k| >= 1, at {witness}: a root of phi is outside, or multiple on it",
            ]


def polynomial(coefficients: Sequence[Fraction]) -> str:
    """Rational coefficients, highest power first, as text: ``z^2 - 1/2 z + 1``."""
    text = ""
    for power, c in zip(reversed(range(len(coefficients))), coefficients, strict=True):
        if c:
            sign = (" - " if text else "-") if c < 0 else (" + " if text else "")
            size = "" if abs(c) == 1 and power else rational_text(abs(c)) + (" " if power else "")
            text += sign + size + ("" if power == 0 else "z" if power == 1 else f"z^{power}")
    return text


def coefficients_text(method: LinearMultistep) -> str:
    """``alpha = (1, 0), beta = (3/2, -1/2)``, and beta_next of an implicit method."""
    implicit = f", beta_next = {rational_text(method.beta_next)}" if method.beta_next else ""
    return f"alpha = {_tuple(method.alpha)}, beta = {_tuple(method.beta)}{implicit}"


def _tuple(numbers: Sequence[Fraction]) -> str:
    return f"({', '.join(map(rational_text, numbers))})"


def _order(card: StabilityCard) -> str:
    if card.order is None:
        return "-, not consistent: rho(1) != 0, constants are not kept"
    if card.order == 0:
        return "-, not consistent: rho(1) = 0, but rho'(1) != sigma(1)"
    return str(card.order)


def _error_constant(card: StabilityCard) -> str:
    order = card.order
    if card.error_constant is None and isinstance(order, int) and order > 0 and any(card.coefficients.sigma):
        return f"-, the leading error is no multiple of y^({order + 1})"
    return full(card.error_constant)


def _root(root: Root) -> str:
    """One root, or a pair of conjugate ones."""
    repeated = "" if root.multiplicity == 1 else f", multiplicity {root.multiplicity}"
    place = "on the unit circle" if root.position == "on" else f"modulus {full(root.modulus)}, {root.position}"
    if root.rational is not None:
        return f"{full(root.rational)}{repeated}, {place}"
    re, im = root.midpoint.real, root.midpoint.imag
    value = f"{re:.12g}" + (f" +- {im:.12g} i" if im else "")
    return f"{value}{repeated}, within {root.radius:.0e}, {place}"


def _interval(length: Real | NotDecided, form: str) -> str:
    if length is NOT_DECIDED:
        return str(length)
    if length == 0:
        return "empty"
    if not isinstance(length, Fraction | Enclosure):
        return form.format("infinity")
    shown = rational_text(length) if isinstance(length, Fraction) else decimal(length, 6)
    return f"{form.format(shown)}, length {full(length)}" if len(shown) < 40 else f"length {full(length)}"


def _labelled(label: str, texts: list[str]) -> list[tuple[str, str]]:
    return [(label if i == 0 else "", text) for i, text in enumerate(texts)]
