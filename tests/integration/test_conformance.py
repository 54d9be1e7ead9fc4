"""What timm's own tests ask of its models: of every model, without numbers, TorchScript and int8 of one of each family.

Forward and backward passes, features and heads of the families are in tests/networks/test_timm.py, and among the checks
of every scheme (`stabzoo.testing`).
"""

from __future__ import annotations

import re

import pytest
import timm
import torch

import stabzoo

DEPTHS = {name: max(map(int, re.findall(r"\d+", name))) for name in stabzoo.list_models()}


def small(name: str) -> bool:
    """Whether it is of CIFAR's form."""
    return timm.get_pretrained_cfg(name).input_size[-1] == 32


SMALLEST = {re.sub(r"\d+", "", name): name for name in sorted(filter(small, DEPTHS), key=lambda n: -DEPTHS[n])}
"""Of each family, a name without its depth, the shallowest model."""


def images(model: torch.nn.Module, device: str = "cpu") -> torch.Tensor:
    """Two of the size that the model's configuration has."""
    return torch.randn(2, *model.pretrained_cfg["input_size"], device=device)


@pytest.mark.parametrize(
    "names",
    [[*SMALLEST.values()], pytest.param(sorted(DEPTHS.keys() - SMALLEST.values()), marks=pytest.mark.slow)],
    ids=["smallest", "others"],
)
def test_default_configurations(names: list[str]) -> None:
    """Of every model: names of the first convolution and the classifier, the last grid, heads, and reductions."""
    for name in names:
        model = timm.create_model(name, device="meta").eval()
        cfg, weights = model.pretrained_cfg, model.state_dict()
        x = images(model, "meta")
        assert weights[cfg["first_conv"] + ".weight"].shape[1] == cfg["input_size"][0], name
        assert weights[cfg["classifier"] + ".weight"].shape[0] == cfg["num_classes"], name
        assert model.get_classifier() is model.get_submodule(cfg["classifier"]), name
        features = model.forward_features(x)
        assert features.shape == (2, model.num_features, *cfg["pool_size"]), name
        assert model.forward_head(features).shape == (2, cfg["num_classes"]), name
        assert model.forward_head(features, pre_logits=True).shape == (2, model.head_hidden_size), name
        model.reset_classifier(0)
        assert model.forward_head(features).shape == (2, model.head_hidden_size), name
        model.reset_classifier(0, "")
        assert model.forward_head(features).shape == features.shape, name
        assert not any(key.startswith(cfg["classifier"]) for key in model.state_dict()), name
        for info in model.feature_info:
            assert {"num_chs", "reduction", "module"} <= set(info), name
            assert model.get_submodule(info["module"]) is not None, name


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "name",
    [name if name in ("basicnet20", "lmresnet20") else pytest.param(name, marks=pytest.mark.slow) for name in SMALLEST.values()],
)  # fmt: skip
def test_torchscript(name: str) -> None:
    """A scripted network computes what the network does, with fixed iterations where it solves."""
    torch.manual_seed(0)
    model = timm.create_model(name, width=4).eval()
    x = images(model)
    if model.head.global_pool.pool_type != "flat":  # which reads every pixel
        x = x[:, :, :16, :16]
    with torch.no_grad():
        found = torch.jit.script(model)(x)
        for step in model.modules():
            if isinstance(step, stabzoo.ImplicitStep):
                step.settings = step.settings.model_copy(update={"fixed_iterations": step.iterations})
        torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-5)


ADD_TWICE = {"hamiltonian", "polynet_poly", "rk_resnet", "ssp_rk_resnet", "parabolic_resnet_be"} | {
    f"implicit_resnet{kind}" for kind in ("", "_am", "_bdf", "_be", "_tr")
}
"""Families whose blocks add several slopes to a state, which torchao's quantizer for x86 refuses."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_int8_of_every_convolution() -> None:
    """As torchao prepares it, input and weight of each nn.Conv2d are observed."""
    pytest.importorskip("torchao", reason="needs pip install 'stabzoo[friends]'")
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    refused = set()
    for family, name in SMALLEST.items():
        model = timm.create_model(name, width=4).eval()
        for step in model.modules():
            if isinstance(step, stabzoo.ImplicitStep):
                step.settings = step.settings.model_copy(update={"fixed_iterations": 2})
        exported = torch.export.export(model, (images(model),)).module()
        try:
            prepared = prepare_pt2e(exported, quantizer)
        except ValueError:  # "Input partition has more than one output node"
            refused.add(family)
            continue
        nodes = [node for node in prepared.graph.nodes if "conv2d" in str(node.target)]
        observed = [n for n in nodes if all("activation_post_process" in str(given.target) for given in n.args[:2])]
        assert len(observed) == sum(isinstance(m, torch.nn.Conv2d) for m in model.modules()), name
    assert refused == ADD_TWICE
