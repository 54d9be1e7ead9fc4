"""Certificates that cannot be fooled: whatever makes a network compute something else is refused, or found out."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator

import pytest
import timm
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from fixtures.messages import raises, says
from stabzoo.diagnostics import conv_norm, forward_bounds, layer_norms, sensitivity_attack
from stabzoo.diagnostics.bounds import parts
from stabzoo.diagnostics.bounds.step_bound import StepBound
from stabzoo.errors import CertificateError

FAMILIES = {
    "stable_resnet_s11_cert": {"width": 2, "img_size": 8},
    "stable_resnet_s11": {"width": 2, "img_size": 8},
    "stable_resnet_d18": {"width": 2, "img_size": 8},
    "postresnet20": {"width": 2},
    "preresnet20": {"width": 2},
    "zerosnet20_opt": {"width": 2},
    "zerosnet20_tra": {"width": 2},
    "lmresnet20": {"width": 2},
    "resnet18": {"block_args": {}, "channels": (2, 2, 2, 2), "stem_width": 2},
}
SIDE = 8


def network(family: str) -> nn.Module:
    """A narrow one, in evaluation mode."""
    torch.manual_seed(0)
    options = dict(FAMILIES[family])
    if family == "resnet18":
        return torchvision_like()
    return timm.create_model(family, num_classes=4, **options).eval()


def torchvision_like() -> nn.Module:
    """timm's ResNet of four narrow blocks, basic ones and bottlenecks."""
    from timm.models.resnet import BasicBlock, Bottleneck, ResNet

    blocks = [BasicBlock, Bottleneck, BasicBlock, Bottleneck]
    return ResNet(blocks, (1, 1, 1, 1), num_classes=4, channels=(2, 2, 2, 2), stem_width=2).eval()


def hundredfold(model: nn.Module, name: str) -> None:
    """Make a module's class one derived from it that returns 100 times as much."""

    def forward(self: nn.Module, *args: object, **kwargs: object) -> object:
        result = kind.forward(self, *args, **kwargs)
        return [100 * y for y in result] if isinstance(result, list) else 100 * result

    module = model.get_submodule(name)
    kind = type(module)
    module.__class__ = type("Hundredfold", (kind,), {"forward": forward, "__module__": __name__})


def called(model: nn.Module) -> list[str]:
    """The modules that run, by name."""
    names: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: names.append(name)) for name, module in model.named_modules()
    ]
    with torch.no_grad():
        model(torch.randn(2, 3, SIDE, SIDE))
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys(names))


def representatives(model: nn.Module) -> list[str]:
    """One name for each class of module and place in the network: the first block that has it stands for all."""
    seen: dict[tuple[object, ...], str] = {}
    for name in called(model):
        place = tuple(part for part in name.split(".") if not part.isdigit())
        seen.setdefault((type(model.get_submodule(name)), *place), name)
    return list(seen.values())


def survivors(family: str, choose: Callable[[nn.Module], list[str]]) -> Iterator[str]:
    """Modules whose replacement keeps a finite bound."""
    sound = network(family)
    assert math.isfinite(forward_bounds(sound, (3, SIDE, SIDE)).sensitivity.value)
    for name in choose(sound):
        model = network(family)
        hundredfold(model, name)
        bounds = forward_bounds(model, (3, SIDE, SIDE))
        if math.isfinite(bounds.sensitivity.value) or not bounds.refused:
            yield f"{family}: {name or 'the network'}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_module_replaced_by_one_that_multiplies_by_100_is_refused(family: str) -> None:
    """Of each class and place one."""
    assert list(survivors(family, representatives)) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_module_replaced_by_one_that_multiplies_by_100_is_refused(family: str) -> None:
    """All that run."""
    assert list(survivors(family, called)) == []
