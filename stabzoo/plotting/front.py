"""Pictures of what one objective costs in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stabzoo.plotting.style import COLORS, MARKERS, literal, new_figure, plain

__all__ = ["draw_front", "front_figure"]


def front_figure(fronts: Mapping[str, Sequence[tuple[float, float]]], first: str, second: str) -> Figure:
    """Fronts by their names: the first objective across, the second up, a point a design."""
    figure = new_figure(6.4, 4.4)
    draw_front(figure.subplots(), fronts, first, second)
    return figure


def draw_front(axes: Axes, fronts: Mapping[str, Sequence[tuple[float, float]]], first: str, second: str) -> None:
    """Draw them into a figure of others."""
    for i, (name, points) in enumerate(fronts.items()):
        across, up = [x for x, _ in points], [y for _, y in points]
        marker, color = MARKERS[i % len(MARKERS)], COLORS[i % len(COLORS)]
        axes.plot(across, up, label=literal(name), marker=marker, color=color)
    axes.set_xlabel(literal(first))
    axes.set_ylabel(literal(second))
    axes.legend(frameon=False)
    plain(axes)
