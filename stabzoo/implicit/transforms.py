"""What a solved step is not differentiated by: ``torch.func`` transforms and forward mode, refused by name."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch._C import _functorch  # pyright: ignore[reportAttributeAccessIssue] -- the only way to see a transform inside
from torch.autograd import forward_ad

__all__ = ["refuse_batched_gradients", "refuse_transforms"]


def refuse_transforms(tensors: Iterable[Tensor]) -> None:
    """Let plain tensors pass.

    A solve decides by values how it continues, and a transformed tensor does not show them: its derivatives are those
    of the implicit function theorem, and only reverse mode has them here.

    Raises:
        NotImplementedError: one of ``tensors`` is transformed by ``torch.func``, or a dual number.
    """
    for tensor in tensors:
        if transformed := kind_of(tensor):
            raise NotImplementedError(
                f"expected plain tensors in a solved implicit step, got {transformed}; use backward() or "
                "torch.autograd.grad, which give derivatives of any order, also of torch.func.functional_call; or a "
                "step that is not solved, solver={'fixed_iterations': K}, which every transform takes"
            )


def refuse_batched_gradients(gradient: Tensor) -> None:
    """Let a plain gradient pass.

    Raises:
        NotImplementedError: ``gradient`` stands for several, as those of ``is_grads_batched`` and ``vectorize`` do.
    """
    if transformed := kind_of(gradient):
        raise NotImplementedError(
            f"expected one gradient at the solution of an implicit step, got {transformed}; call backward() or "
            "torch.autograd.grad once for each, without is_grads_batched, vectorize or torch.func.vmap"
        )


def kind_of(tensor: Tensor) -> str:
    """How a tensor was transformed, in words; empty for a plain one."""
    if _functorch.is_batchedtensor(tensor) or _functorch.is_legacy_batchedtensor(tensor):
        return "a batch of vmap"
    if _functorch.is_functorch_wrapped_tensor(tensor):
        return "a tensor of a torch.func transform (grad, vjp, jvp or what is made of them)"
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None:
        return "a dual number of forward-mode derivatives"
    return ""
