"""From finished runs to numbers: what is proved of each network, and how zero-stable and unstable networks compare."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stabzoo.errors import ConfigError, PluginError
from stabzoo.methods import NOT_DECIDED, OwnStep
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.metric import Evaluation
from stabzoo.registry.loading import scheme_of
from stabzoo.stability import StabilityCard, card
from stabzoo.study.analysis.quantities import measured, numbers
from stabzoo.study.analysis.uncertainty import Estimate, Sample, Verdict, contrast, least_difference
from stabzoo.study.spec import Network, Published, Study
from stabzoo.study.store.records import Coefficients, Record

__all__ = ["Agreement", "Comparison", "Row", "agreements", "compare", "rows_of", "spearman"]


@dataclass(frozen=True)
class Row:
    """A network of the study: what is proved about its scheme, and its finished runs, seed by seed."""

    network: Network
    card: StabilityCard | None  # None for a network without a scheme, or without a finished run
    records: tuple[Record, ...]

    def values(self, evaluation: Evaluation) -> list[float]:
        """What was found of the finished runs: accuracies in percent, unless the evaluation has another metric."""
        return list(self.sample(evaluation).values)

    def sample(self, evaluation: Evaluation) -> Sample:
        """These numbers, accuracies with the number of test images they were counted on."""
        return numbers(self.records, evaluation)


@dataclass(frozen=True)
class Comparison:
    """Zero-stable against unstable networks under one evaluation; accuracies in percent, means over the seeds.

    ``gap`` is the mean of the zero-stable networks minus that of the unstable ones, and ``margin`` the worst
    zero-stable network minus the best unstable one: positive when zero stability separates all of these networks.
    Of a metric that is better when it is lower, both are unstable minus zero-stable: positive is better throughout.
    What is decided of them, is so by their intervals.  ``correlation`` describes the runs and decides nothing:
    Spearman's between zero stability (1 or 0) and accuracy, 0 when all accuracies are equal.  With accuracies that tie
    as these do it cannot exceed ``largest_correlation``.
    """

    evaluation: Evaluation
    stable_mean: float
    unstable_mean: float
    worst_stable: float
    best_unstable: float
    gap: Estimate
    margin: Estimate
    correlation: float
    largest_correlation: float

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-safe values."""
        estimates = {"gap": self.gap.to_dict(), "margin": self.margin.to_dict()}
        return {**asdict(self), "evaluation": self.evaluation.model_dump(mode="json"), **estimates}


@dataclass(frozen=True)
class Agreement:
    """One column of a published table beside what was measured under the same name.

    Of the ``pairs`` of networks whose published values differ, ``same_order`` come in the same order here by their
    means, ``confirmed`` are in it and ``contradicted`` against it beyond an interval, each of its own.  ``gap`` is the
    mean of the zero-stable networks minus that of the unstable ones, published and measured; None unless both are.
    """

    column: str
    pairs: int
    same_order: int
    confirmed: int
    contradicted: int
    published_gap: float | None
    gap: Estimate | None

    @property
    def sign(self) -> Verdict:
        """Whether the measured gap has the sign of the published one; "not decided" where either has none."""
        if self.gap is None or not self.published_gap or self.gap.verdict == "not decided":
            return "not decided"
        return "above" if (self.gap.verdict == "above") == (self.published_gap > 0) else "below"

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-safe values."""
        return {**asdict(self), "gap": self.gap and self.gap.to_dict(), "sign": self.sign}


def agreements(study: Study, rows: Sequence[Row], published: Published) -> list[Agreement]:
    """Compare every column of ``published`` that was measured, over the networks that have a value in both."""
    found: list[Agreement] = []
    here = {row.network.label: measured(study, row.records) for row in rows}
    for position, column in enumerate(published.columns):
        both = [
            (row, mean_of(value), sample)
            for row in rows
            if (value := published.values.get(row.network.label, (None,) * len(published.columns))[position])
            is not None
            and (sample := here[row.network.label].get(column))
            and sample.values
        ]
        differing = [
            contrast([one], [two]) if there > other else contrast([two], [one])
            for i, (_, there, one) in enumerate(both)
            for _, other, two in both[:i]
            if there != other
        ]
        if differing:
            verdicts = [difference.verdict for difference in differing]
            decided = (verdicts.count("above"), verdicts.count("below"))
            stable = [(there, sample) for row, there, sample in both if row.card and row.card.is_zero_stable]
            unstable = [(there, sample) for row, there, sample in both if row.card and not row.card.is_zero_stable]
            gaps = (
                (_mean(stable) - _mean(unstable), contrast([s for _, s in stable], [s for _, s in unstable]))
                if stable and unstable
                else (None, None)
            )
            same = sum(difference.value > 0 for difference in differing)
            found.append(Agreement(column, len(differing), same, *decided, *gaps))
    return found


def _mean(values: Sequence[tuple[float, Sample]]) -> float:
    return statistics.fmean(value for value, _ in values)


def mean_of(value: tuple[float, float] | float) -> float:
    """A published value without its deviation."""
    return value[0] if isinstance(value, tuple) else value


def rows_of(study: Study, records: dict[str, Record]) -> list[Row]:
    """One row for each network of ``study``, proved afresh of its scheme and the coefficients of its runs."""
    by_settings = {record.run.settings: record for record in records.values()}
    rows: list[Row] = []
    for network in study.networks:
        asked = [study.run(network, seed, device).settings for seed in study.seeds for device in ("cpu", "cuda")]
        finished = tuple(by_settings[settings] for settings in asked if settings in by_settings)
        coefficients = finished[0].coefficients if finished else None
        rows.append(Row(network, coefficients and _proved(network, coefficients), finished))
    return rows


def _proved(network: Network, trained: Coefficients) -> StabilityCard | None:
    """The card of the network's scheme, if it is installed and has these coefficients; else of them alone.

    There is none of a network of which nothing is stated.
    """
    coefficients = LinearMultistep(trained.alpha, trained.beta, trained.beta_next)
    try:
        scheme = scheme_of(network.model, network.args)
    except (ConfigError, PluginError):
        return card(OwnStep(coefficients))
    if scheme.coefficients() != coefficients:
        return card(OwnStep(coefficients))
    proved = card(scheme)
    return None if proved.is_zero_stable is NOT_DECIDED else proved


def compare(rows: Sequence[Row], evaluation: Evaluation) -> Comparison | None:
    """Compare zero-stable with unstable networks; None unless there is a finished run of each kind."""
    proved = [row for row in rows if row.card and row.values(evaluation)]
    stable = [row.sample(evaluation) for row in proved if row.card and row.card.is_zero_stable]
    unstable = [row.sample(evaluation) for row in proved if row.card and not row.card.is_zero_stable]
    if not stable or not unstable:
        return None
    runs = [[value for sample in group for value in sample.values] for group in (stable, unstable)]
    means = [[sample.mean for sample in group] for group in (stable, unstable)]
    higher = evaluation.metric.higher_is_better
    better, worse = (stable, unstable) if higher else (unstable, stable)
    better_runs, worse_runs = runs if higher else runs[::-1]
    return Comparison(
        evaluation,
        stable_mean=statistics.fmean(means[0]),
        unstable_mean=statistics.fmean(means[1]),
        worst_stable=(min if higher else max)(means[0]),
        best_unstable=(max if higher else min)(means[1]),
        gap=contrast(better, worse),
        margin=least_difference(better, worse),
        correlation=spearman(better_runs, worse_runs),
        largest_correlation=_largest_spearman(better_runs, worse_runs),
    )


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation between being in ``first`` (1 or 0) and the value, by midranks; 0 if all are equal.

    With a and b values, N = a + b: cov = sum of the ranks of ``first`` - a (N + 1) / 2, divided by
    sqrt(a b / N * sum (rank - (N + 1) / 2)^2).  Ranks are halves of integers, so that only the last division rounds.

    >>> round(spearman([97, 95], [80, 70]), 4)
    0.8944
    """
    from scipy.stats import rankdata  # slow to import, and every worker process would pay for it

    count, middle = len(first) + len(second), (len(first) + len(second) + 1) / 2
    ranks: list[float] = rankdata([*first, *second]).tolist()
    spread = sum((rank - middle) ** 2 for rank in ranks)
    if not spread:
        return 0.0
    covariance = sum(ranks[: len(first)]) - len(first) * middle
    return covariance / math.sqrt(len(first) * len(second) / count * spread)


def _largest_spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """The largest correlation that these values, ties and all, can have: with the highest of them in ``first``."""
    values = sorted([*first, *second], reverse=True)
    return spearman(values[: len(first)], values[len(first) :])
