"""Calls of a scheme's steps, and of the blocks of a network of its own, that the checks of conduct are made on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.testing.checks import Subject
from stabzoo.testing.steps import TIGHT

__all__ = ["SmoothField", "Trial", "set_mode", "trials"]

PIXELS = 4  # a side of the new state
NUMBERS = 12  # steps of a scheme that are built one after the other


class SmoothField(nn.Module):
    """f(y) = M sin(y) of the channels of every ``stride``-th pixel, M trained: smooth, nonlinear, of any shape."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.matrix = nn.Parameter(0.2 * torch.rand(out, channels, generator=generator, dtype=torch.float64) + 0.1)
        self.stride = stride

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * f(y), (B, C', H / stride, W / stride)."""
        return torch.einsum("ij,bjhw->bihw", self.matrix * scale, y[:, :, :: self.stride, :: self.stride].sin())


@dataclass(frozen=True)
class Trial:
    """A module, and the shapes of what it is called with.

    Attributes:
        what: The module, for messages.
        module: A step, called with (y, history), or a block of an own network, called with its list; in float64.
        names: Of the tensors that it is given.
        shapes: Theirs, without the batch.
        field: The f of a step, which is given.
        slopes: Whether it must return the slope f(y) after the new state.
    """

    what: str
    module: nn.Module
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    field: nn.Module | None = None
    slopes: bool = False

    def arguments(self, batch: int = 2, seed: int = 0) -> list[Tensor]:
        """Other tensors for every seed, of values between 1 and 2, where max(0, y) changes nothing."""
        generator = torch.Generator().manual_seed(seed)
        drawn = [torch.rand(3, *shape, generator=generator, dtype=torch.float64) for shape in self.shapes]
        return [1 + tensor[:batch] for tensor in drawn]

    def __call__(self, given: list[Tensor]) -> list[Tensor]:
        """What the module returns, given these tensors and a list of its own."""
        return self.module(*self.packed(given))

    def packed(self, given: list[Tensor]) -> tuple[Any, ...]:
        """These tensors as the arguments of the module."""
        return (list(given),) if self.names[0] != "y" else (given[0], list(given[1:]))


def set_mode(module: nn.Module, *, training: bool) -> nn.Module:
    """Set the mode of all but batch norms, whose statistics are those of evaluation in both."""
    module.train(training)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    return module


def trials(subject: Subject) -> list[Trial]:
    """The steps of a scheme; where its network is its own, the blocks of that network, one of each kind."""
    return list(_blocks(subject)) if subject.has_own_network else list(_steps(subject))


def _steps(subject: Subject) -> Iterator[Trial]:
    """Usual ones, one of the first, where the shape changes if they are used there, and one that is built late."""
    scheme = subject.solved_to(TIGHT)
    method = subject.method
    narrowing = [(2, 2, 1)] if scheme.needs_equal_shapes else [(2, 2, 1), (2, 4, 2)]
    for channels, out, stride in narrowing:
        change = f" from {channels} to {out} channels, stride {stride}" if stride > 1 else ""
        here, there = (channels, PIXELS * stride, PIXELS * stride), (out, PIXELS, PIXELS)
        if stride == 1 or method.steps == 1 or scheme.at_downsampling == "project":
            field = SmoothField(channels, out, stride)
            names = ("y", *(f"history[{j}]" for j in range(method.steps + method.past_slopes)))
            shapes = (here, *(there,) * (len(names) - 1))
            module = scheme.block(field).double()
            yield Trial(f"block(){change}", module, names, shapes, field, method.past_slopes > 0)
        if method.steps > 1:
            field = SmoothField(channels, out, stride)
            module = scheme.starting_block(field, returns_slope=method.past_slopes > 0).double()
            names, shapes = ("y", "history[0]"), (here, there)
            yield Trial(f"starting_block(){change}", module, names, shapes, field, method.past_slopes > 0)


def _blocks(subject: Subject) -> Iterator[Trial]:
    network: Any = subject.network(blocks=2, dtype=torch.float64)
    given: list[tuple[int, nn.Module, list[Tensor]]] = []
    blocks: list[nn.Module] = network.blocks()
    hooks = [
        block.register_forward_pre_hook(lambda block, args, i=i: given.append((i, block, args[0])))
        for i, block in enumerate(blocks)
    ]
    with torch.no_grad():
        network(torch.rand(1, 3, 8, 8, dtype=torch.float64))
    for hook in hooks:
        hook.remove()
    kinds: set[Any] = set()
    for i, block, history in given:
        kind = type(block), block.training, len(history), history[0].shape[1] == 4
        if kind not in kinds:
            kinds.add(kind)
            names = tuple(f"history[{j}]" for j in range(len(history)))
            yield Trial(f"block {i} of its network", block, names, tuple(tuple(t.shape[1:]) for t in history))


def built(subject: Subject, count: int = NUMBERS) -> list[nn.Module]:
    """Steps that the scheme builds one after the other."""
    return [subject.scheme.block(SmoothField(2, 2, 1)) for _ in islice(range(count), count)]
