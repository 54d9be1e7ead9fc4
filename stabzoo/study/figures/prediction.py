"""What was measured of networks against the effective depth of their schemes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from stabzoo.plotting.style import STABLE, UNSTABLE, literal, new_figure, plain, write_figure
from stabzoo.study.analysis.prediction import Observation

__all__ = ["draw_prediction", "write_prediction"]

PANELS = ("minus largest root", "participation", "effective depth")


def draw_prediction(observations: Sequence[Observation], title: str) -> Figure:
    """A panel for each of three quantities; depths of a scheme are joined by a line."""
    figure = new_figure(11, 3.9)
    axes = figure.subplots(1, len(PANELS), sharey=True)
    schemes: dict[str, list[Observation]] = {}
    for one in observations:
        schemes.setdefault(one.scheme, []).append(one)
    for axis, name in zip(axes, PANELS, strict=True):
        for networks in schemes.values():
            networks = sorted(networks, key=lambda one: one.quantities[name])
            stable = networks[0].quantities["zero stability"] > 0
            axis.plot(
                [abs(one.quantities[name]) for one in networks],
                [one.measured for one in networks],
                color=STABLE if stable else UNSTABLE,
                marker="o" if stable else "s",
                markersize=5,
                linewidth=0.8,
                label="zero-stable" if stable else "unstable",
            )
        axis.set_xlabel("largest parasitic root" if name == PANELS[0] else name)
        if name != PANELS[0]:
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
        plain(axis)
    axes[0].set_ylabel(literal(f"accuracy (%), {title}"))
    handles = {label: handle for handle, label in zip(*axes[0].get_legend_handles_labels(), strict=True)}
    axes[0].legend(handles.values(), handles.keys(), frameon=False, fontsize=9)
    return figure


def write_prediction(observations: Sequence[Observation], title: str, path: Path) -> None:
    """Write the figure as .png, .svg or .pdf."""
    write_figure(lambda: draw_prediction(observations, title), path, title)
