"""Tools that know torch's own layers and timm's conventions meet nothing else in our networks."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.utils.model import ActivationStatsHook, avg_ch_var
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import stabzoo
from fixtures.messages import raises
from stabzoo.errors import ConfigError
from stabzoo.networks.past import Past
from stabzoo.networks.steps import MultistepStep

KINDS = ("preresnet20", "zerosnet20_opt", "zerosnet20_tra", "lmresnet20_shared", "multistep20")


def images(count: int = 2, size: int = 32) -> Tensor:
    """Random images."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", [*KINDS, "zerosnet18_opt"])
def test_every_convolution_is_one_by_class_and_by_graph(name: str) -> None:
    """One aten.conv2d for each, whose weight is a parameter."""
    model = timm.create_model(name, width=4).eval()
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert {type(m) for m in convolutions} == {nn.Conv2d}
    graph = torch.export.export(model, (images(),)).graph
    nodes = [node for node in graph.nodes if node.op == "call_function" and "conv2d" in str(node.target)]
    assert len(nodes) == len(convolutions)
    assert all(node.args[1].op == "placeholder" for node in nodes)


class LowRank(nn.Module):
    """An adapter as peft writes it: W x + B A x, merged W + B A."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        out, channels = conv.weight.shape[:2]
        self.conv = conv
        self.first = nn.Conv2d(
            channels, 2, conv.kernel_size, conv.stride, conv.padding, bias=False, padding_mode=conv.padding_mode
        )
        self.second = nn.Conv2d(2, out, 1, bias=False)

    @property
    def weight(self) -> Tensor:
        """That of the convolution, as peft shows it."""
        return self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        """Unmerged."""
        return self.conv(x) + self.second(self.first(x))

    def merged(self) -> nn.Conv2d:
        """A convolution that computes the same."""
        conv = copy.deepcopy(self.conv)
        with torch.no_grad():
            conv.weight += torch.einsum("or,rcij->ocij", self.second.weight[:, :, 0, 0], self.first.weight)
        return conv


ADAPTED = [*KINDS, "stable_resnet_s11", "implicit_resnet20"]


@pytest.mark.parametrize("name", ADAPTED)
def test_adapters_merge(name: str) -> None:
    """Merged is unmerged, also where one weight enters twice."""
    torch.manual_seed(0)
    options = {"branch": "parabolic", "solver": {"rtol": 1e-9}} if name == "implicit_resnet20" else {}
    adapted = timm.create_model(name, width=4, **options).double().eval().requires_grad_(False)
    merged = copy.deepcopy(adapted)
    for place, module in list(adapted.named_modules()):
        if isinstance(module, nn.Conv2d):
            adapter = LowRank(module).double()
            adapted.set_submodule(place, adapter)
            merged.set_submodule(place, adapter.merged())
    x = images(size=8).double()
    torch.testing.assert_close(adapted(x), merged(x), rtol=1e-6, atol=1e-6)
    adapted(x).square().sum().backward()
    assert all(p.grad is not None for n, p in adapted.named_parameters() if "first" in n or "second" in n)


TWICE = [("stable_resnet_s11", {}), ("preresnet20", {"branch": "parabolic"}), ("hamiltonian20", {})]
"""Networks that use a kernel as A and as A^T."""


@pytest.mark.parametrize(("name", "options"), [("preresnet20", {}), ("zerosnet20_opt", {}), *TWICE])
def test_hooks_on_convolutions_see_all_of_the_work(name: str, options: dict[str, Any]) -> None:
    """What profilers count that know torch's convolutions by their exact types; and the outputs stay what they were."""
    model, seen, x = timm.create_model(name, width=4, **options).eval(), [0], images(1)
    with FlopCounterMode(display=False) as counter:
        expected = model(x)
    for module in model.modules():
        if type(module) in (nn.Conv2d, nn.ConvTranspose2d):
            work = module.weight.numel()
            module.register_forward_hook(
                lambda _m, _a, y, work=work: seen.append(2 * work * y.shape[2] * y.shape[3]) or None
            )
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-6)
    assert sum(seen) == counter.get_total_flops() - 2 * model.head.fc.weight.numel()


@pytest.mark.parametrize(("name", "options"), TWICE)
def test_the_module_of_an_adjoint_never_has_another_kernel(name: str, options: dict[str, Any]) -> None:
    """A hooked A^T follows its A: copied, moved, loaded, parametrized, replaced; it has no weight of its own."""
    torch.manual_seed(0)
    model, x = timm.create_model(name, width=4, **options).eval(), images(1)
    assert not [key for key in (*model.state_dict(), *dict(model.named_parameters())) if "adjoint" in key]
    changed = copy.deepcopy(model).double()
    calls = []
    for module in changed.modules():
        if isinstance(module, nn.ConvTranspose2d):
            module.register_forward_hook(lambda *_: calls.append(1))
    torch.testing.assert_close(changed(x.double()), model(x).double(), rtol=1e-4, atol=1e-6)
    assert calls
    backward = []
    for module in (listened := copy.deepcopy(model)).modules():
        if isinstance(module, nn.ConvTranspose2d):
            module.register_full_backward_hook(lambda *_: backward.append(1))
    listened(x).sum().backward()
    assert backward
    adapted = copy.deepcopy(changed)
    merged = copy.deepcopy(changed)
    for place, module in list(adapted.named_modules()):
        if isinstance(module, nn.Conv2d):
            adapted.set_submodule(place, adapter := LowRank(module).double())
            merged.set_submodule(place, adapter.merged())
    torch.testing.assert_close(adapted(x.double()), merged(x.double()), rtol=1e-6, atol=1e-6)
    other = timm.create_model(name, width=4, **options).double().eval()
    changed.load_state_dict(other.state_dict(), assign=True)
    torch.testing.assert_close(changed(x.double()), other(x.double()), rtol=1e-10, atol=1e-10)
    for network in (changed, other):
        for module in network.modules():
            if type(module) is nn.Conv2d:
                nn.utils.parametrize.register_parametrization(module, "weight", Halved())
    torch.testing.assert_close(changed(x.double()), other(x.double()), rtol=1e-10, atol=1e-10)


class Halved(nn.Module):
    """A parametrization."""

    def forward(self, x: Tensor) -> Tensor:
        """X / 2."""
        return x / 2


@pytest.mark.parametrize("name", [*KINDS[:-1], "rk4_resnet20", "basicnet20", "stable_resnet_d18", "implicit_resnet20"])
def test_hooks_get_the_feature_map(name: str) -> None:
    """Of stages, blocks and steps: timm's own hook on all of them, and a gradient for Grad-CAM."""
    model = timm.create_model(name, width=4).eval()
    hook = ActivationStatsHook(model, hook_fn_locs=["stages.*"], hook_fns=[avg_ch_var])
    last: list[Any] = []
    model.stages[-1].blocks[-1].register_forward_hook(lambda _m, _a, new: last.append(new))
    scores = model(images())
    assert len(hook.stats["avg_ch_var"]) > len(model.blocks())
    (gradient,) = torch.autograd.grad(scores[:, 0].sum(), last)
    assert gradient.shape == last[0].shape == (2, model.num_features, *gradient.shape[2:])
    assert gradient.any()


def test_a_hook_on_a_block_of_steps_with_slopes_gets_the_feature_map() -> None:
    """Steps of Adams-Bashforth return two tensors; their blocks and stages one."""
    model, seen = timm.create_model("multistep20", width=4).eval(), []
    for module in (*model.blocks(), *model.stages):
        module.register_forward_hook(lambda _m, _a, new: seen.append(isinstance(new, Tensor)))
    model(images())
    assert seen == [True] * 12


class Listed(nn.Module):
    """A block of an own network that maps lists."""

    def forward(self, history: list[Tensor]) -> list[Tensor]:
        """Twice the state."""
        return [2 * history[0]]


def test_a_stage_of_blocks_that_map_lists_hands_out_the_feature_map() -> None:
    """With and without gradient checkpointing, and in TorchScript."""
    shapes = [stabzoo.Shape(3, 1)] * 2
    scheme = stabzoo.get_scheme("euler")
    model = stabzoo.StagedNetwork(scheme, nn.Identity(), [[Listed(), Listed()]], shapes, nn.Identity()).eval()
    x = images(size=4).requires_grad_()
    assert torch.equal(model.stages[0](x, Past([])), 4 * x)
    assert torch.equal(model.forward_features(x), 4 * x)
    model.set_grad_checkpointing()
    assert torch.equal(model.forward_features(x), 4 * x)


@pytest.mark.parametrize("kind", ["getter", "fx", "hook", "list", "dict"])
@pytest.mark.parametrize("name", ["zerosnet18_opt", "multistep20", "stable_resnet_d18"])
def test_features_by_each_of_timms_ways(name: str, kind: str) -> None:
    """The same numbers by all of them."""
    options: dict[str, Any] = {"features_only": True, "width": 4, "out_indices": (1, 3)}
    torch.manual_seed(0)
    model = timm.create_model(name, **options).eval()
    torch.manual_seed(0)
    found = timm.create_model(name, feature_cls=kind, **options).eval()(images())
    if kind == "dict":
        assert list(found) == [1, 3]
        found = list(found.values())
    for a, b in zip(found, model(images()), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["zerosnet18_opt", "preresnet50", "zerosnet20_opt", "preresnet18"])
def test_output_stride(name: str) -> None:
    """Later stages keep the resolution, and the weights are the same."""
    torch.manual_seed(0)
    cifar = "20" in name
    for stride in (2, 1) if cifar else (16, 8):
        model = timm.create_model(name, width=4, features_only=True, output_stride=stride).eval()
        features = model(images(size=64))
        reductions = model.feature_info.reduction()
        assert [64 // f.shape[-1] for f in features] == reductions
        assert max(reductions) == stride
    names = [timm.create_model(name, width=4, output_stride=s).state_dict() for s in (None, stride)]
    assert {k: v.shape for k, v in names[0].items()} == {k: v.shape for k, v in names[1].items()}


def test_a_dilated_stage_computes_the_whole_of_the_strided_one() -> None:
    """Every second pixel of it is what the strided network has, where the padding does not reach."""
    torch.manual_seed(0)
    strided, dilated = (timm.create_model("zerosnet20_opt", width=4, output_stride=s).eval() for s in (None, 2))
    dilated.load_state_dict(strided.state_dict())
    x = images(1, 64)
    with torch.no_grad():
        whole, part = dilated.forward_features(x)[:, :, ::2, ::2], strided.forward_features(x)
    assert whole.shape == part.shape
    torch.testing.assert_close(whole[:, :, 7:9, 7:9], part[:, :, 7:9, 7:9], rtol=1e-3, atol=1e-3)


def test_options_that_do_not_go_together_are_refused() -> None:
    """By their names."""
    for options, words in (
        ({"output_stride": 3}, ("output_stride", "1, 2, 4", "3")),
        ({"output_stride": 1, "branch": "parabolic"}, ("output_stride", "parabolic")),
        ({"norm_layer": "batchnorm2d", "norm": "none"}, ("norm_layer", "norm='none'")),
        ({"norm_layer": "nothing"}, ("norm_layer", "'nothing'")),
        ({"act_layer": "nothing"}, ("act", "'nothing'")),
    ):
        with raises(ConfigError, *words):
            timm.create_model("zerosnet20_opt", **options)


def test_norm_layer_and_act_layer() -> None:
    """By name and by class, as timm's networks take them."""
    for norm, kind in (("frozenbatchnorm2d", "FrozenBatchNorm2d"), (nn.InstanceNorm2d, "InstanceNorm2d")):
        model = timm.create_model("preresnet20", width=4, norm_layer=norm, act_layer=nn.SiLU)
        kinds = {type(m).__name__ for m in model.modules()}
        assert {kind, "SiLU"} <= kinds
        assert not {"BatchNorm2d", "ReLU"} & kinds
        assert model(images()).isfinite().all()
    named = timm.create_model("preresnet20", width=4, act_layer="gelu")
    assert "GELU" in {type(m).__name__ for m in named.modules()}


@pytest.mark.parametrize("alpha", [("1/3", "5/9", "1/9"), (0, 1), ("-1", 2), ("3/2", "-1/4", "-1/4"), ("5/2", "-3/2")])
@pytest.mark.parametrize("beta", ["1", "16/9"])
def test_a_mean_of_states_keeps_the_digits(alpha: tuple[Any, ...], beta: str) -> None:
    """Whatever the signs of the coefficients; neither a state nor the slope is overwritten where it is handed on."""
    method = stabzoo.LinearMultistep(alpha, (beta,))
    states = [torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(len(alpha))]
    before = [state.clone() for state in states]
    slope = torch.randn(2, 3, 4, 4)

    class Slope(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            return slope.clone()

    step = MultistepStep(Slope(), method).eval()
    expected = sum(float(a) * s.double() for a, s in zip(method.alpha, states, strict=True))
    expected = expected + float(method.beta[0]) * slope.double()
    new = step(states[0], states)
    scale = sum(abs(float(a)) * s.abs() for a, s in zip(method.alpha, states, strict=True)) + 2
    assert ((new - expected).abs() < 4e-7 * scale).all()
    assert all(torch.equal(a, b) for a, b in zip(states, before, strict=True))
    mixed = step(states[0].bfloat16(), [state.bfloat16() for state in states])
    assert mixed.dtype == torch.float32  # of the slope, as under autocast


@pytest.mark.parametrize("branch", ["plain", "parabolic"])
def test_an_implicit_network_trains_under_autocast(branch: str) -> None:
    """One step, with finite gradients close to those without."""
    torch.manual_seed(0)
    model = timm.create_model("implicit_resnet20", width=4, branch=branch).train()
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = model(images(size=8)).float().square().mean()
        loss.backward()
        gradients.append(model.head.fc.weight.grad.clone())
    assert gradients[1].isfinite().all()
    assert (gradients[1] - gradients[0]).norm() < 0.1 * gradients[0].norm()


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore:.*legacy TorchScript"
)
@pytest.mark.parametrize("name", ["multistep20", "zerosnet18_opt"])
def test_the_older_onnx_exporter_takes_any_batch(name: str) -> None:
    """Also where the same state is projected twice, and on the way to a smaller grid."""
    runtime = pytest.importorskip("onnxruntime", reason="needs pip install 'stabzoo[onnx]'")
    pytest.importorskip("onnx", reason="needs pip install 'stabzoo[onnx]'")
    model, file = timm.create_model(name, width=4, exportable=True).eval(), io.BytesIO()
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    torch.onnx.export(model, (images(),), file, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes)
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        x = images(count)
        found = torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
        torch.testing.assert_close(found, model(x), rtol=1e-3, atol=1e-4)


def test_a_script_that_imports_timm_alone_has_our_models(tmp_path: Path) -> None:
    """As `python -m stabzoo.timm`, with its own arguments and neighbours."""
    (tmp_path / "beside.py").write_text("NAME = 'preresnet20'\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, timm, beside\nassert __name__ == '__main__'\nprint(timm.is_model(beside.NAME), *sys.argv[1:])\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "stabzoo.timm", script, "--model", "x"], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["True", "--model", "x"]
    assert subprocess.run([sys.executable, "-m", "stabzoo.timm"], capture_output=True).returncode == 1
