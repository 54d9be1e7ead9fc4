"""What a block draws from the random number generators in one call, to be drawn again: stochastic depth, dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import get_device_states, set_device_states

__all__ = ["Draws"]

Generators: TypeAlias = tuple[Tensor, Any]
"""States of the generators of the CPU and of the other devices that a computation is on."""


class Draws:
    """The draws of one call of a block; drawn again they are the same in whichever order its parts are called.

    Noted are the states of the generators when the block was called, and when a module within it was that has neither
    weights nor parts, as `timm.layers.DropPath` has none: an inverse calls the branches of a block in another order.
    """

    def __init__(self, block: nn.Module, history: list[Tensor]) -> None:
        """``history``: what the block is called with, on the device that it draws on."""
        self.history = history[:1]
        self.first: Generators | None = None
        leaves = [m for m in block.modules() if next(m.children(), None) is None and next(m.parameters(), None) is None]
        self.leaves = [leaf for leaf in leaves if leaf.training and not isinstance(leaf, nn.Identity | nn.ReLU)]
        self.calls: list[list[Generators]] = [[] for _ in self.leaves]

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what is drawn within."""
        before = _state(self.history)

        def note(calls: list[Generators]) -> Callable[..., None]:
            return lambda *_: calls.append(_state(self.history))

        with ExitStack() as hooks:
            for leaf, calls in zip(self.leaves, self.calls, strict=True):
                hooks.callback(leaf.register_forward_pre_hook(note(calls)).remove)
            yield
        if _differ(before, _state(self.history)):
            self.first = before
        else:
            self.leaves, self.calls = [], []
        self.history = []

    @contextmanager
    def again(self, history: list[Tensor]) -> Iterator[None]:
        """Draw the same within, and leave the generators as they are."""
        if self.first is None:
            yield
            return
        kind, devices = history[0].device.type, self.first[1][0]

        def draw(states: Iterator[Generators]) -> Callable[..., None]:
            return lambda *_: _set(next(states), kind)

        with torch.random.fork_rng(devices, device_type=kind if devices else "cuda"), ExitStack() as hooks:
            for leaf, calls in zip(self.leaves, self.calls, strict=True):
                hooks.callback(leaf.register_forward_pre_hook(draw(iter(calls))).remove)
            _set(self.first, kind)
            yield


def _state(history: list[Tensor]) -> Generators:
    return torch.get_rng_state(), get_device_states(*history)


def _set(state: Generators, kind: str) -> None:
    torch.set_rng_state(state[0])
    set_device_states(*state[1], device_type=kind)


def _differ(before: Generators, after: Generators) -> bool:
    states = zip((before[0], *before[1][1]), (after[0], *after[1][1]), strict=True)
    return any(not torch.equal(a, b) for a, b in states)
