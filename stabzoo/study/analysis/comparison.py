"""From finished runs to numbers: what is proved of each network, and how zero-stable and unstable runs compare."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stabzoo.errors import ConfigError, PluginError
from stabzoo.evaluation.spec import Evaluation
from stabzoo.methods import OwnStep
from stabzoo.multistep import LinearMultistep
from stabzoo.registry.catalogue import catalogue
from stabzoo.registry.loading import get_scheme, parameter_names, scheme_class
from stabzoo.stability import StabilityCard, card
from stabzoo.study.analysis.quantities import measured
from stabzoo.study.spec import Network, Published, Study
from stabzoo.study.store.records import Coefficients, Record

__all__ = ["Agreement", "Comparison", "Row", "agreements", "compare", "rows_of"]


@dataclass(frozen=True)
class Row:
    """A network of the study: what is proved about its scheme, and its finished runs, seed by seed."""

    network: Network
    card: StabilityCard | None  # None for a network without a scheme, or without a finished run
    records: tuple[Record, ...]

    def accuracies(self, evaluation: Evaluation) -> list[float]:
        """Accuracies in percent of the finished runs."""
        return [record.accuracy(evaluation) for record in self.records]


@dataclass(frozen=True)
class Comparison:
    """Zero-stable against unstable runs under one evaluation; accuracies in percent.

    ``margin`` is the worst zero-stable run minus the best unstable one: positive when zero stability separates all
    runs. ``correlation`` is Spearman's, over runs, between zero stability (1 or 0) and accuracy, and 0 when all
    accuracies are equal; with two values against many it cannot exceed ``largest_correlation``.
    """

    evaluation: Evaluation
    stable_mean: float
    unstable_mean: float
    worst_stable: float
    best_unstable: float
    margin: float
    correlation: float
    largest_correlation: float


@dataclass(frozen=True)
class Agreement:
    """One column of a published table beside what was measured under the same name.

    Of the ``pairs`` of networks whose published values differ, ``same_order`` come in the same order here, by their
    means.  ``gap`` is the mean of the zero-stable networks minus that of the unstable ones, published and measured;
    None unless there are both.
    """

    column: str
    pairs: int
    same_order: int
    published_gap: float | None
    gap: float | None


def agreements(study: Study, rows: Sequence[Row], published: Published) -> list[Agreement]:
    """Compare every column of ``published`` that was measured, over the networks that have a value in both."""
    found: list[Agreement] = []
    means = {
        row.network.label: {
            name: statistics.fmean(values) for name, values in measured(study, row.records).items() if values
        }
        for row in rows
    }
    for position, column in enumerate(published.columns):
        both = [
            (row, mean_of(value), here)
            for row in rows
            if (value := published.values.get(row.network.label, (None,) * len(published.columns))[position])
            is not None
            and (here := means[row.network.label].get(column)) is not None
        ]
        differing = [
            (there - other, here - mine)
            for i, (_, there, here) in enumerate(both)
            for _, other, mine in both[:i]
            if there != other
        ]
        if differing:
            published_gap, gap = (_gap([(row, (there, here)[which]) for row, there, here in both]) for which in (0, 1))
            same = sum(there * here > 0 for there, here in differing)
            found.append(Agreement(column, len(differing), same, published_gap, gap))
    return found


def mean_of(value: tuple[float, float] | float) -> float:
    """A published value without its deviation."""
    return value[0] if isinstance(value, tuple) else value


def _gap(values: Sequence[tuple[Row, float]]) -> float | None:
    stable = [value for row, value in values if row.card and row.card.is_zero_stable]
    unstable = [value for row, value in values if row.card and not row.card.is_zero_stable]
    return statistics.fmean(stable) - statistics.fmean(unstable) if stable and unstable else None


def rows_of(study: Study, records: dict[str, Record]) -> list[Row]:
    """One row for each network of ``study``, proved afresh of its scheme and the coefficients of its runs."""
    rows: list[Row] = []
    for network in study.networks:
        keys = [study.run(network, seed, device).key for seed in study.seeds for device in ("cpu", "cuda")]
        finished = tuple(records[key] for key in keys if key in records)
        coefficients = finished[0].coefficients if finished else None
        rows.append(Row(network, coefficients and _proved(network, coefficients), finished))
    return rows


def _proved(network: Network, trained: Coefficients) -> StabilityCard:
    """The card of the network's scheme, if it is installed and has these coefficients; else of them alone."""
    coefficients = LinearMultistep(trained.alpha, trained.beta, trained.beta_next)
    try:
        config = catalogue().models[network.model][1]
        accepted = parameter_names(scheme_class(config.scheme))
        given = {key: value for key, value in network.args.items() if key in accepted}
        scheme = get_scheme(config.scheme, **{**config.parameters, **given})
    except (KeyError, ConfigError, PluginError):
        return card(OwnStep(coefficients))
    return card(scheme if scheme.coefficients() == coefficients else OwnStep(coefficients))


def compare(rows: Sequence[Row], evaluation: Evaluation) -> Comparison | None:
    """Compare zero-stable with unstable runs; None unless there is at least one of each."""
    stable = [value for row in rows if row.card and row.card.is_zero_stable for value in row.accuracies(evaluation)]
    unstable = [
        value for row in rows if row.card and not row.card.is_zero_stable for value in row.accuracies(evaluation)
    ]
    if not stable or not unstable:
        return None
    groups = [1] * len(stable) + [0] * len(unstable)
    return Comparison(
        evaluation,
        stable_mean=statistics.fmean(stable),
        unstable_mean=statistics.fmean(unstable),
        worst_stable=min(stable),
        best_unstable=max(unstable),
        margin=min(stable) - max(unstable),
        correlation=_spearman(groups, stable + unstable),
        largest_correlation=_spearman(groups, [-position for position in range(len(groups))]),
    )


def _spearman(groups: Sequence[int], values: Sequence[float]) -> float:
    if len(set(values)) == 1:  # undefined, and scipy would warn
        return 0.0
    from scipy.stats import spearmanr  # slow to import, and every worker process would pay for it

    result: Any = spearmanr(groups, values)
    return float(result.statistic)
