"""Phase diagrams of schemes on the harmonic oscillator: a row a step size, a column a scheme."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Circle
from numpy.typing import NDArray

from stabzoo.plotting.style import BLUE, GREY, RED
from stabzoo.stability.oscillator import SCHEMES, Propagator
from stabzoo.stability.root_condition import rational_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["oscillator_figure"]

STEPS, REACH = 120, 2.6


def oscillator_figure(omega: Fraction, sizes: Sequence[Fraction]) -> Figure:
    """Draw 120 steps from (omega z, y) = (1, 0) of each scheme with each step size, around the exact circle."""
    figure = Figure(
        figsize=(2.7 * len(SCHEMES), 2.75 * len(sizes) + 0.5),
        dpi=160,
        layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05),
    )
    grid = figure.subplots(len(sizes), len(SCHEMES), squeeze=False, sharex=True, sharey=True)
    for row, h in zip(grid, sizes, strict=True):
        for axes, (name, propagator) in zip(row, SCHEMES.items(), strict=True):
            _draw_orbit(axes, propagator(h, omega), float(omega))
            axes.set_title(f"{name}, $\\rho$ = {float(propagator(h, omega).spectral_radius):.4g}", fontsize=9)
        row[0].set_ylabel(f"$h\\omega$ = {rational_text(h * omega)}\n$y$")
    for axes in grid[-1]:
        axes.set_xlabel("$\\omega z$")
    title = f"$y' = -\\omega^2 z$, $z' = y$ at $\\omega$ = {rational_text(omega)}: every exact orbit is a circle"
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_orbit(axes: Axes, propagator: Propagator, omega: float) -> None:
    orbit = _orbit(propagator, omega)
    axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=GREY, linewidth=1.2, linestyle="--"))
    colour = BLUE if propagator.is_stable else RED
    axes.plot(orbit[:, 1], orbit[:, 0], "-", color=colour, linewidth=0.5, alpha=0.6)
    axes.plot(orbit[:, 1], orbit[:, 0], ".", color=colour, markersize=3)
    axes.set_xlim(-REACH, REACH)
    axes.set_ylim(-REACH, REACH)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=7)


def _orbit(propagator: Propagator, omega: float) -> NDArray[np.float64]:
    """(steps, 2): y and omega z, up to the first point far outside the picture."""
    # in (y, omega z), where the exact flow is a rotation
    p = propagator
    step = np.array([[float(p.yy), float(p.yz) / omega], [float(p.zy) * omega, float(p.zz)]])
    points = [np.array([0.0, 1.0])]
    while len(points) <= STEPS and np.abs(points[-1]).max() < 4 * REACH:
        points.append(step @ points[-1])
    return np.array(points)
