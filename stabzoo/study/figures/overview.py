"""The study's figure: a panel for each evaluation, a line for each network, a dot for each run, and the verdict."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from stabzoo.metric import ACCURACY
from stabzoo.plotting.style import STABLE, UNSTABLE, limits, literal, new_figure
from stabzoo.study.analysis import phrases, verdicts
from stabzoo.study.analysis.comparison import Comparison, Row
from stabzoo.study.analysis.uncertainty import LEVEL, contrast
from stabzoo.study.figures.style import UNPROVED, accuracy_limits, axis_label, status_color, status_marker
from stabzoo.study.spec import Study

__all__ = ["draw"]

_MARGIN = "#3a9a5b"


def draw(study: Study, rows: Sequence[Row], comparisons: Sequence[Comparison]) -> Figure:
    """Return the figure: the numbers of each evaluation to the right, networks from the top."""
    panels, lines = len(study.evaluations), len(rows)
    figure = new_figure(max(2.6 + 1.85 * panels, 7.5), 1.7 + 0.6 * lines)
    axes: list[Axes] = list(figure.subplots(1, panels, sharey=True, squeeze=False)[0])
    by_evaluation = {comparison.evaluation: comparison for comparison in comparisons}
    for axis, evaluation in zip(axes, study.evaluations, strict=True):
        is_accuracy = evaluation.metric == ACCURACY
        reached: list[float] = []
        for line, row in enumerate(rows):
            values = row.values(evaluation)
            color = status_color(row)
            axis.axhline(line, color="#e4e4e4", linewidth=0.8, zorder=0)
            # Spread by seed, or equal runs would hide one another.
            places = [line + 0.13 * (run - (len(values) - 1) / 2) for run in range(len(values))]
            reached += values
            axis.plot(values, places, status_marker(row), color=color, alpha=0.5, markersize=6, markeredgewidth=0)
            if values:
                mean = contrast([row.sample(evaluation)])
                axis.plot([mean.value] * 2, [line - 0.3, line + 0.3], color=color, linewidth=2.2)
                if mean.low is not None and mean.high is not None:
                    bounds = (0.0, 100.0) if is_accuracy else (-math.inf, math.inf)
                    ends = [max(bounds[0], mean.low), min(bounds[1], mean.high)]
                    reached += ends
                    axis.plot(ends, [line + 0.36] * 2, color=color, linewidth=1.2, solid_capstyle="butt")
        comparison = by_evaluation.get(evaluation)
        note = ""
        if comparison:
            note = f"\n{verdicts.verdict_text(comparison)}\n{_wrapped(verdicts.deciding_text(comparison))}"
            if comparison.margin.verdict == "above":
                axis.axvspan(
                    *sorted((comparison.best_unstable, comparison.worst_stable)), color=_MARGIN, alpha=0.16, linewidth=0
                )
        axis.set_title(literal(evaluation.title + note), fontsize=9)
        axis.set_xlim(accuracy_limits(reached) if is_accuracy else limits(reached))
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.set_xlabel(axis_label(evaluation), fontsize=9)
        axis.tick_params(axis="x", labelsize=8.5)
        axis.tick_params(axis="y", length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_yticks(range(lines), [literal(_label(row)) for row in rows], fontsize=9)
    axes[0].set_ylim(lines - 0.5, -0.5)
    for text, row in zip(axes[0].get_yticklabels(), rows, strict=True):
        text.set_color(status_color(row))
    figure.legend(
        handles=_legend(rows, any(entry.margin.verdict == "above" for entry in comparisons)),
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=9,
    )
    return figure


def _wrapped(text: str) -> str:
    """Why there is no interval, in lines of its own that fit a panel."""
    number, bracket, why = text.partition(" (")
    return "\n".join([number, *textwrap.wrap(f"({why}", 29)]) if bracket else text


def _label(row: Row) -> str:
    if row.card is None:
        return row.network.label
    label, coefficients = row.network.label, phrases.coefficients_text(row.card)
    names = [label] if coefficients in label else [label, coefficients]
    return "\n".join([*names, f"|roots| {phrases.moduli_text(row.card)}"])


def _legend(rows: Sequence[Row], separated: bool) -> list[Line2D | Patch]:
    names = {STABLE: "zero-stable (proved)", UNSTABLE: "unstable (proved)", UNPROVED: "nothing to prove"}
    present = {status_color(row): status_marker(row) for row in rows if row.records}
    entries: list[Line2D | Patch] = [
        Line2D([], [], marker=present[color], linestyle="", color=color, markeredgewidth=0, label=f"run, {name}")
        for color, name in names.items()
        if color in present
    ]
    entries.append(
        Line2D([], [], marker="|", linestyle="", color="#333333", markersize=11, markeredgewidth=2, label="mean")
    )
    if any(len(row.records) > 1 for row in rows):
        label = f"{100 * LEVEL:.0f} % interval of the mean"
        entries.append(Line2D([], [], color="#333333", linewidth=1.2, label=label))
    if separated:
        entries.append(Patch(color=_MARGIN, alpha=0.16, linewidth=0, label="margin"))
    return entries
