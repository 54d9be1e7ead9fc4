"""Certified and attacked accuracy against the l2 radius: a panel for each network."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from stabzoo.evaluation.l2 import l2_level
from stabzoo.evaluation.spec import Clean
from stabzoo.metric import Evaluation
from stabzoo.plotting.robustness import Curve, draw_robustness
from stabzoo.study.analysis.comparison import Row
from stabzoo.study.analysis.uncertainty import contrast
from stabzoo.study.spec import Study

__all__ = ["draw_l2"]


def draw_l2(study: Study, rows: Sequence[Row]) -> Figure | None:
    """Means over the seeds with their intervals; None where no evaluation has an l2 radius, or no run is finished."""
    levels: dict[tuple[str, bool], list[tuple[float, Evaluation]]] = {}
    for evaluation in study.evaluations:
        if place := l2_level(evaluation):
            levels.setdefault(place[:2], []).append((place[2], evaluation))
    finished = [row for row in rows if row.records]
    if not levels or not finished:
        return None
    clean = next(evaluation for evaluation in study.evaluations if isinstance(evaluation, Clean))
    return draw_robustness(
        [
            _curve(row, label, certified, points if label.startswith("smoothed") else [(0.0, clean), *points])
            for row in finished
            for (label, certified), points in levels.items()
        ]
    )


def _curve(row: Row, label: str, certified: bool, points: Sequence[tuple[float, Evaluation]]) -> Curve:
    ordered = sorted(points, key=lambda point: point[0])
    found = [contrast([row.sample(evaluation)]) for _, evaluation in ordered]
    intervals = [(e.low, e.high) for e in found if e.low is not None and e.high is not None]
    radii = [radius for radius, _ in ordered]
    return Curve(row.network.label, label, certified, radii, [estimate.value for estimate in found], intervals)
