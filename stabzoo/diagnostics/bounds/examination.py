"""The cross-examination of a certificate: the network itself is run, and must not contradict what is proved of it.

It is run as it stands, in its own arithmetic, on a few images: 0, noise, and pairs whose difference is turned by power
iteration to where the network moves most. Of every piece the shape of its result, how far it moves the two images of a
pair apart, and how large its result is, are compared with its bound, and so are those of the whole. A run proves
nothing; but a rule that models another operator than the module's is found out where its bound is passed, and named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.diagnostics.bounds.step_bound import Shape, StepBound
from stabzoo.diagnostics.capture import run_hooked
from stabzoo.errors import CertificateError
from stabzoo.networks.resnet import Block

__all__ = ["cross_examine"]

_TURNS = 2  # of the power iteration
_ROUNDING = {
    torch.float32: 1e-4,
    torch.float64: 1e-9,
}  # of a piece's result and input, relative: far above what is seen


@dataclass(frozen=True)
class _Seen:
    """What a state was for the images: its shape without the batch, its sizes, and how far the pairs are apart."""

    shape: tuple[int, ...]
    sizes: Tensor
    apart: Tensor

    @classmethod
    def of(cls, state: Tensor) -> _Seen:
        flat = state.detach().flatten(1)
        apart, sizes = (
            torch.linalg.vector_norm(states, dim=1, dtype=torch.float64) for states in (flat[0::2] - flat[1::2], flat)
        )
        return cls(tuple(state.shape[1:]), sizes, apart)


def cross_examine(
    model: nn.Module, blocks: Sequence[StepBound], whole: StepBound, input_size: tuple[int, int, int]
) -> str:
    """Run the network against its bounds; return why it cannot be run, or an empty string.

    Args:
        model: In evaluation mode; it stays as it is.
        blocks: Its pieces in order, whose names are those of modules; a piece of another name is passed over.
        whole: The bound of the network.
        input_size: (channels, height, width).

    Raises:
        CertificateError: A piece, or the whole, does what its bound excludes, or has another shape than modelled.
    """
    parameter = next(model.parameters(), torch.zeros(()))
    rounding = _ROUNDING[parameter.dtype]
    try:
        images = _images(model, input_size, parameter)
        seen = _run(model, [block.until or block.name for block in blocks], images)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        return f"the network cannot be run on an image of {'x'.join(map(str, input_size))}: {error}"
    before: _Seen | None = _Seen.of(images)
    last = seen.pop()
    if last is None or not bool(last.sizes.isfinite().all()):
        return "the network's result for an image of noise is not finite, or no tensor: it overflows"
    first = before
    for block, after in zip(blocks, seen, strict=True):
        if after is not None:
            _shaped(block, block.shape or ((None, *block.grid) if block.grid else None), after)
            if before is not None and not _reads_history(model, block):
                _compare(block, before, after, rounding)
        before = after
    if first is not None:
        _compare(whole, first, last, rounding)
    return ""


def _images(model: nn.Module, input_size: tuple[int, ...], like: Tensor) -> Tensor:
    """(2 P, ...): pairs beside each other."""
    noise = torch.randn(3, *input_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(like)
    zero, first, direction = noise[:1] * 0, noise[1:2], noise[2:3]
    length = torch.linalg.vector_norm(first) * 0.1
    with torch.enable_grad():
        for _ in range(_TURNS):
            x = first.clone().requires_grad_()
            value = _tensor(model(x.clone()))  # a copy, for the first module may work in place
            if not value.requires_grad:
                break
            step = direction * (length / torch.linalg.vector_norm(direction))
            moved = (_tensor(model(first + step)) - value).detach()
            (turned,) = torch.autograd.grad(value, x, moved, allow_unused=True)
            if turned is None or not bool(turned.isfinite().all()) or not bool(turned.any()):
                break
            direction = turned.detach()
    step = direction * (length / torch.linalg.vector_norm(direction))
    return torch.cat([zero, first, first, first + step, zero, 0.01 * step, 30 * first, 30 * first + 3 * step])


@torch.no_grad()
def _run(model: nn.Module, names: Sequence[str], images: Tensor) -> list[_Seen | None]:
    """What each named module, and the network last, returned; if called again, in the order of the calls."""
    modules = dict(model.named_modules(remove_duplicate=False))
    calls: dict[nn.Module, list[_Seen]] = {modules[name]: [] for name in names if name in modules}
    calls[model] = []

    def keep(module: nn.Module, _: Any, result: Any) -> None:
        while isinstance(result, list | tuple) and result:
            result = result[0]
        if isinstance(result, Tensor):
            calls[module].append(_Seen.of(result))  # at once: the next module may work in place

    run_hooked(model, images, [module.register_forward_hook(keep) for module in calls])
    taken = dict.fromkeys(calls, 0)
    found: list[_Seen | None] = []
    for name in names:
        module = modules.get(name)
        states = calls.get(module, []) if module is not None else []
        i = taken.get(module, 0) if module is not None else 0
        found.append(states[i] if i < len(states) else None)
        if module in taken:
            taken[module] += 1
    return [*found, calls[model][-1] if calls[model] else None]


def _tensor(result: Any) -> Tensor:
    if not isinstance(result, Tensor):
        raise ValueError(f"expected a network that returns a tensor, got {type(result).__name__}")
    return result


def _shaped(block: StepBound, modelled: Shape | None, after: _Seen) -> None:
    if modelled is None:
        return
    same = len(modelled) == len(after.shape) and all(a in (None, b) for a, b in zip(modelled, after.shape, strict=True))
    if not same:
        raise CertificateError(
            f"{block.name}: its bound is for a result of shape {_written(modelled)}, and it is "
            f"{_written(after.shape)}: what is modelled is not what the module computes, and nothing is certified"
        )


def _compare(block: StepBound, before: _Seen, after: _Seen, rounding: float) -> None:
    slack = rounding * (after.sizes + block.sensitivity * before.sizes)
    beyond = after.apart - block.sensitivity * before.apart - slack[0::2] - slack[1::2]
    worst = int(beyond.argmax())
    if float(beyond[worst]) > 0:
        quotient = float(after.apart[worst] / before.apart[worst])
        raise CertificateError(
            f"{block.name}: two inputs come {quotient:.6g} times as far apart, and its bound is "
            f"{block.sensitivity:.6g} ({block.theorem}): the module computes something else than "
            "what was bounded, and nothing is certified"
        )
    limit = block.growth * before.sizes + block.offset
    larger = after.sizes * (1 - rounding) - limit * (1 + rounding)
    worst = int(larger.nan_to_num(nan=-1.0).argmax())
    if float(larger[worst]) > 0:
        raise CertificateError(
            f"{block.name}: an input of size {float(before.sizes[worst]):.6g} gives one of "
            f"{float(after.sizes[worst]):.6g}, and its bound is {float(limit[worst]):.6g}: the module computes "
            "something else than what was bounded, and nothing is certified"
        )


def _reads_history(model: nn.Module, block: StepBound) -> bool:
    """Whether a piece acts on more than the state before it, so that its numbers say nothing of that alone."""
    return isinstance(dict(model.named_modules()).get(block.name), Block)


def _written(shape: Shape) -> str:
    return "x".join("?" if n is None else str(n) for n in shape)
