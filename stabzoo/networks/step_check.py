"""A scheme's own step is tried once when a network is built, so that what is wrong with it is said with its name.

Nothing is left of it in the network: a forward pass, traced, scripted or compiled, is what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.errors import PluginError
from stabzoo.implicit.step import ImplicitStep
from stabzoo.networks.steps import LearnableStep, MultistepStep, RungeKuttaStep
from stabzoo.registry.guard import failure_text

__all__ = ["check_branch_step", "check_step"]

OURS = (MultistepStep, LearnableStep, RungeKuttaStep, ImplicitStep)
SIZE = 4  # pixels a side of the new state that is tried


def check_step(
    step: Any,
    method: str,
    where: str,
    weight: Tensor,
    channels: tuple[int, int],
    stride: int,
    entries: int,
    returned: int,
) -> None:
    """Take one step from a state of numbers in [-1, 1], in evaluation mode; steps of stabzoo's own need no trial.

    Args:
        step: What the scheme's ``method`` returned.
        method: ``"block"`` or ``"starting_block"``.
        where: The scheme and the block, for messages.
        weight: A parameter of the branch: the state is on its device and of its type.
        channels: Channels of y_n and of y_{n+1}.
        stride: Pixels of y_n to one of y_{n+1}.
        entries: How many states and slopes the step is given.
        returned: How many tensors it must return.

    Raises:
        PluginError: the step fails, or does not return y_{n+1} (and f_n) in the right shape and type and finite.
    """
    if not isinstance(step, nn.Module):
        raise PluginError(f"{where}: {method}() must return a torch module, got {step!r:.80}")
    if isinstance(step, OURS) or weight.dtype not in (torch.float32, torch.float64):  # CPUs lack some of half precision
        return
    before, after = channels
    shape = (2, after, SIZE, SIZE)
    with _trial(step, f"{where}: its step fails"):
        y = _state(weight, (2, before, SIZE * stride, SIZE * stride))
        result = step(y, [_state(weight, shape) for _ in range(entries)])
    new = [result] if isinstance(result, Tensor) and returned == 1 else result
    expected = (
        f"a tensor of shape {shape}, or a list of it" if returned == 1 else f"a list of 2 tensors of shape {shape}"
    )
    if not isinstance(new, list) or len(new) < returned:
        got = f"{len(new)} of them" if isinstance(new, list) else f"a {type(new).__name__}"
        raise PluginError(f"{where}: its step must return {expected}, got {got}")
    for name, tensor in zip(("y_{n+1}", "f_n"), new[:returned], strict=False):
        if not isinstance(tensor, Tensor):
            raise PluginError(f"{where}: its step must return {expected}, got {tensor!r:.80} for {name}")
        if tensor.shape != shape or tensor.dtype != weight.dtype:
            got = f"{tuple(tensor.shape)} of {tensor.dtype}"
            raise PluginError(f"{where}: {name} of its step must be {shape} of {weight.dtype}, got {got}")
        if not tensor.is_meta and not tensor.isfinite().all():
            bad = int((~tensor.isfinite()).sum())
            raise PluginError(
                f"{where}: {name} of its step has {bad} of {tensor.numel()} values that are not finite, for states in "
                "[-1, 1]"
            )


def check_branch_step(f: nn.Module, where: str, like: Tensor, channels: tuple[int, int], stride: int) -> None:
    """Evaluate a branch at a state of numbers in [-1, 1], in evaluation mode.

    Raises:
        PluginError: it fails, or does not return a finite tensor of the right shape and type.
    """
    if like.dtype not in (torch.float32, torch.float64):
        return
    with _trial(f, f"{where} fails"):
        value = f(_state(like, (2, channels[0], SIZE * stride, SIZE * stride)))
    shape = (2, channels[1], SIZE, SIZE)
    if not isinstance(value, Tensor):
        raise PluginError(f"{where}: expected a tensor of shape {shape}, got {value!r:.80}")
    if value.shape != shape or value.dtype != like.dtype:
        got = f"{tuple(value.shape)} of {value.dtype}"
        raise PluginError(f"{where}: expected {shape} of {like.dtype}, got {got}")
    if not value.is_meta and not value.isfinite().all():
        raise PluginError(f"{where}: expected finite values for states in [-1, 1]")


@contextmanager
def _trial(module: nn.Module, what: str) -> Iterator[None]:
    """Evaluation mode, without gradients; modes and random numbers are as before afterwards.

    Raises:
        PluginError: ``what``, with the reason, where anything fails within.
    """
    modes = [(part, part.training) for part in module.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            module.eval()
            yield
    except Exception as error:
        raise PluginError(f"{what}: {failure_text(error)}") from error
    finally:
        for part, training in modes:
            part.training = training


def _state(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Numbers of which no two are the same, as a step may divide by their deviation."""
    count = torch.Size(shape).numel()
    return torch.linspace(-1, 1, count, dtype=like.dtype, device=like.device).reshape(shape)
