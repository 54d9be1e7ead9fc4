"""Whether a network computes what the classes of its modules say, in an arithmetic that a certificate is about.

A rule knows a module by its exact class. Everything that may make an instance compute something else is looked for
here: hooks (of modules, and those of torch that act on all modules), methods replaced on the instance, compiled or
autocast execution, weights that no real arithmetic has. What is found is a sentence; an empty one means that nothing
was.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrizations, parametrize

__all__ = ["altered", "frozen", "unprovable"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")


def altered(module: nn.Module) -> str:
    """Return why a module, or one within it, may not compute what its class says; an empty string if nothing is known.

    A parametrization counts as an alteration, for it is a computation of its own: see `frozen`.
    """
    if any(getattr(torch_module, name) for name in _GLOBAL_HOOKS):
        return "torch has global forward hooks, which may change what every module computes: remove them"
    for name, part in module.named_modules():
        if reason := _altered(part):
            return f"{name}: {reason}" if name else reason
    return ""


def _altered(part: nn.Module) -> str:
    kind = type(part)
    if any(getattr(part, name) for name in _HOOKS):
        return f"{kind.__name__} has forward hooks, which may change what it computes"
    for name, value in vars(part).items():
        replaced = callable(getattr(kind, name, None)) and not isinstance(value, nn.Module)
        if replaced or (name == "_compiled_call_impl" and value is not None):
            what = "a compiled forward" if name == "_compiled_call_impl" else f"a {name} of its own"
            return f"{kind.__name__} has {what}, which may compute anything: certify the module as its class has it"
    if parametrize.is_parametrized(part):
        return f"{kind.__name__} has parametrizations"
    return ""


def unprovable(model: nn.Module) -> str:
    """Return why nothing is proved of a network in the arithmetic it computes in; an empty string if nothing is known.

    The bounds are about real arithmetic, and rounding in float32 or float64 is far below what they leave open. In half
    precision it is not: a rounding of 1/256 of a bias of 1000 moves two images apart that differ by 0.2.
    """
    device = next((tensor.device.type for tensor in model.parameters()), "cpu")
    if torch.is_autocast_enabled(device):
        return "autocast is on, so the network computes in half precision: certify it outside of autocast"
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_complex():
            return f"{name} is {_name(tensor.dtype)}: expected real weights"
        if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
            return (
                f"{name} is {_name(tensor.dtype)}: rounding in that arithmetic may move two images further apart "
                "than any bound in real arithmetic; certify model.float(), and run that"
            )
        if tensor.is_quantized or tensor.layout != torch.strided:
            return (
                f"{name} is a {'quantized' if tensor.is_quantized else 'sparse'} tensor: expected dense float weights"
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return f"{name} has NaN or infinite entries: nothing is bounded; look at the training"
    return ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def frozen(model: nn.Module) -> nn.Module:
    """Return the network with each parametrized weight replaced by its value; itself where it has none.

    Raises:
        ValueError: A parametrization is not one of torch.nn.utils.parametrizations, or its class computes otherwise.
    """
    parametrized = [(n, m) for n, m in model.named_modules() if parametrize.is_parametrized(m)]
    for name, part in parametrized:
        weights = cast(nn.ModuleDict, part.parametrizations)
        # torch makes the class on the fly, with a property for each weight; a subclass of it has more
        own = {n for n in vars(type(part)) if not n.startswith("__")} - set(weights)
        if (
            own
            or type(part).__name__ != f"Parametrized{type(part).__bases__[0].__name__}"
            or "__call__" in vars(type(part))
        ):
            raise ValueError(f"{name}: {type(part).__name__} is a subclass of a parametrized module")
        for weight, steps in weights.items():
            for step in cast(Any, steps):
                if type(step).__module__ != parametrizations.__name__ or step.training:
                    raise ValueError(
                        f"{name}.{weight} is parametrized by {type(step).__name__}, which may compute anything: "
                        "bake it in with torch.nn.utils.parametrize.remove_parametrizations"
                    )
    if not parametrized:
        return model
    plain = copy.deepcopy(model)
    for name, part in parametrized:
        # not remove_parametrizations, which takes the properties off the class, and the network itself shares that
        fixed = plain.get_submodule(name)
        values = {
            weight: getattr(part, weight).detach().clone() for weight in cast(nn.ModuleDict, part.parametrizations)
        }
        fixed.__class__ = type(part).__bases__[0]
        del fixed.parametrizations
        for weight, value in values.items():
            fixed.register_parameter(weight, nn.Parameter(value, requires_grad=False))
    return plain
