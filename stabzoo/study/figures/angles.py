"""A study's principal angles: those of the last feature map by epoch, and those of every layer after the last epoch."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stabzoo.plotting.style import COLORS, literal, new_figure, plain
from stabzoo.study.analysis.comparison import Row
from stabzoo.study.analysis.findings import angle_history
from stabzoo.study.figures.style import grid
from stabzoo.study.measures import Angles
from stabzoo.study.spec import Study

__all__ = ["draw_angles", "draw_angles_by_layer"]

A_ROW = 4


def draw_angles(study: Study, rows: Sequence[Row]) -> Figure | None:
    """A panel for each network; None where the study does not ask for angles or no run is finished."""
    if not (panels := _panels(study, rows)):
        return None
    figure, axes = panels
    for axis, (row, diagnostic) in axes:
        layer, epochs, within, between = ([*angle_history(row, diagnostic)][-2:])[0]  # the last feature map
        _draw(axis, epochs, within, between)
        axis.set_title(literal(f"{row.network.label}\n{layer}"), fontsize=10)
        axis.set_xlabel("epoch", fontsize=9)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1][0].legend(frameon=False, fontsize=9)
    return figure


def draw_angles_by_layer(study: Study, rows: Sequence[Row]) -> Figure | None:
    """A panel for each network, from the stem to the pooled features; None as for `draw_angles`."""
    if not (panels := _panels(study, rows)):
        return None
    figure, axes = panels
    for axis, (row, diagnostic) in axes:
        layers = [
            (layer, within[-1], between[-1]) for layer, _, within, between in angle_history(row, diagnostic) if within
        ]
        names = [layer for layer, _, _ in layers]
        _draw(axis, range(len(names)), [angle for _, angle, _ in layers], [angle for _, _, angle in layers])
        axis.set_title(literal(f"{row.network.label}, last epoch"), fontsize=10)
        axis.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axes[-1][0].legend(frameon=False, fontsize=9)
    return figure


def _panels(study: Study, rows: Sequence[Row]) -> tuple[Figure, list[tuple[Axes, tuple[Row, Angles]]]] | None:
    wanted = [diagnostic for diagnostic in study.diagnostics if isinstance(diagnostic, Angles)]
    finished = [(row, wanted[0]) for row in rows if row.records and wanted]
    if not finished:
        return None
    across = min(A_ROW, len(finished))
    down = -(-len(finished) // across)
    figure = new_figure(1.2 + 3.1 * across, 3.6 * down)
    axes = grid(figure, len(finished), A_ROW, sharey=True)
    for axis in axes[::across]:
        axis.set_ylabel("median principal angle (degrees)", fontsize=9)
    return figure, list(zip(axes, finished, strict=True))


def _draw(axis: Axes, places: Sequence[int], within: Sequence[float], between: Sequence[float]) -> None:
    axis.plot(places, between, "o-", color=COLORS[0], markersize=4, label="between classes")
    axis.plot(places, within, "s--", color=COLORS[1], markersize=4, label="within classes")
    axis.set_ylim(0, max(95, axis.get_ylim()[1], *(angle + 3 for angle in (*within, *between))))  # the panels share it
    axis.set_yticks([0, 30, 60, 90])
    plain(axis)
