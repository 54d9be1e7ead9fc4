"""Derivatives and batches of a computation that itself sees plain tensors only: forward mode and ``torch.func``.

A solve decides by values how it continues, and a tensor that ``torch.func`` or forward mode has transformed does not
show them.  `plainly` runs it on what is underneath, and its derivatives by ordinary reverse mode, also underneath:

    vjp(u) = J^T u,    jvp(t) = d/du (J^T u) . t,    vmap: one run per sample

Each of these is again such a computation, so transforms nest to any depth, as far as reverse mode has derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch  # pyright: ignore[reportAttributeAccessIssue] -- the only way to see a transform inside
from torch.autograd import forward_ad

__all__ = ["apart", "is_transformed", "plainly", "refuse_legacy_batches"]

Run = Callable[..., tuple[Tensor, ...]]


def plainly(run: Run, *tensors: Tensor) -> tuple[Tensor, ...]:
    """``run(*tensors)``, where ``run`` gets plain tensors, whatever transforms these are under.

    Args:
        run: A function of its arguments alone, differentiable by autograd in those of floating-point type.
        tensors: Its arguments.
    """
    return _Plainly.apply(run, *tensors)


class _Plainly(torch.autograd.Function):
    @staticmethod
    def forward(run: Run, *tensors: Tensor) -> tuple[Tensor, ...]:
        return run(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.run, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad[1:]) if needed]
        pulled = plainly(_pulling(ctx.run, wanted, len(gradients)), *gradients, *ctx.saved_tensors)
        found = dict(zip(wanted, pulled, strict=True))
        return None, *(found.get(i) for i in range(len(ctx.saved_tensors)))

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        given = {i: tangent for i, tangent in enumerate(tangents[1:]) if tangent is not None}
        return plainly(_pushing(ctx.run, list(given)), *given.values(), *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        run, *tensors = args
        rows = [
            plainly(run, *(t if d is None else t.select(d, i) for t, d in zip(tensors, in_dims[1:], strict=True)))
            for i in range(info.batch_size)
        ]
        outputs = tuple(torch.stack(values) for values in zip(*rows, strict=True))
        return outputs, (0,) * len(outputs)


def _pulling(run: Run, wanted: Sequence[int], values: int) -> Run:
    """(u, x) -> J^T u, the part of the arguments ``wanted``; there is a u for each of ``values`` results of ``run``."""

    def pull(*given: Tensor) -> tuple[Tensor, ...]:
        further = torch.is_grad_enabled()
        with torch.enable_grad():
            x = apart(given[values:], wanted, further)
            leaves = [x[i] for i in wanted]
            return torch.autograd.grad(
                run(*x), leaves, given[:values], create_graph=further, allow_unused=True, materialize_grads=True
            )

    return pull


def _pushing(run: Run, moved: Sequence[int]) -> Run:
    """(t, x) -> J t, where t are tangents of the arguments ``moved``: J^T u is linear in u, and its transpose is J."""

    def push(*given: Tensor) -> tuple[Tensor, ...]:
        further = torch.is_grad_enabled()
        with torch.enable_grad():
            x = apart(given[len(moved) :], moved, further)
            values = run(*x)
            u = [torch.zeros_like(value, requires_grad=True) for value in values]
            leaves = [x[i] for i in moved]
            pulled = torch.autograd.grad(
                values, leaves, u, create_graph=True, allow_unused=True, materialize_grads=True
            )
            return torch.autograd.grad(
                pulled, u, given[: len(moved)], create_graph=further, allow_unused=True, materialize_grads=True
            )

    return push


def apart(tensors: Sequence[Tensor], varied: Sequence[int], further: bool) -> list[Tensor]:
    """The tensors, those ``varied`` as aliases: a derivative in one is none in what another depends on.

    With ``further`` they hang on the graph of the originals.
    """
    found = list(tensors)
    for i in varied:
        t = found[i]
        found[i] = t.view_as(t) if further and t.requires_grad else t.detach().requires_grad_()
    return found


def is_transformed(tensor: Tensor) -> bool:
    """Whether a transform of ``torch.func`` holds the tensor, or it is a dual number of forward mode."""
    return _functorch.is_functorch_wrapped_tensor(tensor) or (
        forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None
    )


def refuse_legacy_batches(gradient: Tensor) -> None:
    """Let all but one kind of gradient pass.

    Raises:
        NotImplementedError: ``gradient`` stands for several, as those of ``is_grads_batched`` and ``vectorize`` do.
    """
    if _functorch.is_legacy_batchedtensor(gradient):
        raise NotImplementedError(
            "expected one gradient at the solution of an implicit step, got the batch of is_grads_batched or "
            "vectorize=True; use torch.func.jacrev or torch.func.vmap, or call torch.autograd.grad once for each"
        )
