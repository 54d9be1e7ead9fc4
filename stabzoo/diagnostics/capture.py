"""Running a network and keeping what some of its modules return; which modules those are, in any timm or torch model.

A model is run in evaluation mode and without gradients, and every module's training flag is as before afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = [
    "PENULTIMATE",
    "evaluating",
    "feature_layers",
    "in_parts",
    "named_modules_of",
    "noted",
    "outputs",
    "pair_distances",
    "residual_blocks",
    "run_hooked",
]

Noted = TypeVar("Noted")

PIXELS = 2**18
"""Of the images that pass at once: 256 of 32x32, five of 224x224."""

PENULTIMATE = "penultimate"
"""Name of the features that the classifier reads."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each module's own training flag again afterwards."""
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in training:
            module.training = flag


def run_hooked(model: nn.Module, x: Tensor, handles: Iterable[RemovableHandle]) -> None:
    """Run ``model`` on ``x`` once, in evaluation mode and without gradients; its hooks ``handles`` are removed then."""
    with ExitStack() as hooks, evaluating(model), torch.no_grad():
        for handle in handles:
            hooks.callback(handle.remove)
        model(x)


def in_parts(x: Tensor) -> tuple[Tensor, ...]:
    """Images (B, C, H, W) in batches of at most `PIXELS`: what is computed of them must fit in memory."""
    return x.split(max(1, PIXELS // max(1, x[0, :1].numel())))


def outputs(model: nn.Module, x: Tensor, names: Sequence[str]) -> list[tuple[str, Tensor]]:
    """What the modules ``names`` return for the batch ``x``, in the order in which they finish, as `noted` finds it."""
    return noted(model, x, names, Tensor.clone)  # a copy: the next module may work in place


def noted(
    model: nn.Module, x: Tensor, names: Sequence[str], note: Callable[[Tensor], Noted]
) -> list[tuple[str, Noted]]:
    """A ``note`` of what each of the modules ``names`` returns for the batch ``x``, in the order in which they finish.

    Of a module that returns a list, such as a block with its history, the first entry: the newest state.  A module
    that is called again is listed as ``name (2)``.  `PENULTIMATE` names the input of the classifier.

    Raises:
        ValueError: the model has no such module, it returns no tensor, or it was not called.
    """
    found: list[tuple[str, Noted]] = []
    calls: dict[str, int] = {}

    def keep(name: str, result: Any) -> None:
        while isinstance(result, list | tuple) and result:
            result = result[0]
        if not isinstance(result, Tensor):
            raise ValueError(f"{name}: expected a module that returns a tensor, got {type(result).__name__}")
        calls[name] = calls.get(name, 0) + 1
        found.append((name if calls[name] == 1 else f"{name} ({calls[name]})", note(result.detach())))

    modules = named_modules_of(model, [name for name in names if name != PENULTIMATE])
    classifier = _classifier(model) if PENULTIMATE in names else model
    handles = [
        module.register_forward_hook(lambda _m, _a, result, name=name: keep(name, result))
        for name, module in modules.items()
    ]
    if PENULTIMATE in names:
        handles.append(classifier.register_forward_pre_hook(lambda _m, args: keep(PENULTIMATE, args)))
    run_hooked(model, x, handles)
    silent = [name for name in names if name not in calls]
    if silent:
        raise ValueError(f"{', '.join(silent)}: not called when the model runs; name modules that the model calls")
    return found


def pair_distances(pair: Tensor) -> tuple[Tensor, Tensor]:
    """||x - y|| and ||x||, (B,) float64 each, of the states x, in the first half of a batch, and y, in the second.

    Differences are rounded as the states themselves are, each to within a unit of its own last place.
    """
    clean, other = pair.flatten(1).chunk(2)
    distance, size = (torch.linalg.vector_norm(states, dim=1, dtype=torch.float64) for states in (clean - other, clean))
    return distance, size


def named_modules_of(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """The modules of these names.

    Raises:
        ValueError: the model has no module of a name.
    """
    modules = dict(model.named_modules())
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: expected names of modules of {type(model).__name__}; see model.named_modules()"
        )
    return {name: modules[name] for name in names}


def residual_blocks(model: nn.Module) -> list[str]:
    """Names of the model's blocks, in order.

    A block is a module with modules of its own that stands in an ``nn.Sequential`` or ``nn.ModuleList``, is neither of
    the two, and holds no such module itself: ``stages.0.blocks.0`` here, ``layer1.0`` in timm's ResNet, ``blocks.0`` in
    its vision transformer.

    Raises:
        ValueError: the model has none.
    """
    containers = (nn.Sequential, nn.ModuleList)
    parents = {name: module for name, module in model.named_modules() if isinstance(module, containers)}
    candidates = [
        name
        for name, module in model.named_modules()
        if not isinstance(module, containers)
        and name.rpartition(".")[0] in parents
        and name
        and any(True for _ in module.children())
    ]
    blocks = [name for name in candidates if not any(other.startswith(f"{name}.") for other in candidates)]
    if not blocks:
        raise ValueError(
            f"{type(model).__name__}: found no blocks (modules with modules of their own, in an nn.Sequential or "
            "nn.ModuleList); name the modules to look at in blocks="
        )
    return blocks


def feature_layers(model: nn.Module, x: Tensor) -> list[str]:
    """Names of the modules whose features stand before each downsampling, and `PENULTIMATE`.

    With timm's ``feature_info``: of each resolution the last feature.  Without: of the modules that return a feature
    map (B, C, H, W) of a resolution those least deeply nested, and of these the last to finish when ``x`` passes.

    Raises:
        ValueError: the model has no classifier, or returns no feature map anywhere.
    """
    for prefix, module in model.named_modules():  # a wrapper that normalises pixels has it further inside
        infos = getattr(module, "feature_info", None)
        if infos is not None:
            entries = infos if isinstance(infos, list) else infos.info
            last = {entry["reduction"]: str(entry["module"]) for entry in entries}
            return [f"{prefix}.{name}" if prefix else name for name in last.values()] + _penultimate(model)
    shallowest: dict[tuple[int, ...], str] = {}

    def see(name: str, result: Any) -> None:
        if isinstance(result, Tensor) and result.ndim == 4:
            best = shallowest.get(tuple(result.shape[2:]))
            if best is None or name.count(".") <= best.count("."):
                shallowest[tuple(result.shape[2:])] = name

    handles = [
        module.register_forward_hook(lambda _m, _a, result, name=name: see(name, result))
        for name, module in model.named_modules()
        if name
    ]
    run_hooked(model, x, handles)
    if not shallowest:
        raise ValueError(
            f"{type(model).__name__}: no module returns a feature map (B, C, H, W); name the modules in layers="
        )
    return list(shallowest.values()) + _penultimate(model)


def _penultimate(model: nn.Module) -> list[str]:
    try:
        _classifier(model)
    except ValueError:
        return []
    return [PENULTIMATE]


def _classifier(model: nn.Module) -> nn.Module:
    """The module that reads the penultimate features: timm's classifier, else the last linear layer."""
    for module in model.modules():
        get = getattr(module, "get_classifier", None)
        if callable(get) and isinstance(classifier := get(), nn.Module):
            return classifier
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(
            f"{type(model).__name__}: has no classifier (neither get_classifier() nor an nn.Linear), so no "
            f"{PENULTIMATE} features; name the modules in layers="
        )
    return linear[-1]
