"""The single numbers that a study measures of a run, by name: what a column of a published table is compared with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from stabzoo.study.measures import Cost, Curve, Diagnostic, Generalization
from stabzoo.study.spec import Study
from stabzoo.study.store.records import Record

__all__ = ["curve", "histories", "measured", "quantities"]


def measured(study: Study, records: Sequence[Record]) -> dict[str, list[float]]:
    """The numbers of ``records``, one a run, under their evaluation's title or the diagnostic's name for them."""
    found = {evaluation.title: [record.accuracy(evaluation) for record in records] for evaluation in study.evaluations}
    for diagnostic in study.diagnostics:
        found |= quantities(diagnostic, records)
    return found


def quantities(diagnostic: Diagnostic, records: Sequence[Record]) -> dict[str, list[float]]:
    """The numbers of one diagnostic, one a run; none for those that give more than numbers.

    ``generalization``: training images, test images, gap (percent and points).  ``curve``: mean of last epochs (%), of
    a tail of one: last epoch (%).
    ``cost``: parameters (M), training (s), test (s).
    """
    results: list[dict[str, Any]] = [record.found(diagnostic) for record in records]
    match diagnostic:
        case Generalization():
            return {
                "training images": [result["training"] for result in results],
                "test images": [result["test"] for result in results],
                "gap": [result["training"] - result["test"] for result in results],
            }
        case Curve(tail=tail):
            tails = [result["history"][-tail:] for result in results]
            name = "mean of last epochs" if tail > 1 else "last epoch"
            return {name: [statistics.fmean(values) for values in tails if values]}
        case Cost():
            return {
                "parameters (M)": [result["parameters"] / 1e6 for result in results],
                "training (s)": [sum(result["epochs"]) for result in results],
                "test (s)": [result["test"] for result in results],
            }
        case _:
            return {}


def curve(diagnostic: Curve, records: Sequence[Record]) -> list[float]:
    """Mean test accuracy after each epoch, over the runs that got that far."""
    runs = histories(diagnostic, records)
    longest = max(map(len, runs), default=0)
    return [statistics.fmean(run[epoch] for run in runs if len(run) > epoch) for epoch in range(longest)]


def histories(diagnostic: Curve, records: Sequence[Record]) -> list[list[float]]:
    """Test accuracy after each epoch, of each run."""
    return [record.found(diagnostic)["history"] for record in records]  # type: ignore[misc]  # pyright: ignore
