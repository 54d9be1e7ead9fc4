"""The course of training: the loss of every epoch, and the test accuracy where the study measures it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from stabzoo.plotting.style import new_figure, plain
from stabzoo.study.analysis.comparison import Row
from stabzoo.study.analysis.quantities import histories
from stabzoo.study.figures.style import height_of_legend, styles, titled
from stabzoo.study.measures import Curve
from stabzoo.study.spec import Study

__all__ = ["draw_curves"]


def draw_curves(study: Study, rows: Sequence[Row]) -> Figure | None:
    """Mean over the seeds, shaded from the least to the most; None for fewer than two epochs or finished runs."""
    finished = [row for row in rows if row.records]
    if not finished or max(len(record.losses) for row in finished for record in row.records) < 2:
        return None
    measured = [diagnostic for diagnostic in study.diagnostics if isinstance(diagnostic, Curve)]
    panels = 1 + bool(measured)
    figure = new_figure(2.6 + 4.2 * panels, max(3.8, height_of_legend(finished)))
    axes: list[Axes] = list(figure.subplots(1, panels, squeeze=False)[0])
    _draw(axes[0], finished, lambda row: [record.losses for record in row.records])
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0].yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes[0].yaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("training loss, mean of the epoch", fontsize=9)
    if measured:
        _draw(axes[1], finished, lambda row: histories(measured[0], row.records))
        axes[1].set_ylim(0, 103)
        axes[1].set_ylabel("test accuracy (%), clean images", fontsize=9)
    titled(figure, study.title, finished)
    return figure


def _draw(axis: Axes, rows: Sequence[Row], series: Callable[[Row], Sequence[Sequence[float]]]) -> None:
    drawn = styles(rows)
    for row in rows:
        runs = series(row)
        longest = max(map(len, runs), default=0)
        epochs = range(1, longest + 1)
        values = [[run[i] for run in runs if len(run) > i] for i in range(longest)]
        style = drawn[row.network.label]
        few = longest <= 30  # of more, markers would hide the lines
        axis.plot(
            epochs,
            [statistics.fmean(entry) for entry in values],
            color=style.color,
            linestyle=style.linestyle,
            marker=style.marker if few else "",
            markersize=4,
            linewidth=1.6,
        )
        axis.fill_between(epochs, list(map(min, values)), list(map(max, values)), color=style.color, alpha=0.12, lw=0)
    axis.set_xlabel("epoch", fontsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.tick_params(labelsize=8.5)
    plain(axis)
