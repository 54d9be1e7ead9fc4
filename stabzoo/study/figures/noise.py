"""Accuracy against the level of noise, corruption or attack: a panel for each kind, a line for each network."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from matplotlib.axes import Axes
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
from stabzoo.plotting.style import PIXELS, literal, new_figure, plain
from stabzoo.study.analysis.comparison import Row
from stabzoo.study.figures.style import (
    FAINT,
    MOST,
    Style,
    accuracy_limits,
    grid,
    height_of_legend,
    named,
    status_color,
    status_marker,
    styles,
)
from stabzoo.study.spec import Study

__all__ = ["draw_noise", "level_of"]

LEAST = 2  # levels of a kind besides none at all, or there is no curve to see
A_ROW = 4
NETWORKS_A_ROW = 6

Levels: TypeAlias = list[tuple[float, Evaluation]]
Panels: TypeAlias = dict[tuple[str, str], Levels]


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
        case Pgd(epsilon=epsilon, steps=steps, norm="linf"):
            return f"PGD-{steps}", f"ε ({PIXELS})", epsilon
        case AutoAttack(epsilon=epsilon, norm="linf"):
            return "AutoAttack", f"ε ({PIXELS})", epsilon
        case Corruption(severity=int(severity), name=name):
            return (name or "mean of all corruptions").replace("_", " "), "severity", severity
        case _:
            return None


def draw_noise(study: Study, rows: Sequence[Row]) -> Figure | None:
    """Mean and standard deviation over the seeds; None where no kind has `LEAST` levels, or no run is finished.

    More than `MOST` networks have a panel each.
    """
    clean = next(evaluation for evaluation in study.evaluations if isinstance(evaluation, Clean))
    panels: Panels = {}
    for evaluation in study.evaluations:
        if place := level_of(evaluation):
            kind, label, level = place
            panels.setdefault((kind, label), [(0, clean)]).append((level, evaluation))
    panels = {kind: sorted(levels, key=lambda entry: entry[0]) for kind, levels in panels.items()}
    panels = {kind: levels for kind, levels in panels.items() if len(levels) > LEAST}
    needed = [evaluation for levels in panels.values() for _, evaluation in levels]
    finished = [row for row in rows if row.records and all(row.values(evaluation) for evaluation in needed)]
    if not panels or not finished:
        return None
    return _multiples(study, finished, panels) if len(finished) > MOST else _together(study, finished, panels)


def _together(study: Study, rows: Sequence[Row], panels: Panels) -> Figure:
    across = min(A_ROW, len(panels))
    figure = new_figure(2.6 + 3.2 * across, max(3.6 * -(-len(panels) // across), height_of_legend(rows)))
    axes = grid(figure, len(panels), A_ROW, sharey=True)
    drawn = styles(rows)
    for axis, ((kind, label), levels) in zip(axes, panels.items(), strict=True):
        for row in rows:
            _draw(axis, row, levels, drawn[row.network.label])
        axis.set_title(kind, fontsize=10)
        axis.set_xlabel(label, fontsize=9)
        axis.tick_params(labelsize=8.5)
        plain(axis)
    axes[0].set_ylim(_limits(rows, panels.values()))
    for axis in axes[::across]:
        axis.set_ylabel(_accuracy(study), fontsize=9)
    named(figure, rows)
    return figure


def _multiples(study: Study, rows: Sequence[Row], panels: Panels) -> Figure:
    """A part for each kind, a panel for each network with the others behind it."""
    down = -(-len(rows) // NETWORKS_A_ROW)
    figure = new_figure(1.9 * NETWORKS_A_ROW, (0.6 + 1.5 * down) * len(panels))
    parts = figure.subfigures(len(panels), 1, squeeze=False)[:, 0]
    for part, ((kind, label), levels) in zip(parts, panels.items(), strict=True):
        part.supylabel(_accuracy(study), fontsize=9)
        part.supxlabel(f"{kind}: {label}", fontsize=9)
        axes = grid(part, len(rows), NETWORKS_A_ROW, sharex=True, sharey=True)
        for axis, row in zip(axes, rows, strict=True):
            for other in rows:
                if other is not row:
                    means = [statistics.fmean(other.values(evaluation)) for _, evaluation in levels]
                    axis.plot([level for level, _ in levels], means, color=FAINT, linewidth=0.6, zorder=1)
            _draw(axis, row, levels, Style(status_color(row), status_marker(row), "-"))
            axis.set_title(literal(row.network.label), fontsize=8, color=status_color(row))
            axis.tick_params(labelsize=7.5)
            plain(axis)
        axes[0].set_ylim(_limits(rows, [levels]))
    return figure


def _draw(axis: Axes, row: Row, levels: Levels, style: Style) -> None:
    values = [row.values(evaluation) for _, evaluation in levels]
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


def _limits(rows: Sequence[Row], levels: Iterable[Levels]) -> tuple[float, float]:
    return accuracy_limits(
        value for one in levels for _, evaluation in one for row in rows for value in row.values(evaluation)
    )


def _accuracy(study: Study) -> str:
    return f"test accuracy (%){', mean ± std' if len(study.seeds) > 1 else ''}"
