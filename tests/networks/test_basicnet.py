"""Networks without shortcuts, and networks without batch norms: the paper's comparisons."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from fixtures.messages import raises
from stabzoo.diagnostics.conditioning.blocks import module_conditioning
from stabzoo.errors import ConfigError
from stabzoo.networks.past import Past, advanced

NAMES = ("basicnet20", "basicnet56", "basicnet18", "basicnet34")


@pytest.mark.parametrize("name", NAMES)
def test_a_basic_network_is_its_branches_and_nothing_else(name: str) -> None:
    """y_{n+1} = f(y_n): no shortcut parameters, the sequence of the branches, every parameter trained."""
    torch.manual_seed(0)
    model = timm.create_model(name, width=4)
    assert [n for n, _ in model.named_parameters() if "shortcuts" in n] == []
    assert model.stability_card().method.alpha == (0,)
    x = torch.randn(2, 3, 32, 32)
    y = model.stem_pool(model.stem(x))
    for block in model.blocks():
        y = block.step.f(block.preact(y))
    torch.testing.assert_close(model(x), model.forward_head(model.norm(y)))
    model(x).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_a_basic_network_has_the_formula_without_the_skip() -> None:
    """M1 M2 / (m1 m2), which bounds the linear map."""
    torch.manual_seed(0)
    for norm in ("batch", "none"):
        model = timm.create_model("basicnet20", width=4, norm=norm)
        for block in module_conditioning(model, torch.randn(1, 3, 8, 8), ["stages.0.blocks.1", "stages.1.blocks.1"]):
            assert block.formula.value == pytest.approx(block.branch_bound.value, rel=1e-2)
            assert block.linear.value.value <= block.branch_bound.value


@pytest.mark.parametrize(
    ("name", "size"),
    [("preresnet18", 32), ("preresnet50", 32), ("zerosnet20_opt", 8), ("lmresnet164", 8), ("zerosnet20_tra", 8), ("multistep20", 8)],
)  # fmt: skip
def test_a_network_without_norms(name: str, size: int) -> None:
    """No batch norm, no bias; states are not overwritten; every parameter is trained; samples do not meet."""
    torch.manual_seed(0)
    model = timm.create_model(name, norm="none", width=4).train()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert [n for n, p in model.named_parameters() if n.endswith("bias")] == ["head.fc.bias"]
    x = torch.randn(3, 3, size, size)
    logits = model(x)
    torch.testing.assert_close(logits[:1], model(x[:1]), rtol=1e-4, atol=1e-5)
    history = [model.stem_pool(model.stem(x))]
    for block in model.blocks():
        before = [state.detach().clone() for state in history]
        after = advanced(block, history)
        assert all(torch.equal(old, state) for old, state in zip(before, history, strict=True))
        history = after
    logits.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    _, features = model.forward_intermediates(x)
    torch.testing.assert_close(features[-1], history[0])


@pytest.mark.parametrize(("name", "size"), [("preresnet18", 64), ("preresnet20", 16), ("multistep20", 16)])
def test_blocks_with_the_relu_last(name: str, size: int) -> None:
    """The paper's block without batch norms, y + relu(W2 relu(W1 y)); bare shortcuts where the shape changes."""
    torch.manual_seed(0)
    model = timm.create_model(name, norm="none", relu="last", width=4).eval()
    for block in model.blocks():
        f = block.step.f
        y = torch.randn(2, f.body.conv1.in_channels, size, size)
        inner = F.relu(F.conv2d(y, f.body.conv1.weight, stride=f.body.conv1.stride, padding=1))
        expected = F.relu(F.conv2d(inner, f.conv.weight, padding=1))
        torch.testing.assert_close(f(y), expected)
        torch.testing.assert_close(f(y, -2.0), -2 * expected)
        if name == "preresnet18":
            (shortcut,) = block.shortcuts
            torch.testing.assert_close(block(y, Past([])), shortcut(y) + expected)
            assert block.preact(y) is y
    assert model(torch.randn(2, 3, size, size)).isfinite().all()
    first = timm.create_model(name, norm="none", width=4)
    assert [p.shape for p in first.parameters()] == [p.shape for p in model.parameters()]
    for args, facts in (({"relu": "last"}, ("relu", "norm='none'")), ({"relu": "both"}, ("relu", "'both'"))):
        with raises(ConfigError, *facts):
            timm.create_model(name, **args)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("name", ["preresnet326", "zerosnet650_opt", "basicnet56", "lmresnet110"])
def test_a_deep_untrained_network_neither_overflows_nor_dies(name: str, norm: str) -> None:
    """In evaluation mode.  Without shortcuts a small grid loses to its zero padding, and few channels die."""
    torch.manual_seed(0)
    basic = name.startswith("basicnet")
    model = timm.create_model(name, norm=norm, width=16 if basic else 4).eval()
    with torch.no_grad():
        _, features = model.forward_intermediates(torch.randn(2, 3, *(32, 32) if basic else (8, 8)))
    assert all(1e-3 < feature.std() < 1e3 for feature in features)


def test_another_norm_is_refused() -> None:
    """What was expected, and what was got."""
    with raises(ConfigError, "norm", "'batch'", "'none'", "got 'instance'"):
        timm.create_model("preresnet20", norm="instance")
