"""Calls of a scheme's steps, and of the blocks of a network of its own, that the checks of conduct are made on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.discretization import Discretization, Place, memory_of
from stabzoo.networks.past import Past, advanced, given, returned, takes_lists
from stabzoo.testing.checks import Subject
from stabzoo.testing.places import block_at, channels_of, kept_states, place_of, places, starting_block_at
from stabzoo.testing.steps import TIGHT

__all__ = ["SmoothField", "Trial", "set_mode", "trials"]

PIXELS = 4  # a side of the new state


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
        module: A step, called with (y, history), or a block of an own network, called as its stage does; in float64.
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

    @property
    def is_step(self) -> bool:
        """Whether the module is a step, called with (y, history)."""
        return self.names[0] == "y"

    @property
    def keeps_shape(self) -> bool:
        """Whether all tensors that it is given have one shape, which is that of the new state, too."""
        return len(set(self.shapes)) == 1

    def arguments(self, batch: int = 2, seed: int = 0) -> list[Tensor]:
        """Other tensors for every seed, of values between 1 and 2, where max(0, y) changes nothing."""
        generator = torch.Generator().manual_seed(seed)
        drawn = [torch.rand(3, *shape, generator=generator, dtype=torch.float64) for shape in self.shapes]
        return [1 + tensor[:batch] for tensor in drawn]

    def __call__(self, given: list[Tensor]) -> list[Tensor]:
        """What the module returns, given these tensors and a list of its own."""
        return returned(self.module(*self.packed(given))) if self.is_step else advanced(self.module, given)

    def packed(self, given: list[Tensor]) -> tuple[Any, ...]:
        """These tensors as the arguments of the module."""
        if self.is_step:
            return given[0], list(given[1:])
        return (list(given),) if takes_lists(self.module) else (given[0], Past(list(given[1:])))


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
    """Usual ones and one of the first; where the shape changes, if they are used there; of an own step, at places."""
    scheme = subject.solved_to(TIGHT)
    slopes, needed = subject.method.past_slopes, kept_states(scheme)
    restarts = scheme.at_downsampling == "restart" or memory_of(scheme) is None
    start = partial(starting_block_at, returns_slope=slopes > 0)
    width = channels_of(scheme)
    changes = [(width, width, 1)] if scheme.needs_equal_shapes else [(width, width, 1), (width, 2 * width, 2)]
    for channels, out, stride in changes:
        step = partial(_step, scheme, (channels, out, stride))
        if stride == 1 or needed == 1 or not restarts:
            for at in places(scheme) if subject.has_own_block and stride == 1 else [{}]:
                yield step("block()", block_at, at.get("states", needed), slopes, at)
        if needed > 1:
            yield step("starting_block()", start, 1, 0, {})


def _step(
    scheme: Discretization,
    change: tuple[int, int, int],
    what: str,
    build: Callable[[Discretization, nn.Module, Place], nn.Module],
    states: int,
    past_slopes: int,
    at: dict[str, Any],
) -> Trial:
    channels, out, stride = change
    field = SmoothField(channels, out, stride)
    module = build(scheme, field, place_of(field, scheme, channels, out, stride, **at)).double()
    names = ("y", *(f"history[{j}]" for j in range(states + past_slopes)))
    there = (out, PIXELS, PIXELS)
    shapes = ((channels, PIXELS * stride, PIXELS * stride), *(there,) * (states + past_slopes))
    what += f" from {channels} to {out} channels, stride {stride}" if stride > 1 else ""
    what += f" at step {at['number']}" if "number" in at else ""
    return Trial(what, module, names, shapes, field, scheme.coefficients().past_slopes > 0)


def _blocks(subject: Subject) -> Iterator[Trial]:
    network: Any = subject.network(blocks=2, dtype=torch.float64)
    called: list[Any] = []
    blocks: list[nn.Module] = network.blocks()
    hooks = [
        block.register_forward_pre_hook(lambda block, args, i=i: called.append((i, block, given(args))))
        for i, block in enumerate(blocks)
    ]
    with torch.no_grad():
        network(torch.rand(1, 3, 8, 8, dtype=torch.float64))
    for hook in hooks:
        hook.remove()
    kinds: set[Any] = set()
    for i, block, history in called:
        kind = type(block), block.training, len(history), history[0].shape[1] == 4
        if kind not in kinds:
            kinds.add(kind)
            names = tuple(f"history[{j}]" for j in range(len(history)))
            yield Trial(f"block {i} of its network", block, names, tuple(tuple(t.shape[1:]) for t in history))
