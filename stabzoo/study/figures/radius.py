"""Accuracy against the parasitic radius: the picture of "zero stability predicts performance"."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from matplotlib.figure import Figure

from stabzoo.metric import ACCURACY
from stabzoo.plotting.style import COLORS, LINES, MARKERS, literal, new_figure, plain
from stabzoo.stability.enclosure import as_float
from stabzoo.study.analysis.comparison import Row
from stabzoo.study.figures.style import BLUE
from stabzoo.study.spec import Study

__all__ = ["draw_radii"]

INSIDE = 5  # entries of a legend that find room between the curves
LEAST = 5  # schemes of different radii, or there is no curve to see


def draw_radii(study: Study, rows: Sequence[Row]) -> Figure | None:
    """Mean and standard deviation, a line for each evaluation and model; None for fewer than `LEAST` radii."""
    lines: dict[str, list[tuple[float, Row]]] = {}
    for row in rows:
        if row.card and all(row.values(e) for e in study.evaluations if e.metric == ACCURACY):
            lines.setdefault(row.network.model, []).append((as_float(row.card.parasitic_radius), row))
    lines = {model: sorted(points, key=lambda point: point[0]) for model, points in lines.items()}
    lines = {model: points for model, points in lines.items() if len({radius for radius, _ in points}) >= LEAST}
    if not lines:
        return None
    accuracies = [evaluation for evaluation in study.evaluations if evaluation.metric == ACCURACY]
    figure = new_figure(7.5 if len(lines) * len(accuracies) <= INSIDE else 9.5, 4.6)
    axis = figure.subplots()
    axis.axvspan(0, 1, color=BLUE, alpha=0.07, linewidth=0)
    axis.axvline(1, color="#8a8a8a", linewidth=0.8)
    for i, evaluation in enumerate(accuracies):
        for j, (model, points) in enumerate(lines.items()):
            values = [row.values(evaluation) for _, row in points]
            axis.errorbar(
                [radius for radius, _ in points],
                [statistics.fmean(runs) for runs in values],
                [statistics.stdev(runs) if len(runs) > 1 else 0.0 for runs in values],
                label=literal(evaluation.title if len(lines) == 1 else f"{model}, {evaluation.title}"),
                color=COLORS[i % len(COLORS)],
                marker=MARKERS[(i + j) % len(MARKERS)],
                linestyle=LINES[j % len(LINES)],
                capsize=3,
                elinewidth=0.9,
                linewidth=1.6,
                markersize=5,
            )
    radii = [radius for points in lines.values() for radius, _ in points]
    axis.set_xlim(-0.02 * max(radii), max(radii) * 1.03)
    axis.set_ylim(0, 103)
    axis.set_xlabel("parasitic radius (largest root but 1); zero-stable up to 1")
    axis.set_ylabel(f"test accuracy (%){', mean and standard deviation' if len(study.seeds) > 1 else ''}")
    axis.set_title(literal(study.title), fontsize=11, fontweight="bold")
    plain(axis)
    if len(axis.containers) <= INSIDE:
        axis.legend(frameon=False, fontsize=9)
    else:
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure
