"""Certified bounds: above every measured quotient, block by block and composed; every failed hypothesis is named and costs."""

import io
import json
import math

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import stabzoo
from stabzoo.diagnostics.attack import sensitivity_attack
from stabzoo.diagnostics.bounds.joint import Kernel, ReluStep, joint_sensitivity
from stabzoo.diagnostics.bounds.network import ForwardBounds, forward_bounds
from stabzoo.diagnostics.bounds.parts import chain, sequence_bound
from stabzoo.diagnostics.bounds.rules.normalization import fold_batch_norm
from stabzoo.networks.resnet import DiscretizedResNet

PAPERS = ("stable_resnet_s11_cert", "stable_resnet_s11", "stable_resnet_d18")


def small(name: str, side: int = 8, seed: int = 0, **options: object) -> nn.Module:
    """A narrow network in evaluation mode, float64."""
    torch.manual_seed(seed)
    options = {"img_size": side, **options} if name.startswith("stable") else options
    return timm.create_model(name, width=options.pop("width", 3), num_classes=4, **options).double().eval()


class OneStep(nn.Module):
    """A block of a one-step network."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The new state."""
        return self.block(x)


def attacked(model: nn.Module, *shape: int, starts: int = 12) -> float:
    """The largest quotient found."""
    x = torch.randn(starts, *shape, dtype=torch.float64) * torch.logspace(-1, 1, starts).double().view(
        -1, *[1] * len(shape)
    )
    return sensitivity_attack(model, x, rounds=1, power=6, ascent=8).sensitivity.value


def jacobian(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The Jacobian at one image, as a matrix."""
    return torch.autograd.functional.jacobian(lambda z: model(z[None])[0].flatten(), x).flatten(1)


def norm_of(module: nn.BatchNorm2d, variance: list[float], gain: list[float] | None = None) -> None:
    """Set the statistics."""
    with torch.no_grad():
        module.running_var.copy_(torch.tensor(variance))
        if gain is not None:
            module.weight.copy_(torch.tensor(gain))


@settings(max_examples=5)
@given(name=st.sampled_from(PAPERS), seed=st.integers(0, 10**6), side=st.sampled_from([4, 8]))
def test_the_papers_networks_stay_below_their_bounds(name: str, seed: int, side: int) -> None:
    """Whole and block by block, with random batch norm statistics of either sign."""
    model = small(name, side, seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.1, 2)
            module.running_mean.uniform_(-1, 1)
            if module.affine:
                nn.init.uniform_(module.weight, -0.5, 1.5)
                nn.init.uniform_(module.bias, -1, 1)
    bounds = forward_bounds(model, (3, side, side))
    assert math.isfinite(bounds.sensitivity.value)
    assert attacked(model, 3, side, side) <= bounds.sensitivity.value
    grid = (side, side)
    for block in bounds.blocks:
        if block.name.startswith("stages"):
            module = model.get_submodule(block.name)
            width = next(p.shape[1] for p in module.parameters() if p.ndim == 4)
            assert attacked(OneStep(module), width, *grid, starts=6) <= block.sensitivity
            x = torch.randn(4, width, *grid).double() * 3
            size, result = x.flatten(1).norm(dim=1), OneStep(module)(x).flatten(1).norm(dim=1)
            assert (result <= block.growth * size + block.offset).all()
            assert block.grid is not None
            grid = block.grid
    x = torch.randn(8, 3, side, side).double() * 5
    assert (model(x).norm(dim=1) <= bounds.growth.value * x.flatten(1).norm(dim=1) + bounds.offset.value).all()


@settings(max_examples=6)
@given(
    name=st.sampled_from(["zerosnet20_opt", "zerosnet20_tra", "preresnet20", "lmresnet20", "postresnet20"]),
    seed=st.integers(0, 10**6),
    side=st.sampled_from([4, 8]),
)
def test_multistep_networks_stay_below_their_bounds(name: str, seed: int, side: int) -> None:
    """The combination of sources follows the history as the network does."""
    model = small(name, side, seed, width=2)
    bounds = forward_bounds(model, (3, side, side))
    assert math.isfinite(bounds.sensitivity.value)
    assert attacked(model, 3, side, side, starts=4) <= bounds.sensitivity.value
    x = torch.randn(4, 3, side, side).double()
    assert (model(x).norm(dim=1) <= bounds.growth.value * x.flatten(1).norm(dim=1) + bounds.offset.value).all()


def test_a_linear_multistep_network_is_bounded_sharply() -> None:
    """With f = 0 the signs within products of companion matrices cancel: sum |alpha| > 1 costs nothing."""
    scheme = stabzoo.get_scheme("zerosnet", lam="1/2")  # alpha = 9/4, -2, 3/4: sum |alpha| = 5, stable
    model = DiscretizedResNet(scheme, (6, 1, 1), width=2).eval()
    for block in model.blocks():
        nn.init.zeros_(block.step.f.conv.weight)
    first = [b for b in forward_bounds(model, (3, 8, 8)).blocks if b.name.startswith("stages.0")]
    assert chain(first)[0] == pytest.approx(1, abs=1e-8)


@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), stride=st.sampled_from([1, 2]), side=st.sampled_from([2, 4, 6]))
def test_the_joint_bound_lies_above_every_jacobian(seed: int, stride: int, side: int) -> None:
    """P - B D A for any D in [0, 1], which includes every pattern of relus; nearly equal where A = 0."""
    torch.manual_seed(seed)
    skip = Kernel(torch.randn(2, 2, stride, stride).double(), 0, stride)
    inner, outer = Kernel(torch.randn(3, 2, 3, 3).double(), -1, stride), Kernel(torch.randn(2, 3, 3, 3).double(), -1)
    bound = joint_sensitivity(None, [ReluStep(skip, inner, outer, 0, 2)], (side, side), iterations=2)

    def dense(kernel: Kernel, channels: int, n: int) -> torch.Tensor:
        eye = torch.eye(channels * n * n).double().view(-1, channels, n, n)
        k = kernel.weight.shape[-1]
        index = (torch.arange(n)[:, None] + kernel.first + torch.arange(k)) % n
        patches = eye[:, :, index[:: kernel.stride]][..., index[:: kernel.stride]]
        return torch.einsum("oiab,niyaxb->noyx", kernel.weight, patches).flatten(1).T

    p, a, b = dense(skip, 2, side), dense(inner, 2, side), dense(outer, 3, side // stride)
    for draw in range(6):
        d = (torch.rand(len(a)) < (0, 1, 0.5, 0.2, 0.8, 0.5)[draw]).double()
        assert torch.linalg.matrix_norm(p - b * d @ a, 2) <= bound
    still = ReluStep(skip, Kernel(inner.weight * 0, -1, stride), outer, 0, 2)
    norm = float(torch.linalg.matrix_norm(p, 2))
    assert norm <= joint_sensitivity(None, [still], (side, side), iterations=60) < 1.1 * norm


def test_lemma_2_is_the_joint_bounds_special_case() -> None:
    """The symmetric step with ||A||^2 <= 2 passes s I on."""
    layer = small("stable_resnet_s11_cert", 8).stages[0].blocks[0]
    bound = layer.bound((8, 8))
    assert bound.sensitivity == pytest.approx(1, abs=1e-8)
    assert bound.theorem.startswith("Lemma 2")
    assert 1 <= joint_sensitivity(None, [bound.form], (8, 8)) < 1.03


def test_the_joint_bound_makes_as_many_steps_as_there_is_time_for() -> None:
    """None but the one that tells how long they take, and the bound is no worse than without."""
    torch.manual_seed(0)
    model = small("stable_resnet_s11_cert", 8, width=2, global_pool="avg", downsampling="mean")
    none, brief, all_of_them = (
        forward_bounds(model, (3, 8, 8), iterations=n, seconds=seconds).sensitivity.value
        for n, seconds in ((0, 1e9), (5, 1e-9), (5, 1e9))
    )
    assert all_of_them < brief <= none


def test_the_joint_bound_improves_on_the_product_and_with_iterations() -> None:
    """The classifier reads means only, which a product does not know."""
    model = small("stable_resnet_s11_cert", 8, width=4, global_pool="avg", downsampling="mean")
    few, more = (forward_bounds(model, (3, 8, 8), iterations=n) for n in (0, 10))
    assert more.sensitivity.value < few.sensitivity.value < chain(few.blocks)[0] * (1 + 1e-12)
    assert more.sensitivity.value < 0.9 * chain(few.blocks)[0]
    assert few.paper_sensitivity is not None
    assert few.paper_sensitivity > few.sensitivity.value


def test_batch_norms_break_resnet_s_and_the_bound_says_so() -> None:
    """D2 = diag(1, 0.1), A = (1 1): both folded norms are below sqrt 2, and the block expands by 1.34."""
    layer = small("stable_resnet_s11", 8, width=2).stages[0].blocks[0]
    with torch.no_grad():
        layer.conv.weight.zero_()
        layer.conv.weight[0, :, 1, 1] = 1
    norm_of(layer.norm1, [1, 1], [1, 1])
    norm_of(layer.norm2, [1, 100])
    layer.norm1.bias.data.fill_(10.0)
    layer.norm2.running_mean.fill_(1000.0)
    measured = float(torch.linalg.matrix_norm(jacobian(OneStep(layer), torch.ones(2, 4, 4).double()).detach(), 2))
    bound = layer.bound((4, 4))
    assert bound.paper == 1 < measured == pytest.approx(1.347, abs=1e-3)
    assert measured <= bound.sensitivity < 1.5
    assert "Remark 2" in " ".join(bound.refused)


def test_gamma_1_of_the_wrong_sign_is_named_and_paid() -> None:
    """A negative gain makes the step expand: x + A^T relu(.)."""
    layer = small("stable_resnet_s11", 8, width=2).stages[0].blocks[0]
    norm_of(layer.norm2, [1, 1])
    norm_of(layer.norm1, [1, 1], [0.5, 0.5])
    assert not [r for r in layer.bound((4, 4)).refused if "gamma_1" in r]
    norm_of(layer.norm1, [1, 1], [-0.5, 0.5])
    bound = layer.bound((4, 4))
    assert bound.sensitivity > 1
    assert any("gamma_1" in r for r in bound.refused)


def test_a_norm_above_sqrt_2_costs_its_square_less_one() -> None:
    """max(1, ||A||^2 - 1)."""
    layer = small("stable_resnet_s11_cert", 8).stages[0].blocks[0]
    with torch.no_grad():
        layer.conv.weight.mul_(
            math.sqrt(3 / layer.bound((8, 8)).sensitivity) / float(stabzoo.conv_norm(layer.conv, (8, 8)).value)
        )
    bound = layer.bound((8, 8))
    assert bound.sensitivity == pytest.approx(2, rel=1e-6)
    assert any("||A||^2 <= 2" in r for r in bound.refused)


def test_a2_of_the_wrong_sign_costs_the_growth_bound() -> None:
    """Theorem 5, part 1 needs A2 >= 0 after folding."""
    layer = small("stable_resnet_d18", 8).stages[0].blocks[0]
    good = layer.bound((8, 8))
    assert (good.growth, good.refused) == (1.0, ())
    layer.conv2.weight.data[0, 0, 0, 0] = -1
    bad = layer.bound((8, 8))
    assert bad.growth > 1
    assert "A2 >= 0" in bad.refused[0]


def test_c_counts_the_bias_of_every_pixel() -> None:
    """The offset of ResNet-D is sqrt(H W) ||relu(b2)||, and attained at 0."""
    layer = small("stable_resnet_d18", 8).stages[0].blocks[0]
    nn.init.zeros_(layer.conv1.weight)
    layer.norm2.running_mean.copy_(torch.tensor([1.0, -2.0, 3.0]))
    bound, at_zero = layer.bound((8, 8)), OneStep(layer)(torch.zeros(1, 3, 8, 8).double()).norm()
    assert bound.offset == pytest.approx(at_zero.item(), rel=1e-6)
    assert bound.offset == pytest.approx(8 * math.sqrt(10), rel=1e-4)


def test_pooling_counts_only_the_rows_that_matter_and_refuses_odd_sides() -> None:
    """The zero-filled channels leave the layer as zeros."""
    layer = small("stable_resnet_d18", 8).stages[1].blocks[0]
    before = layer.bound((8, 8)).sensitivity
    layer.conv.weight.data[:1] *= 100  # of six rows, 1 to 3 matter
    after = layer.bound((8, 8))
    assert after.sensitivity == before
    assert after.paper > 10 * before
    odd = layer.bound((7, 7))
    assert odd.grid == (4, 4)
    assert "even sides" in odd.refused[0]
    assert attacked(OneStep(layer), 3, 7, 7, starts=4) <= odd.sensitivity


def test_norms_of_the_ends_are_factors_and_named() -> None:
    """(20a) and (20b) are checked."""
    model = small("stable_resnet_s11_cert")
    with torch.no_grad():
        model.stem.conv.weight.mul_(5)
        nn.init.orthogonal_(model.head.fc.weight).mul_(3)
    bounds = forward_bounds(model, (3, 8, 8))
    assert [r.split(":")[1].strip()[:5] for r in bounds.refused] == ["||A_0", "||W||"]
    assert attacked(model, 3, 8, 8) <= bounds.sensitivity.value


@pytest.mark.parametrize("side", [1, 2, 4, 7])
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
def test_plain_networks_on_small_grids(side: int, mode: str) -> None:
    """Rotation kernels, for which the periodic norm on the same grid would be too small."""
    if mode == "reflect" and side == 1:
        return
    ones = torch.ones(3, 3)
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode=mode, bias=False)
    conv.weight.data.copy_(ones[None, None])
    model = nn.Sequential(
        conv, nn.BatchNorm2d(1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    bounds = forward_bounds(model, (1, side, side))
    assert attacked(model, 1, side, side) <= bounds.sensitivity.value < 30
    outer = torch.outer(torch.tensor([-1.0, 2, -1]), torch.tensor([-1.0, 2, -1]))
    for kernel in (ones, outer):
        conv.weight.data.copy_(kernel[None, None])
        matrix = jacobian(conv.double(), torch.zeros(1, side, side).double())
        assert torch.linalg.matrix_norm(matrix, 2) <= sequence_bound([("", conv)], (1, side, side))[0].sensitivity


class Odd(nn.Module):
    """Something unknown."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Not Lipschitz."""
        return x**2


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 1), Odd()), "Odd"),
        (Odd(), "Odd"),
        (nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)), "statistics"),
        (nn.Sequential(nn.MaxPool2d(2, return_indices=True)), "return_indices"),
        (nn.Sequential(nn.AvgPool2d(3, ceil_mode=True)), "ceil_mode"),
        (nn.Sequential(nn.AvgPool2d(2, padding=1)), "padding"),
        (nn.Sequential(nn.Flatten(), nn.Conv2d(3, 2, 1)), "axes"),
        (nn.Sequential(nn.Softplus()), "Softplus"),
        (nn.Sequential(nn.GroupNorm(1, 3)), "deviation"),
        (nn.Sequential(nn.LayerNorm(8)), "deviation"),
        (nn.Sequential(nn.Conv3d(3, 2, 1)), "Conv3d"),
        (nn.Sequential(nn.Linear(5, 2)), "5 features"),
    ],
)
def test_no_hypothesis_no_number(model: nn.Module, reason: str) -> None:
    """Infinity with the reason, and JSON that can be written."""
    bounds = forward_bounds(model.eval(), (3, 8, 8))
    assert bounds.sensitivity.value == bounds.growth.value == math.inf
    assert reason in bounds.sensitivity.note
    json.dumps(bounds.to_dict(), allow_nan=False)


def test_training_mode_hooks_and_wrong_sizes_are_refused() -> None:
    """Whatever changes what the network computes."""
    model = small("stable_resnet_s11_cert")
    assert "training mode" in forward_bounds(model.train(), (3, 8, 8)).sensitivity.note
    model.eval()
    hook = model.stages[0].blocks[0].conv.register_forward_hook(lambda *a: a[-1] * 2)
    assert "hooks" in forward_bounds(model, (3, 8, 8)).sensitivity.note
    hook.remove()
    model.stages[0].blocks[0].drop_path = nn.Dropout(0.5).train()
    assert "call model.eval()" in forward_bounds(model, (3, 8, 8)).sensitivity.note
    with pytest.raises(ValueError, match="channels, height, width"):
        forward_bounds(model, (8, 8))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="3 channels"):
        forward_bounds(model, (1, 8, 8))
    with pytest.raises(ValueError, match="do not divide"):
        joint_sensitivity(None, [ReluStep(k := Kernel(torch.ones(1, 1, 2, 2).double(), 0, 2), k, k, 0, 1)], (3, 3))
    with pytest.raises(ValueError, match="eval"):
        fold_batch_norm(nn.BatchNorm2d(2))


def test_the_table_and_the_dictionary_tell_the_same() -> None:
    """Blocks, totals, the paper's value beside ours."""
    from rich.console import Console

    bounds = forward_bounds(small("stable_resnet_s11"), (3, 8, 8))
    assert isinstance(bounds, ForwardBounds)
    written = json.loads(json.dumps(bounds.to_dict(), allow_nan=False))
    assert written["paper"]["sensitivity"] == bounds.paper_sensitivity
    assert written["blocks"][0]["name"] == "stem.conv"
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(bounds.table())
    shown = console.export_text()
    assert "stages.2.blocks.1" in shown
    assert f"{bounds.sensitivity.value:.4g}" in shown
