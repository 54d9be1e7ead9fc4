"""Which exact quantity of a scheme orders what was measured, or published, of its networks.

Spearman's rank correlation, and three questions beside it. How sure is it: a percentile interval by the bootstrap over
schemes, for the networks of one scheme are no independent draws. Does it say more than zero stability: the partial
rank correlation given that. And was it found by looking: in random halves of the schemes the quantity that correlates
best in one half is looked at in the other.

Sources: Efron, Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentiles) and section 8.6 (clusters);
Kendall, Rank Correlation Methods, 4th ed., chapter 8 (partial correlation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from stabzoo.methods import NOT_DECIDED
from stabzoo.metric import Evaluation
from stabzoo.registry.catalogue import catalogue
from stabzoo.registry.loading import scheme_of
from stabzoo.stability import as_float, card, product_growth
from stabzoo.stability.properties.effective_depth import effective_depth, network_methods
from stabzoo.study.analysis.comparison import rows_of
from stabzoo.study.spec import Network, Study
from stabzoo.study.store.records import Record

__all__ = ["QUANTITIES", "Observation", "Prediction", "Selection", "observed", "predictions", "published", "selection"]

QUANTITIES = {
    "zero stability": "1 where it is so, else 0",
    "minus largest root": "the parasitic radius, or the modulus of the largest root of an unstable scheme",
    "minus growth": "the largest ||C_n ... C_m|| of the network's blocks",
    "participation": "P, how many blocks take part in the last state",
    "composition depth": "D, how many blocks deep the last state is",
    "effective depth": "P D",
    "backward depth": "P D of the transpose",
    "depth both ways": "the product of the last two",
}
"""What is compared, each so that more should be better."""

RESAMPLES, SPLITS, LEVEL, SEED = 1000, 200, 0.95, 0


@dataclass(frozen=True)
class Observation:
    """A network: its label and scheme, the `QUANTITIES` of it, and what was measured, higher being better."""

    label: str
    scheme: str
    quantities: Mapping[str, float]
    measured: float


@dataclass(frozen=True)
class Prediction:
    """How one quantity orders the networks: Spearman's correlation, over all and among those alike in stability.

    ``low`` and ``high`` are the bootstrap's over schemes; ``partial`` is given zero stability; ``held_out`` is the mean
    over the halves of schemes. None where one of two orders is constant.
    """

    quantity: str
    correlation: float | None
    low: float | None
    high: float | None
    partial: float | None
    stable: float | None
    unstable: float | None
    held_out: float | None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-safe values."""
        return asdict(self)


@dataclass(frozen=True)
class Selection:
    """The result of choosing by half of the schemes the quantity that correlates best: how often each is chosen.

    ``held_out``: the mean correlation of the chosen one in the other half.
    """

    chosen: Mapping[str, float]
    held_out: float | None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-safe values."""
        return asdict(self)


def quantities(network: Network) -> tuple[str, dict[str, float]] | None:
    """The scheme of a network, and its `QUANTITIES`; None of a network of timm's, or where one is not decided."""
    known = catalogue().models.get(network.model)
    if known is None:
        return None
    scheme = scheme_of(network.model, network.args)
    methods = network_methods(scheme, known[1].layers)
    proved, depth = card(scheme), effective_depth(methods)
    if depth is NOT_DECIDED or proved.is_zero_stable is NOT_DECIDED:
        return None
    ahead, back = as_float(depth.forward.product), as_float(depth.backward.product)
    largest = as_float(proved.parasitic_radius if proved.is_zero_stable else proved.roots[0].modulus)
    return str(proved.method), {
        "zero stability": float(bool(proved.is_zero_stable)),
        "minus largest root": -largest,
        "minus growth": -as_float(product_growth([method.coefficients() for method in methods]).norm),
        "participation": as_float(depth.forward.participation),
        "composition depth": as_float(depth.forward.composition),
        "effective depth": ahead,
        "backward depth": back,
        "depth both ways": ahead * back,
    }


def observed(study: Study, records: dict[str, Record], evaluation: Evaluation) -> Iterator[Observation]:
    """Every network that was measured under ``evaluation``, by its mean over the runs."""
    sign = 1 if evaluation.metric.higher_is_better else -1
    for row in rows_of(study, records):
        mean = row.sample(evaluation).mean if row.records else None
        if mean is not None and math.isfinite(mean) and (found := quantities(row.network)):
            yield Observation(row.network.label, *found, sign * mean)


def published(study: Study, column: str) -> Iterator[Observation]:
    """Every network that has a published number of that column; of a mean and its deviation, the mean."""
    networks = {network.label: network for network in study.networks}
    for one in study.published:
        for label, values in one.values.items():
            value = values[one.columns.index(column)] if column in one.columns else None
            if value is not None and (found := quantities(networks[label])):
                yield Observation(label, *found, value[0] if isinstance(value, tuple) else value)


def predictions(observations: Sequence[Observation]) -> list[Prediction]:
    """How each of the `QUANTITIES` orders the networks."""
    table, measured = _table(observations)
    stable = table["zero stability"] > 0
    draws = np.random.default_rng(SEED)
    groups = _groups(observations)
    samples = [
        np.concatenate([groups[i] for i in draws.integers(len(groups), size=len(groups))]) for _ in range(RESAMPLES)
    ]
    halves = _halves(groups)
    found: list[Prediction] = []
    for name, values in table.items():

        def over(chosen: np.ndarray, values: np.ndarray = values) -> float | None:
            return spearman(values[chosen], measured[chosen])

        everything = np.arange(len(measured))
        resampled = [r for chosen in samples if (r := over(chosen)) is not None]
        ends = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist() if resampled else [None, None]
        found.append(
            Prediction(
                name,
                over(everything),
                *ends,
                partial=partial_spearman(values, measured, table["zero stability"]),
                stable=over(everything[stable]),
                unstable=over(everything[~stable]),
                held_out=_mean(over(half) for _, half in halves),
            )
        )
    return found


def selection(observations: Sequence[Observation]) -> Selection:
    """Choose by one half of the schemes, and look at the other."""
    table, measured = _table(observations)
    chosen, results = dict.fromkeys(table, 0), list[float | None]()
    halves = _halves(_groups(observations))
    for first, second in halves:
        scores = {name: spearman(values[first], measured[first]) or 0.0 for name, values in table.items()}
        best = max(scores, key=lambda name: scores[name])
        chosen[best] += 1
        results.append(spearman(table[best][second], measured[second]))
    return Selection({name: count / max(len(halves), 1) for name, count in chosen.items()}, _mean(iter(results)))


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None where one of both is constant."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    one, other = (stats.rankdata(values) for values in (first, second))  # spearmanr, without its p-value, which is slow
    return float(np.corrcoef(one, other)[0, 1])


def partial_spearman(first: np.ndarray, second: np.ndarray, given: np.ndarray) -> float | None:
    """The rank correlation of what a straight line in the ranks of ``given`` leaves of the other ranks."""
    direct, *others = (spearman(a, b) for a, b in ((first, second), (first, given), (second, given)))
    if direct is None:
        return None
    one, other = (0.0 if r is None else r for r in others)
    left = (1 - one**2) * (1 - other**2)
    return (direct - one * other) / math.sqrt(left) if left > 1e-12 else None


def _table(observations: Sequence[Observation]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    columns = {name: np.array([entry.quantities[name] for entry in observations]) for name in QUANTITIES}
    return columns, np.array([entry.measured for entry in observations])


def _groups(observations: Sequence[Observation]) -> list[np.ndarray]:
    """The positions of the networks of each scheme."""
    found: dict[str, list[int]] = {}
    for position, entry in enumerate(observations):
        found.setdefault(entry.scheme, []).append(position)
    return [np.array(positions) for positions in found.values()]


def _halves(groups: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random halves of the schemes, as positions of their networks; none of fewer than four schemes."""
    draws, middle = np.random.default_rng(SEED), len(groups) // 2
    if middle < 2:
        return []
    orders = [draws.permutation(len(groups)) for _ in range(SPLITS)]
    join: Callable[[np.ndarray], np.ndarray] = lambda part: np.concatenate([groups[i] for i in part])  # noqa: E731
    return [(join(order[:middle]), join(order[middle:])) for order in orders]


def _mean(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
