"""Which steps and orders there are: a scheme that is one, or a proof that there is none, or "not decided".

What is proved of a space of schemes (`stabzoo.designing.conditions`), in this order:

1. The order conditions contradict each other: a combination of them reads 0 = 1.
2. Conditions on coefficients that are necessary, and linear, contradict each other: a combination of them is negative.
   Dahlquist's first barrier is found so, number by number.
3. With one beta, or beta_next alone, the order fixes the ratios of the highest c_k of Q(s) = sum_k c_k s^k.  Then so
   are the roots of the derivative of Q that these are the coefficients of (up to the factors of the derivative), and
   a disc or half plane that has all roots of Q has those of its derivatives (Gauss, Lucas).  A parasitic root z of
   modulus at most r < 1 has s = (z + 1) / (z - 1) in such a disc: so no parasitic radius is less than the largest
   modulus of these roots, taken back to z.  Where it is more than 1 no scheme is zero-stable.
4. One scheme alone has the order, and is not zero-stable.
5. Dahlquist's theorem: d + 2 is the largest order for even d, d + 1 for odd d; here it is cited, not proved.

Sources: Gauss and Lucas: Marden, Geometry of Polynomials (1966), section 6. Dahlquist: Hairer, Norsett, Wanner, Solving
ODEs I, III.3, Theorem 3.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import factorial
from typing import Any

from stabzoo.designing.conditions import Space, transformed
from stabzoo.designing.damping import damped, product
from stabzoo.designing.farkas import Refutation, decide
from stabzoo.designing.spec import Problem
from stabzoo.methods.multistep import NOT_DECIDED, LinearMultistep, NotDecided
from stabzoo.stability import card, certify, is_zero_stable, rational_text
from stabzoo.stability.enclosure import Enclosure, Real, largest
from stabzoo.stability.root_condition import cleared
from stabzoo.stability.roots import roots

__all__ = ["Feasibility", "feasibility", "least_radius"]


@dataclass(frozen=True)
class Feasibility:
    """Whether there is a zero-stable scheme.

    Attributes:
        is_feasible: True, False or `NOT_DECIDED`.
        reason: In a sentence.
        witness: One that is, where there is one.
        proof: What the reason is checked with, JSON-safe.
    """

    is_feasible: bool | NotDecided
    reason: str
    witness: LinearMultistep | None = None
    proof: dict[str, Any] = field(default_factory=dict)


def feasibility(problem: Problem) -> Feasibility:
    """Decide whether there is a zero-stable scheme of these steps, this order, kind and signs; bounds are not asked.

    >>> feasibility(Problem(steps=3, order=3, kind="single-beta")).is_feasible
    False
    """
    space = Space(problem)
    barrier = proved_barrier(space)
    if barrier is not None:
        return barrier
    witness = _witness(space)
    if witness is not None:
        return Feasibility(True, f"{witness} is one", witness, {"certificate": certify(witness).to_dict()})
    return Feasibility(
        NOT_DECIDED, f"{problem.starts} searches found no zero-stable one; that there is none is not proved"
    )


def proved_barrier(space: Space) -> Feasibility | None:
    """The first of the proofs that there is no zero-stable scheme, None where none of them is one."""
    problem = space.problem
    if (weights := space.contradiction) is not None:
        used = {f"t^{q}": rational_text(w) for q, w in enumerate(weights) if w}
        return Feasibility(
            False, f"the order conditions contradict each other: the sum of {_weighted(used)} reads 0 = 1", None,
            {"order_conditions": used},
        )  # fmt: skip
    rows = [*space.signs, *space.hurwitz]
    if isinstance(refutation := decide(space, rows), Refutation):
        return Feasibility(
            False,
            f"necessary conditions contradict each other: {refutation}",
            None,
            {"refutation": refutation.to_dict()},
        )
    if (bound := least_radius(space)) is not None and _exceeds_one(bound[0]):
        radius, polynomial = bound
        return Feasibility(
            False,
            f"the order fixes a derivative of Q(s) that has a root outside the half plane Re s <= 0 (|z| = {radius}), "
            "so that Q has one, by the theorem of Gauss and Lucas, and rho one outside the unit circle",
            None,
            {"polynomial": [rational_text(c) for c in polynomial]},
        )
    if space.dimension == 0 and not is_zero_stable(only := space.method(space.particular)):
        return Feasibility(
            False, f"{only} alone has the order {problem.order}, and {card(only).reason}", None,
            {"alpha": [rational_text(a) for a in only.alpha], "certificate": certify(only).to_dict()},
        )  # fmt: skip
    most = problem.steps + 2 - problem.steps % 2
    if problem.order > most:
        return Feasibility(
            False,
            f"no zero-stable method of {problem.steps} steps has an order above {most} (Dahlquist's first barrier: a "
            "theorem that is cited)",
        )
    return None


def _weighted(weights: dict[str, str]) -> str:
    return " + ".join(f"{w} ({name})" for name, w in weights.items()).replace("+ -", "- ")


def _exceeds_one(value: Real) -> bool:
    return (value.lower if isinstance(value, Enclosure) else value) > 1


def least_radius(space: Space) -> tuple[Real, Sequence[Fraction]] | None:
    """A proved bound that no parasitic radius is below, with the polynomial in z (highest power first) that has it.

    None where the order fixes no two of the c_k (see above).  Of single-beta schemes of order 2 it is 1 / (2d-3).
    """
    if space.contradiction is not None:
        return None
    lines = [[row.at(space.particular), *(row.at(x) - row.constant for x in space.directions)] for row in space.hurwitz]
    lines.reverse()  # c_{d-1} first
    pivot = next((i for i, value in enumerate(lines[0]) if value), None)
    if pivot is None:
        return None
    ratios: list[Fraction] = []
    for line in lines:
        ratio = line[pivot] / lines[0][pivot]
        if line != [ratio * value for value in lines[0]]:
            break
        ratios.append(ratio)
    n, m = len(lines) - 1, len(ratios) - 1
    if m < 1:
        return None
    derivative = [c * Fraction(factorial(n - k), factorial(m - k)) for k, c in enumerate(ratios)]
    polynomial = transformed(derivative)[::-1]
    if not polynomial[0]:
        return None  # a root at infinity
    modulus = largest([root.modulus for root in roots(_monic(polynomial))])
    return modulus, [Fraction(c) for c in cleared(polynomial)]


def _monic(polynomial: Sequence[Fraction]) -> tuple[Fraction, ...]:
    return tuple(c / polynomial[0] for c in polynomial)


def _witness(space: Space) -> LinearMultistep | None:
    linear = decide(space, [*space.signs, *space.hurwitz])
    if isinstance(linear, list) and is_zero_stable(method := space.method(linear)):
        return method
    if (x := _symmetric(space)) is not None and all(row.at(x) >= 0 for row in space.signs):
        return space.method(x)
    found = damped(space, least=0.9)
    for x in found[1] if found else []:
        if all(row.at(x) >= 0 for row in space.signs) and is_zero_stable(method := space.method(x)):
            return method
    return None


def _symmetric(space: Space) -> list[Fraction] | None:
    """The scheme whose rho = (z^2 - 1) prod_i (z^2 + a_i z + 1) has its roots on the circle, all simple.

    Given all slopes its order is d + 2, which only schemes with such roots have.  None for odd d.
    """
    d = space.problem.steps
    if d % 2:
        return None
    rho, pairs = [Fraction(c) for c in (1, 0, -1)], d // 2 - 1
    for i in range(pairs):
        rho = product(rho, [Fraction(1), Fraction(4 * (i + 1), pairs + 1) - 2, Fraction(1)])
    return space.completed([-c for c in rho[1:]])
