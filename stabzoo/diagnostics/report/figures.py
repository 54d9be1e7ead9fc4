"""Pictures of the diagnostics: angles by layer and by epoch, growth along the depth, condition numbers and the formula.

Each draws into a figure of its own, without pyplot, and gives the same picture for the same numbers.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from stabzoo.diagnostics.conditioning.blocks import BlockConditioning
from stabzoo.diagnostics.growth import PerturbationGrowth
from stabzoo.diagnostics.measurement import Measurement
from stabzoo.plotting.style import COLORS, GREY, new_figure

if TYPE_CHECKING:
    from stabzoo.diagnostics.layers import LayerNorms

__all__ = [
    "angles_by_layer_figure",
    "conditioning_figure",
    "growth_figure",
    "layer_norms_figure",
    "series_figure",
]


def angles_by_layer_figure(layers: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Median principal angles along the layers: a thin line for each class and each pair, a thick one for their median.

    ``layers`` is what an entry of ``PrincipalAngles.history`` has under ``"layers"``.
    """
    figure, (axes,) = _figure(max(5.5, 2.5 + 0.9 * len(layers)), 4.2, 1)
    _draw_angles(axes, list(range(len(layers))), list(layers.values()))
    axes.set_xticks(range(len(layers)), list(layers), rotation=25, ha="right", fontsize=8.5)
    _finish_angles(axes)
    return figure


def growth_figure(growths: Mapping[str, PerturbationGrowth]) -> Figure:
    """||x_n - y_n|| and ||x_n - y_n|| / ||x_n|| along the depth: the median of the batch and, shaded, to its maximum.

    A line for each entry of ``growths``, by its name; an infinite value leaves a gap.
    """
    depth = max((len(growth.states) for growth in growths.values()), default=1)
    figure, panels = _figure(10.5, 4.6, 2)
    for axes, kind, label in (
        (panels[0], "absolute", "||x - y||"),
        (panels[1], "relative", "||x - y|| / ||x||"),
    ):
        for (name, growth), color in zip(growths.items(), _cycle(len(growths)), strict=True):
            spreads = [getattr(state, kind) for state in growth.states]
            median, top = ([_drawn(getattr(spread, part)) for spread in spreads] for part in ("median", "max"))
            axes.plot(range(len(median)), median, "o-", color=color, markersize=3.5, linewidth=1.6, label=name)
            axes.fill_between(range(len(median)), median, top, color=color, alpha=0.13, linewidth=0)
        axes.set_yscale("log")
        axes.set_xlim(-0.3, depth - 0.7)
        axes.set_title(label, fontsize=10)
        axes.set_ylabel("median, shaded to the maximum", fontsize=9)
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    longest = max(growths.values(), key=lambda growth: len(growth.states), default=None)
    names = [state.name for state in longest.states] if longest else []
    alike = all(len(growth.states) in (0, depth) for growth in growths.values())
    for axes in panels:
        if alike and depth <= 40:
            axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        else:
            axes.set_xlabel("blocks from the input", fontsize=9)
    if len(growths) > 1:
        panels[0].legend(frameon=False, fontsize=9)
    return figure


def series_figure(label: str, names: Sequence[str], series: Mapping[str, Sequence[float]]) -> Figure:
    """Numbers of blocks along the depth, a line for each entry of ``series``; what is not finite leaves a gap."""
    figure, (axes,) = _figure(max(6.0, 2.5 + 0.2 * len(names)), 4.2, 1)
    for (name, values), color in zip(series.items(), _cycle(len(series)), strict=True):
        drawn = [value if math.isfinite(value) and value > 0 else math.nan for value in values]
        axes.plot(range(len(drawn)), drawn, "o-", color=color, markersize=3.5, linewidth=1.6, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    axes.tick_params(which="minor", labelsize=8.5)
    axes.set_ylabel(label, fontsize=9)
    if len(names) <= 40:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    else:
        axes.set_xlabel("blocks from the input", fontsize=9)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.legend(frameon=False, fontsize=9)
    return figure


def conditioning_figure(blocks: Sequence[BlockConditioning]) -> Figure:
    """Condition numbers by block: the formula's, the linear map's and the Jacobian's; infinite ones at the top."""
    figure, (axes,) = _figure(max(6.0, 2.5 + 0.55 * len(blocks)), 4.8, 1)
    series = [
        ("formula (Lemma 1; not a bound)", COLORS[1], "x", [block.formula for block in blocks]),
        ("linear map I + W2 W1", COLORS[2], "o", [block.linear.value for block in blocks]),
        ("Jacobian at an image", COLORS[0], "s", [block.jacobian.value for block in blocks]),
        ("proved bound of the linear map", GREY, "_", [block.block_bound for block in blocks]),
    ]
    finite = [number.value for *_, numbers in series for number in numbers if math.isfinite(number.value)]
    top = 10 ** math.ceil(math.log10(max([10.0, *finite])) + 0.5)
    for position, (name, color, marker, numbers) in enumerate(series):
        places = [i + 0.14 * (position - 1) for i in range(len(numbers))]  # side by side, or equal ones would hide
        values = [_drawn(number) for number in numbers]
        seen = not all(map(math.isnan, values)) or (marker != "_" and any(n.value == math.inf for n in numbers))
        axes.plot(
            places,
            values,
            marker,
            color=color,
            markersize=6,
            markeredgewidth=1.6,
            linestyle="",
            label=name if seen else None,
        )
        if marker != "_":  # a bound that is infinite says nothing
            infinite = [x for x, number in zip(places, numbers, strict=True) if number.value == math.inf]
            axes.plot(infinite, [top] * len(infinite), marker, color=color, markersize=6, fillstyle="none")
    if any(number.value == math.inf for *_, numbers in series[:3] for number in numbers):
        axes.axhline(top, color=GREY, linewidth=0.8, linestyle=":")
        axes.text(1.005, top, "infinite", transform=axes.get_yaxis_transform(), fontsize=8, va="center")
    axes.set_yscale("log")
    axes.set_ylim(0.8, top * 2)
    axes.set_xticks(range(len(blocks)), [block.name for block in blocks], rotation=60, ha="right", fontsize=8)
    axes.set_ylabel("condition number", fontsize=9)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
    return figure


def _figure(width: float, height: float, panels: int) -> tuple[Figure, list[Axes]]:
    figure = new_figure(width, height)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8.5)
    return figure, axes


def _cycle(count: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(count)]


def _drawn(number: Measurement) -> float:
    """A finite value; nan leaves a gap."""
    return number.value if math.isfinite(number.value) else math.nan


def _draw_angles(axes: Axes, places: list[int], angles: Sequence[Mapping[str, Any]]) -> None:
    """Lines in degrees, for the classes and for the pairs of classes."""
    for kind, color, label in (("within", COLORS[1], "within a class"), ("between", COLORS[0], "between two classes")):
        names = list(dict.fromkeys(name for found in angles for name in found[kind]))
        lines = {name: [_degrees(found[kind].get(name)) for found in angles] for name in names}
        for line in lines.values():
            axes.plot(places, line, color=color, linewidth=0.7, alpha=max(0.12, 0.6 / len(lines) ** 0.5))
        if lines:
            middle = [_middle(values) for values in zip(*lines.values(), strict=True)]
            axes.plot(
                places,
                middle,
                "s--" if kind == "within" else "o-",
                color=color,
                markersize=4.5,
                linewidth=2.2,
                label=label,
            )


def _degrees(angle: Mapping[str, Any] | None) -> float:
    return np.nan if angle is None or isinstance(angle["value"], str) else math.degrees(angle["value"])


def _middle(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def _finish_angles(axes: Axes, *, labelled: bool = True) -> None:
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    if labelled:
        axes.set_ylabel("median principal angle (degrees)", fontsize=9)
        axes.legend(frameon=False, fontsize=9)


_MARKS = {"exact": ("o", COLORS[0]), "certified_upper": ("v", COLORS[1])}


def layer_norms_figure(norms: LayerNorms) -> Figure:
    """Return a figure with the norm of each layer above and, if any is known, its condition number below.

    Infinite numbers are left out; their layers keep their places.

    Raises:
        ValueError: There are no layers.
    """
    if not norms:
        raise ValueError("expected at least one layer, got none: the network has no convolution and no linear layer")
    conditions = [layer.condition.value if layer.condition else math.inf for layer in norms]
    panels = 1 + any(map(math.isfinite, conditions))
    figure = new_figure(max(6.0, min(0.16 * len(norms), 16.0)), 2.6 * panels)
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    for kind, (marker, colour) in _MARKS.items():
        points = [
            (i, x.upper.value) for i, x in enumerate(norms) if x.upper.kind == kind and math.isfinite(x.upper.value)
        ]
        if points:
            axes[0].plot(*zip(*points, strict=True), marker, color=colour, ms=4, label=kind.replace("_", ", "))
    axes[0].axhline(1, color="0.7", lw=0.8, zorder=0)
    axes[0].set_ylabel("operator norm")
    axes[0].set_ylim(bottom=0)
    if axes[0].lines[:-1]:
        axes[0].legend(frameon=False, fontsize="small")
    if panels == 2:
        points = [(i, value) for i, value in enumerate(conditions) if math.isfinite(value)]
        axes[1].semilogy(*zip(*points, strict=True), "s", color=COLORS[2], ms=4)
        axes[1].set_ylabel("condition number")
    step = max(1, len(norms) // 40)
    axes[-1].set_xticks(range(0, len(norms), step), [x.name for x in norms[::step]], rotation=90, fontsize="x-small")
    return figure
