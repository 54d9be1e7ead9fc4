"""What the figures of a study have in common: sizes, colours, one style for each network, and how they are saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D

from stabzoo.metric import ACCURACY, Evaluation
from stabzoo.plotting.style import COLORS, LINES, MARKERS, STABLE, UNSTABLE, limits, literal
from stabzoo.study.analysis.comparison import Row

__all__ = [
    "FAINT",
    "MOST",
    "UNPROVED",
    "Style",
    "accuracy_limits",
    "axis_label",
    "grid",
    "height_of_legend",
    "named",
    "status_color",
    "status_marker",
    "styles",
]

UNPROVED = "#6b6b6b"
FAINT = "#cfcfcf"
"""Of other networks' lines, behind a panel's own."""

MOST = 8
"""Networks that lines of one panel can tell apart; more have a panel each."""


@dataclass(frozen=True)
class Style:
    """How a network's line is drawn."""

    color: Any
    marker: str
    linestyle: str

    def line(self, label: str) -> Line2D:
        """Its entry of a legend."""
        return Line2D([], [], label=literal(label), markersize=4, linewidth=1.6, **vars(self))


def status_color(row: Row) -> str:
    """Blue for a proved zero-stable network, red for a proved unstable one, grey where nothing is proved."""
    if row.card is None:
        return UNPROVED
    return STABLE if row.card.is_zero_stable else UNSTABLE


def status_marker(row: Row) -> str:
    """A circle, a square and a diamond for the same: colour does not say it alone."""
    return {STABLE: "o", UNSTABLE: "s", UNPROVED: "D"}[status_color(row)]


def styles(rows: Sequence[Row]) -> dict[str, Style]:
    """A style for each network, by its label.

    Where there are zero-stable networks and unstable ones, the first are shades of blue and the others of red;
    otherwise the colours only tell them apart.
    """
    families = {STABLE: "Blues", UNSTABLE: "Reds", UNPROVED: "Greys"}
    members = {color: [row for row in rows if status_color(row) == color] for color in families}
    shaded = bool(members[STABLE] and members[UNSTABLE])
    found: dict[str, Style] = {}
    for position, row in enumerate(rows):
        if shaded:
            alike = members[status_color(row)]
            place = alike.index(row)
            color: Any = mpl.colormaps[families[status_color(row)]](0.95 - 0.5 * place / max(1, len(alike) - 1))
        else:
            place, color = position, COLORS[position % len(COLORS)]
        found[row.network.label] = Style(
            color, MARKERS[place % len(MARKERS)], LINES[(place if shaded else position // len(COLORS)) % len(LINES)]
        )
    return found


def accuracy_limits(values: Iterable[float]) -> tuple[float, float]:
    """The part of 0 to 100 % that the values are in."""
    return limits(values, (0.0, 100.0))


def axis_label(evaluation: Evaluation) -> str:
    """What an axis of an evaluation's numbers is called."""
    if evaluation.metric == ACCURACY:
        return "test accuracy (%)"
    return literal(evaluation.metric.label + ("" if evaluation.metric.higher_is_better else "\nlower is better"))


def grid(figure: FigureBase, count: int, across: int, **shared: Any) -> list[Axes]:
    """``count`` panels in rows of at most ``across``; their lowest ones in each column keep the numbers of their axis.

    ``shared`` is as for `Figure.subplots`.
    """
    across = min(across, count)
    axes = figure.subplots(-(-count // across), across, squeeze=False, **shared)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    if shared.get("sharex"):
        for axis in axes.flat[max(0, count - across) : count]:
            axis.tick_params(labelbottom=True)
    return list(axes.flat[:count])


def named(figure: Figure, rows: Sequence[Row]) -> None:
    """Put a legend of the networks right of the panels."""
    entries = [style.line(label) for label, style in styles(rows).items()]
    figure.legend(handles=entries, loc="outside right upper", frameon=False, fontsize=8, handlelength=3)


def height_of_legend(rows: Sequence[Row]) -> float:
    """Inches that a figure needs for a legend of the networks."""
    return 0.6 + 0.18 * len(rows)
