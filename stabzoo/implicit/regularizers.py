"""The implicit ResNet paper's regularisers, for any training loop.

    R_fp  = sum_t sum_k (k/K)^p ||r(y_t^k)||                eq. (9): the plain fixed-point iteration is to converge fast
    R_rnd = sum_t (t/T)^r sum_p ||y_t - ~y_t^(p)||          eq. (10): perturbations of the input are not to accumulate

    with residual_penalty(model, iterations=5) as fixed_point:
        logits = model(x)
    loss = criterion(logits, target) + 1e-3 * fixed_point.total

    logits, spread = perturbation_penalty(model, x, lambda x: x + 0.05 * torch.randn_like(x))
    loss = criterion(logits, target) + 1e-3 * spread

Norms are Euclidean, per sample, and averaged over the batch.

Source: Reshniak, Webster, Robust learning with implicit residual networks, 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from stabzoo.implicit.field import Field
from stabzoo.implicit.solvers.problem import norms
from stabzoo.implicit.step import ImplicitStep

__all__ = ["ResidualPenalty", "perturbation_penalty", "residual_penalty"]


@dataclass
class ResidualPenalty:
    """R_fp of the steps evaluated so far.

    Attributes:
        total: The penalty, a scalar with a graph; 0 if no implicit step was taken.
        evaluations: Number of evaluations of slopes, one batch each; their graphs are kept until the backward pass.
        iterations: K of each step, in the order of the steps.
    """

    total: Tensor | float = 0.0
    evaluations: int = 0
    iterations: list[int] = field(default_factory=list)


@contextmanager
def residual_penalty(
    model: nn.Module, *, iterations: int = 5, power: float = 1.0, rtol: float = 1e-5
) -> Iterator[ResidualPenalty]:
    """Evaluate R_fp of all implicit steps that ``model`` takes inside.

        y^0 = y_n,    y^{k+1} = b + beta_next f(y^k),    r(y^k) = y^{k+1} - y^k,    k = 1 .. K

    Each r is a function of the step's parameters, through all iterates; the step's input is a constant.  The iteration
    ends at ``iterations``, where the residuals no longer decrease, or where all are below ``rtol`` ||b||; K of them are
    done.  Batch statistics are those of f(y_n), and running statistics are left alone.

    Args:
        model: A network with implicit steps, run in this process without a compiler.
        iterations: Largest K, an evaluation of f and its graph each.
        power: p; larger values leave the first residuals alone.
        rtol: Residuals below are not iterated further.
    """
    penalty = ResidualPenalty()

    def add(step: nn.Module, args: tuple[Any, ...], output: object) -> None:
        y, history = args
        found = _residuals(cast(ImplicitStep, step), y, history, iterations, rtol)
        count = len(found)
        penalty.evaluations += count + 1
        cast(ImplicitStep, step).report.penalty_evaluations += count + 1
        penalty.iterations.append(count)
        for k, size in enumerate(found, start=1):
            penalty.total = penalty.total + (k / count) ** power * size

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, ImplicitStep) and module.weight:
                hooks.callback(module.register_forward_hook(add).remove)
        yield penalty


def _residuals(step: ImplicitStep, y: Tensor, history: list[Tensor], most: int, rtol: float) -> list[Tensor]:
    """Mean norms of r(y^1), ..., r(y^K), with their graphs."""
    y, past = y.detach(), [entry.detach() for entry in history]
    states = past[: len(step.alpha)] or [y]
    slope = Field(step.f)
    with _copied_buffers(step.f):  # the step itself has counted this batch
        first = slope.measure(y)
    b = sum((a * s for a, s in zip(step.alpha, states, strict=False)), torch.zeros_like(y))
    if step.one_leg:
        before = sum((beta * s for beta, s in zip(step.beta, states, strict=False)), torch.zeros_like(y))

        def image(point: Tensor) -> Tensor:
            return b + step.sigma * slope((step.weight * point + before) / step.sigma)

    else:
        b = b + step.beta[0] * first
        for beta, f in zip(step.beta[1:], past[len(step.alpha) :], strict=False):
            b = b + beta * f

        def image(point: Tensor) -> Tensor:
            return b + step.weight * slope(point)

    found: list[Tensor] = []
    point = image(y) if step.one_leg else b + step.weight * first
    for _ in range(most):
        r = image(point) - point
        size = norms(r)
        found.append(size.mean())
        decreasing = len(found) < 2 or bool(found[-1] < found[-2])
        if not decreasing or bool((size <= rtol * norms(b)).all()):
            break
        point = point + r
    return found


@contextmanager
def _copied_buffers(module: nn.Module) -> Iterator[None]:
    """The module changes copies of its buffers inside, its own ones are as they were; a graph may read the copies."""
    owned = [(part, name, b) for part in module.modules() for name, b in part.named_buffers(recurse=False)]
    for part, name, buffer in owned:
        setattr(part, name, buffer.clone())
    try:
        yield
    finally:
        for part, name, buffer in owned:
            setattr(part, name, buffer)


def perturbation_penalty(
    model: nn.Module,
    x: Tensor,
    perturb: Callable[[Tensor], Tensor],
    *,
    streams: int = 1,
    power: float = 1.0,
    blocks: Sequence[nn.Module] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return (model(x), R_rnd).

    The clean input and the perturbed streams pass through the model as one batch, so batch norms normalise them
    together.  The cost is ``streams`` additional passes, forward and backward.

    Args:
        model: Any network.
        x: (B, ...).
        perturb: The noise, redrawn for each stream: x -> ~x.
        streams: P.
        power: r; smaller values damp perturbations in earlier layers too.
        blocks: Modules whose outputs are the states y_1, ..., y_T (of a list the first entry); by default those that
            ``model.blocks()`` names.

    Raises:
        ValueError: the model has no blocks(), or calls none of them.
    """
    if blocks is None:
        if not hasattr(model, "blocks"):
            raise ValueError(
                f"expected blocks=[...], the modules whose outputs are the states, or a model with blocks(); "
                f"got a {type(model).__name__}"
            )
        blocks = cast(Any, model).blocks()
    states: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: Any) -> None:
        states.append(output if isinstance(output, Tensor) else output[0])

    with ExitStack() as hooks:
        for block in cast(Sequence[nn.Module], blocks):
            hooks.callback(block.register_forward_hook(keep).remove)
        output = model(torch.cat([x, *(perturb(x) for _ in range(streams))]))
    if not states:
        raise ValueError("expected blocks that the model calls, got none that it called")
    total = x.new_zeros(())
    for t, state in enumerate(states, start=1):
        clean, *perturbed = state.split(len(x))
        distances = torch.stack([norms(clean - other).mean() for other in perturbed])
        total = total + (t / len(states)) ** power * distances.sum()
    return output[: len(x)], total
