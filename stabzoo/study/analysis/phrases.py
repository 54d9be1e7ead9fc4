"""How a study's numbers are put into words, the same on the terminal, in the plot and on the page."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from fractions import Fraction

from stabzoo.evaluation.l2 import meanings
from stabzoo.metric import ACCURACY, Evaluation
from stabzoo.stability import StabilityCard
from stabzoo.study.analysis.comparison import Row, mean_of
from stabzoo.study.analysis.quantities import measured
from stabzoo.study.analysis.uncertainty import LEVEL, Estimate, Sample
from stabzoo.study.spec import FULL, Published, Study

__all__ = [
    "INTERVALS",
    "coefficients_text",
    "command_text",
    "estimate_text",
    "meanings_text",
    "measured_text",
    "metrics_text",
    "moduli_text",
    "places_of",
    "proved_text",
    "published_cells",
    "published_text",
    "sample_text",
]

INTERVALS = (
    f"In brackets: {100 * LEVEL:.0f} % intervals over seeds (Student's t) and test images (Wilson's), each for itself, "
    "about these networks and not about all schemes; of one seed there is none, and nothing is decided."
)
"""What the intervals of accuracies are, said once on a page."""


def command_text(study: Study) -> str:
    """The command that does the study."""
    return f"stabzoo study {shlex.quote(study.file or study.name)}" + (
        "" if study.scale == FULL else f" --scale {study.scale}"
    )


def measured_text(row: Row, evaluation: Evaluation) -> str:
    """Mean and sample standard deviation over the runs: ``97.6±0.4``; no deviation for a single run.

    Accuracies have one decimal place, other numbers three digits: ``0.0325±0.0011``.
    """
    sample = row.sample(evaluation)
    if row.records and not sample.values:
        return "failed"
    return sample_text(sample, places_of(evaluation, sample.values))


def places_of(evaluation: Evaluation, values: Sequence[float]) -> int:
    """Decimal places with which numbers of an evaluation are written."""
    largest = max(map(abs, values), default=0.0)
    if evaluation.metric == ACCURACY or not largest:
        return 1
    return min(12, max(0, 2 - math.floor(math.log10(largest))))


def metrics_text(study: Study) -> str:
    """What the numbers of a study are: ``Test accuracy in percent``, and what others are."""
    others = {e.metric.name: e.metric for e in study.evaluations if e.metric != ACCURACY}
    texts = [
        f"{metric.label}, {'higher' if metric.higher_is_better else 'lower'} is better" for metric in others.values()
    ]
    return "; ".join(["Test accuracy in percent", *texts])


def meanings_text(study: Study) -> str:
    """What certified and attacked accuracies of a study say; nothing where it has none."""
    return " ".join(meanings(study.evaluations))


def sample_text(sample: Sample, places: int = 1) -> str:
    """Mean and sample standard deviation over the seeds: ``97.6±0.4``."""
    if not sample.values:
        return "no run"
    return f"{sample.mean:.{places}f}" + ("" if sample.deviation is None else f"±{sample.deviation:.{places}f}")


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
        if (sample := here.get(column)) and sample.values:
            text = published_text(sample.mean if sample.deviation is None else (sample.mean, sample.deviation), places)
            cells[-1] += f"\n{text}" + ("" if value is None else f" ({sample.mean - mean_of(value):+.{places}f})")
    return cells


def _places(published: Published, position: int) -> int:
    """Decimal places of a column: two, as accuracies are printed, or three, as millions of parameters are."""
    values = [row[position] for row in published.values.values()]
    return 2 if all(value is None or mean_of(value) == round(mean_of(value), 2) for value in values) else 3


def estimate_text(estimate: Estimate, places: int = 1) -> str:
    """A number and its interval, ``+8.3 [+1.4, +15.3]``, or why it has none: ``+0.5 (no interval: one seed)``."""
    value, *limits = (
        None if number is None else f"{round(number, places) + 0.0:+.{places}f}"  # adding 0.0 makes -0.0 +0.0
        for number in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} (no interval: {estimate.unknown})" if estimate.unknown else f"{value} [{limits[0]}, {limits[1]}]"


def proved_text(row: Row) -> str:
    """What is proved of a network: ``stable``, ``weakly stable``, ``unstable``, or a dash if nothing is."""
    if row.card is None:
        return "–"
    return {"strong": "stable", "weak": "weakly stable"}.get(row.card.status, row.card.status)


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
