"""A picture of a network's layers: norms, and condition numbers where they were asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from stabzoo.diagnostics.layers import LayerNorms

__all__ = ["layer_norms_figure"]

_MARKS = {"exact": ("o", "C0"), "certified_upper": ("v", "C1")}


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
    figure = Figure(figsize=(max(6.0, min(0.16 * len(norms), 16.0)), 2.6 * panels), layout="constrained")
    FigureCanvasAgg(figure)
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
        axes[1].semilogy(*zip(*points, strict=True), "s", color="C2", ms=4)
        axes[1].set_ylabel("condition number")
    step = max(1, len(norms) // 40)
    axes[-1].set_xticks(range(0, len(norms), step), [x.name for x in norms[::step]], rotation=90, fontsize="x-small")
    return figure
