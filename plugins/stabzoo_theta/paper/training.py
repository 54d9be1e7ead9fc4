"""Training a vector-field network of an example, and what the figures show of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from stabzoo import (
    ConvergenceWarning,
    ImplicitStep,
    ResidualPenalty,
    perturbation_penalty,
    residual_penalty,
    solver_report,
)
from stabzoo_theta.paper.data import Points, function_values, spirals
from stabzoo_theta.paper.example import Example, Network
from stabzoo_theta.paper.field import VectorFieldNet

__all__ = ["Curves", "Readout", "Trained", "points_of", "train"]

RECORDS = 150  # points that a curve has about


class Readout(nn.Module):
    """A vector-field network and what reads its last state: the state [1] of example 1, a linear classifier of 2."""

    def __init__(self, example: Example, network: Network, inputs: int) -> None:
        super().__init__()
        self.flow = VectorFieldNet(
            inputs,
            network.layers,
            network.theta,
            hidden=example.hidden,
            horizon=example.horizon,
            one_leg=network.one_leg,
            solver=example.solver,
        )
        self.head = nn.Linear(2 * inputs, 1) if example.data == "spirals" else None

    def blocks(self) -> list[nn.Module]:
        """The layers, in the order of the steps."""
        return list(self.flow.steps)

    def read(self, state: Tensor) -> Tensor:
        """(B, 2n) -> (B,)."""
        return state[:, 1] if self.head is None else self.head(state)[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        """(B, n) -> (B,): the value, or the logit of label 1."""
        return self.read(self.flow(x))


@dataclass
class Curves:
    """What was recorded while training, one entry each at the same epochs.

    Attributes:
        epochs: 0, ...
        training, validation: Losses; of the spirals, ``accuracy`` is the validation accuracy.
        evaluations: Mean evaluations of F in a solve, over the layers.
        products: Mean Jacobian products in an adjoint solve.
        failures: Samples whose equation was not solved, of all layers and since the last entry.
        gradient: Mean |dL/dp| over the parameters p of all layers.
    """

    epochs: list[int] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    evaluations: list[float] = field(default_factory=list)
    products: list[float] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    gradient: list[float] = field(default_factory=list)


@dataclass
class Trained:
    """A trained network with its curves; ``diverged``: the loss overflowed and training stopped there."""

    model: Readout
    curves: Curves
    diverged: bool = False


def points_of(example: Example) -> Points:
    """The example's data."""
    return spirals() if example.data == "spirals" else function_values()


def train(example: Example, network: Network, progress: Callable[[int], None] = lambda epoch: None) -> Trained:
    """Train one network, the same to the last bit whenever it is repeated on one thread.

    Unsolved equations are counted in the curves instead of warned about.
    """
    points = points_of(example)
    torch.manual_seed(example.seed)
    model = Readout(example, network, points.inputs.shape[1])
    epochs = example.epochs[network.layers]
    optimizer = torch.optim.Adam(model.parameters(), lr=example.lr)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, example.decay_every, example.decay)
    trained = Trained(model, Curves())
    every = max(1, epochs // RECORDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for epoch in range(epochs):
            optimizer.zero_grad()
            loss, total = losses(model, network, points)
            if not math.isfinite(loss.item()):
                trained.diverged = True
                break
            total.backward()
            if epoch % every == 0:
                record(trained.curves, epoch, loss.item(), model, points)
            optimizer.step()
            schedule.step()
            progress(epoch)
    model.requires_grad_(requires_grad=False)
    return trained


def losses(model: Readout, network: Network, points: Points) -> tuple[Tensor, Tensor]:
    """The loss of the data, and with the regularisers."""
    with residual_penalty(model) if network.fixed_point else nullcontext(ResidualPenalty()) as fixed_point:
        if network.perturbation:
            output, spread = perturbation_penalty(
                model, points.inputs, lambda x: x + network.sigma * torch.randn_like(x)
            )
        else:
            output, spread = model(points.inputs), torch.zeros(())
    loss = loss_of(model, output, points.targets)
    return loss, loss + network.fixed_point * fixed_point.total + network.perturbation * spread


def loss_of(model: Readout, output: Tensor, targets: Tensor) -> Tensor:
    """Example 1: the mean distance, as the paper prints it; example 2: the cross-entropy."""
    if model.head is None:
        return (output - targets).abs().mean()
    return functional.binary_cross_entropy_with_logits(output, targets)


@torch.no_grad()
def record(curves: Curves, epoch: int, loss: float, model: Readout, points: Points) -> None:
    """Add an entry, from the gradients and the solver's counts as they are."""
    reports = solver_report(model)
    solves = sum(report.solves for report in reports)
    curves.epochs.append(epoch)
    curves.training.append(loss)
    curves.evaluations.append(sum(report.evaluations for report in reports) / max(solves, 1))
    curves.products.append(sum(report.products for report in reports) / max(solves, 1))
    curves.failures.append(sum(sum(report.failures.values()) for report in reports))
    steps = [p.grad for step in model.blocks() for p in step.parameters() if p.grad is not None]
    curves.gradient.append(float(torch.cat([g.flatten() for g in steps]).abs().mean()))
    output = model(points.validation_inputs)
    curves.validation.append(float(loss_of(model, output, points.validation_targets)))
    curves.accuracy.append(float(((output > 0) == (points.validation_targets > 0.5)).float().mean()))
    for step in model.blocks():
        if isinstance(step, ImplicitStep):
            step.report.reset()
