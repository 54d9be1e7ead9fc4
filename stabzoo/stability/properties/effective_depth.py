"""How many blocks of a network take part in its last state, and how many deep they are composed: exact, from weights.

y_n is a combination of the branches f_0, f_1, ... that were evaluated before it; let W[n, j] be the weight of f_j, an
impulse response of the scheme, w = W^2, and let every f be evaluated at one of these states. Of branches that are
uncorrelated and of unit variance w[n, j] is the share of f_j in the variance of y_n. In the last state y_N

    P = (sum_j w[N, j])^2 / sum_j w[N, j]^2                       branches take part (participation), and
    D = d(y_N),  d(y_n) = sum_j w[n, j] (1 + d(y_j)) / sum_j w[n, j],  d(y_0) = 0

is how many branches a path through the network meets that goes from each state to branches in it by their shares
(composition depth). Their product P D is the effective depth. Backwards the same is said of the transpose: of the
later evaluations that f_0 takes part in, and of the path from f_0 to y_N; so it is of a gradient on its way back.

Euler's P is N and its D the harmonic number 1 + 1/2 + ... + 1/N. An unstable scheme whose largest root zeta is real and
simple has w[N, j] near to zeta^(2(N-j)), so that P tends to (zeta^2 + 1) / (zeta^2 - 1): it does not grow with N.

The model is that of a network before it has learnt anything, without the norms within f, which divide by the size of
their state, and without what the 1x1 convolutions at a change of shape do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from stabzoo.methods import GeneralLinear, Method, OneLeg, RungeKutta, method_of
from stabzoo.methods.multistep import EULER, NOT_DECIDED, HasCoefficients, LinearMultistep, NotDecided
from stabzoo.stability.enclosure import Enclosure, Exact, as_float, real_to_json

if TYPE_CHECKING:
    from flint import fmpq

__all__ = ["REFERENCE_STAGES", "EffectiveDepth", "PathDepth", "effective_depth", "network_methods"]

REFERENCE_STAGES = (9, 9, 9)
"""Blocks of each stage of the network that methods are compared in: 56 layers on CIFAR."""

_EXACT = 64  # evaluations up to which D is a fraction; the digits of its denominator grow with their square
_EXACT_BITS = 1 << 16  # of all shares in a row, beyond which D is enclosed too
_BITS = 128  # of the enclosures beyond


@dataclass(frozen=True, slots=True)
class PathDepth:
    """Participation and composition depth, in one direction."""

    participation: Fraction
    composition: Fraction | Enclosure

    @property
    def product(self) -> Fraction | Enclosure:
        """The effective depth P D."""
        size, depth = self.participation, self.composition
        if isinstance(depth, Enclosure):
            return Enclosure(size * depth.lower, size * depth.upper)
        return Exact(size * depth)

    def __str__(self) -> str:
        size, depth = (f"{as_float(x):.5g}" for x in (self.participation, self.composition))
        return f"{size} take part, {depth} deep"

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe form."""
        return {
            "participation": real_to_json(self.participation),
            "composition_depth": real_to_json(self.composition),
            "effective_depth": real_to_json(self.product),
        }


@dataclass(frozen=True, slots=True)
class EffectiveDepth:
    """The effective depth of a network of ``blocks``: of its last state, and of the transpose, backwards."""

    blocks: int
    forward: PathDepth
    backward: PathDepth

    def __str__(self) -> str:
        ahead, back = (f"{as_float(one.product):.5g}" for one in (self.forward, self.backward))
        return f"{ahead} of {self.blocks} blocks: {self.forward}; backwards {back}: {self.backward}"

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe form."""
        return {"blocks": self.blocks, "forward": self.forward.to_dict(), "backward": self.backward.to_dict()}


def network_methods(scheme: HasCoefficients, stages: Sequence[int] = REFERENCE_STAGES) -> list[Method]:
    """The method of every block of a network of these ``stages``, as `stabzoo.networks.resnet` lays them out.

    The first d - 1 blocks of a d-step scheme are Euler's. Where it restarts (``at_downsampling``) the first block of
    each later stage begins a new history; one that ``needs_equal_shapes`` gives way to Euler's there. A method alone
    does neither.
    """
    method = method_of(scheme)
    restarts = getattr(scheme, "at_downsampling", "project") == "restart"
    equal_shapes = getattr(scheme, "needs_equal_shapes", False)
    found: list[Method] = []
    known, needed = 1, method.steps
    for stage, count in enumerate(stages):
        for number in range(count):
            changes = stage > 0 and number == 0
            if changes and restarts:
                known = 1
            starting = known < needed or (changes and (equal_shapes or (restarts and needed > 1)))
            found.append(EULER if starting else method)
            known += 1
    return found


def effective_depth(methods: Sequence[Method]) -> EffectiveDepth | NotDecided:
    """Return the effective depth of a network whose blocks have these methods, in the order of the blocks.

    Decided of explicit multistep, one-leg, Runge-Kutta and general linear methods, of which each evaluation of f
    counts; of the last the first quantity is the state. A block reads the newest states before it. P is exact, D too
    up to 64 evaluations with coefficients of few digits, an enclosure beyond.

    Raises:
        ValueError: no blocks.

    Example:
        >>> found = effective_depth([EULER] * 3)
        >>> str(found.forward.participation), str(found.forward.composition), str(found.forward.product)
        ('3', '11/6', '11/2')

    """
    if not methods:
        raise ValueError(
            "expected at least one block, got none; pass the blocks' methods in the order they are applied"
        )
    kinds = (LinearMultistep, OneLeg, RungeKutta)
    if isinstance(methods[0], GeneralLinear):  # a state is a tuple: of them all, or of none
        kinds = (GeneralLinear,)
    if not all(
        isinstance(method, kinds) and method.is_explicit and method.parts == methods[0].parts for method in methods
    ):
        return NOT_DECIDED
    rows = _shares(methods)
    transpose = [[row[j] for row in rows[:j:-1]] for j in reversed(range(len(rows)))]
    return EffectiveDepth(len(methods), _depth(rows), _depth(transpose))


class _Combination:
    """A combination of branches by their weights: a state, in the arithmetic that `Method.step` asks for."""

    __slots__ = ("weights",)

    def __init__(self, weights: list[fmpq]) -> None:
        self.weights = weights

    def __add__(self, other: _Combination) -> _Combination:
        short, long = sorted((self.weights, other.weights), key=len)
        return _Combination([a + b for a, b in zip(short, long, strict=False)] + long[len(short) :])

    def __rmul__(self, factor: Fraction) -> _Combination:
        from flint import fmpq

        if not factor:
            return _Combination([])
        exact = fmpq(factor.numerator, factor.denominator)
        return _Combination([exact * weight for weight in self.weights])


def _shares(methods: Sequence[Method]) -> list[list[fmpq]]:
    """W[n, j]^2, j < n, of every state that a branch is evaluated at, and at the end of the last state.

    A past slope is the branch that was evaluated at its state. What the last state does not depend on is left out.
    """
    from flint import fmpq

    arguments: list[_Combination] = []
    slopes: dict[int, _Combination] = {}  # by the id of the state, one of `states`
    start: Any = _Combination([])
    states: list[Any] = [(start,) * methods[0].parts if isinstance(methods[0], GeneralLinear) else start]
    for method in methods:
        here: dict[tuple[fmpq, ...], _Combination] = {}

        def f(state: _Combination, here: dict[tuple[fmpq, ...], _Combination] = here) -> _Combination:
            """The slope of a past state; else the block's own branch, evaluated once at equal states."""
            value = tuple(state.weights)
            if id(state) not in slopes and value not in here:
                here[value] = _Combination([fmpq(0)] * len(arguments) + [fmpq(1)])
                arguments.append(state)
            return slopes[id(state)] if id(state) in slopes else here[value]

        newest = states[0]
        states.insert(0, method.step(states, f))
        if isinstance(newest, _Combination) and tuple(newest.weights) in here:
            slopes[id(newest)] = here[tuple(newest.weights)]
    last = states[0] if isinstance(states[0], _Combination) else states[0][0]
    nodes = [*arguments, last]
    rows = [state.weights + [fmpq(0)] * (n - len(state.weights)) for n, state in enumerate(nodes)]
    kept = {len(arguments)}
    for n in reversed(range(len(rows))):
        kept |= {j for j, weight in enumerate(rows[n]) if weight != 0} if n in kept else set()
    return [[rows[n][j] ** 2 for j in sorted(kept) if j < n] for n in sorted(kept)]


def _depth(rows: list[list[fmpq]]) -> PathDepth:
    """P of the last row, and D, of shares where row n has those of the states before it."""
    from flint import arb, ctx

    last = rows[-1]
    if not any(share != 0 for share in last):
        return PathDepth(Exact(0), Exact(0))
    participation = _exact(_sum(last) ** 2 / _sum(share * share for share in last))
    if len(last) <= _EXACT and sum(int(w.p).bit_length() + int(w.q).bit_length() for w in last) <= _EXACT_BITS:
        return PathDepth(participation, _exact(_composition(rows)))
    with ctx.workprec(_BITS):
        return PathDepth(
            participation, Enclosure.of_ball(_composition([[arb(share) for share in row] for row in rows]))
        )


def _composition(rows: Sequence[Sequence[Any]]) -> Any:
    """Composition depth of the last row; of a state in which there is no branch it is 0."""
    depths: list[Any] = []
    for row in rows:
        total = _sum(row)
        met = _sum(share * (1 + depth) for share, depth in zip(row, depths, strict=True))
        depths.append(met / total if total != 0 else total)
    return depths[-1]


def _sum(terms: Iterable[Any]) -> Any:
    from flint import fmpq

    total: Any = fmpq(0)
    for term in terms:
        total = term + total
    return total


def _exact(value: fmpq) -> Exact:
    return Exact(int(value.p), int(value.q))
