"""Accuracy against the parasitic radius: the picture of "zero stability predicts performance"."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from stabzoo.metric import ACCURACY
from stabzoo.plotting.style import MARKERS, STABLE, UNSTABLE, literal, new_figure, plain
from stabzoo.stability.enclosure import as_float
from stabzoo.study.analysis.comparison import Row
from stabzoo.study.figures.style import accuracy_limits, grid, status_color
from stabzoo.study.spec import Study

__all__ = ["draw_radii"]

LEAST = 5  # schemes of different radii, or there is no order to see
A_ROW = 3


def draw_radii(study: Study, rows: Sequence[Row]) -> Figure | None:
    """A panel for each accuracy and a mark for each network, mean and standard deviation; None below `LEAST` radii.

    Marks are not joined: between two schemes there is no third that was trained.
    """
    models: dict[str, list[tuple[float, Row]]] = {}
    accuracies = [evaluation for evaluation in study.evaluations if evaluation.metric == ACCURACY]
    for row in rows:
        if row.card and all(row.values(evaluation) for evaluation in accuracies):
            models.setdefault(row.network.model, []).append((as_float(row.card.parasitic_radius), row))
    models = {model: points for model, points in models.items() if len({radius for radius, _ in points}) >= LEAST}
    if not models:
        return None
    points = [point for found in models.values() for point in found]
    largest = max(radius for radius, _ in points)
    across = 2 if len(accuracies) == 4 else min(A_ROW, len(accuracies))
    figure = new_figure(1.0 + 3.4 * across, 0.8 + 2.9 * -(-len(accuracies) // across))
    axes = grid(figure, len(accuracies), across, sharex=True)
    for i, (axis, evaluation) in enumerate(zip(axes, accuracies, strict=True)):
        axis.axvspan(-1, 1, color=STABLE, alpha=0.06, linewidth=0)
        axis.axvline(1, color="#8a8a8a", linewidth=0.8)
        reached: list[float] = []
        for place, found in enumerate(models.values()):
            for radius, row in found:
                values = row.values(evaluation)
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                mean = statistics.fmean(values)
                reached += [mean - spread, mean + spread]
                stable = bool(row.card and row.card.is_zero_stable)
                color = status_color(row)
                axis.errorbar(
                    radius,
                    mean,
                    spread,
                    color=color,
                    marker=MARKERS[place % len(MARKERS)],
                    markerfacecolor=color if stable else "white",
                    linestyle="",
                    capsize=2.5,
                    elinewidth=0.9,
                    markersize=5.5,
                )
        axis.set_xlim(-0.03 * largest, max(largest, 1) * 1.04)
        axis.set_ylim(accuracy_limits(reached))
        axis.set_title(literal(evaluation.title), fontsize=10)
        axis.tick_params(labelsize=8.5)
        plain(axis)
        if i >= len(accuracies) - across:
            axis.set_xlabel("parasitic radius", fontsize=9)
    for axis in axes[::across]:
        axis.set_ylabel(f"test accuracy (%){', mean ± std' if len(study.seeds) > 1 else ''}", fontsize=9)
    figure.legend(handles=_legend(models), loc="outside lower center", ncols=2 * across, frameon=False, fontsize=8.5)
    return figure


def _legend(models: Mapping[str, Sequence[tuple[float, Row]]]) -> list[Line2D | Patch]:
    rows = [row for found in models.values() for _, row in found]
    entries: list[Line2D | Patch] = [Patch(color=STABLE, alpha=0.06, linewidth=0, label="zero-stable up to 1")]
    for stable, label, face in ((True, "zero-stable (proved)", STABLE), (False, "unstable (proved)", "white")):
        if any(row.card and row.card.is_zero_stable == stable for row in rows):
            color = STABLE if stable else UNSTABLE
            entries.append(Line2D([], [], color=color, marker="o", markerfacecolor=face, linestyle="", label=label))
    if len(models) > 1:
        entries += [
            Line2D([], [], color="#555555", marker=MARKERS[i % len(MARKERS)], linestyle="", label=literal(model))
            for i, model in enumerate(models)
        ]
    return entries
