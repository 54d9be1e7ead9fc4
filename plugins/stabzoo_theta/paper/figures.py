"""The figures of the paper's examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from matplotlib.figure import Figure

from stabzoo import SolverSettings
from stabzoo_theta.paper.data import Points
from stabzoo_theta.paper.example import Example, Network
from stabzoo_theta.paper.field import Field, VectorFieldNet
from stabzoo_theta.paper.training import Trained, points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["classification_figure", "curves_figure", "outputs_figure", "step_size_figure"]

Networks = Mapping[Network, Trained]
COLORS = (
    "#00806a",
    "#d98200",
    "#6a4c93",
    "#b5547f",
    "#222222",
    "#8c6d31",
)  # no blue, no red: they say stable, unstable
BLACK, GREY = "#222222", "#9a9a9a"


def curves_figure(example: Example, trained: Networks) -> Figure:
    """Losses, iterations and gradients while training: a column a depth (the paper's Figures 4, 5 and 6)."""
    depths = sorted({network.layers for network in trained})
    rows = 4 if any(network.theta for network in trained) else 2
    figure = _figure(5.4 * len(depths) + 0.6, 2.7 * rows + 0.4)
    grid = figure.subplots(rows, len(depths), squeeze=False, sharex="col")
    for column, depth in zip(grid.T, depths, strict=True):
        column[0].set_title(f"{depth} layers", fontsize=11)
        alike = [(network, run) for network, run in trained.items() if network.layers == depth]
        for colour, (network, run) in zip(COLORS * len(alike), alike, strict=False):
            name, curves = network.label.removeprefix(f"{depth} layers, "), run.curves
            column[0].semilogy(curves.epochs, curves.training, color=colour, label=name)
            column[0].semilogy(curves.epochs, curves.validation, color=colour, linestyle="--", linewidth=0.9)
            column[1].semilogy(curves.epochs, curves.gradient, color=colour, label=name)
            if rows == 4 and network.theta:
                column[2].plot(curves.epochs, curves.evaluations, color=colour, label=name)
                column[3].plot(curves.epochs, curves.products, color=colour, label=name)
        labels = ("loss, validation dashed", "mean |dL/dγ|", "evaluations of F a layer", "adjoint products per layer")
        for axes, label in zip(column, labels, strict=False):
            axes.set_ylabel(label, fontsize=9)
            axes.tick_params(labelsize=8)
        column[0].legend(fontsize=8)
        column[-1].set_xlabel("epoch", fontsize=9)
    figure.suptitle(example.title, fontsize=12)
    return figure


def outputs_figure(example: Example, trained: Networks) -> Figure:
    """Vector field with trajectories, and outputs, of every network (the paper's Figures 7 and 8)."""
    points = points_of(example)
    figure = _figure(8.4, 2.5 * len(trained) + 0.4)
    grid = figure.subplots(len(trained), 2, squeeze=False, width_ratios=(1, 1.4))
    for (left, right), (network, run) in zip(grid, trained.items(), strict=True):
        _draw_trajectories(left, run, points.inputs)
        left.set_title(network.label + (" (diverged)" if run.diverged else ""), fontsize=9)
        with torch.no_grad():
            output = run.model(points.validation_inputs)
        right.plot(points.validation_inputs[:, 0], points.validation_targets, color=GREY, linewidth=1)
        right.plot(points.validation_inputs[:, 0], output, color=COLORS[0], linewidth=1.2)
        right.plot(points.inputs[:, 0], points.targets, ".", color=BLACK, markersize=4)
        right.set_title("grey: f, blue: the network, dots: training points", fontsize=8)
        for axes in (left, right):
            axes.tick_params(labelsize=7)
    figure.suptitle(f"{example.title}: states of the last layer's field, and outputs", fontsize=11)
    return figure


def classification_figure(example: Example, trained: Networks) -> Figure:
    """Decision regions with the training points (the paper's Figure 9)."""
    points = points_of(example)
    side = torch.linspace(-1.4, 1.4, 121)
    x = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).flatten(0, 1)
    figure = _figure(3.1 * len(trained), 3.5)
    for axes, (network, run) in zip(figure.subplots(1, len(trained), squeeze=False)[0], trained.items(), strict=True):
        with torch.no_grad():
            probability = run.model(x).sigmoid().view(len(side), len(side)).numpy()
        axes.imshow(
            probability, origin="lower", extent=(-1.4, 1.4, -1.4, 1.4), cmap="RdBu_r", vmin=0, vmax=1, alpha=0.6
        )
        axes.contour(side, side, probability, levels=[0.5], colors="black", linewidths=0.8)
        for label, colour in ((0, COLORS[0]), (1, COLORS[1])):
            chosen = points.inputs[points.targets == label]
            axes.plot(chosen[:, 0], chosen[:, 1], ".", color=colour, markersize=5)
        clean, noisy = (accuracy(run, points, sigma) for sigma in (0.0, 0.1))
        axes.set_title(f"{network.label}\nvalidation {clean:.0%}, under noise of 0.1 {noisy:.0%}", fontsize=9)
        axes.tick_params(labelsize=7)
    return figure


@torch.no_grad()
def accuracy(run: Trained, points: Points, sigma: float, draws: int = 20) -> float:
    """Share of the validation points that are classified right, under normal noise of deviation ``sigma``."""
    x = points.validation_inputs.repeat(draws, 1)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    right = (run.model(x + sigma * noise) > 0) == (points.validation_targets.repeat(draws) > 0.5)
    return float(right.float().mean())


def step_size_figure(seed: int = 0, layers: int = 20) -> Figure:
    """Explicit against implicit on the same weights: a dissipative field, steps of growing size.

    The exact flow takes no two states apart.  Left the largest |y_n - z_n| / |y_0 - z_0| over ``layers`` steps against
    h L, L the field's Lipschitz constant; right the distances at h L = 10.
    """
    figure = _figure(9.6, 4)
    left, right = figure.subplots(1, 2)
    sizes = np.logspace(-1, 2, 19)
    for colour, (label, scheme) in zip(COLORS, SCHEMES.items(), strict=False):
        growth = [max(distances(*scheme, size, seed, layers)) for size in sizes]
        left.loglog(sizes, growth, color=colour, label=label)
        right.semilogy(distances(*scheme, 10.0, seed, layers), color=colour, marker=".", label=label)
    left.axvline(2, color=GREY, linewidth=0.8, label="h L = 2")
    left.set_xlabel("h L")
    left.set_ylabel(f"max |y_n - z_n| / |y_0 - z_0|, n ≤ {layers}")
    left.set_ylim(0.5, 1e8)
    right.set_ylim(1e-6, 1e8)
    right.set_xlabel("n")
    right.set_ylabel("|y_n - z_n| / |y_0 - z_0| at h L = 10")
    left.legend(fontsize=8, loc="upper left")
    title = (
        "The same weights, F(y) = -h Kᵀ relu(K y + c): an explicit step takes two states apart; of the implicit ones\n"
    )
    title += "only the trapezoidal form does, at very large steps, for it is not B-stable"
    figure.suptitle(title, fontsize=11)
    return figure


SCHEMES = {
    "θ = 0: forward Euler": ("0", False),
    "θ = 1/2: trapezoidal": ("1/2", False),
    "θ = 1/2, one leg: midpoint": ("1/2", True),
    "θ = 1: backward Euler": ("1", False),
}


@torch.no_grad()
def distances(theta: str, one_leg: bool, size: float, seed: int = 0, layers: int = 20) -> list[float]:
    """|y_n - z_n| / |y_0 - z_0|, n = 0, ..., ``layers``, under y' = -K^T relu(K y + c), by steps of h L = ``size``."""
    torch.manual_seed(seed)
    solver = SolverSettings(rtol=1e-9, on_failure="raise")
    net = VectorFieldNet(
        2, layers, theta, hidden=20, horizon=float(layers), parabolic=True, one_leg=one_leg, solver=solver
    ).double()
    bias = torch.randn(20, dtype=torch.float64)
    for step in net.steps:
        field = step.f
        assert isinstance(field, Field)
        field.bias.copy_(bias)
        field.step *= size / field.lipschitz()
    states = net.states(torch.tensor([[0.6, -0.8], [-1.0, 0.5]], dtype=torch.float64))
    gaps = [float((y[0] - y[1]).norm()) for y in states]
    return [gap / gaps[0] for gap in gaps]


def _draw_trajectories(axes: Axes, run: Trained, inputs: torch.Tensor) -> None:
    flow = run.model.flow
    with torch.no_grad():
        states = torch.stack(flow.states(inputs)).numpy()  # (layers + 1, N, 2)
    if not np.isfinite(states).all():
        axes.text(0.5, 0.5, "not finite", ha="center", transform=axes.transAxes)
        return
    for i in range(0, states.shape[1], 2):
        axes.plot(states[:, i, 0], states[:, i, 1], color=COLORS[0], linewidth=0.5, alpha=0.7)
    axes.plot(states[-1, :, 0], states[-1, :, 1], ".", color=COLORS[1], markersize=3)
    (low_x, high_x), (low_y, high_y) = axes.get_xlim(), axes.get_ylim()
    x, y = np.meshgrid(np.linspace(low_x, high_x, 15), np.linspace(low_y, high_y, 15))
    with torch.no_grad():
        field = cast(Field, flow.steps[-1].f)
        slopes = field(torch.tensor(np.stack((x.ravel(), y.ravel()), axis=1), dtype=torch.float32)).numpy()
    axes.quiver(x.ravel(), y.ravel(), slopes[:, 0], slopes[:, 1], color=GREY, width=0.003)


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=130, layout="constrained")
