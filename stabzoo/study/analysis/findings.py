"""What a study's diagnostics come to: a table and a sentence each, the same on the terminal and on the page."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stabzoo.study.analysis.comparison import Row
from stabzoo.study.analysis.phrases import estimate_text
from stabzoo.study.analysis.quantities import curve, quantities
from stabzoo.study.analysis.uncertainty import Estimate, Sample, contrast
from stabzoo.study.analysis.verdicts import best_text, extremes_text
from stabzoo.study.measures import Angles, Constraints, Cost, Curve, Diagnostic, Generalization, Sensitivity, Solver
from stabzoo.study.spec import Study

__all__ = ["Finding", "angle_history", "findings_of"]


@dataclass(frozen=True)
class Finding:
    """One diagnostic over all networks: ``columns`` head the cells of ``rows``, of which the first is the network."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    sentence: str


def findings_of(study: Study, rows: Sequence[Row]) -> tuple[Finding, ...]:
    """One finding a diagnostic of ``study``; networks without a finished run are left out."""
    finished = [row for row in rows if row.records]
    return tuple(_finding(diagnostic, finished) for diagnostic in study.diagnostics) if finished else ()


def _finding(diagnostic: Diagnostic, rows: Sequence[Row]) -> Finding:
    match diagnostic:
        case Constraints():
            return _constraints(diagnostic, rows)
        case Sensitivity():
            return _sensitivity(diagnostic, rows)
        case Angles():
            return _angles(diagnostic, rows)
        case Solver():
            return _solver(diagnostic, rows)
        case Generalization():
            return _generalization(diagnostic, rows)
        case Curve():
            return _curve(diagnostic, rows)
        case Cost():
            return _cost(diagnostic, rows)


def _results(row: Row, diagnostic: Diagnostic) -> list[Any]:
    return [record.found(diagnostic) for record in row.records]


def _constraints(diagnostic: Constraints, rows: Sequence[Row]) -> Finding:
    cells, checks, violations = [], 0, list[str]()
    for row in rows:
        results = _results(row, diagnostic)
        count = sum(result["checks"] for result in results)
        broken = [f"{row.network.label}: {text}" for result in results for text in result["violations"]]
        constraints = ", ".join(results[0]["constraints"])
        cells.append((row.network.label, constraints or "none", str(count), str(len(broken))))
        checks += count if constraints else 0
        violations += broken
    sentence = (
        f"All constraints held, by exact norms, before training and after every epoch ({checks} checks)."
        if not violations
        else f"Constraints were violated {len(violations)} times, first: {violations[0]}."
    )
    return Finding("Constraints", ("network", "constraints", "checks", "violations"), tuple(cells), sentence)


def _sensitivity(diagnostic: Sensitivity, rows: Sequence[Row]) -> Finding:
    cells, evaluations, exceeded = [], 0, list[str]()
    for row in rows:
        results = _results(row, diagnostic)
        certified = [_number(result["certified"]["value"]) for result in results]
        attacked = [_number(result["attacked"]["value"]) for result in results]
        ratios = [c / a if a else math.inf for c, a in zip(certified, attacked, strict=True)]
        paper = [result["paper"] for result in results if result["paper"] is not None]
        refused = results[0]["refused"]
        why = f"{refused[0]}{f' (and {len(refused) - 1} more)' if len(refused) > 1 else ''}" if refused else "–"
        formula = "refused" if refused else _mean(paper) if paper else "–"
        cells.append((row.network.label, _mean(certified), _mean(attacked), _mean(ratios), formula, why))
        evaluations += sum(result["evaluations"] for result in results)
        exceeded += [row.network.label for c, a in zip(certified, attacked, strict=True) if a > c]
    sentence = (
        f"No attack exceeded a certified bound, in {_counted(evaluations)} evaluations."
        if not exceeded
        else f"A certified bound was exceeded, of {', '.join(dict.fromkeys(exceeded))}: please report this."
    )
    return Finding(
        "Sensitivity ||f(x) - f(y)|| / ||x - y||, from the normalised image to the logits",
        ("network", "certified", "attacked", "certified / attacked", "the paper's bound", "refused because"),
        tuple(cells),
        sentence,
    )


def angle_history(row: Row, diagnostic: Angles) -> Iterator[tuple[str, list[int], list[float], list[float]]]:
    """Layer, epochs, and the mean over classes and seeds of the median angles within and between, in degrees.

    NaN where no angle of an epoch is finite.
    """
    results = _results(row, diagnostic)
    for layer in results[0]["history"][0]["layers"]:
        epochs = min((result["history"] for result in results), key=len)
        within, between = (
            [_mean_angle(results, position, layer, kind) for position in range(len(epochs))]
            for kind in ("within", "between")
        )
        yield layer, [entry["epoch"] for entry in epochs], within, between


def _mean_angle(results: Sequence[Any], position: int, layer: str, kind: str) -> float:
    angles = [
        math.degrees(_number(angle["value"]))
        for result in results
        for angle in result["history"][position]["layers"][layer][kind].values()
        if math.isfinite(_number(angle["value"]))
    ]
    return statistics.fmean(angles) if angles else math.nan


def _angles(diagnostic: Angles, rows: Sequence[Row]) -> Finding:
    cells, clauses = [], []
    for row in rows:
        label = row.network.label
        for layer, _, within, between in angle_history(row, diagnostic):
            gap = [b - w for b, w in zip(between, within, strict=True)]
            cells.append((label, layer, _change(within), _change(between), _change(gap)))
        runs = [[*angle_history(replace(row, records=(record,)), diagnostic)] for record in row.records]
        # the last feature map, the paper's "before each down-sampling"; pooled vectors follow it
        last = [histories[-2:][0][2:] for histories in runs]
        inside, outside = (_turn([angles[kind] for angles in last]) for kind in (0, 1))
        clauses.append(f"in {label} the angle within classes {inside}, between them it {outside}")
    return Finding(
        "Median principal angles of the features of test images in degrees: untrained → first epoch → last epoch",
        ("network", "layer", "within classes", "between classes", "between - within"),
        tuple(cells),
        f"In the last feature map, from the first epoch to the last: {'; '.join(clauses)} (in degrees, 95 % intervals "
        "over the seeds, for these test images).",
    )


def _turn(histories: Sequence[Sequence[float]]) -> str:
    """``fell by -12.0 [-14.1, -9.9]``: how an angle has changed in the runs since the first epoch."""
    changes = [values[-1] - values[min(1, len(values) - 1)] for values in histories]
    if not all(map(math.isfinite, changes)):
        return "is not defined in every run"
    change = contrast([Sample(tuple(changes))])
    text = estimate_text(change)
    match change.verdict:
        case "above":
            return f"rose ({text})"
        case "below":
            return f"fell ({text})"
        case _:
            return f"rose or fell, which is not decided by these runs ({text})"


def _solver(diagnostic: Solver, rows: Sequence[Row]) -> Finding:
    cells, samples, failed = [], 0, 0
    for row in rows:
        blocks = [b for result in _results(row, diagnostic) for entry in result["history"] for b in entry["blocks"]]
        solves, equations = (sum(block[key] for block in blocks) for key in ("solves", "samples"))
        failures: Counter[str] = Counter()
        for block in blocks:
            failures.update({f"{name}": count for name, count in block["failures"].items()})
            failures.update({f"{name}, adjoint": count for name, count in block["backward_failures"].items()})
        if not solves:
            cells.append((row.network.label, "explicit", *["–"] * 5))
            continue
        evaluations, products = (sum(block[key] for block in blocks) / solves for key in ("evaluations", "products"))
        highest = max(block["evaluations"] / block["solves"] for block in blocks if block["solves"])
        ends = ", ".join(f"{_counted(count)} {name}" for name, count in failures.items()) or "none"
        penalty = sum(block["penalty_evaluations"] for block in blocks) / solves
        counts = (f"{number:.1f}" for number in (evaluations, highest, products, penalty))
        numbers = (_counted(equations), *counts, ends)
        cells.append((row.network.label, *numbers))
        samples += equations
        failed += failures.total()
    sentence = (
        f"All {_counted(samples)} equations of implicit steps and their adjoints were solved to tolerance in training."
        if not failed
        else f"{_counted(failed)} equations of implicit steps or their adjoints were not solved to tolerance, of "
        f"{_counted(samples)} of each in training."
    )
    return Finding(
        "Equations of implicit steps while training, one an image and block",
        (
            "network",
            "equations",
            "evaluations of f a solve",
            "in the worst block and epoch",
            "adjoint products",
            "evaluations of R_fp",
            "not solved",
        ),
        tuple(cells),
        sentence if samples else "No network of this study has implicit steps.",
    )


def _generalization(diagnostic: Generalization, rows: Sequence[Row]) -> Finding:
    names = ("training images", "test images", "gap")
    found = {row.network.label: quantities(diagnostic, row.records) for row in rows}
    gaps = {label: samples["gap"] for label, samples in found.items()}
    return Finding(
        "Generalization gap: accuracy on the training images minus on the test images, in points",
        ("network", *names),
        tuple((label, *(_mean(samples[name].values) for name in names)) for label, samples in found.items()),
        f"{extremes_text(gaps, ('has the largest generalization gap', 'has the smallest'), 'points')}.",
    )


def _curve(diagnostic: Curve, rows: Sequence[Row]) -> Finding:
    cells, tails = [], dict[str, Sample]()
    for row in rows:
        accuracy = curve(diagnostic, row.records)
        (tail,) = quantities(diagnostic, row.records).values()
        first, half, last = (f"{accuracy[i]:.1f}" for i in (0, len(accuracy) // 2, -1)) if accuracy else ["–"] * 3
        mean = _mean(tail.values) if tail.values else "–"
        cells.append((row.network.label, first, half, *((last, mean) if diagnostic.tail > 1 else (mean,))))
        if tail.values:
            tails[row.network.label] = tail
    over = f"the mean over the last {diagnostic.tail} epochs" if diagnostic.tail > 1 else "the last epoch"
    return Finding(
        "Test accuracy (%) in the course of training, mean over the seeds",
        ("network", "first epoch", "half-way", "last epoch", *((over,) if diagnostic.tail > 1 else ())),
        tuple(cells),
        f"In {over} {best_text(tails, '%')}." if tails else "No run has finished an epoch.",
    )


def _cost(diagnostic: Cost, rows: Sequence[Row]) -> Finding:
    found = {row.network.label: quantities(diagnostic, row.records) for row in rows}
    names = {"parameters (M)": "the parameters", "training (s)": "the training time", "test (s)": "the test time"}
    first, *others = found
    clauses: list[str] = []
    for name, text in names.items():
        if others and all(value > 0 for samples in found.values() for value in samples[name].values):
            ratios = sorted(
                (_ratio(found[label][name], found[first][name]) for label in others), key=lambda ratio: ratio.value
            )
            texts = dict.fromkeys(_ratio_text(ratio) for ratio in (ratios[0], ratios[-1]))
            clauses.append(f"{' to '.join(texts)} times {text}")
    return Finding(
        "What the networks cost: trainable parameters, and seconds of training and of one pass over the test images",
        ("network", *names),
        tuple((label, *(_mean(samples[name].values) for name in names)) for label, samples in found.items()),
        f"The others have {', '.join(clauses)} of {first}, with 95 % intervals over the runs."
        if clauses
        else f"{first} is the only network.",
    )


def _ratio(sample: Sample, other: Sample) -> Estimate:
    """The ratio of two positive numbers' means, geometric ones over the seeds: a difference of logarithms."""
    logs = [replace(each, values=tuple(map(math.log, each.values))) for each in (sample, other)]
    found = contrast([logs[0]], [logs[1]])
    low, high = (None if limit is None else math.exp(limit) for limit in (found.low, found.high))
    return Estimate(math.exp(found.value), low, high, found.unknown)


def _ratio_text(ratio: Estimate) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f} (no interval: {ratio.unknown})"
    return f"{ratio.value:.2f}" if ratio.low == ratio.high else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _counted(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _change(values: Sequence[float]) -> str:
    return " → ".join(f"{values[i]:.1f}" for i in dict.fromkeys((0, min(1, len(values) - 1), len(values) - 1)))


def _mean(values: Sequence[float]) -> str:
    if not all(math.isfinite(value) for value in values):
        return "∞"
    mean = statistics.fmean(values)
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{mean:.3g}{deviation}"


def _number(value: Any) -> float:
    """A measured value: infinite ones are strings in JSON."""
    return float(value)
