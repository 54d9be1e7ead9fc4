"""Certificates that cannot be fooled: whatever makes a network compute something else is refused, or found out."""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, Linear
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from timm.models import _efficientnet_blocks as mobile
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.utils import parametrizations, parametrize

from fixtures.messages import raises, says
from stabzoo.diagnostics import conv_norm, forward_bounds, layer_norms, sensitivity_attack
from stabzoo.diagnostics.bounds import parts
from stabzoo.diagnostics.bounds.network import ForwardBounds
from stabzoo.diagnostics.bounds.rules import activations
from stabzoo.diagnostics.bounds.step_bound import StepBound
from stabzoo.errors import CertificateError
from stabzoo.networks.resnet import DiscretizedResNet

FAMILIES = (
    "stable_resnet_s11_cert",
    "cpl_resnet11",
    "sll_resnet11",
    "aol_net11",
    "sandwich_net11",
    "stable_resnet_s11",
    "stable_resnet_d18",
    "postresnet20",
    "preresnet20",
    "zerosnet20_opt",
    "zerosnet20_tra",
    "lmresnet20",
    "timm's resnet",
    "torchvision's blocks",
    "timm's mobile blocks",
    "stack",
)
SIDE = 4


def network(family: str) -> nn.Module:
    """A narrow one, in evaluation mode."""
    torch.manual_seed(0)
    if family == "timm's resnet":
        blocks = [BasicBlock, Bottleneck, BasicBlock, Bottleneck]
        return ResNet(blocks, (1, 1, 1, 1), num_classes=4, channels=(2, 2, 2, 2), stem_width=2).eval()  # type: ignore[arg-type]
    if family == "torchvision's blocks":
        resnet = pytest.importorskip("torchvision").models.resnet
        shortcut = nn.Sequential(nn.Conv2d(4, 4, 1, 2), nn.BatchNorm2d(4))
        blocks = [resnet.BasicBlock(4, 4, 2, shortcut), resnet.Bottleneck(4, 1)]
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    if family == "timm's mobile blocks":
        return nn.Sequential(
            mobile.ConvBnAct(3, 4, 3),
            mobile.DepthwiseSeparableConv(4, 4),
            AvgPool2dSame(3, 2),
            mobile.InvertedResidual(4, 4, exp_ratio=2.0, pad_type="same"),
            mobile.EdgeResidual(4, 4, exp_ratio=2.0, act_layer=nn.SiLU),
            mobile.UniversalInvertedResidual(4, 4, dw_kernel_size_start=3, exp_ratio=2.0, layer_scale_init_value=0.5),
            MaxPool2dSame(3, 2),
            BatchNormAct2d(4, act_layer=nn.Hardswish),
            nn.Flatten(),
            Linear(4, 4),
        ).eval()
    if family == "stack":
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
            nn.BatchNorm2d(4),
            nn.GELU(),
            Conv2dSame(4, 4, 3, stride=2),
            nn.LeakyReLU(0.1),
            nn.ConvTranspose2d(4, 4, 2, stride=2),
            nn.SiLU(),
            nn.PixelUnshuffle(2),
            nn.MaxPool2d(2),
            nn.Dropout(0.1),
            nn.Flatten(),
            nn.Linear(16, 4),
        ).eval()
    sized = {"img_size": SIDE} if family.startswith(("stable", "cpl", "sll", "aol", "sandwich")) else {}
    model = timm.create_model(family, num_classes=4, width=2, **sized)
    if type(model) is DiscretizedResNet:
        model = DiscretizedResNet(model.scheme, (3, 1, 1), num_classes=4, width=2)
    return model.eval()


@contextmanager
def hundredfold(model: nn.Module, name: str) -> Iterator[None]:
    """A module's class is one derived from it that returns 100 times as much."""

    def forward(self: nn.Module, *args: object, **kwargs: object) -> object:
        result = kind.forward(self, *args, **kwargs)
        return [100 * y for y in result] if isinstance(result, list) else 100 * result

    module = model.get_submodule(name)
    kind = type(module)
    module.__class__ = type("Hundredfold", (kind,), {"forward": forward})
    try:
        yield
    finally:
        module.__class__ = kind


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


def survivors(family: str, choose: Callable[[nn.Module], list[str]]) -> list[str]:
    """Modules whose replacement keeps a finite bound."""
    model, found = network(family), []
    assert math.isfinite(bounded(model).sensitivity.value)
    for name in choose(model):
        with hundredfold(model, name):
            bounds = bounded(model)
        if math.isfinite(bounds.sensitivity.value) or not bounds.refused:
            found.append(name or "the network")
    return found


def bounded(model: nn.Module, *input_size: int) -> ForwardBounds:
    """Its bounds on small images."""
    channels, height, width = input_size or (3, SIDE, SIDE)
    return forward_bounds(model, (channels, height, width))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_module_replaced_by_one_that_multiplies_by_100_is_refused(family: str) -> None:
    """Of each class and place one."""
    assert survivors(family, representatives) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_module_replaced_by_one_that_multiplies_by_100_is_refused(family: str) -> None:
    """All that run."""
    assert survivors(family, called) == []


def at_zero(model: nn.Module, *shape: int) -> float:
    """||f(0)||."""
    zero = torch.zeros(1, *shape, dtype=next(model.parameters()).dtype)
    with torch.no_grad():
        return float(model(zero).double().norm())


# What is done to a sound network, and what the refusal says.


def _replaced_method(model: Any) -> None:
    model.forward_head = types.MethodType(lambda self, x, pre_logits=False: 100 * self.head(x), model)


def _replaced_branch(model: Any) -> None:
    block = model.stages[0].blocks[0]
    block.branch = lambda y: 100 * type(block).branch(block, y)


def _replaced_conv_forward(model: Any) -> None:
    conv = model.stem.conv
    conv._conv_forward = lambda x, w, b: 100 * nn.Conv2d._conv_forward(conv, x, w, b)


def _property(model: Any) -> None:
    head = copy.deepcopy(model.head)
    model.__class__ = type(
        "Sly", (type(model),), {"head": property(lambda self: lambda x, pre_logits=False: 100 * head(x))}
    )


def _call(model: Any) -> None:
    model.__class__ = type("Sly", (type(model),), {"__call__": lambda self, x: 100 * self.forward(x)})


def _stages(model: Any) -> None:
    kind = type("Sly", (nn.ModuleList,), {"__iter__": lambda self: iter(list(nn.ModuleList.__iter__(self))[:1])})
    model.stages.__class__ = kind


def _parametrized(model: Any) -> None:
    class Hundred(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return 100 * weight

    parametrize.register_parametrization(model.stem.conv, "weight", Hundred().eval())


def _parametrized_subclass(model: Any) -> None:
    parametrizations.orthogonal(model.head.fc)
    model.eval()
    kind = type(model.head.fc)
    model.head.fc.__class__ = type("Sly", (kind,), {"forward": lambda self, x: 100 * kind.forward(self, x)})


def _compiled(model: Any) -> None:
    model.head.compile(backend="eager")


def _nan(model: Any) -> None:
    model.stem.conv.weight.data[0, 0, 0, 0] = math.nan


def _infinite_buffer(model: Any) -> None:
    model.register_buffer("scale", torch.tensor(math.inf))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (_replaced_method, ("forward_head",)),
        (_replaced_branch, ("stages.0.blocks.0", "branch")),
        (_replaced_conv_forward, ("stem.conv", "_conv_forward")),
        (_property, ("Sly", "head")),
        (_call, ("Sly", "__call__")),
        (_stages, ("stages", "Sly")),
        (_parametrized, ("stem.conv.weight", "Hundred", "remove_parametrizations")),
        (_parametrized_subclass, ("head.fc", "subclass")),
        (_compiled, ("head", "compiled")),
        (_nan, ("stem.conv.weight", "NaN")),
        (_infinite_buffer, ("scale", "infinite")),
        (lambda m: m.half(), ("float16", "float()")),
        (lambda m: m.bfloat16(), ("bfloat16", "float()")),
    ],
)
def test_what_changes_a_network_is_refused(change: Callable[[nn.Module], object], facts: tuple[str, ...]) -> None:
    """With its place and the reason."""
    model = network("stable_resnet_s11_cert")
    change(model)
    bounds = bounded(model)
    assert bounds.sensitivity.value == bounds.growth.value == bounds.offset.value == math.inf
    says(bounds.sensitivity.note, *facts)


@pytest.mark.parametrize("register", [register_module_forward_hook, register_module_forward_pre_hook])
def test_global_hooks_and_autocast_are_refused(register: Callable[..., Any]) -> None:
    """They act on every module, and none of them shows it."""
    model = network("stack")
    handle = register(lambda *_: None)
    try:
        says(bounded(model).sensitivity.note, "global", "hooks")
    finally:
        handle.remove()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        says(bounded(model).sensitivity.note, "autocast")
    assert math.isfinite(bounded(model).sensitivity.value)


def test_torchs_parametrizations_are_bounded_by_what_the_module_computes() -> None:
    """Also where they are not at rest: the weight is the one that the network runs with."""
    model = nn.Sequential(nn.Flatten(), parametrizations.spectral_norm(nn.Linear(12, 12)), nn.ReLU()).eval()
    bound = bounded(model, 3, 2, 2).sensitivity.value
    norm = float(torch.linalg.matrix_norm(model[1].weight.detach().double(), 2))
    assert norm <= bound <= norm * (1 + 1e-8)
    assert parametrize.is_parametrized(model[1])


def test_a_replaced_buffer_is_read() -> None:
    """Statistics as they are now; those that give no scale are refused."""
    norm = nn.BatchNorm2d(2).eval()
    norm.running_var = torch.tensor([1.0, 1e-4])
    assert bounded(nn.Sequential(norm).eval(), 2, 3, 3).sensitivity.value == pytest.approx(
        1 / math.sqrt(1.1e-4), rel=1e-3
    )
    norm.running_var = torch.tensor([1.0, -1.0])
    says(bounded(nn.Sequential(norm).eval(), 2, 3, 3).sensitivity.note, "variance")


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
@pytest.mark.parametrize("attribute", ["padding", "stride", "dilation"])
def test_a_convolution_is_read_as_its_forward_reads_it(mode: str, attribute: str) -> None:
    """Attributes changed after construction, as libraries do to replace strides by dilation."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 2, 3, padding=1, padding_mode=mode)
    setattr(conv, attribute, (2, 2))
    model = nn.Sequential(conv).double().eval()
    matrix = torch.autograd.functional.jacobian(lambda z: model(z[None])[0].flatten(), torch.zeros(2, 6, 6).double())
    norm = float(torch.linalg.matrix_norm(matrix.flatten(1), 2))
    bounds = bounded(model, 2, 6, 6)
    assert norm <= bounds.sensitivity.value <= 3 * norm
    assert bounds.blocks[0].shape == tuple(model(torch.zeros(1, 2, 6, 6).double()).shape[1:])
    assert at_zero(model, 2, 6, 6) <= bounds.offset.value


def test_a_linear_layer_on_an_image_adds_its_bias_at_every_position() -> None:
    """At C H positions, that is."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Linear(1, 5)).eval()
    bounds = bounded(model, 30, 8, 8)
    size = at_zero(model, 30, 8, 8)
    assert size <= bounds.offset.value <= size * (1 + 1e-5)
    assert bounds.blocks[-1].shape == (30, 1, 5)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Conv2d(1, 1, 1, dtype=torch.complex64), "complex64"),
        (nn.Conv3d(1, 1, 1), "Conv3d"),
        (nn.ConvTranspose3d(1, 1, 1), "ConvTranspose3d"),
        (nn.Linear(1, 1), "Linear"),
    ],
)
@pytest.mark.filterwarnings("ignore:Complex modules")
def test_conv_norm_refuses_what_it_does_not_measure(module: Any, reason: str) -> None:
    """Instead of a number of another operator."""
    with raises(ValueError, reason):
        conv_norm(module, (4, 4))


def test_conv_norm_refuses_a_forward_of_its_own() -> None:
    """Standardised convolutions of timm have another weight than they show."""
    with raises(ValueError, "StdConv2d", "forward"):
        conv_norm(timm.layers.StdConv2d(2, 2, 3), (4, 4))


@pytest.mark.parametrize(
    ("stride", "more", "groups", "dilation"), [(1, 0, 1, 1), (2, 1, 1, 1), (3, 2, 2, 1), (2, 0, 1, 2)]
)
def test_transposed_convolutions(stride: int, more: int, groups: int, dilation: int) -> None:
    """Their norm is that of the convolution whose adjoint they are, their bias is added at every pixel of the result."""
    torch.manual_seed(0)
    conv = nn.ConvTranspose2d(2, 4, 3, stride, 1, more, groups, True, dilation).double()
    zero = torch.zeros(2, 5, 4).double()
    matrix = torch.autograd.functional.jacobian(lambda z: conv(z[None])[0].flatten(), zero).flatten(1)
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    assert norm <= conv_norm(conv, (5, 4)).value <= 1.3 * norm
    bounds = bounded(nn.Sequential(conv).eval(), 2, 5, 4)
    size = at_zero(conv, 2, 5, 4)
    assert bounds.blocks[0].shape == tuple(conv(zero[None]).shape[1:])
    assert size <= bounds.offset.value <= size * (1 + 1e-5)
    assert norm <= bounds.sensitivity.value


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
@pytest.mark.parametrize(("kernel", "padding", "stride", "dilation"), [(3, 1, 1, 1), (5, 2, 2, 1), (3, 2, 1, 2)])
def test_copying_padding_is_enclosed(mode: str, kernel: int, padding: int, stride: int, dilation: int) -> None:
    """To 1e-6, where the factorisation is small; so is the norm of a mean, which grows most at the edge."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, kernel, stride, padding, dilation, bias=False, padding_mode=mode, dtype=torch.float64)
    for weight in (conv.weight.detach().clone(), torch.ones_like(conv.weight)):
        conv.weight.data.copy_(weight)
        zero = torch.zeros(2, 7, 6).double()
        matrix = torch.autograd.functional.jacobian(lambda z: conv(z[None])[0].flatten(), zero).flatten(1)
        norm = float(torch.linalg.matrix_norm(matrix, 2))
        assert norm <= conv_norm(conv, (7, 6)).value <= norm * (1 + 3e-6)
        (layer,) = layer_norms(conv, (2, 7, 6))
        assert norm * (1 - 3e-6) <= layer.lower.value <= norm <= layer.upper.value


@pytest.mark.parametrize("side", [1, 5, 8])
def test_same_padding(side: int) -> None:
    """timm's, which depends on the size of the image."""
    torch.manual_seed(0)
    conv = Conv2dSame(2, 3, 3, stride=2, bias=False).double()
    zero = torch.zeros(2, side, side).double()
    matrix = torch.autograd.functional.jacobian(lambda z: conv(z[None])[0].flatten(), zero).flatten(1)
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    bounds = bounded(nn.Sequential(conv).eval(), 2, side, side)
    assert norm <= bounds.sensitivity.value <= 1.3 * norm
    assert bounds.blocks[0].grid == (-(-side // 2),) * 2
    (layer,) = layer_norms(conv, (2, side, side))
    assert layer.lower.value <= norm <= layer.upper.value


def test_same_padding_makes_large_kernels_fit_small_images() -> None:
    """A 5x5 kernel on 2x2 pixels, as in EfficientNets on small images: a number, no traceback."""
    model = nn.Sequential(Conv2dSame(3, 4, 3, stride=2), nn.ReLU(), Conv2dSame(4, 4, 5, groups=4)).eval()
    norms = layer_norms(model, (3, 4, 4), tight=False)
    assert [layer.grid for layer in norms] == [(4, 4), (2, 2)]
    assert all(math.isfinite(layer.upper.value) for layer in norms)


@pytest.mark.slow
def test_real_networks() -> None:
    """resnet18 of both zoos has a finite bound; the layers of a model with "same" padding are all measured."""
    models = pytest.importorskip("torchvision").models
    for model in (timm.create_model("resnet18", num_classes=10), models.resnet18(num_classes=10)):
        bounds = bounded(model.eval(), 3, 32, 32)
        attack = sensitivity_attack(model, torch.randn(2, 3, 32, 32), rounds=1, power=5, ascent=5)
        assert attack.sensitivity.value <= bounds.sensitivity.value < math.inf
    norms = layer_norms(timm.create_model("tf_efficientnet_lite0", num_classes=10).eval(), (3, 32, 32), tight=False)
    assert len(norms) >= 50
    assert all(math.isfinite(layer.upper.value) for layer in norms)


ACTIVATIONS = [
    (nn.GELU(), 1.1289041451851548),
    (nn.GELU("tanh"), 1.1289930686058772),
    (nn.SiLU(), 1.0998393201288669),
    (nn.LeakyReLU(0.1), 1.0),
    (nn.LeakyReLU(-2.0), 2.0),
    (nn.ELU(1.5), 1.5),
    (nn.Hardswish(), 1.5),
    (nn.Sigmoid(), 0.25),
    (nn.Hardsigmoid(), 1 / 6),
    (nn.Tanh(), 1.0),
    (nn.ReLU6(), 1.0),
    (nn.Hardtanh(), 1.0),
    (nn.PReLU(init=1.25), 1.25),
]


@pytest.mark.parametrize(("act", "constant"), ACTIVATIONS, ids=lambda x: str(x))
def test_the_constants_of_activations(act: nn.Module, constant: float) -> None:
    """The largest difference quotient of a fine grid reaches them, and none passes them; growth and value at 0 hold."""
    bound = activations.activation(act, (1,))
    x = torch.linspace(-12, 12, 480_001, dtype=torch.float64)
    y = act.double()(x).detach()
    largest = float((y.diff() / x.diff()).abs().max())
    assert largest <= bound.sensitivity * (1 + 1e-9)
    assert largest == pytest.approx(constant, rel=1e-4)
    assert constant <= bound.sensitivity <= constant * (1 + 2e-6)
    assert (y.abs() <= bound.growth * x.abs() + bound.offset + 1e-15).all()


def test_silus_constant_is_an_upper_bound_in_exact_arithmetic() -> None:
    """The sign of x tanh(x/2) - 2 changes its sign just below the argument that stands for its root: the constant is rounded up."""
    from flint import arb

    def above(x: arb) -> bool:
        return (x * (x / 2).tanh() - 2).lower() > 0

    x = arb(activations.SILU_ARGUMENT)
    assert not above(x - arb("1e-13"))
    assert above(x + arb("1e-13"))
    assert activations.SILU > 0.5 + (activations.SILU_ARGUMENT + 1e-13) / 4


@pytest.mark.parametrize("family", ["timm's resnet", "torchvision's blocks"])
def test_residual_networks_are_bounded(family: str) -> None:
    """By shortcut plus branch, above what an attack finds."""
    model = network(family)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    bounds = bounded(model, 3, 8, 8)
    attack = sensitivity_attack(model, torch.randn(4, 3, 8, 8), rounds=1, power=5, ascent=5)
    assert 0 < attack.sensitivity.value <= bounds.sensitivity.value < math.inf
    assert 0 < at_zero(model, 3, 8, 8) <= bounds.offset.value


def test_attention_in_a_residual_block_is_refused() -> None:
    """The product of the state with what is made of it has no Lipschitz constant."""
    model = ResNet([BasicBlock] * 4, (1, 1, 1, 1), channels=(8,) * 4, stem_width=2, block_args={"attn_layer": "se"})  # type: ignore[arg-type]
    says(bounded(model.eval()).sensitivity.note, "layer1.0", "SEModule")


def test_normalising_wrappers() -> None:
    """1/std is a factor, mean/std a part of the offset."""
    transforms = pytest.importorskip("torchvision").transforms
    inner = network("stable_resnet_s11_cert")
    model = nn.Sequential(transforms.Normalize([0.5, 0.4, 0.3], [0.5, 0.25, 0.2]), inner).eval()
    outside, inside = bounded(model), bounded(inner)
    assert outside.sensitivity.value == pytest.approx(5 * inside.sensitivity.value, rel=1e-6)
    assert [b.name for b in outside.blocks[:2]] == ["0", "1.stem.conv"]
    assert at_zero(model, 3, SIDE, SIDE) <= outside.offset.value


def test_conv1d_and_batch_norms_of_sequences() -> None:
    """On (channels, length), which a flattened image is."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 12)))
    says(bounded(model.eval()).sensitivity.note, "Unflatten")
    conv, norm = nn.Conv1d(2, 3, 3, padding=1).double(), nn.BatchNorm1d(3).double().eval()
    found = parts.sequence_bound([("conv", conv), ("norm", norm)], (2, 7))
    zero = torch.zeros(2, 7).double()
    matrix = torch.autograd.functional.jacobian(lambda z: norm(conv(z[None]))[0].flatten(), zero).flatten(1)
    assert float(torch.linalg.matrix_norm(matrix, 2)) <= found[0].sensitivity
    assert (found[0].shape, len(found)) == ((3, 7), 1)


def test_a_module_that_acts_twice_counts_twice() -> None:
    """One instance at two places of a sequence."""
    act = nn.LeakyReLU(3.0)
    bounds = bounded(nn.Sequential(act, nn.Flatten(), act).eval())
    assert bounds.sensitivity.value == pytest.approx(9, rel=1e-8)
    assert [block.name for block in bounds.blocks] == ["0", "1", "2"]


# The cross-examination.


def _too_small(kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch, **numbers: Any) -> None:
    monkeypatch.setitem(
        parts._RULES,
        kind,
        lambda module, shape: StepBound.of("a wrong rule", 0.01, shape, **{"growth": 1.0, **numbers}),
    )


def test_a_rule_that_is_wrong_is_found_out_and_the_module_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its constant, the size it allows, the shape it models."""
    model = network("stack")
    _too_small(nn.SiLU, monkeypatch)
    with raises(CertificateError, "6", "a wrong rule", "0.01"):
        bounded(model)
    monkeypatch.setitem(parts._RULES, nn.SiLU, lambda m, shape: StepBound.of("", 2.0, shape, growth=0.01))
    with raises(CertificateError, "6", "size"):
        bounded(model)
    monkeypatch.undo()
    monkeypatch.setitem(parts._RULES, nn.Linear, lambda m, shape: StepBound.of("", 9.0, (3,), offset=9.0))
    with raises(CertificateError, "11", "shape 3", "is 4"):
        bounded(model)


def test_a_class_that_was_changed_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No type shows that all GELUs of the process compute something else."""
    forward = nn.GELU.forward
    monkeypatch.setattr(nn.GELU, "forward", lambda self, x: 100 * forward(self, x))
    with raises(CertificateError, "2", "GELU"):
        bounded(network("stack"))


def test_a_certified_network_whose_class_was_changed_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a block of a whole network of the package."""
    model = network("stable_resnet_s11_cert")
    kind = type(model.stages[0].blocks[0])  # type: ignore[index, union-attr]
    forward = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, y, past: 100 * forward(self, y, past))
    with raises(CertificateError, "stages.0.blocks.0"):
        bounded(model)


def test_a_network_that_cannot_be_run_has_no_certificate() -> None:
    """The reason is the network's own."""
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(32, 4)).eval()
    assert math.isfinite(bounded(model).sensitivity.value)
    says(bounded(model, 3, 5, 5).sensitivity.note, "32", "features")


def test_the_examination_leaves_the_network_as_it_was() -> None:
    """Flags, gradients, weights, hooks."""
    model = network("timm's resnet")
    before = copy.deepcopy(model.state_dict())
    bounded(model)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert not any(p.grad is not None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_a_mobile_network_is_bounded_or_says_why_not() -> None:
    """Without gates it has a bound, however large; a gate, attention and a norm of the state are named where they are."""
    torch.manual_seed(0)
    plain = timm.create_model("tf_mobilenetv3_small_minimal_100", num_classes=3).eval()
    bounds = forward_bounds(plain, (3, 32, 32))
    assert math.isfinite(bounds.sensitivity.value)
    assert math.isfinite(bounds.growth.value)
    found = sensitivity_attack(plain, torch.randn(1, 3, 32, 32), rounds=0, power=2)
    assert bounds.sensitivity.value > found.sensitivity.value > 0
    for name, side, facts in (
        ("mobilenetv3_small_050", 32, ("blocks.0.0.se", "SqueezeExcite", "no Lipschitz constant")),
        ("test_vit", 160, ("blocks.0.norm1", "LayerNorm")),
        ("test_convnext", 32, ("stem.1", "LayerNorm2d")),
    ):
        refused = forward_bounds(timm.create_model(name, num_classes=3).eval(), (3, side, side))
        assert math.isinf(refused.sensitivity.value)
        says("; ".join(refused.refused), *facts)


@pytest.mark.parametrize(("side", "kernel", "stride"), [(7, 3, 2), (8, 3, 2), (6, 2, 2), (5, 3, 1), (6, 1, 4)])
def test_same_pools_are_padded_as_timm_pads(side: int, kernel: int, stride: int) -> None:
    """The shape is the module's, and the bound of a mean lies above the norm of its matrix."""
    x = torch.eye(side * side, dtype=torch.float64).view(-1, 1, side, side)
    for pool in (AvgPool2dSame(kernel, stride), MaxPool2dSame(kernel, stride)):
        (block,) = forward_bounds(nn.Sequential(pool).eval(), (1, side, side)).blocks
        assert block.shape == tuple(pool(x).shape[1:])
        if isinstance(pool, AvgPool2dSame):
            assert float(torch.linalg.matrix_norm(pool(x).flatten(1), 2)) <= block.sensitivity


def test_a_wrapper_keeps_the_joint_bound() -> None:
    """What normalises the pixels is a factor; the features' bound is without the head there, too."""
    torch.manual_seed(0)
    inner = timm.create_model(
        "stable_resnet_s11_cert", width=2, img_size=8, global_pool="avg", downsampling="mean"
    ).eval()
    transforms = pytest.importorskip("torchvision").transforms
    wrapped = nn.Sequential(transforms.Normalize([0.5] * 3, [0.25] * 3), nn.Sequential(inner)).eval()
    alone, bounds = bounded(inner, 3, 8, 8), bounded(wrapped, 3, 8, 8)
    assert alone.joint is not None
    assert bounds.joint == pytest.approx(4 * alone.joint, rel=1e-8)
    assert bounds.sensitivity.note == alone.sensitivity.note
    assert bounds.feature_sensitivity.value == pytest.approx(4 * alone.feature_sensitivity.value, rel=1e-8)
