"""Accuracy against the parasitic radius: the picture of "zero stability predicts performance"."""

from __future__ import annotations

import io
import statistics
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stabzoo.stability.enclosure import as_float
from stabzoo.study.spec import Study
from stabzoo.study.statistics import Row

__all__ = ["draw_radii"]

LEAST = 5  # schemes of different radii, or there is no curve to see
COLORS = ("#1f5fa8", "#c2352b", "#3a9a5b", "#b8860b", "#6a4c93", "#6b6b6b")
MARKERS = "os^Dvx"


def draw_radii(study: Study, rows: Sequence[Row]) -> bytes | None:
    """Return the figure as a PNG: mean and standard deviation of each evaluation; None for fewer than `LEAST` radii."""
    points = [(as_float(row.card.parasitic_radius), row) for row in rows if row.card and row.records]
    points.sort(key=lambda point: point[0])
    if len({radius for radius, _ in points}) < LEAST:
        return None
    figure = Figure(figsize=(7.5, 4.6), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    radii = [radius for radius, _ in points]
    axis.axvspan(0, 1, color="#1f5fa8", alpha=0.07, linewidth=0)
    axis.axvline(1, color="#8a8a8a", linewidth=0.8)
    for i, evaluation in enumerate(study.evaluations):
        values = [row.accuracies(evaluation) for _, row in points]
        means = [statistics.fmean(runs) for runs in values]
        spreads = [statistics.stdev(runs) if len(runs) > 1 else 0.0 for runs in values]
        axis.errorbar(
            radii,
            means,
            spreads,
            label=evaluation.title,
            color=COLORS[i % len(COLORS)],
            marker=MARKERS[i % len(MARKERS)],
            capsize=3,
            linewidth=1.6,
            markersize=5,
        )
    axis.set_xlim(min(0.0, *radii), max(radii) * 1.03)
    axis.set_ylim(0, 103)
    axis.set_xlabel("parasitic radius (largest root but 1); zero-stable up to 1")
    axis.set_ylabel("test accuracy (%), mean and standard deviation")
    axis.set_title(study.title, fontsize=11, fontweight="bold")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Title": study.title})
    return content.getvalue()
