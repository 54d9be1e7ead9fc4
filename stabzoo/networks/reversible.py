"""The backward pass of invertible blocks without stored activations: each block's input is computed from its output.

A block is invertible that has ``inverse(new) -> old``, for histories, lists of tensors, newest first; one that has
``invertible = False`` beside it is not.  `InvertedRun` evaluates a run of such blocks and keeps what enters and what
leaves the run, whatever its depth; the backward pass inverts one block after the other, evaluates it once more with a
graph, and lets go of that.  Both are one evaluation where the state that a block loses enters the new one times a
number, ``weight_of_lost``, and nothing else.

Rounding errors grow on the way back, in exact arithmetic by the inverse companion matrices alone: where a scheme
multiplies the oldest state by g, by about 1/g a block.  `runs` cuts a stage where that growth would be too much, and
each run compares what it reconstructs with what did enter it: if f made errors grow beyond `bound`, the run is
evaluated once more from there, with a warning.

Source: Gomez, Ren, Urtasun, Grosse, The reversible residual network, NeurIPS 2017, section 3.2, algorithm 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stabzoo.networks.draws import Draws
from stabzoo.networks.past import advanced

__all__ = ["advance", "is_invertible", "runs"]


def is_invertible(block: nn.Module) -> bool:
    """Whether a block (or a step) can compute what it was given from what it returned."""
    return callable(getattr(block, "inverse", None)) and bool(getattr(block, "invertible", True))


def bound(dtype: torch.dtype) -> float:
    """The error of a reconstructed state, relative to the state, up to which it is used: 3e-4 in float32."""
    return torch.finfo(dtype).eps ** 0.5


def expected_error(dtype: torch.dtype) -> float:
    """The error up to which a run continues, as far as coefficients tell, which leaves room for f: 2e-5 in float32."""
    return torch.finfo(dtype).eps ** (2 / 3)


def runs(blocks: Sequence[nn.Module], dtype: torch.dtype) -> Iterator[list[nn.Module]]:
    """Cut blocks into runs: a block that is not invertible alone, the others as long as rounding errors allow.

    The growth is that of the recursion backwards for f = 0, in the maximum norm, from the coefficients that the steps
    state (1 where none are); how much f adds is known afterwards, when the run compares.
    """
    run: list[nn.Module] = []
    growth: Any = None
    for block in blocks:
        if not is_invertible(block):
            if run:
                yield run
            yield [block]
            run, growth = [], None
            continue
        back = _backwards(block)
        product = back if growth is None or growth.shape != back.shape else growth @ back
        if run and np.abs(product).sum(1).max() * torch.finfo(dtype).eps > expected_error(dtype):
            yield run
            run, product = [], back
        run.append(block)
        growth = product
    if run:
        yield run


def _backwards(block: nn.Module) -> Any:
    """The inverse companion matrix of a block's step, as floats; (1) where nothing is stated."""
    stated = getattr(getattr(block, "step", None), "coefficients", None)
    alpha = [float(a) for a in stated().alpha] if stated is not None else [1.0]
    if alpha[-1] == 0:  # one of the first steps, which lose nothing
        return np.eye(len(alpha))
    forwards = np.eye(len(alpha), k=-1)
    forwards[0] = alpha
    return np.linalg.inv(forwards)


@torch.compiler.disable(reason="a backward pass by inversion is not compiled: the stage runs eagerly")
def advance(blocks: Sequence[nn.Module], history: list[Tensor]) -> list[Tensor]:
    """Take the history through the blocks of a stage, keeping for gradients no activation of the invertible ones."""
    if history[0].is_meta:  # has no memory to save
        for block in blocks:
            history = advanced(block, history)
        return history
    for run in runs(blocks, history[0].dtype):
        parameters = [p for p in dict.fromkeys(p for block in run for p in block.parameters()) if p.requires_grad]
        if is_invertible(run[0]):
            history = list(InvertedRun.apply(run, parameters, len(history), *history, *parameters))  # pyright: ignore[reportArgumentType]
        else:
            for block in run:
                history = advanced(block, history)
    return history


class InvertedRun(torch.autograd.Function):
    """A run of invertible blocks; of its activations what enters and what leaves are kept."""

    @staticmethod
    def forward(ctx: Any, blocks: list[nn.Module], parameters: list[Tensor], count: int, *given: Tensor) -> Any:
        """Evaluate the blocks; ``given``: the ``count`` tensors of the history, then the parameters."""
        history = list(given[:count])
        ctx.blocks, ctx.parameters, ctx.count = blocks, parameters, count
        device = history[0].device.type
        ctx.autocast = {
            "device_type": device,
            "dtype": torch.get_autocast_dtype(device),
            "enabled": torch.is_autocast_enabled(device),
            "cache_enabled": False,  # a weight that is cast without gradients must not serve the recomputation
        }
        ctx.modes, ctx.draws = [], []
        with torch.autocast(**ctx.autocast):
            for block in blocks:
                ctx.modes.append([module.training for module in block.modules()])
                ctx.draws.append(Draws(block, history))
                with ctx.draws[-1].noted():
                    history = advanced(block, history)
        ctx.save_for_backward(*given[:count], *history)
        return tuple(history)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Invert the blocks from the last to the first, and differentiate each where it was evaluated."""
        saved = list(ctx.saved_tensors)
        entered, left = saved[: ctx.count], saved[ctx.count :]
        state, found = _back(ctx, left, gradients, None)
        if not (error := _error(state, entered)) <= bound(entered[0].dtype):  # nan, too
            warnings.warn(
                f"inverting {len(ctx.blocks)} blocks gave back the state that entered them with a relative error of "
                f"{error:.1e}; expected at most {bound(entered[0].dtype):.1e} in {entered[0].dtype}. They are "
                "evaluated once more, and their states are kept: set_grad_checkpointing(mode='recompute') does that in "
                "less time, and a wider type may do without",
                RuntimeWarning,
                stacklevel=2,
            )
            states = [entered]
            with torch.no_grad():
                for block, modes, draws in zip(ctx.blocks[:-1], ctx.modes, ctx.draws, strict=False):
                    with _as_it_was(block, modes), draws.again(states[-1]), torch.autocast(**ctx.autocast):
                        states.append(advanced(block, states[-1]))
            _, found = _back(ctx, left, gradients, states)
        return (None, None, None, *found)


def _back(
    ctx: Any, history: list[Tensor], gradients: Sequence[Tensor], states: list[list[Tensor]] | None
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Go from the last block of a run to the first: what entered the run, and the gradients of that and the parameters.

    ``states``: what entered each block, where it is known and need not be computed.
    """
    wanted = {id(parameter): i for i, parameter in enumerate(ctx.parameters)}
    found: list[Tensor | None] = [None] * len(ctx.parameters)
    arriving = list(gradients)
    for i in reversed(range(len(ctx.blocks))):
        block, draws = ctx.blocks[i], ctx.draws[i]
        own = [p for p in block.parameters() if id(p) in wanted]
        with _as_it_was(block, ctx.modes[i]):
            weight = getattr(block, "weight_of_lost", None) if states is None else None
            if states is not None:
                past = states[i]
            elif weight is not None:  # affine in the state that is lost: evaluating the block without it tells it
                past = [*history[1:], torch.zeros_like(history[0])]
            else:
                with torch.no_grad(), draws.again(history), torch.autocast(**ctx.autocast):
                    past = block.inverse(history)
            leaves = [state.detach().requires_grad_() for state in past]
            with torch.enable_grad(), draws.again(history), torch.autocast(**ctx.autocast):
                new = advanced(block, leaves)
            if weight is not None:
                past = [*history[1:], (history[0] - new[0].detach()) / weight]
            history = past
            by = torch.autograd.grad(new, [*leaves, *own], arriving, allow_unused=True)
        arriving = [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, by, strict=False)]
        for parameter, gradient in zip(own, by[len(leaves) :], strict=True):
            total = found[wanted[id(parameter)]]
            if gradient is not None:
                found[wanted[id(parameter)]] = gradient if total is None else total + gradient
    return history, [*arriving, *found]


def _error(got: list[Tensor], expected: list[Tensor]) -> float:
    """The largest norm of a difference, relative to what is expected."""
    errors = [0.0]
    for a, b in zip(got, expected, strict=True):
        wide = torch.promote_types(b.dtype, torch.float32)
        size = torch.linalg.vector_norm(b, dtype=wide).clamp(min=torch.finfo(wide).tiny)
        errors.append((torch.linalg.vector_norm(a.to(wide) - b.to(wide)) / size).item())
    return float(np.max(errors))  # nan if one is


@contextmanager
def _as_it_was(block: nn.Module, training: list[bool]) -> Iterator[None]:
    """A block in the modes of its forward pass, whose buffers (running statistics) it does not change."""
    modules, buffers = list(block.modules()), list(block.buffers())
    modes, values = [module.training for module in modules], [buffer.clone() for buffer in buffers]
    try:
        for module, mode in zip(modules, training, strict=True):
            module.training = mode
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        with torch.no_grad():
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value)
