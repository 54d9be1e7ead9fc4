"""The single numbers that a study measures of a run, by name: what a column of a published table is compared with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from stabzoo.metric import ACCURACY, Evaluation
from stabzoo.study.analysis.uncertainty import Sample
from stabzoo.study.measures import Cost, Curve, Diagnostic, Generalization
from stabzoo.study.spec import Study
from stabzoo.study.store.records import Record

__all__ = ["curve", "histories", "measured", "numbers", "quantities"]


def measured(study: Study, records: Sequence[Record]) -> dict[str, Sample]:
    """The numbers of ``records``, one a run, under their evaluation's title or the diagnostic's name for them."""
    found = {evaluation.title: numbers(records, evaluation) for evaluation in study.evaluations}
    for diagnostic in study.diagnostics:
        found |= quantities(diagnostic, records)
    return found


def numbers(records: Sequence[Record], evaluation: Evaluation) -> Sample:
    """What was found under one evaluation, one number per run that has it."""
    having = [record for record in records if record.value(evaluation) is not None]
    values = [value for record in having if (value := record.value(evaluation)) is not None]
    if evaluation.metric != ACCURACY:
        return Sample(tuple(values))
    count = _images(having)
    return Sample.of_accuracies(values, None if count is None else evaluation.counted(count))


def quantities(diagnostic: Diagnostic, records: Sequence[Record]) -> dict[str, Sample]:
    """The numbers of one diagnostic, one a run; none for those that give more than numbers.

    ``generalization``: training images, test images, gap (percent and points).  ``curve``: mean of last epochs (%), of
    a tail of one: last epoch (%).
    ``cost``: parameters (M), training (s), test (s).
    """
    results: list[dict[str, Any]] = [record.found(diagnostic) for record in records]
    match diagnostic:
        case Generalization():
            training, test = ([result[which] for result in results] for which in ("training", "test"))
            # the training images are given, not drawn: of the gap only the errors on test images are a sample's
            errors = Sample.of_accuracies([100 - value for value in test], _images(records))
            gaps = tuple(one - other for one, other in zip(training, test, strict=True))
            return {
                "training images": Sample(tuple(training)),
                "test images": Sample.of_accuracies(test, _images(records)),
                "gap": Sample(gaps, errors.rate, errors.images),
            }
        case Curve(tail=tail):
            tails = [result["history"][-tail:] for result in results]
            means = [statistics.fmean(values) for values in tails if values]
            name = "mean of last epochs" if tail > 1 else "last epoch"
            return {name: Sample.of_accuracies(means, _images(records))}
        case Cost():
            return {
                "parameters (M)": Sample(tuple(result["parameters"] / 1e6 for result in results), fixed=True),
                "training (s)": Sample(tuple(sum(result["epochs"]) for result in results)),
                "test (s)": Sample(tuple(result["test"] for result in results)),
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


def _images(records: Sequence[Record]) -> int | None:
    """The number of test images of all of them; None where one does not say."""
    numbers = [record.test_images for record in records]
    return min((number for number in numbers if number), default=None) if all(numbers) else None
