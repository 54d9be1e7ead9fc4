"""Pictures of one scheme: the roots of rho on the unit circle, and the absolute stability region.

Verdicts, positions of roots and lengths of intervals come from the stability card; only curves and shading are
floating point.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from numpy.typing import NDArray

from stabzoo.methods import NOT_DECIDED, LinearMultistep, StabilityFunction
from stabzoo.plotting.style import BLACK, BLUE, GREEN, GREY, ORANGE, RED, write_figure
from stabzoo.stability import Root, StabilityCard, boundary_locus, stability_region
from stabzoo.stability.enclosure import Real, as_float
from stabzoo.stability.root_condition import rational_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from stabzoo.stability.region import Span

__all__ = ["draw_growth", "draw_region", "draw_roots", "scheme_figure", "write_scheme_plot"]

ROOTS = {
    "inside": (BLUE, "o"),
    "on the circle, simple": (BLACK, "D"),
    "on the circle, multiple": (RED, "s"),
    "outside": (RED, "^"),
}


def write_scheme_plot(card: StabilityCard, path: Path, title: str, growth: Sequence[float] = ()) -> None:
    """Write the picture of a scheme (see `write_figure`)."""
    write_figure(lambda: scheme_figure(card, title, growth), path)


def scheme_figure(card: StabilityCard, title: str, growth: Sequence[float] = ()) -> Figure:
    """Return both pictures side by side; without pyplot: no display is needed, a caller's figures are left alone.

    A third one shows `growth`, of a network, along its depth (`stabzoo.stability.growth_curve`).
    """
    width = 16.5 if growth else 11
    figure = Figure(figsize=(width, 6), dpi=160, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    axes = figure.subplots(1, 3 if growth else 2)
    draw_roots(axes[0], card)
    draw_region(axes[1], card)
    if growth:
        draw_growth(axes[2], growth)
    status = {"strong": "strongly zero-stable", "weak": "weakly zero-stable", "unstable": "not zero-stable"}.get(
        card.status, card.status
    )
    steps = f"{card.method.steps} step{'s' if card.method.steps > 1 else ''}"
    order = "not consistent" if card.order in (None, 0) else f"order {card.order}"
    figure.suptitle(
        f"{_shortened(title, 60)}: {status}, {steps}, {order}", fontsize=13, fontweight="bold", parse_math=False
    )
    return figure


def draw_roots(axes: Axes, card: StabilityCard) -> None:
    """Draw the roots of rho, each with its multiplicity and its enclosure, and the unit circle."""
    reach = 1.3 * max(1.0, *(abs(root.midpoint) for root in card.roots))
    axes.add_patch(Circle((0, 0), 1, facecolor="#eef3f9", edgecolor=BLACK, linewidth=1.1, zorder=1))
    parasitic = as_float(card.parasitic_radius)
    if 0 < parasitic != 1:
        label = f"parasitic radius {_text(card.parasitic_radius)}"
        circle = parasitic * np.exp(2j * np.pi * np.linspace(0, 1, 361))
        axes.plot(circle.real, circle.imag, color=GREY, linestyle="--", linewidth=1, zorder=2, label=label)
    for place, (colour, marker) in ROOTS.items():
        here = [root for root in card.roots if _place(root) == place]
        if here:
            x, y = [root.midpoint.real for root in here], [root.midpoint.imag for root in here]
            axes.plot(
                x,
                y,
                marker,
                color=colour,
                markersize=8,
                markeredgecolor="white",
                markeredgewidth=0.8,
                zorder=4,
                label=place,
            )
        for root in here:
            centre = root.midpoint.real, root.midpoint.imag
            axes.add_patch(Circle(centre, root.radius, fill=False, edgecolor=colour, linewidth=0.8, zorder=3))
            if root.multiplicity > 1:
                axes.annotate(
                    f"×{root.multiplicity}",
                    centre,
                    (7, 7),
                    textcoords="offset points",
                    fontsize=11,
                    color=colour,
                    zorder=5,
                )
    _frame(axes, (-reach, reach), (-reach, reach))
    axes.set_title("Roots of $\\rho$", fontsize=12)
    within = max(root.radius for root in card.roots)
    exactness = f"every root within {within:.0e} of its mark" if within else "every mark is exact"
    axes.set_xlabel(f"Re $\\zeta$\n{exactness}")
    axes.set_ylabel("Im $\\zeta$")
    _legend(axes)


def draw_growth(axes: Axes, growth: Sequence[float]) -> None:
    """Draw the largest norm of a product of companion matrices that ends at each block, on a logarithmic axis."""
    axes.plot(range(len(growth)), growth, "o-", color=BLACK, markersize=4, linewidth=1.4)
    axes.set_yscale("log")
    axes.set_title("Growth along the depth", fontsize=12)
    axes.set_xlabel("block $n$")
    axes.set_ylabel("max over $m$ of $||C_n ... C_m||_\\infty$")
    axes.grid(color=GREY, alpha=0.3)


def draw_region(axes: Axes, card: StabilityCard) -> None:
    """Draw the absolute stability region, its boundary, and the real and imaginary stability intervals.

    Where the step on y' = lambda y is not decided, that is said instead.
    """
    axes.set_title("Absolute stability region", fontsize=12)
    linear, real, imaginary = card.method.linear, card.real_interval, card.imaginary_interval
    if not isinstance(linear, LinearMultistep | StabilityFunction) or real is NOT_DECIDED or imaginary is NOT_DECIDED:
        _frame(axes, (-3.0, 1.0), (-2.0, 2.0))
        axes.text(-1, 0.3, f"not decided of its {card.method.kind}", ha="center", fontsize=12, color=GREY)
        return
    locus = boundary_locus(linear, 2881)
    xlim, ylim = _window(real, imaginary, locus)
    n = 400 if card.method.steps <= 12 else 160
    inside = stability_region(linear, xlim, ylim, n)
    half = (xlim[1] - xlim[0]) / (n - 1) / 2  # of a pixel
    shade = to_rgba(BLUE, 0.2)
    image = np.zeros((n, n, 4))
    image[inside] = shade
    extent = (xlim[0] - half, xlim[1] + half, ylim[0] - half, ylim[1] + half)
    axes.imshow(image, origin="lower", extent=extent, interpolation="nearest", zorder=1)
    if isinstance(linear, StabilityFunction):  # points in no order
        axes.plot(locus.real, locus.imag, ".", color=BLUE, markersize=2, zorder=4, label="boundary $|R(z)| = 1$")
    else:
        finite = locus[np.isfinite(locus)]
        extended = len(finite) and np.ptp([finite.real, finite.imag], axis=1).any()  # more than a point
        label = "boundary locus $\\rho/\\sigma$" if extended else None
        axes.plot(locus.real, locus.imag, color=BLUE, linewidth=1.4, zorder=4, label=label)
    low, high = (
        max(-as_float(real), 2 * xlim[0]),
        min(as_float(imaginary), 2 * ylim[1]),
    )  # infinite ones leave the picture
    for x, y, colour, label in (
        ([low, 0], [0, 0], ORANGE, f"real interval {_interval(real, '(-{}, 0)')}"),
        ([0, 0], [-high, high], GREEN, f"imaginary interval {_interval(imaginary, '(-{0}i, {0}i)')}"),
    ):
        if (x, y) == ([0, 0], [0, 0]):
            axes.plot([], [], linestyle="", label=label)  # says so, without a swatch
        else:
            axes.plot(x, y, color=colour, linewidth=5, solid_capstyle="butt", zorder=3, label=label)
    axes.plot([0], [0], "o", color=BLACK, markersize=4, zorder=5)
    _frame(axes, xlim, ylim)
    axes.set_xlabel("Re $z$,  $z = h\\lambda$")
    axes.set_ylabel("Im $z$")
    _legend(
        axes,
        Patch(facecolor=shade, label="stability region")
        if inside.any()
        else Line2D([], [], linestyle="", label="stability region: no interior here"),
    )


def _place(root: Root) -> str:
    if root.position == "on":
        return "on the circle, simple" if root.multiplicity == 1 else "on the circle, multiple"
    return root.position


def _window(real: Real, imaginary: Real, locus: NDArray[np.complex128]) -> tuple[Span, Span]:
    """A square that holds the locus, or its middle where it goes far out, and the intervals where they are finite."""
    points = locus[np.isfinite(locus)]
    length, height = (x if x < np.inf else 0.0 for x in (as_float(real), as_float(imaginary)))
    sizes = np.abs(points)
    scale = max(float(np.median(sizes)) if len(sizes) else 0.0, length, height) or 1.0
    if len(sizes) and sizes.max() > 6 * scale:
        points = points[sizes <= 4 * scale]
    x, y = np.append(points.real, [0, -length]), np.append(points.imag, [-height, height])
    half = 0.6 * (max(np.ptp(x), np.ptp(y)) or scale)
    x0, y0 = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
    return (float(x0 - half), float(x0 + half)), (float(y0 - half), float(y0 + half))


def _frame(axes: Axes, xlim: Span, ylim: Span) -> None:
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=2)
    axes.axvline(0, color=GREY, linewidth=0.6, zorder=2)
    axes.set_xlim(*xlim)
    axes.set_ylim(*ylim)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=9)


def _legend(axes: Axes, *first: Patch | Line2D) -> None:
    handles = [*first, *axes.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, fontsize=9, frameon=False)


def _interval(length: Real, form: str) -> str:
    if length == 0:
        return "empty"
    text = "\N{INFINITY}" if as_float(length) == np.inf else _text(length)
    return form.format(text).replace("1i", "i") if length == 1 else form.format(text)


def _text(value: Real) -> str:
    text = rational_text(value) if isinstance(value, Fraction) else ""
    return text if 0 < len(text) <= 12 else f"{as_float(value):.4g}"


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
