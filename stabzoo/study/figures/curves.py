"""The course of training: the loss of every epoch, and the test accuracy where the study measures it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from stabzoo.plotting.style import STABLE, UNSTABLE, literal, new_figure, plain
from stabzoo.study.analysis.comparison import Row
from stabzoo.study.analysis.quantities import histories
from stabzoo.study.figures.style import (
    FAINT,
    MOST,
    UNPROVED,
    Style,
    accuracy_limits,
    grid,
    height_of_legend,
    named,
    status_color,
    status_marker,
    styles,
)
from stabzoo.study.measures import Curve
from stabzoo.study.spec import Study

__all__ = ["draw_curves"]


A_ROW = 6
CROWD = 36
LOSS, ACCURACY = "training loss, mean of the epoch", "test accuracy (%), clean images"


def draw_curves(study: Study, rows: Sequence[Row]) -> Figure | None:
    """Mean over the seeds, shaded from the least to the most; None for fewer than two epochs or finished runs.

    More than `MOST` networks have a panel each, with the others behind it; more than `CROWD` share one, in which lines
    tell stable from unstable ones alone.
    """
    finished = [row for row in rows if row.records]
    if not finished or max(len(record.losses) for row in finished for record in row.records) < 2:
        return None
    measured = [diagnostic for diagnostic in study.diagnostics if isinstance(diagnostic, Curve)]
    parts: dict[str, list[Series]] = {LOSS: [_series([r.losses for r in row.records]) for row in finished]}
    if measured:
        parts[ACCURACY] = [_series(histories(measured[0], row.records)) for row in finished]
    if len(finished) > CROWD:
        return _crowd(finished, parts)
    return _multiples(finished, parts) if len(finished) > MOST else _together(finished, parts)


Series: TypeAlias = "tuple[list[float], list[float], list[float]]"  # mean, least and most by epoch


def _series(runs: Sequence[Sequence[float]]) -> Series:
    longest = max(map(len, runs), default=0)
    values = [[run[i] for run in runs if len(run) > i] for i in range(longest)]
    return [statistics.fmean(entry) for entry in values], list(map(min, values)), list(map(max, values))


def _together(rows: Sequence[Row], parts: Mapping[str, Sequence[Series]]) -> Figure:
    figure = new_figure(2.6 + 4.2 * len(parts), max(3.8, height_of_legend(rows)))
    drawn = styles(rows)
    for axis, (label, series) in zip(grid(figure, len(parts), 2), parts.items(), strict=True):
        for row, one in zip(rows, series, strict=True):
            _draw(axis, one, drawn[row.network.label])
        _finish(axis, label, series)
        axis.set_ylabel(label, fontsize=9)
        axis.set_xlabel("epoch", fontsize=9)
    named(figure, rows)
    return figure


def _crowd(rows: Sequence[Row], parts: Mapping[str, Sequence[Series]]) -> Figure:
    figure = new_figure(4.2 * len(parts), 4.2)
    for axis, (label, series) in zip(grid(figure, len(parts), 2), parts.items(), strict=True):
        for row, (mean, _, _) in zip(rows, series, strict=True):
            stable = status_color(row) == STABLE
            axis.plot(
                range(1, len(mean) + 1), mean, color=status_color(row), linewidth=0.7, linestyle="-" if stable else "--"
            )
        _finish(axis, label, series)
        axis.set_ylabel(label, fontsize=9)
        axis.set_xlabel("epoch", fontsize=9)
    texts = {STABLE: "zero-stable", UNSTABLE: "unstable", UNPROVED: "nothing proved"}
    found = {status_color(row) for row in rows}
    entries = [
        Line2D([], [], color=color, linestyle="-" if color == STABLE else "--", label=text)
        for color, text in texts.items()
        if color in found
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return figure


def _multiples(rows: Sequence[Row], parts: Mapping[str, Sequence[Series]]) -> Figure:
    down = -(-len(rows) // A_ROW)
    figure = new_figure(1.9 * A_ROW, (0.5 + 1.5 * down) * len(parts))
    for part, (label, series) in zip(figure.subfigures(len(parts), 1, squeeze=False)[:, 0], parts.items(), strict=True):
        part.supylabel(label, fontsize=9)
        part.supxlabel("epoch", fontsize=9)
        axes = grid(part, len(rows), A_ROW, sharex=True, sharey=True)
        others = [np.column_stack([range(1, len(mean) + 1), mean]) for mean, _, _ in series]
        for i, (axis, row) in enumerate(zip(axes, rows, strict=True)):
            axis.add_collection(LineCollection(others, colors=FAINT, linewidths=0.6, zorder=1))
            _draw(axis, series[i], Style(status_color(row), status_marker(row), "-"))
            axis.set_title(literal(row.network.label), fontsize=8, color=status_color(row))
        _finish(axes[0], label, series)
        for axis in axes:
            plain(axis)
            axis.tick_params(labelsize=7.5)
    return figure


def _draw(axis: Axes, series: Series, style: Style) -> None:
    mean, least, most = series
    epochs = range(1, len(mean) + 1)
    few = len(mean) <= 30  # of more, markers would hide the lines
    axis.plot(
        epochs,
        mean,
        color=style.color,
        linestyle=style.linestyle,
        marker=style.marker if few else "",
        markersize=4,
        linewidth=1.6,
    )
    axis.fill_between(epochs, least, most, color=style.color, alpha=0.12, lw=0)


def _finish(axis: Axes, label: str, series: Sequence[Series]) -> None:
    if label == LOSS:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axis.yaxis.set_minor_locator(NullLocator())
    else:
        axis.set_ylim(accuracy_limits(value for _, least, most in series for value in (*least, *most)))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.tick_params(labelsize=8.5)
    plain(axis)
