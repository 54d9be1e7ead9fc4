"""What the figures of a study have in common: sizes, colours, one style for each network, and how they are saved."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stabzoo.plotting.style import BLUE, COLORS, LINES, MARKERS, RED, literal
from stabzoo.study.analysis.comparison import Row

__all__ = ["BLUE", "RED", "UNPROVED", "Style", "height_of_legend", "status_color", "styles", "titled"]

UNPROVED = "#6b6b6b"


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
    return BLUE if row.card.is_zero_stable else RED


def styles(rows: Sequence[Row]) -> dict[str, Style]:
    """A style for each network, by its label.

    Where there are zero-stable networks and unstable ones, the first are shades of blue and the others of red;
    otherwise the colours only tell them apart.
    """
    families = {BLUE: "Blues", RED: "Reds", UNPROVED: "Greys"}
    members = {color: [row for row in rows if status_color(row) == color] for color in families}
    shaded = bool(members[BLUE] and members[RED])
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


def titled(figure: Figure, title: str, rows: Sequence[Row]) -> None:
    """Put the title above all panels and a legend of the networks right of them."""
    width = figure.get_size_inches()[0]
    figure.suptitle(textwrap.fill(literal(title), round(9 * width)), fontsize=11, fontweight="bold", x=0.01, ha="left")
    entries = [style.line(label) for label, style in styles(rows).items()]
    figure.legend(handles=entries, loc="outside right lower", frameon=False, fontsize=8, handlelength=3)


def height_of_legend(rows: Sequence[Row]) -> float:
    """Inches that a figure needs for a legend of the networks and the title."""
    return 1.1 + 0.18 * len(rows)
