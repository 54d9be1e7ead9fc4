"""Accuracy against the level of noise, corruption or attack: a panel for each kind, a line for each network."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from matplotlib.figure import Figure

from stabzoo.evaluation.spec import (
    AutoAttack,
    Clean,
    Constant,
    Corruption,
    Fgsm,
    Gaussian,
    Pgd,
    Structured,
    Uniform,
)
from stabzoo.metric import Evaluation
from stabzoo.plotting.style import PIXELS, new_figure, plain
from stabzoo.study.analysis.comparison import Row
from stabzoo.study.figures.style import height_of_legend, styles, titled
from stabzoo.study.spec import Study

__all__ = ["draw_noise", "level_of"]

LEAST = 2  # levels of a kind besides none at all, or there is no curve to see
A_ROW = 4


def level_of(evaluation: Evaluation) -> tuple[str, str, float] | None:
    """Kind, axis label and level of an evaluation; None for one that is not a level of anything."""
    match evaluation:
        case Gaussian(sigma=sigma):
            return "Gaussian noise", f"standard deviation σ ({PIXELS})", sigma
        case Uniform(low=low, high=high) if low == 0:
            return "uniform noise in [0, s]", f"s ({PIXELS})", high
        case Uniform(low=low, high=high) if high == 0:
            return "uniform noise in [-s, 0]", f"s ({PIXELS})", -low
        case Uniform(low=low, high=high) if low == -high:
            return "uniform noise in [-s, s]", f"s ({PIXELS})", high
        case Constant(mu=mu):
            return "constant noise", f"μ ({PIXELS})", mu
        case Structured(epsilon=epsilon):
            return "structured noise", "ε, times a test image", epsilon
        case Fgsm(epsilon=epsilon):
            return "FGSM", f"ε ({PIXELS})", epsilon
        case Pgd(epsilon=epsilon, steps=steps):
            return f"PGD-{steps}", f"ε ({PIXELS})", epsilon
        case AutoAttack(epsilon=epsilon):
            return "AutoAttack", f"ε ({PIXELS})", epsilon
        case Corruption(severity=int(severity), name=name):
            return (name or "mean of all corruptions").replace("_", " "), "severity", severity
        case _:
            return None


def draw_noise(study: Study, rows: Sequence[Row]) -> Figure | None:
    """Mean and standard deviation over the seeds; None where no kind has `LEAST` levels, or no run is finished."""
    clean = next(evaluation for evaluation in study.evaluations if isinstance(evaluation, Clean))
    panels: dict[tuple[str, str], list[tuple[float, Evaluation]]] = {}
    for evaluation in study.evaluations:
        if place := level_of(evaluation):
            kind, label, level = place
            panels.setdefault((kind, label), [(0, clean)]).append((level, evaluation))
    panels = {kind: sorted(levels, key=lambda entry: entry[0]) for kind, levels in panels.items()}
    panels = {kind: levels for kind, levels in panels.items() if len(levels) > LEAST}
    finished = [row for row in rows if row.records]
    if not panels or not finished:
        return None
    across = min(A_ROW, len(panels))
    down = -(-len(panels) // across)
    figure = new_figure(2.6 + 3.2 * across, max(3.6 * down, height_of_legend(finished)))
    axes = figure.subplots(down, across, sharey=True, squeeze=False)
    drawn = styles(finished)
    for axis, ((kind, label), levels) in zip(axes.flat, panels.items(), strict=False):
        for row in finished:
            values = [row.values(evaluation) for _, evaluation in levels]
            style = drawn[row.network.label]
            axis.errorbar(
                [level for level, _ in levels],
                [statistics.fmean(runs) for runs in values],
                [statistics.stdev(runs) if len(runs) > 1 else 0.0 for runs in values],
                capsize=2.5,
                elinewidth=0.9,
                linewidth=1.6,
                markersize=4,
                **vars(style),
            )
        axis.set_title(kind, fontsize=10)
        axis.set_xlabel(label, fontsize=9)
        axis.set_ylim(0, 103)
        axis.tick_params(labelsize=8.5)
        plain(axis)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel(_accuracy(study), fontsize=9)
    titled(figure, study.title, finished)
    return figure


def _accuracy(study: Study) -> str:
    return f"test accuracy (%){', mean ± std' if len(study.seeds) > 1 else ''}"
