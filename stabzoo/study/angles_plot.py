"""The figure of a study's principal angles: a panel for each network, angles in the last feature map by epoch."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stabzoo.study.diagnostics import Angles
from stabzoo.study.findings import angle_history
from stabzoo.study.spec import Study
from stabzoo.study.statistics import Row

__all__ = ["draw_angles"]


def draw_angles(study: Study, rows: Sequence[Row]) -> bytes | None:
    """Return a PNG, or None where the study does not ask for angles or no run is finished."""
    wanted = [diagnostic for diagnostic in study.diagnostics if isinstance(diagnostic, Angles)]
    finished = [row for row in rows if row.records]
    if not wanted or not finished:
        return None
    figure = Figure(figsize=(1.2 + 3.1 * len(finished), 3.4), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(1, len(finished), sharey=True, squeeze=False)[0])
    for axis, row in zip(axes, finished, strict=True):
        layer, epochs, within, between = ([*angle_history(row, wanted[0])][-2:])[0]  # the last feature map
        axis.plot(epochs, between, "o-", color="#1f5fa8", markersize=4, label="between classes")
        axis.plot(epochs, within, "s-", color="#c2352b", markersize=4, label="within classes")
        axis.set_title(f"{row.network.label}\n{layer}", fontsize=10)
        axis.set_xlabel("epoch", fontsize=9)
        axis.set_ylim(0, 95)
        axis.set_yticks([0, 30, 60, 90])
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(axis="y", color="#e4e4e4", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("median principal angle (degrees)", fontsize=9)
    axes[-1].legend(frameon=False, fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Title": study.title})
    return content.getvalue()
