"""Constraints hold exactly after a projection, cost little where they hold anyway, and touch nothing that satisfies them."""

import copy
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy

import stabzoo
from fixtures.messages import raises
from stabzoo.errors import ConfigError
from stabzoo_forward.constraints import NonNegative, NormBound, Projected, Projector
from stabzoo_forward.proofs import proved_bounds, size_bounds

SEEDS = st.integers(0, 2**31 - 1)
EXAMPLES = settings(max_examples=30)
SIZES = st.floats(1e-3, 1e3)
GRIDS = st.sampled_from([(2, 2), (4, 4), (6, 8), (16, 16)])


def kernel(seed: int, size: float, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A random kernel, some of them smooth (the taps nearly equal: close to the largest norm for its entries)."""
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(*shape, generator=generator)
    return ((value if seed % 2 else value[..., :1, :1] + 0.01 * value) * size).to(dtype)


def exact_norm(weight: torch.Tensor, bound: NormBound) -> float:
    """The norm in float64 of a weight as it is stored."""
    return bound.norms(weight[None])[0].item()


@EXAMPLES
@given(
    SEEDS,
    SIZES,
    GRIDS,
    st.sampled_from([1, 2]),
    st.floats(0.01, 10),
    st.sampled_from(["float32", "float64", "bfloat16"]),
)
def test_a_projected_kernel_is_within_its_bound(
    seed: int, size: float, grid: tuple[int, int], stride: int, cap: float, dtype: str
) -> None:
    """The float64 norm of the stored weights is at most the cap, whatever their type; a second projection changes nothing."""
    weight, bound = kernel(seed, size, 4, 3, 3, 3, dtype=getattr(torch, dtype)), NormBound(cap, grid, stride)
    before, projected = exact_norm(weight, bound), bound.project(weight)
    assert exact_norm(projected, bound) <= cap
    assert torch.equal(bound.project(projected), projected)
    if before <= cap * (1 - 1e-9):
        assert torch.equal(projected, weight)
    elif dtype != "bfloat16":
        assert exact_norm(projected, bound) >= 0.95 * cap


@EXAMPLES
@given(SEEDS, SIZES, GRIDS)
def test_the_cheap_bounds_are_bounds(seed: int, size: float, grid: tuple[int, int]) -> None:
    """On every grid and for strides 1 and 2."""
    weights = torch.stack([kernel(seed + i, size, 5, 4, 3, 3) for i in range(3)])
    for stride in (1, 2):
        assert (stabzoo.periodic_norms(weights.double(), grid, stride) <= size_bounds(weights).double()).all()


@EXAMPLES
@given(SEEDS, SIZES, GRIDS, st.sampled_from([1, 2]), st.sampled_from([(4, 3), (3, 5), (5, 1), (9, 2)]))
def test_a_level_is_proved_when_it_holds(
    seed: int, size: float, grid: tuple[int, int], stride: int, channels: tuple[int, int]
) -> None:
    """Just above the norm, and not just below it."""
    weights = kernel(seed, size, *channels, 3, 3)[None]
    norm = stabzoo.periodic_norms(weights.double(), grid, stride).item()
    assert proved_bounds(weights, grid, stride, 1.001 * norm).isfinite().all()
    assert proved_bounds(weights, grid, stride, 0.999 * norm).isinf().all()
    assert proved_bounds(weights.double(), grid, stride, (1 + 1e-9) * norm).isfinite().all()
    assert proved_bounds(weights.double(), grid, stride, (1 - 1e-9) * norm).isinf().all()
    estimated = proved_bounds(weights, grid, stride, 0.5 * norm, 2.0)  # an estimate is at most the norm
    assert (estimated >= norm).all()
    assert (estimated[estimated.isfinite()] <= 2.0 * norm * (1 + 1e-5)).all()


@EXAMPLES
@given(SEEDS, st.lists(st.floats(-5, 0), min_size=2, max_size=6))
def test_what_is_skipped_is_within_its_bound(seed: int, sizes: list[float]) -> None:
    """Random walks of small and large steps: after every projection the exact norms hold, computed or not."""
    bound, projector = NormBound(1.0, (8, 8)), Projector()
    weights = {str(i): kernel(seed + i, 0.05 * i, 4, 4, 3, 3) for i in range(4)}
    for step, size in enumerate(sizes):
        for weight in weights.values():
            weight.add_(kernel(seed + 7 + step, 10**size, 4, 4, 3, 3))
        before = {name: (weight.clone(), exact_norm(weight, bound)) for name, weight in weights.items()}
        projector.project({name: (weight, bound) for name, weight in weights.items()})
        for name, weight in weights.items():
            assert (norm := exact_norm(weight, bound)) <= bound.cap
            assert torch.equal(weight, before[name][0]) if before[name][1] < 0.97 else norm > 0.85
    assert sum(projector.decided) == 4 * len(sizes)


def test_small_steps_cost_no_norms() -> None:
    """A kernel that was looked at is not looked at again while the steps since cannot have broken its bound."""
    projector, weight = Projector(), kernel(1, 1.0, 8, 8, 3, 3)
    for _ in range(50):
        weight.add_(1e-5 * torch.randn(8, 8, 3, 3))
        projector.project({"weight": (weight, NormBound(1.0, (8, 8)))})
    assert sum(projector.decided[1:]) <= 4
    weight.mul_(2)
    projector.project({"weight": (weight, NormBound(1.0, (8, 8)))})
    assert exact_norm(weight, NormBound(1.0, (8, 8))) <= 1


@pytest.mark.parametrize("shape", [(3, 3, 3, 3), (3, 3)])
@pytest.mark.parametrize("value", [0.0, math.inf, math.nan])
def test_kernels_without_a_norm(value: float, shape: tuple[int, ...]) -> None:
    """Zero has norm 0; a diverged kernel is left alone, and the others of its shape are projected."""
    bound, bad, good = NormBound(1.0, (1, 1)), torch.full(shape, value), torch.ones(shape)
    Projector().project({"bad": (bad, bound), "good": (good, bound)})
    assert exact_norm(good, bound) <= 1
    assert torch.equal(bad.nan_to_num(), torch.full(shape, value).nan_to_num())
    assert torch.equal(bound.project(bad).nan_to_num(), bad.nan_to_num())


def test_a_bound_on_a_grid_holds_on_its_divisors() -> None:
    """The frequencies of 16x16 and 8x8 are among those of 32x32."""
    for seed in range(6):
        weight = NormBound(1.0, (32, 32), 2).project(kernel(seed, 1.0, 4, 4, 3, 3))
        assert all(exact_norm(weight, NormBound(1.0, (n, n), 2)) <= 1 for n in (16, 8, 4, 2))


def test_an_odd_grid_has_no_bound_for_a_stride() -> None:
    """The message says what is expected and what to do."""
    with raises(ValueError, "stride (2, 2)", "5x5", "input size"):
        NormBound(1.0, (5, 5), 2).norms(torch.ones(1, 2, 2, 3, 3))


SMALL = {"width": 4, "in_chans": 1, "img_size": 8}


def holds(model: torch.nn.Module) -> bool:
    """Whether every constraint holds, exactly, for the weights as the layers use them."""
    for name, constraint in model.constraints().items():
        module, _, tensor = name.rpartition(".")
        weight = getattr(model.get_submodule(module), tensor).detach()
        if isinstance(constraint, NonNegative):
            if (weight < 0).any():
                return False
        elif exact_norm(weight, constraint) > constraint.cap:
            return False
    return True


@pytest.mark.parametrize("way", ["post_step", "hook", "parametrize"])
@pytest.mark.parametrize("name", ["stable_resnet_d18", "stable_resnet_s11", "stable_resnet_s11_cert"])
def test_constraints_hold_after_every_step(name: str, way: str) -> None:
    """From the start, through steps that are far too large, in each of the three ways."""
    torch.manual_seed(0)
    model = timm.create_model(name, parametrize=way == "parametrize", **SMALL)
    assert holds(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0, momentum=0.9)
    if way == "hook":
        handle = model.constrain(optimizer)
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8)
    for _ in range(4):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        for parameter in model.parameters():  # gradients of a first steps may be tiny
            parameter.grad.add_(0.1 * torch.randn_like(parameter))
        optimizer.step()
        if way == "post_step":
            model.post_step()
        assert holds(model)
    if way == "hook":
        handle.remove()
        optimizer.step()
        assert not holds(model)


@pytest.mark.parametrize("name", ["stable_resnet_s11_cert", "stable_resnet_d18"])
def test_weights_in_shards_are_projected(name: str) -> None:
    """As `fully_shard` divides them among processes, of which there is one here: what the whole network would have."""
    torch.manual_seed(0)
    model = timm.create_model(name, width=4, img_size=8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    sharded = copy.deepcopy(model)
    model.post_step()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        for block in sharded.blocks():
            fully_shard(block, mesh=mesh)
        fully_shard(sharded, mesh=mesh)
        sharded.post_step()
        for key, constraint in model.constraints().items():
            weight = sharded.get_parameter(key).full_tensor()
            assert torch.equal(weight, model.get_parameter(key)), key
            assert torch.equal(constraint.project(weight), weight), key
    finally:
        torch.distributed.destroy_process_group()


TRAINED = """
import timm, torch, stabzoo
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

def trained(rank, world, projected=True):
    torch.manual_seed(0)
    model = timm.create_model("stable_resnet_s11_cert", width=4, img_size=8).double()
    images, labels = torch.randn(8, 3, 8, 8, dtype=torch.float64), torch.arange(8)
    if world > 1:
        mesh = init_device_mesh("cpu", (world,))
        for block in model.blocks():
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=20.0, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images[rank::world]), labels[rank::world]).backward()
        optimizer.step()
        if projected:
            model.post_step()
    return model

torch.distributed.init_process_group("gloo")
rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
sharded, whole, free = trained(rank, world), trained(0, 1), trained(0, 1, projected=False)
for name, constraint in whole.constraints().items():
    part = sharded.get_parameter(name)
    weight = part.full_tensor()
    assert part.to_local().numel() < weight.numel()
    torch.testing.assert_close(weight, whole.get_parameter(name), rtol=1e-9, atol=1e-12)
    assert torch.equal(constraint.project(weight), weight)
assert not all(torch.equal(c.project(w), w) for n, c in free.constraints().items() for w in [free.get_parameter(n)])
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_train_what_is_projected(tmp_path: Path) -> None:
    """With `fully_shard`, each has a part of every weight: after three steps they are those of one process."""
    (tmp_path / "trained.py").write_text(TRAINED)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [*launcher, str(tmp_path / "trained.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_constrained() -> None:
    """The hypotheses of Theorems 5 and 6, by the names of the weights."""
    d, s, cert = (
        timm.create_model(n, img_size=16).constraints()
        for n in ("stable_resnet_d18", "stable_resnet_s11", "stable_resnet_s11_cert")
    )
    assert d["stem.conv.weight"] == cert["stem.conv.weight"] == NormBound(1.0, (16, 16))
    assert d["head.fc.weight"] == cert["head.fc.weight"] == NormBound(1.0)
    assert [n for n, c in d.items() if isinstance(c, NonNegative)] == [
        f"stages.{i}.blocks.{j}.conv2.weight" for i in range(3) for j in range(i > 0, 3)
    ]
    assert s["stages.1.blocks.1.conv.weight"] == NormBound(math.sqrt(2), (8, 8))
    assert set(cert) - set(s) == {"stages.1.blocks.0.conv.weight", "stages.2.blocks.0.conv.weight"}
    assert cert["stages.2.blocks.0.conv.weight"] == NormBound(1.0, (2, 2), 2)
    pooled = timm.create_model("stable_resnet_s11_cert", img_size=16, downsampling="mean").constraints()
    assert pooled["stages.2.blocks.0.conv.weight"] == NormBound(0.5, (8, 8), 2)
    assert timm.create_model("postresnet20").constraints() == {}


@pytest.mark.parametrize("parametrize", [False, True])
def test_caps_can_be_those_of_the_papers_experiments(parametrize: bool) -> None:
    """A2 >= 0 of ResNet-D alone, and nothing of ResNet-S: the weights that are initialised are those that are drawn."""
    signed = [f"stages.{i}.blocks.{j}.conv2.weight" for i in range(3) for j in range(i > 0, 3)]
    for name, caps, kept in (
        ("stable_resnet_d18", "paper", signed),
        ("stable_resnet_d18", "none", []),
        ("stable_resnet_s11", "paper", []),
        ("stable_resnet_s11", "none", []),
    ):
        model = timm.create_model(name, caps=caps, parametrize=parametrize)
        assert model.constraints() == dict.fromkeys(kept, NonNegative())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(-30.0)
        model.post_step()
        assert all((model.get_submodule(n.removesuffix(".weight")).weight == 0).all() for n in kept)
        assert (model.head.fc.weight == -30).all()
    with raises(ConfigError, "caps", "'none', 'paper' or 'certified'"):
        timm.create_model("stable_resnet_d18", caps="theirs")


def test_parametrizations_can_be_removed() -> None:
    """The projections become the weights: the same logits, the names of an ordinary checkpoint, later projections."""
    model = timm.create_model("stable_resnet_d18", parametrize=True, **SMALL).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(2, 1, 8, 8)
    before = model(x)
    model.reset_classifier(10)
    assert holds(model)
    model = copy.deepcopy(model)
    model.remove_parametrizations()
    torch.testing.assert_close(model.forward_features(x).mean((2, 3)) @ model.head.fc.weight.T, model(x))
    assert before.shape == model(x).shape
    plain = timm.create_model("stable_resnet_d18", **SMALL)
    plain.load_state_dict(model.state_dict())
    assert holds(plain)
    assert torch.equal(plain.eval()(x), model(x))


def test_the_gradient_passes_a_projection() -> None:
    """Lazy projection: also where a weight is at 0 or at its bound."""
    for constraint in (NonNegative(), NormBound(0.1, (4, 4))):
        weight = torch.randn(2, 2, 3, 3, requires_grad=True)
        factor = torch.randn(2, 2, 3, 3)
        (Projected(constraint)(weight) * factor).sum().backward()
        assert torch.equal(weight.grad, factor)


def test_a_model_with_a_history_of_projections_can_be_copied_and_stored(tmp_path) -> None:
    """deepcopy, pickle, a state dict loaded over it: the constraints hold at the next projection."""
    model = timm.create_model("stable_resnet_s11_cert", **SMALL)
    assert holds(pickle.loads(pickle.dumps(copy.deepcopy(model))))
    model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()})
    assert not holds(model)
    model.post_step()
    assert holds(model)
    model.double().post_step()
    assert holds(model)
