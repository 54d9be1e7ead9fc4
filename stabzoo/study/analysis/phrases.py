"""How a study's numbers are put into words, the same on the terminal, in the plot and on the page."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from fractions import Fraction

from stabzoo.evaluation.spec import Clean, Evaluation
from stabzoo.stability import StabilityCard
from stabzoo.study.analysis.comparison import Agreement, Comparison, Row, mean_of
from stabzoo.study.analysis.quantities import measured
from stabzoo.study.spec import FULL, Published, Study

__all__ = [
    "accuracy_text",
    "agreement_text",
    "answer",
    "coefficients_text",
    "command_text",
    "correlation_note",
    "moduli_text",
    "proved_text",
    "published_cells",
    "published_text",
    "ranking",
]

ON_AVERAGE = 0.5
"""Rank correlation from which zero stability is said to have held on average where it does not separate the runs."""


def command_text(study: Study) -> str:
    """The command that does the study."""
    return f"stabzoo study {study.name}" + ("" if study.scale == FULL else f" --scale {study.scale}")


def accuracy_text(row: Row, evaluation: Evaluation) -> str:
    """Mean and sample standard deviation over the runs, in percent: ``97.6±0.4``; no deviation for a single run."""
    values = row.accuracies(evaluation)
    if not values:
        return "no run"
    return f"{statistics.fmean(values):.1f}" + (f"±{statistics.stdev(values):.1f}" if len(values) > 1 else "")


def published_text(value: tuple[float, float] | float | None, places: int = 2) -> str:
    """A published value: ``94.04±0.12``, ``88.02`` where no deviation is printed, a dash for none."""
    if value is None:
        return "–"
    return "±".join(f"{number:.{places}f}" for number in (value if isinstance(value, tuple) else (value,)))


def published_cells(study: Study, row: Row, published: Published) -> list[str]:
    """A network's cells of a published table: ``94.04±0.12``, and what was measured in the same experiment.

    That follows in a second line, with the difference: ``93.90±0.20 (-0.14)``.
    """
    here = measured(study, row.records) if published.same_experiment else {}
    cells: list[str] = []
    for position, (column, value) in enumerate(
        zip(published.columns, published.values[row.network.label], strict=True)
    ):
        places = _places(published, position)
        cells.append(published_text(value, places))
        if values := here.get(column):
            mean = statistics.fmean(values)
            text = published_text((mean, statistics.stdev(values)) if len(values) > 1 else mean, places)
            cells[-1] += f"\n{text}" + ("" if value is None else f" ({mean - mean_of(value):+.{places}f})")
    return cells


def _places(published: Published, position: int) -> int:
    """Decimal places of a column: two, as accuracies are printed, or three, as millions of parameters are."""
    values = [row[position] for row in published.values.values()]
    return 2 if all(value is None or mean_of(value) == round(mean_of(value), 2) for value in values) else 3


def agreement_text(published: Published, entries: Sequence[Agreement]) -> str:
    """Say how the measured numbers compare with a published table; empty where nothing can be compared."""
    if not entries:
        return ""
    gaps = [(e.column, e.gap, e.published_gap) for e in entries if e.gap is not None and e.published_gap is not None]
    sentences: list[str] = []
    if gaps:
        against = [column for column, here, there in gaps if here * there <= 0]
        everywhere = " in every column" if len(gaps) > 1 else ""
        if against:
            verdict = f"Zero-stable minus unstable networks has another sign than published in {_listed(against)}"
        elif all(there > 0 for _, _, there in gaps):
            verdict = f"Zero-stable networks are better on average{everywhere}, as published"
        else:
            verdict = f"Zero-stable minus unstable networks has the published sign{everywhere}"
        points = ", ".join(f"{column} {here:+.1f} (published {there:+.1f})" for column, here, there in gaps)
        sentences.append(f"{verdict}: {points}.")
    orders = ", ".join(f"{entry.column} {entry.same_order} of {entry.pairs}" for entry in entries)
    sentences.append(f"Pairs of networks that come in the published order: {orders}.")
    return " ".join(sentences)


def proved_text(row: Row) -> str:
    """What is proved of a network: ``stable``, ``weakly stable``, ``unstable``, or a dash if nothing is."""
    if row.card is None:
        return "–"
    return {"strong": "stable", "weak": "weakly stable", "unstable": "unstable"}[row.card.status]


def coefficients_text(card: StabilityCard) -> str:
    """Exact coefficients, newest step first: ``(1/3, 5/9, 1/9 | 16/9)`` is alpha, then beta.

    The beta_next of an implicit scheme leads: ``(1 | 1/2; 1/2)``.
    """
    method = card.coefficients
    beta = list(method.beta)
    while len(beta) > 1 and not beta[-1]:
        beta.pop()
    implicit = f"{_number(method.beta_next)}; " if method.beta_next else ""
    return f"({', '.join(map(_number, method.alpha))} | {implicit}{', '.join(map(_number, beta))})"


def _number(value: Fraction) -> str:
    """A decimal of at most three places where that is exact, else a fraction."""
    return f"{float(value):.3f}".rstrip("0").rstrip(".") if 1000 % value.denominator == 0 else str(value)


def moduli_text(card: StabilityCard) -> str:
    """Moduli of all roots of rho, largest first: ``1, 0.33, 0.33``."""
    moduli = [modulus for modulus, multiplicity in card.root_moduli for _ in range(multiplicity)]
    return ", ".join(f"{float(modulus):.2f}".removesuffix(".00") for modulus in moduli)


def answer(comparisons: Sequence[Comparison]) -> str:
    """Say in one sentence whether zero stability predicted accuracy.

    It *separated* the runs under an evaluation when the margin is positive, it held *on average* when the rank
    correlation is at least ``ON_AVERAGE``, and otherwise it did not hold. "Predicted performance" without a restriction
    needs separation everywhere.
    """
    if not comparisons:
        return (
            "Whether zero stability predicted performance cannot be said: that takes a finished run of a zero-stable "
            "network and one of an unstable network."
        )
    separated = [entry for entry in comparisons if entry.margin > 0]
    average = [entry for entry in comparisons if entry.margin <= 0 and entry.correlation >= ON_AVERAGE]
    rest = [entry for entry in comparisons if entry.margin <= 0 and entry.correlation < ON_AVERAGE]
    clean = any(isinstance(entry.evaluation, Clean) for entry in separated)
    noise = sum(not isinstance(entry.evaluation, Clean) for entry in separated)
    if len(separated) == len(comparisons):
        verdict = "Zero stability predicted performance"
    elif clean and noise:
        noises = sum(not isinstance(entry.evaluation, Clean) for entry in comparisons)
        verdict = f"Zero stability predicted performance on clean images and under {noise} of {noises} noises"
    elif clean:
        verdict = "Zero stability predicted performance on clean images only"
    elif noise:
        verdict = "Zero stability predicted performance only under noise"
    elif average:
        verdict = "Zero stability predicted performance only on average"
    else:
        verdict = "Zero stability did not predict performance"
    groups = [
        ("every zero-stable run beat every unstable one", separated),
        ("zero-stable runs were better on average, but not one by one,", average),
        ("zero-stable runs were not clearly better", rest),
    ]
    first = [*separated, *average, *rest][0]
    clauses = [f"{text} {_listed([_place(e, e is first) for e in entries])}" for text, entries in groups if entries]
    return f"{verdict}: {'; '.join(clauses)}."


def ranking(rows: Sequence[Row], evaluations: Sequence[Evaluation]) -> str:
    """Say which network is best, and which worst, under each evaluation, by their means over the seeds."""
    clauses: list[str] = []
    for evaluation in evaluations:
        means = {row.network.label: statistics.fmean(values) for row in rows if (values := row.accuracies(evaluation))}
        best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
        clauses.append(
            f"{_where(evaluation)} {best} is best ({means[best]:.1f} %) and {worst} worst ({means[worst]:.1f} %)"
        )
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def correlation_note(comparisons: Sequence[Comparison]) -> str:
    """Say what margin and rank correlation are, and how large the latter can get."""
    largest = f" With these runs it is at most {comparisons[0].largest_correlation:.2f}." if comparisons else ""
    return (
        "Margin: the worst zero-stable run minus the best unstable run. Rank correlation: Spearman's, over all runs, "
        f"between proved zero stability (1 or 0) and accuracy.{largest}"
    )


def _place(entry: Comparison, spelled_out: bool) -> str:
    where = _where(entry.evaluation)
    if spelled_out:
        return f"{where} (margin {entry.margin:+.1f} points, rank correlation {entry.correlation:.2f})"
    return f"{where} ({entry.margin:+.1f}, {entry.correlation:.2f})"


def _where(evaluation: Evaluation) -> str:
    if isinstance(evaluation, Clean):
        return "on clean images" + (f" (top {evaluation.top})" if evaluation.top > 1 else "")
    return f"under {evaluation.title}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
