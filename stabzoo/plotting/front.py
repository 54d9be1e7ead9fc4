"""Pictures of what one objective costs in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from stabzoo.plotting.style import COLORS, MARKERS, literal, new_figure, plain

__all__ = ["front_figure"]


def front_figure(fronts: Mapping[str, Sequence[tuple[float, float]]], first: str, second: str) -> Figure:
    """Fronts by their names: the first objective across, the second up, a point a design."""
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    for i, (name, points) in enumerate(fronts.items()):
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            marker=MARKERS[i % len(MARKERS)],
            color=COLORS[i % len(COLORS)],
            label=literal(name),
        )
    axes.set_xlabel(literal(first))
    axes.set_ylabel(literal(second))
    axes.legend(frameon=False)
    plain(axes)
    return figure
