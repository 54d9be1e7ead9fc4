"""Accuracy against the l2 distance that pixels may be changed by: certified from below, attacked from above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from stabzoo.plotting.style import COLORS, PIXELS, limits, literal, new_figure, plain

__all__ = ["Curve", "draw_robustness"]

LEVELS = (36, 72, 108)
FINE = 2000


@dataclass(frozen=True)
class Curve:
    """Accuracies in percent at some radii: ``label`` says of what, ``network`` of which network.

    ``certified`` ones are lower bounds of what no attack can take, and others upper ones.  Both fall with the radius:
    what is certified holds down to the radius before, and what attacks leave is a bound up to the radius after.
    ``intervals`` are those of the test images.  A ``dense`` curve, with a point for each image, has no markers.
    """

    network: str
    label: str
    certified: bool
    radii: Sequence[float]
    percents: Sequence[float]
    intervals: Sequence[tuple[float, float]] = ()
    dense: bool = False


def draw_robustness(curves: Sequence[Curve]) -> Figure:
    """A panel for each network; what is known of the accuracy lies in the shaded band, where there are both kinds."""
    networks = list(dict.fromkeys(curve.network for curve in curves))
    across = min(3, len(networks))
    down = -(-len(networks) // across)
    figure = new_figure(1.2 + 4.4 * across, 0.9 + 3.4 * down)
    axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    labels = list(dict.fromkeys(curve.label for curve in curves))
    for axis, network in zip(axes.flat, networks, strict=False):
        own = [curve for curve in curves if curve.network == network]
        _draw(axis, own, labels)
        if len(networks) > 1:
            axis.set_title(literal(network), fontsize=10)
    for axis in axes.flat[len(networks) :]:
        axis.set_visible(False)
    reached = [end for curve in curves for interval in curve.intervals for end in interval]
    axes[0][0].set_ylim(limits([*reached, *(y for curve in curves for y in curve.percents)], (0.0, 100.0)))
    for axis in axes[:, 0]:
        axis.set_ylabel("test accuracy (%)", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel(f"l2 radius ({PIXELS})", fontsize=9)
    entries: list[Line2D | Patch] = [
        Line2D([], [], label=literal(label), **_style(labels, label, _is_certified(curves, label))) for label in labels
    ]
    if _bands(curves):
        entries.append(Patch(color="#8a8a8a", alpha=0.18, linewidth=0, label="accuracy under the worst change"))
    figure.legend(handles=entries, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
    return figure


def _draw(axis: Axes, curves: Sequence[Curve], labels: Sequence[str]) -> None:
    for curve in curves:
        style = _style(labels, curve.label, curve.certified)
        drawn = {**style, "marker": ""} if curve.dense else style
        steps = "steps-pre" if curve.certified else "steps-post"
        axis.plot(curve.radii, curve.percents, drawstyle=steps, **drawn)
        for radius, (low, high) in zip(curve.radii, curve.intervals, strict=False):
            axis.vlines(radius, low, high, color=style["color"], linewidth=0.8, alpha=0.7)
    for low, high in _bands(curves):
        axis.fill_between(*_between(low, high), color="#8a8a8a", alpha=0.18, linewidth=0)
    for level in LEVELS:
        axis.axvline(level / 255, color="#c8c8c8", linewidth=0.8, linestyle=":", zorder=0)
    axis.set_xlim(0, max(max(curve.radii) for curve in curves) * 1.02)
    axis.tick_params(labelsize=8.5)
    plain(axis)


def _is_certified(curves: Sequence[Curve], label: str) -> bool:
    return next(curve.certified for curve in curves if curve.label == label)


def _style(labels: Sequence[str], label: str, certified: bool) -> dict[str, Any]:
    position = labels.index(label)
    return {
        "color": COLORS[position % len(COLORS)],
        "linestyle": "-" if certified else "--",
        "marker": "o" if certified else "v",
        "markersize": 4,
        "linewidth": 1.6,
    }


def _bands(curves: Sequence[Curve]) -> list[tuple[Curve, list[Curve]]]:
    """The deterministic certificate of a network with its attacks, where there are both."""
    found = []
    for network in dict.fromkeys(curve.network for curve in curves):
        own = [curve for curve in curves if curve.network == network]
        low = [curve for curve in own if curve.certified and curve.label == "certified"]
        high = [curve for curve in own if not curve.certified]
        if low and high:
            found.append((low[0], high))
    return found


def _between(low: Curve, high: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radii that all reach, with the certified and the least attacked accuracy there."""
    radii = np.linspace(0, min(max(curve.radii) for curve in (low, *high)), FINE)
    return radii, _at(low, radii), np.min([_at(curve, radii) for curve in high], axis=0)


def _at(curve: Curve, radii: np.ndarray) -> np.ndarray:
    """What a curve says at radii up to its last one."""
    if curve.certified:
        place = np.searchsorted(curve.radii, radii, side="left")
    else:
        place = np.searchsorted(curve.radii, radii, side="right") - 1
    return np.asarray(curve.percents, dtype=float)[place.clip(0, len(curve.radii) - 1)]
