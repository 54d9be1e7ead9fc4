"""Modules that are the composition of others, and residual blocks, by exact type: torch, timm and torchvision.

torchvision is no dependency: its classes are known where something else has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from timm.layers import BatchNormAct2d, ClassifierHead, ConvNormAct
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from timm.models import _efficientnet_blocks as efficient
from timm.models import efficientnet, mobilenetv3, resnet
from torch import nn

__all__ = ["PRODUCT", "HasComposition", "Residual", "composition", "residual"]

Named = tuple[str, nn.Module]

PRODUCT = "it multiplies the state by what it makes of the state, which has no Lipschitz constant"
"""Why nothing is proved of attention and of channel gates: the derivative grows with the state."""


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
    ("torchvision.models.resnet", "ResNet"): lambda m: [
        *_children("conv1", "bn1", "relu", "maxpool", *_LAYERS, "avgpool")(m),
        ("flatten", nn.Flatten()),
        ("fc", m.fc),
    ],
}
_TORCHVISION = "torchvision.models.resnet"
_OF_TIMM: dict[type[nn.Module], Callable[[Any], list[Named]]] = {
    ClassifierHead: _children("global_pool", "drop", "fc", "flatten"),
    SelectAdaptivePool2d: _children("pool", "flatten"),
    ConvNormAct: _children("conv", "bn", "aa"),
    BatchNormAct2d: lambda m: [("affine", _affine(m)), *_children("drop", "act")(m)],
    resnet.ResNet: _children("conv1", "bn1", "act1", "maxpool", *_LAYERS, "global_pool", "fc"),
    efficientnet.EfficientNet: _children("conv_stem", "bn1", "blocks", "conv_head", "bn2", "global_pool", "classifier"),
    mobilenetv3.MobileNetV3: _children(
        *("conv_stem", "bn1", "blocks", "global_pool", "conv_head", "norm_head", "act2", "flatten", "classifier")
    ),
}
_BRANCHES: dict[type[nn.Module], tuple[str, ...]] = {
    efficient.ConvBnAct: ("conv", "bn1", "aa"),
    efficient.DepthwiseSeparableConv: ("conv_s2d", "bn_s2d", "conv_dw", "bn1", "aa", "se", "conv_pw", "bn2"),
    efficient.InvertedResidual: (
        *("conv_s2d", "bn_s2d", "conv_pw", "bn1", "conv_dw", "bn2", "aa", "se", "conv_pwl", "bn3"),
    ),
    efficient.EdgeResidual: ("conv_exp", "bn1", "aa", "se", "conv_pwl", "bn2"),
    efficient.UniversalInvertedResidual: (*("dw_start", "pw_exp", "dw_mid", "se", "pw_proj", "dw_end", "layer_scale"),),
}
"""timm's mobile blocks: what acts one after the other, and where ``has_skip`` is true is added to the state."""


def composition(module: nn.Module) -> list[Named] | None:
    """Return the modules that make up one, in the order in which they act; None where it is no known composition."""
    kind = type(module)
    if kind is nn.Sequential:
        names = list(module._modules)  # named_children leaves out a module that comes again
        return list(zip(names, cast(nn.Sequential, module), strict=True))
    if kind in _OF_TIMM:
        return [(name, part) for name, part in _OF_TIMM[kind](module) if part is not None]
    if kind in _BRANCHES and not cast(Any, module).has_skip:
        return _branch(module)
    if "composition" in vars(kind) and isinstance(module, HasComposition):
        return module.composition()
    for (file, name), of in _COMPOSITIONS.items():
        if file in sys.modules and kind is getattr(sys.modules[file], name):
            return of(module)
    return None


def _affine(module: Any) -> nn.BatchNorm2d:
    """The batch norm that one with an activation begins with, with the same numbers."""
    plain = nn.BatchNorm2d(module.num_features, module.eps, module.momentum)
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(plain, name, getattr(module, name))
    return plain.train(module.training)


def _branch(module: nn.Module) -> list[Named]:
    parts = ((name, getattr(module, name)) for name in _BRANCHES[type(module)])
    return [(name, part) for name, part in parts if part is not None]


def residual(module: nn.Module) -> Residual | None:
    """Read timm's and torchvision's BasicBlock and Bottleneck, and timm's mobile blocks; None of other modules.

    Raises:
        ValueError: Of per block with attention, whose product with the state has no Lipschitz constant.
    """
    kind = type(module)
    if kind in _BRANCHES:
        return Residual([*_branch(module), ("drop_path", cast(Any, module).drop_path)], [], ("", nn.Identity()))
    if kind in (resnet.BasicBlock, resnet.Bottleneck):
        block = cast(Any, module)
        if block.se is not None:
            raise ValueError(f"{kind.__name__} with {type(block.se).__name__}: {PRODUCT}")
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
