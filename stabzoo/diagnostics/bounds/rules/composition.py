"""Modules that are the composition of others, and residual blocks, by exact type: torch, timm and torchvision.

torchvision is no dependency: its classes are known where something else has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from timm.layers import ClassifierHead
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from timm.models import resnet
from torch import nn

__all__ = ["HasComposition", "Residual", "composition", "residual"]

Named = tuple[str, nn.Module]


@runtime_checkable
class HasComposition(Protocol):
    """A module that says of which modules, one after the other, it is the composition."""

    def composition(self) -> list[tuple[str, nn.Module]]:
        """Names (as in `named_modules`, if they are there) and modules, in the order in which they act."""
        ...


class Residual(NamedTuple):
    """x -> act(shortcut(x) + branch(x)); no shortcut is the identity."""

    branch: list[Named]
    shortcut: list[Named]
    act: Named


def _children(*names: str) -> Callable[[Any], list[Named]]:
    def of(module: Any) -> list[Named]:
        return [(name, getattr(module, name)) for name in names]

    return of


_LAYERS = ("layer1", "layer2", "layer3", "layer4")
_COMPOSITIONS: dict[tuple[str, str], Callable[[Any], list[Named]]] = {
    ("timm.models.resnet", "ResNet"): _children("conv1", "bn1", "act1", "maxpool", *_LAYERS, "global_pool", "fc"),
    ("torchvision.models.resnet", "ResNet"): lambda m: [
        *_children("conv1", "bn1", "relu", "maxpool", *_LAYERS, "avgpool")(m),
        ("flatten", nn.Flatten()),
        ("fc", m.fc),
    ],
}
_TORCHVISION = "torchvision.models.resnet"


def composition(module: nn.Module) -> list[Named] | None:
    """Return the modules that make up one, in the order in which they act; None where it is no known composition."""
    kind = type(module)
    if kind is nn.Sequential:
        names = list(module._modules)  # named_children leaves out a module that comes again
        return list(zip(names, cast(nn.Sequential, module), strict=True))
    if kind is ClassifierHead:
        return _children("global_pool", "drop", "fc", "flatten")(module)
    if kind is SelectAdaptivePool2d:
        return _children("pool", "flatten")(module)
    if "composition" in vars(kind) and isinstance(module, HasComposition):
        return module.composition()
    for (file, name), of in _COMPOSITIONS.items():
        if file in sys.modules and kind is getattr(sys.modules[file], name):
            return of(module)
    return None


def residual(module: nn.Module) -> Residual | None:
    """Read timm's and torchvision's BasicBlock and Bottleneck; None of other modules.

    Raises:
        ValueError: Of a block with attention, whose product with the state has no Lipschitz constant.
    """
    kind = type(module)
    if kind in (resnet.BasicBlock, resnet.Bottleneck):
        block = cast(Any, module)
        if block.se is not None:
            raise ValueError(
                f"{kind.__name__} with {type(block.se).__name__}: it multiplies the state by what it makes of the "
                "state, which has no Lipschitz constant"
            )
        names = ["conv1", "bn1", "act1", "conv2", "bn2", "act2", "aa", "conv3", "bn3"]
        if kind is resnet.BasicBlock:
            names = ["conv1", "bn1", "drop_block", "act1", "aa", "conv2", "bn2"]
        else:
            names.insert(5, "drop_block")
        branch = _children(*names)(block)
        if block.drop_path is not None:
            branch.append(("drop_path", block.drop_path))
        act = ("act2", block.act2) if kind is resnet.BasicBlock else ("act3", block.act3)
    elif _TORCHVISION in sys.modules and kind in _torchvision_blocks():
        block = cast(Any, module)
        relu = ("relu", block.relu)
        branch = [*_children("conv1", "bn1")(block), relu, *_children("conv2", "bn2")(block)]
        if hasattr(block, "conv3"):
            branch += [relu, *_children("conv3", "bn3")(block)]
        act = relu
    else:
        return None
    shortcut = [] if block.downsample is None else [("downsample", block.downsample)]
    return Residual(branch, shortcut, act)


def _torchvision_blocks() -> Sequence[type[nn.Module]]:
    file = sys.modules[_TORCHVISION]
    return file.BasicBlock, file.Bottleneck
