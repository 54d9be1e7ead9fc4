"""The backward pass by inversion: the gradients of the ordinary one in memory that does not grow with the depth.

Where rounding errors grow too far a state is kept, or the blocks are evaluated again.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

import stabzoo
from fixtures.messages import raises, warns
from stabzoo.errors import ConfigError
from stabzoo.networks.past import advanced
from stabzoo.networks.resnet import DiscretizedResNet
from stabzoo.networks.reversible import runs

MIDPOINT = {"alpha": ["0", "1"], "beta": ["2"]}
MOMENTUM = {"alpha": ["19/10", "-9/10"], "beta": ["1/10"]}
VERLET = {"alpha": ["2", "-1"], "beta": ["1/4"]}
THREE_STEPS = {"alpha": ["1/3", "5/9", "1/9"], "beta": ["16/9"]}


def network(parameters: dict[str, Any], blocks: int = 4, scheme: str = "multistep", **options: Any) -> Any:
    """A narrow network in float64, in training mode."""
    torch.manual_seed(0)
    options = {"width": 4, "dtype": torch.float64, **options}
    return DiscretizedResNet(stabzoo.get_scheme(scheme, **parameters), (blocks,) * 3, **options).train()


def images(dtype: torch.dtype = torch.float64) -> Tensor:
    """Four images."""
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=dtype)


def step(model: Any, mode: str | None, x: Tensor, **autocast: Any) -> dict[str, Tensor]:
    """Everything that a training step leaves: gradients, buffers, and what the generator draws next."""
    model = copy.deepcopy(model)
    if mode:
        model.set_grad_checkpointing(mode=mode)
    x = x.clone().requires_grad_()
    torch.manual_seed(3)
    with torch.autocast("cpu", **{"enabled": False, **autocast}):
        logits = model(x)
    logits.square().mean().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**found, **dict(model.named_buffers()), "x": x.grad, "logits": logits, "next draw": torch.rand(1)}


def same(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Equal to a relative tolerance, in the norm of each."""
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        error = torch.linalg.vector_norm((got[name] - value).double())
        assert error <= tolerance * torch.linalg.vector_norm(value.double()).clamp(min=1e-12), (name, error)


@pytest.mark.parametrize(
    "scheme", [MIDPOINT, MOMENTUM, VERLET, THREE_STEPS, "hamiltonian", "revnet"], ids=lambda s: str(s)[:40]
)
@pytest.mark.parametrize("options", [{"drop_path_rate": 0.3}, {"norm": "none"}, {"bottleneck": True}])
def test_the_gradients_are_those_of_the_ordinary_backward(scheme: Any, options: dict[str, Any]) -> None:
    """To 1e-10 in float64; running statistics are updated once, what was drawn is drawn again, and no more."""
    model = network({}, scheme=scheme, **options) if isinstance(scheme, str) else network(scheme, **options)
    same(step(model, "reversible", images()), step(model, None, images()), 1e-10)


def test_the_gradients_of_trained_coefficients() -> None:
    """The weight on the oldest state is between 0 and 1/10 here: runs are short."""
    model = network({}, scheme="lm_resnet")
    same(step(model, "reversible", images()), step(model, None, images()), 1e-6)
    model = network({}, scheme="zerosnet_tra")
    same(step(model, "reversible", images()), step(model, None, images()), 1e-10)


def test_frozen_weights_and_evaluation() -> None:
    """Frozen weights get no gradient; the modes are those of the forward pass; without gradients nothing is special."""
    model = network(MIDPOINT)
    model.stages[0].requires_grad_(False)
    model.eval()
    same(step(model, "reversible", images()), step(model, None, images()), 1e-10)
    model.set_grad_checkpointing(mode="reversible")
    logits = model(images())
    model.train()  # changed since
    logits.sum().backward()
    assert not model.training or all(block.training for block in model.blocks())
    assert all(p.grad is None for p in model.stages[0].parameters())
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images()), logits)


def test_autocast_is_that_of_the_forward_pass() -> None:
    """In bfloat16 the blocks are evaluated as they were: gradients differ by what rounding makes of the states."""
    model, x = network(MIDPOINT, blocks=3, dtype=torch.float32), images(torch.float32)
    bfloat16 = {"enabled": True, "dtype": torch.bfloat16}
    plain, ours = (step(model, mode, x, **bfloat16) for mode in (None, "reversible"))
    assert torch.equal(plain["logits"], ours["logits"])
    key = "stages.2.blocks.2.step.f.conv.weight"  # of the last block, whose input is off by one rounding
    same({key: ours[key]}, {key: plain[key]}, 0.02)


def test_gradients_by_name_and_not_twice() -> None:
    """`torch.autograd.grad` works, gradients accumulate, and gradients of gradients are refused by name."""
    model = network(MIDPOINT, blocks=2)
    model.set_grad_checkpointing(mode="reversible")
    weight = model.stages[1].blocks[1].step.f.conv.weight
    (once,) = torch.autograd.grad(model(images()).sum(), [weight])
    for _ in range(2):
        model(images()).sum().backward()
    torch.testing.assert_close(weight.grad, 2 * once, rtol=1e-9, atol=1e-9)
    (again,) = torch.autograd.grad(model(images()).sum(), [weight], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        again.sum().backward()


@contextmanager
def counted(model: nn.Module) -> Iterator[Counter[str]]:
    """Bytes that are saved for a backward pass, beside the weights: those alive ("now") and the most of them ("peak")."""
    count: Counter[str] = Counter()
    alive: Counter[int] = Counter()
    weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor, self.storage = tensor, tensor.untyped_storage()
            key = self.storage.data_ptr()
            alive[key] += 1
            if alive[key] == 1 and key not in weights:
                count["now"] += self.storage.nbytes()
                count["peak"] = max(count["peak"], count["now"])

        def __del__(self) -> None:
            key = self.storage.data_ptr()
            alive[key] -= 1
            if alive[key] == 0 and key not in weights:
                count["now"] -= self.storage.nbytes()

    with saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        yield count


def saved(parameters: dict[str, Any], blocks: int, mode: str | None, scheme: str) -> Counter[str]:
    """What a training step saves."""
    model = network(parameters, blocks, scheme)
    if mode:
        model.set_grad_checkpointing(mode=mode)
    with counted(model) as count:
        loss = model(images()).sum()
        count["forward"] = count["now"]
        loss.backward()
    assert count["now"] == 0
    return count


@pytest.mark.parametrize(
    ("scheme", "parameters"),
    [("multistep", MOMENTUM), ("midpoint", {}), ("verlet", {}), ("hamiltonian", {}), ("revnet", {})],
)
def test_memory_does_not_grow_with_the_depth(scheme: str, parameters: dict[str, Any]) -> None:
    """By inversion the bytes saved, and the most of them at any time, are those of two blocks; else they grow."""
    few, many = (saved(parameters, blocks, "reversible", scheme) for blocks in (3, 9))
    assert many["forward"] == few["forward"]
    assert many["peak"] == few["peak"]
    plain_few, plain_many = (saved(parameters, blocks, None, scheme) for blocks in (3, 9))
    assert plain_many["peak"] > 2 * plain_few["peak"]
    assert many["peak"] < plain_many["peak"] / 4


def test_what_rounding_makes_of_momentum() -> None:
    """y_{n+1} = (1+g) y_n - g y_{n-1} + (1-g) f: one inversion of 24 blocks multiplies rounding by g^-23, runs do not."""
    model = network({"alpha": ["3/2", "-1/2"], "beta": ["1/2"]}, blocks=24, dtype=torch.float32)
    with torch.no_grad():
        entered = history = [model.stem(images(torch.float32))]
        for block in model.stages[0].blocks:
            history = advanced(block, history)
        for block in reversed(model.stages[0].blocks):
            history = block.inverse(history)
    assert (history[0] - entered[0]).norm() > 0.1 * entered[0].norm()  # 2^23 eps = 1
    double = copy.deepcopy(model).double()
    same(step(double, "reversible", images()), step(double, None, images()), 1e-8)
    step(model, "reversible", images(torch.float32))  # without a warning


def test_a_state_is_kept_where_rounding_errors_would_grow_too_far() -> None:
    """Runs end where 1/g per block would use up the digits; a weight of 1 on the oldest state needs no cut."""
    blocks = network(MIDPOINT, blocks=12).blocks()[:12]
    assert [len(run) for run in runs(blocks, torch.float32)] == [12]
    blocks = network({"alpha": ["3/2", "-1/2"], "beta": ["1/2"]}, blocks=24).blocks()[:24]
    # the inverse companion matrix to the power k has the norm 2^(k+2) - 3, at most eps^(-1/3): 203 and 1.7e5
    assert [len(run) for run in runs(blocks, torch.float32)] == [1 + 5, 5, 5, 5, 3]  # the first block loses nothing
    assert [len(run) for run in runs(blocks, torch.float64)] == [1 + 15, 8]


def test_what_rounding_destroyed_is_evaluated_again() -> None:
    """A branch that amplifies: found when the state at the entry is compared; the gradients are right in spite of it."""
    model, x = network(MIDPOINT, blocks=12, norm="none", drop_path_rate=0.3), images()
    with torch.no_grad():
        for block in model.blocks():
            block.step.f.conv.weight.mul_(15)
    with warns(RuntimeWarning, "11 blocks", "relative error", "recompute"):
        ours = step(model, "reversible", x)
    same(ours, step(model, None, x), 1e-10)


def test_who_cannot_be_inverted_is_told() -> None:
    """Euler's step forgets its state, Adams's its slope; an unknown mode is refused."""
    for parameters in ({"alpha": ["1"], "beta": ["1"]}, {"alpha": ["1", "0"], "beta": ["3/2", "-1/2"]}):
        with raises(ConfigError, "multistep", "inverse", "recompute"):
            network(parameters).set_grad_checkpointing(mode="reversible")
    with raises(ConfigError, "reversible", "invert"):
        network(MIDPOINT).set_grad_checkpointing(mode="invert")


def test_switching_back() -> None:
    """The modes replace each other, and `enable=False` ends both."""
    model = network(MIDPOINT, blocks=2)
    for mode in ("reversible", "recompute"):
        model.set_grad_checkpointing(mode=mode)
        assert [(stage.reversible, stage.grad_checkpointing) for stage in model.stages] == [
            (mode == "reversible", mode == "recompute")
        ] * 3
    model.set_grad_checkpointing(False)
    assert not any(stage.reversible or stage.grad_checkpointing for stage in model.stages)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # of dynamo itself
def test_compiled_networks_run_the_stages_eagerly() -> None:
    """torch.compile leaves them out, and the gradients are the same."""
    model = network(MIDPOINT, blocks=2)
    expected = step(model, None, images())
    model.set_grad_checkpointing(mode="reversible")
    compiled = torch.compile(model, backend="eager")
    torch.manual_seed(3)
    logits = compiled(images())
    logits.square().mean().backward()
    torch.testing.assert_close(logits, expected["logits"])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])
