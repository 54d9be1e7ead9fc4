"""A residual branch as one function of y: the same for every evaluation of a solve and of its differentiation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

__all__ = ["OTHER_MODE", "Field", "is_training"]

OTHER_MODE = (
    "expected the mode that an implicit step was solved in, got f in the other: call backward() before "
    "train() or eval()"
)


class Normalization(NamedTuple):
    """The arguments of `torch.nn.functional.batch_norm`, under its names."""

    input: Tensor
    running_mean: Tensor | None
    running_var: Tensor | None
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5


class Measure(TorchFunctionMode):
    """Batch norms do what they do, and their batch's mean and variance are written down, with their graph."""

    def __init__(self, found: list[Tensor | None]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            given = Normalization(*args, **kwargs)
            statistics = None
            if given.training:
                x = given.input
                dims = [0, *range(2, x.dim())]
                var, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), dims, correction=0)
                statistics = torch.stack((mean, var))
            self.found.append(statistics)
        return func(*args, **kwargs)


class Replay(TorchFunctionMode):
    """Batch norms normalise by the statistics given, in the order of the calls, and update nothing."""

    def __init__(self, statistics: list[Tensor | None]) -> None:
        super().__init__()
        self.statistics = iter(statistics)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm:
            return func(*args, **kwargs)
        statistics = next(self.statistics)
        if statistics is None:
            return func(*args, **kwargs)
        given = Normalization(*args, **kwargs)
        kind = next((t.dtype for t in (given.weight, given.running_mean) if t is not None), given.input.dtype)
        mean, var = statistics.to(kind)  # under autocast the argument alone is in half precision
        if not torch.is_grad_enabled():
            return F.batch_norm(given.input, mean, var, given.weight, given.bias, False, 0.0, given.eps)
        scale = (var + given.eps).rsqrt()
        scale = scale if given.weight is None else scale * given.weight.to(scale.dtype)
        shift = -mean * scale if given.bias is None else given.bias.to(scale.dtype) - mean * scale
        shape = [1, -1, *[1] * (given.input.dim() - 2)]
        return torch.addcmul(shift.view(shape), given.input, scale.view(shape)).to(given.input.dtype)


class Field:
    """``f`` for the length of one step: batch statistics, random masks and buffers stand still.

    In training mode `measure` evaluates f once as it is: batch norms use the statistics of that batch and update their
    running statistics, dropout draws its masks, buffers change.  Every later evaluation, in the solve and in its
    differentiation, normalises by those statistics, draws the same masks, starts from the buffers as they were before,
    and leaves no trace.  The statistics are functions of x and of the parameters: they are among the ``tensors`` that
    gradients reach.  In evaluation mode an evaluation is a plain call.  (Compiled code draws new masks each time.)

    Tensors that ``f`` reads beside its argument, its parameters and its buffers get no gradient.
    """

    def __init__(self, f: nn.Module) -> None:
        self.f = f
        self.training = is_training(f)
        named = [(name, p) for name, p in f.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters = [p for _, p in named]
        self.buffers = {name: buffer.clone() for name, buffer in f.named_buffers()} if self.training else {}
        self.owned = [  # the same, by the dictionaries that they are in
            (module._buffers, key, self.buffers[f"{name}.{key}" if name else key])
            for name, module in f.named_modules()
            for key in module._buffers
            if (f"{name}.{key}" if name else key) in self.buffers
        ]
        self.statistics: list[Tensor | None] = []
        self.random_state: list[Tensor] | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """What f(y) depends on beside y: its parameters, then the batch statistics."""
        return [*self.parameters, *(s for s in self.statistics if s is not None)]

    def measure(self, x: Tensor) -> Tensor:
        """f(x), in training mode the one evaluation that updates statistics and draws masks."""
        if not self.training:
            return self.f(x)
        before = random_state(x)
        with Measure(self.statistics):
            value = self.f(x)
        if any(not torch.equal(a, b) for a, b in zip(before, random_state(x), strict=True)):
            self.random_state = before
        return value

    def __call__(self, y: Tensor) -> Tensor:
        """f(y), as a function of y alone."""
        if not self.training:
            return self.f(y)
        if torch.compiler.is_compiling():
            return self.evaluate(y, *self.tensors)
        with self.own_buffers_kept(), masks(self.random_state, y), Replay(self.statistics):
            return self.f(y)

    @contextmanager
    def own_buffers_kept(self) -> Iterator[None]:
        """Inside f has copies of its buffers as they were, which it may change; a tenth of functional_call's time."""
        own = [owner[key] for owner, key, _ in self.owned]
        for owner, key, before in self.owned:
            owner[key] = before.clone()
        try:
            yield
        finally:
            for (owner, key, _), buffer in zip(self.owned, own, strict=True):
                owner[key] = buffer

    def evaluate(self, y: Tensor, *tensors: Tensor) -> Tensor:
        """f(y) with the parameters and statistics given, in the order of ``tensors``.

        Raises:
            RuntimeError: the mode of ``f`` has changed since the step was taken.
        """
        if self.training != is_training(self.f):
            raise RuntimeError(OTHER_MODE)
        state: dict[str, Tensor] = dict(zip(self.names, tensors[: len(self.names)], strict=True))
        if not self.training:
            return functional_call(self.f, state, (y,)) if state else self.f(y)
        given = iter(tensors[len(self.names) :])
        statistics = [None if s is None else next(given) for s in self.statistics]
        state |= {name: buffer.clone() for name, buffer in self.buffers.items()}
        with masks(self.random_state, y), Replay(statistics):
            return functional_call(self.f, state, (y,))


def is_training(f: nn.Module) -> bool:
    """Whether a part of ``f`` is in training mode."""
    return any(module.training for module in f.modules())


def random_state(x: Tensor) -> list[Tensor]:
    """The state of the generators that a computation on the device of ``x`` draws from; a compiled one has none."""
    if torch.compiler.is_compiling():
        return []
    states = [torch.get_rng_state()]
    if x.is_cuda:
        states.append(torch.cuda.get_rng_state(x.device))
    return states


@contextmanager
def masks(state: list[Tensor] | None, y: Tensor) -> Iterator[None]:
    """Draw from the given state inside, and leave the generators as they were."""
    if state is None:
        yield
        return
    with torch.random.fork_rng([y.device] if y.is_cuda else [], device_type="cuda"):
        torch.set_rng_state(state[0])
        if y.is_cuda:
            torch.cuda.set_rng_state(state[1], y.device)
        yield
