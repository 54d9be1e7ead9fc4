"""Kinds of residual branches: ours keep the contract, their theorems hold, wrong ones are named, and so are broken guests."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import stabzoo
from fixtures.messages import raises, says, warns
from stabzoo import BranchSite, ConfigError
from stabzoo.claims import branch_problems, check_claims
from stabzoo.diagnostics.wellposed import well_posedness
from stabzoo.errors import PluginError, PluginWarning
from stabzoo.networks.branch import Style
from stabzoo.testing import CheckFailedError, check_branch

Install = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("only_guests_are_tried")
OURS = ["mpoly2", "two_way", "plain", "se", "parabolic", "antisymmetric"]


@pytest.mark.parametrize("name", OURS)
def test_ours_keep_the_contract(name: str) -> None:
    """The kit's checks, which a third party runs of its own."""
    check_branch(name)


def site(norm: Any = "batch", act: str = "tanh") -> BranchSite:
    """One that keeps the shape of its states, in float64."""
    return BranchSite(3, 3, 3, style=Style(norm, act, dtype=torch.float64))


def jacobian(f: nn.Module, y: Tensor) -> Tensor:
    """Of one image, as a matrix."""
    return torch.autograd.functional.jacobian(lambda y: f(y.clone()), y).reshape(y.numel(), y.numel())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("name", ["parabolic", "antisymmetric"])
def test_no_mode_grows(name: str, norm: str) -> None:
    """Parabolic: a symmetric Jacobian without positive eigenvalues; antisymmetric: none with a positive real part."""
    torch.manual_seed(0)
    f = stabzoo.get_branch(name).build(site(norm)).eval()
    for module in f.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_var.uniform_(0.1, 3)
    matrix = jacobian(f, torch.randn(1, 3, 4, 4, dtype=torch.float64))
    values = torch.linalg.eigvals(matrix)
    assert values.real.max() <= 1e-12
    assert values.real.min() < -0.05
    if name == "parabolic":
        torch.testing.assert_close(matrix, matrix.T)
    else:
        assert values.imag.abs().max() > 0.1


def test_the_transpose_is_the_adjoint() -> None:
    """<K y, z> = <y, K^T z>, from one weight, also where a parametrization makes it."""
    f: Any = stabzoo.get_branch("parabolic").build(site())
    torch.nn.utils.parametrizations.spectral_norm(f.conv)
    f.eval()
    y, z = torch.randn(2, 1, 3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close((f.conv(y) * z).sum(), (y * f.transposed(z)).sum())
    assert [n for n, p in f.named_parameters() if p.dim() == 4] == ["conv.parametrizations.weight.original"]


@pytest.mark.parametrize("options", [{}, {"norm": "none"}])
def test_parabolic_steps_are_proved_well_posed_however_large(options: dict[str, str]) -> None:
    """With kernels far beyond a contraction; the reason is told, and the equations are solved."""
    torch.manual_seed(0)
    net = timm.create_model("parabolic_resnet20_be", width=4, **options).eval()
    kernels: Any = [module.f.conv.weight for module in net.modules() if isinstance(module, stabzoo.ImplicitStep)]
    with torch.no_grad():
        for kernel in kernels:
            kernel.mul_(4)
    found = well_posedness(net, (3, 16, 16))
    assert [step.proof for step in found] == ["monotone"] * 7
    assert all(step.lipschitz.value > 1 and np.isfinite(step.lipschitz.value) for step in found)
    says(found[0].one_sided.note, "-K^T s(N(K y) + b)")
    with torch.no_grad():
        assert net(torch.randn(2, 3, 16, 16)).isfinite().all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"norm": "group"}, "GroupNorm"), ({"norm": "layer"}, "LayerNorm2d"), ({"act": "gelu"}, "GELU")],
)
def test_what_breaks_the_theorem_is_not_decided(options: dict[str, str], reason: str) -> None:
    """A norm that couples numbers, an activation that decreases somewhere."""
    net = timm.create_model("parabolic_resnet20_be", width=4, **options).eval()
    found = well_posedness(net, (3, 16, 16))[0]
    assert found.proof is None
    says(found.one_sided.note, reason)


def test_a_negative_gain_breaks_the_theorem() -> None:
    """A batch norm that somebody gives gains: proved while none is negative."""
    f: Any = stabzoo.get_branch("parabolic").build(site()).eval()
    f.norm = nn.BatchNorm2d(3, dtype=torch.float64).eval()
    assert f.one_sided_lipschitz == 0
    f.norm.weight.data[1] = -1
    assert f.one_sided_lipschitz is None
    values = torch.linalg.eigvals(jacobian(f, torch.randn(1, 3, 4, 4, dtype=torch.float64)))
    assert values.real.max() > 0.01


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("zerosnet20_opt", {"norm": "group", "act": "gelu"}),
        ("zerosnet20_opt", {"norm": "layer", "branch": {"name": "se", "reduction": 2}}),
        ("preresnet18", {"branch": "parabolic", "act": "silu"}),
        ("lmresnet164", {"branch": "antisymmetric", "norm": "none", "act": "tanh"}),
    ],
)
def test_norms_activations_and_branches_of_any_network(name: str, options: dict[str, Any]) -> None:
    """A network with them trains, copies and keeps its outputs of moderate size at the start."""
    torch.manual_seed(0)
    net = timm.create_model(name, width=4, **options)
    x = torch.randn(2, 3, 32, 32)
    out = net.train()(x)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    with torch.no_grad():
        evaluated = copy.deepcopy(net).eval()(x)
    assert evaluated.isfinite().all()
    assert evaluated.abs().max() < 100


@pytest.mark.parametrize("name", ["se_resnet20", "parabolic_resnet20", "antisymmetric_resnet20"])
def test_our_models_are_scripted_and_traced(name: str) -> None:
    """TorchScript and torch.fx give the numbers of the network."""
    torch.manual_seed(0)
    net = timm.create_model(name, width=4).eval()
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about TorchScript
        torch.testing.assert_close(torch.jit.script(net)(x), net(x))
        torch.testing.assert_close(torch.fx.symbolic_trace(net)(x), net(x))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"norm": "instance"}, ("norm", "'batch'", "got 'instance'")),
        ({"act": "softest"}, ("act", "timm", "got 'softest'")),
        ({"branch": "parabola"}, ("unknown branch 'parabola'", "parabolic")),
        ({"branch": {"name": "se", "reduction": 0}}, ("branch 'se'", "reduction")),
        ({"branch": {"reduction": 4}}, ("'name'",)),
        ({"branch": 3}, ("branch", "got 3")),
        ({"branch": "se", "relu": "last", "norm": "none"}, ("relu", "'plain'", "'se'")),
    ],
)
def test_wrong_options_are_said(options: dict[str, Any], parts: tuple[str, ...]) -> None:
    """What was expected, and what was got."""
    with raises(ConfigError, *parts):
        timm.create_model("preresnet20", **options)


GUEST = """
    from typing import ClassVar

    import torch
    from torch import nn
    from stabzoo import Strict, hookimpl

    class Halved(nn.Module):
        def __init__(self, site):
            super().__init__()
            self.usual = site.usual()
        def forward(self, y, scale: float = 1.0):
            return {value}
        def init_scale(self, factor, variance):
            self.usual.init_scale({factor}, variance)

    class Kind(Strict):
        name: ClassVar[str] = "halved"
        def build(self, site):
            return Halved(site)

    class Broken(Strict):
        name: ClassVar[str] = "broken"
        def build(self, site):
            raise RuntimeError("no such layer")

    @hookimpl
    def stabzoo_branches():
        return [Kind, Broken]
"""
REGISTRY = """
    halved:
      branches: {halved: {summary: half of the usual branch}, broken: {}}
      models:
        halved20: {scheme: zerosnet, depth: 20, options: {branch: halved, norm: none}}
        broken20: {scheme: euler, depth: 20, options: {branch: broken}}
"""
RIGHT = GUEST.replace("{value}", "self.usual(y, 0.5 * scale)").replace("{factor}", "factor")


def test_a_guest_brings_branches_alone(install: Install) -> None:
    """Its branch is built, its models of others' schemes too; a broken branch costs that branch and is named."""
    install("halved", RIGHT, REGISTRY)
    stabzoo.refresh()
    assert stabzoo.list_branches() == [*OURS, "halved", "broken"]
    check_branch("halved")
    net = timm.create_model("halved20", width=4)
    assert type(net.blocks()[0].step.f).__name__ == "Halved"
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert timm.create_model("halved20", width=4, norm="batch").is_normed  # who asks for another has it
    with raises(PluginError, "plugin 'halved'", "branch 'broken'", "no such layer"):
        timm.create_model("broken20")
    problems = branch_problems()
    assert len(problems) == 1
    assert all("plugin 'halved'" in problem for problem in problems)
    assert any("broken20" in problem for problem in check_claims().problems)


def test_a_name_that_is_taken_stays_with_its_owner(install: Install) -> None:
    """The second loses its branch and the models built of it."""
    install("second", RIGHT, REGISTRY.replace("halved:\n", "second:\n", 1).replace("halved: {summary", "se: {summary").replace("branch: halved", "branch: {name: se}"))  # fmt: skip
    with warns(PluginWarning, "branch 'se'", "already provided", "halved20"):
        stabzoo.refresh()
    assert "halved20" not in stabzoo.list_models()
    assert "broken20" in stabzoo.list_models()
    assert stabzoo.list_branches() == [*OURS, "broken"]


def test_schemes_and_branches_fail_apart(install: Install) -> None:
    """A hook for branches that raises leaves the plugin's schemes as they are."""
    code = """
        from stabzoo import ExplicitMultistep, hookimpl

        class Leapfrog(ExplicitMultistep):
            name = "leapfrog"
            alpha, beta = (0, 1), (2, 0)

        @hookimpl
        def stabzoo_discretizations():
            return [Leapfrog]

        @hookimpl
        def stabzoo_branches():
            raise OSError("no disk")
    """
    install("leapfrog", code, "leapfrog: {schemes: {leapfrog: {order: 2, stability: weak}}, branches: {b: {}}}")
    stabzoo.refresh()
    with raises(PluginError, "plugin 'leapfrog'", "no disk"):
        stabzoo.get_branch("b")
    assert stabzoo.get_scheme("leapfrog").coefficients().order == 2


def test_a_plugin_may_bring_models_alone(install: Install) -> None:
    """No hook, no scheme: a registry that makes other networks of what there is."""
    install("others", "", "others: {models: {smooth20: {scheme: euler, depth: 20, options: {act: gelu, norm: layer}}}}")
    stabzoo.refresh()
    assert any(type(module).__name__ == "LayerNorm2d" for module in timm.create_model("smooth20").modules())
    assert not check_claims().problems


def test_an_option_that_the_network_does_not_take(install: Install) -> None:
    """The model, the option, and what there is."""
    install("others", "", "others: {models: {odd20: {scheme: euler, depth: 20, options: {colour: red}}}}")
    stabzoo.refresh()
    with raises(ConfigError, "odd20", "'colour'", "norm"):
        timm.create_model("odd20")


WRONG = {
    "scale": ("self.usual(y) * abs(scale)", "factor", "scale"),
    "shift": ("self.usual(y, scale) + 1", "factor", "scale"),
    "in_place": ("self.usual(y.mul_(0.5), scale)", "factor", "new_tensor"),
    "the_state": ("y if scale == 1 else scale * y", "factor", "new_tensor"),
    "detached": ("self.usual(y.detach(), scale) + 0 * y.mean()", "factor", "gradients"),
    "unscaled": ("self.usual(y, scale)", "1.0", "init_scale"),
    "single": ("self.usual(y, scale).float()", "factor", "shape_and_type"),
    "cropped": ("self.usual(y, scale)[..., 1:]", "factor", "shape_and_type"),
    "unused": ("self.usual(y, scale) if not self.training else scale * self.usual(y).detach()", "factor", "gradients"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_branches_fail_the_check_that_is_meant(install: Install, case: str) -> None:
    """One mistake each."""
    value, factor, check = WRONG[case]
    install("halved", GUEST.replace("{value}", value).replace("{factor}", factor), REGISTRY)
    stabzoo.refresh()
    with pytest.raises((CheckFailedError, PluginError)) as failed:
        check_branch("halved")
    says(str(failed.value), check)


def test_a_weight_of_two_branches_fails(install: Install) -> None:
    """One that is made once, at the import."""
    code = GUEST.replace("class Halved", "W = nn.Parameter(torch.ones(1))\n\n    class Halved", 1)
    code = code.replace("self.usual = site.usual()", "self.usual, self.w = site.usual(), W")
    code = code.replace("{value}", "self.usual(y, scale) * self.w").replace("{factor}", "factor")
    install("halved", code, REGISTRY)
    stabzoo.refresh()
    with raises(CheckFailedError, "independence", "share w"):
        check_branch("halved")


def test_a_false_bound_fails(install: Install) -> None:
    """A branch that says it is monotone and is not."""
    code = RIGHT.replace("super().__init__()", "super().__init__()\n            self.one_sided_lipschitz = 0.0")
    install("halved", code, REGISTRY)
    stabzoo.refresh()
    with raises(CheckFailedError, "claims", "one_sided_lipschitz 0"):
        check_branch("halved")
