"""One quantity across studies: what was measured of each network beside what is published of it."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from stabzoo.metric import ACCURACY
from stabzoo.plotting.style import BLACK, STABLE, UNSTABLE, limits, literal, new_figure
from stabzoo.study.analysis.comparison import Row, mean_of
from stabzoo.study.analysis.quantities import measured
from stabzoo.study.analysis.uncertainty import Sample, contrast
from stabzoo.study.figures.style import UNPROVED, accuracy_limits, grid, status_color, status_marker
from stabzoo.study.spec import Study

__all__ = ["draw_across"]

A_ROW = 3
NAMES = {STABLE: "zero-stable", UNSTABLE: "unstable", UNPROVED: "nothing to prove"}


def draw_across(studies: Sequence[tuple[Study, Sequence[Row]]], quantity: str) -> Figure | None:
    """A panel for each study that has ``quantity``, measured or published; None where none has.

    It is an evaluation's title or a diagnostic's name for a number.  A line is a network: filled its mean with the 95 %
    interval, and an open diamond with the deviation what is published under that name.  Each panel has its own axis.
    """
    found = [(study, rows) for study, rows in studies if any(_here(study, row, quantity) for row in rows)]
    if not found:
        return None
    across = min(A_ROW, len(found))
    longest = max(len(rows) for _, rows in found)
    figure = new_figure(4.6 * across, (1.0 + 0.24 * longest) * -(-len(found) // across) + 0.4)
    colors: dict[str, str] = {}
    is_published = False
    for axis, (study, rows) in zip(grid(figure, len(found), across), found, strict=True):
        drawn = [row for row in rows if _here(study, row, quantity)]
        is_published |= any(_published(study, row, quantity) for row in drawn)
        colors |= {status_color(row): status_marker(row) for row in drawn if _measured(study, row, quantity)}
        _draw(axis, study, drawn, quantity)
    entries = [
        Line2D([], [], marker=marker, color=color, linestyle="", label=f"measured, {NAMES[color]}")
        for color, marker in colors.items()
    ]
    if is_published:
        entries.append(
            Line2D([], [], marker="D", color=BLACK, markerfacecolor="white", linestyle="", label="published")
        )
    figure.legend(handles=entries, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _draw(axis: Axes, study: Study, rows: Sequence[Row], quantity: str) -> None:
    reached: list[float] = []
    for line, row in enumerate(rows):
        axis.axhline(line, color="#e4e4e4", linewidth=0.8, zorder=0)
        if sample := _measured(study, row, quantity):
            mean = contrast([sample])
            ends = [mean.value if end is None else end for end in (mean.low, mean.high)]
            reached += [mean.value, *ends]
            axis.plot(ends, [line - 0.16] * 2, color=status_color(row), linewidth=1.2)
            axis.plot(mean.value, line - 0.16, status_marker(row), color=status_color(row), markersize=5.5)
        for value in _published(study, row, quantity):
            center, spread = mean_of(value), value[1] if isinstance(value, tuple) else 0.0
            reached += [center - spread, center + spread]
            axis.errorbar(center, line + 0.16, xerr=spread, fmt="D", color=BLACK, markerfacecolor="white", markersize=5)
    metric = next((entry.metric for entry in study.evaluations if entry.title == quantity), None)
    axis.set_xlim(accuracy_limits(reached) if metric == ACCURACY else limits(reached))
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel(literal(f"{quantity}, test accuracy (%)" if metric == ACCURACY else quantity), fontsize=9)
    axis.set_yticks(range(len(rows)), [literal(row.network.label) for row in rows], fontsize=8)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    for text, row in zip(axis.get_yticklabels(), rows, strict=True):
        text.set_color(status_color(row))
    axis.tick_params(axis="x", labelsize=8.5)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.set_title(literal(study.folder_name), fontsize=10)


def _here(study: Study, row: Row, quantity: str) -> bool:
    return bool(_measured(study, row, quantity) or _published(study, row, quantity))


def _measured(study: Study, row: Row, quantity: str) -> Sample | None:
    sample = measured(study, row.records).get(quantity) if row.records else None
    return sample if sample and sample.values else None


def _published(study: Study, row: Row, quantity: str) -> list[tuple[float, float] | float]:
    values = [
        table.values[row.network.label][table.columns.index(quantity)]
        for table in study.published
        if quantity in table.columns and row.network.label in table.values
    ]
    return [value for value in values if value is not None]
