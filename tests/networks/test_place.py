"""What a step is told of its place in the network, and schemes that need it: several branches, all states, many parameters."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, fx, nn

import stabzoo
from fixtures.messages import raises
from stabzoo import NOT_DECIDED, ExplicitMultistep, LearnableMultistep, LinearMultistep, Place, Rational, Shape
from stabzoo.methods import OwnNetwork
from stabzoo.networks.places import lone_place, scheme_block
from stabzoo.networks.resnet import DiscretizedResNet


class Told(ExplicitMultistep):
    """Two steps; remembers where they stand."""

    name = "told"
    alpha, beta = ("1/2", "1/2"), ("3/2",)
    places: ClassVar[list[Place]] = []

    def block(self, f: nn.Module, place: Place | None = None) -> nn.Module:
        """One step."""
        self.places.append(place)
        return super().block(f)

    def starting_block(self, f: nn.Module, *, returns_slope: bool, place: Place | None = None) -> nn.Module:
        """A starting step."""
        self.places.append(place)
        return super().starting_block(f, returns_slope=returns_slope)


def test_every_step_is_told_where_it_stands() -> None:
    """Starting steps, too; frozen."""
    scheme = Told()
    DiscretizedResNet(scheme, (2, 1, 2), width=4, dtype=torch.float64)
    places = scheme.places
    assert [(p.number, p.stage, p.number_in_stage, p.starting, p.states) for p in places] == [
        (0, 0, 0, True, 1), (1, 0, 1, False, 2), (2, 1, 0, False, 2), (3, 2, 0, False, 2), (4, 2, 1, False, 2),
    ]  # fmt: skip
    assert {(p.count, p.dtype) for p in places} == {(5, torch.float64)}
    assert (places[2].here, places[2].there) == (Shape(4, 1), Shape(8, 2))
    with pytest.raises(AttributeError):
        places[0].number = 3


class PartitionedStep(nn.Module):
    """p+ = p + f(q); q+ = q + g(p+), each of half the channels."""

    def __init__(self, f: nn.Module, g: nn.Module) -> None:
        super().__init__()
        self.f, self.g = f, g

    def forward(self, y: Tensor, history: list[Tensor]) -> list[Tensor]:
        """Advance."""
        p, q = history[0].chunk(2, 1)
        p = p + self.f(q)
        return [torch.cat([p, q + self.g(p)], 1)]


class Partitioned(ExplicitMultistep):
    """A Hamiltonian splitting: two branches."""

    name = "partitioned"
    alpha, beta = (1,), (1,)
    at_downsampling, needs_equal_shapes = "restart", True

    def block(self, f: nn.Module, place: Place) -> nn.Module:
        """One step."""
        half = place.there.channels // 2
        return PartitionedStep(place.branch(half, half), place.branch(half, half))


class AllStep(nn.Module):
    """y_n + f(y_n) + sum_j w_j (y_{n-j} - y_{n-j-1}), over all states."""

    def __init__(self, f: nn.Module, states: int) -> None:
        super().__init__()
        self.f = f
        self.differences = states - 1
        self.weights = [0.5 ** (j + 1) for j in range(states - 1)] or [0.0]  # an empty list has no type for TorchScript

    @torch.jit.unused
    def coefficients(self) -> LinearMultistep:
        """As the formula has it."""
        alpha = [Fraction(1)] + [Fraction(0)] * self.differences
        for j, weight in enumerate(self.weights[: self.differences]):
            alpha[j] += Fraction(weight)
            alpha[j + 1] -= Fraction(weight)
        return LinearMultistep(alpha, (1,))

    def forward(self, y: Tensor, history: list[Tensor]) -> list[Tensor]:
        """Advance."""
        new = history[0] + self.f(y)
        for j in range(self.differences):
            new = new + self.weights[j] * (history[j] - history[j + 1])
        return [new]


class AllStates(ExplicitMultistep):
    """All states of the stage, weighted."""

    name = "all_states"
    alpha, beta = (1,), (1,)
    memory = None

    def block(self, f: nn.Module, place: Place) -> nn.Module:
        """One step."""
        return AllStep(f, place.states)


class Vector(LearnableMultistep):
    """Three steps, two named numbers trained."""

    name = "vector"
    parameter = ("a", "b")
    a: Rational = Fraction(1, 4)
    b: Rational = Fraction(1, 8)

    @staticmethod
    def formula(p: Any) -> tuple[list[Any], list[Any]]:
        """One formula for numbers and tensors."""
        return [1 - p[0] - p[1], p[0], p[1]], [1 + p[0] + 2 * p[1]]


def formula(p: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The same, typed as TorchScript wants it."""
    return [1 - p[0] - p[1], p[0], p[1]], [1 + p[0] + 2 * p[1]]


class OneVector(LearnableMultistep):
    """One field of two numbers."""

    name = "one_vector"
    parameter = "p"
    formula = staticmethod(formula)
    spread = Fraction(1, 100)
    p: tuple[Rational, Rational] = (Fraction(1, 4), Fraction(1, 8))


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script:FutureWarning", "ignore:.*torch.jit:FutureWarning", "ignore::DeprecationWarning"
)
@pytest.mark.parametrize("scheme", [Partitioned(), AllStates(), OneVector()], ids=lambda scheme: scheme.name)
def test_a_network_trains_traces_scripts_and_recomputes(scheme: Any) -> None:
    """The same numbers each way."""
    torch.manual_seed(0)
    model = DiscretizedResNet(scheme, (3, 2, 2), width=4)
    x = torch.randn(2, 3, 8, 8)
    gradients = []
    for recompute in (False, True):
        again = copy.deepcopy(model).train()
        again.set_grad_checkpointing(recompute)
        again(x).square().mean().backward()
        gradients.append([p.grad for p in again.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))
    model.eval()
    with torch.no_grad():
        expected = model(x)
        assert torch.allclose(fx.symbolic_trace(model)(x), expected, atol=1e-6)
        assert torch.allclose(torch.jit.script(model)(x), expected, atol=1e-6)
        assert torch.allclose(torch.compile(model, backend="eager", fullgraph=True)(x), expected, atol=1e-6)
        features = model.forward_intermediates(x, intermediates_only=True)
    assert [tuple(feature.shape[1:]) for feature in features] == [(4, 8, 8), (4, 8, 8), (8, 4, 4), (16, 2, 2)]


def test_all_states_of_the_stage_are_kept_and_no_other() -> None:
    """The history grows within a stage; growth is that of blocks with 1, 2, 3 ... steps."""
    model = DiscretizedResNet(AllStates(), (3, 2, 2), width=4)
    assert [block.states for block in model.blocks()] == [2, 3, 4, 2, 3, 2, 3]
    assert [method.steps for method in model.block_methods()] == [1, 2, 3, 1, 2, 1, 2]
    growth = model.stability_card()
    assert growth.norm == stabzoo.stability.product_growth(model.block_methods()).norm > 1


@pytest.mark.parametrize("memory", [0, 1, True, "all"])
def test_a_memory_that_the_coefficients_do_not_fit_is_refused(memory: Any) -> None:
    """With the scheme's name."""
    wrong = type("Wrong", (Told,), {"memory": memory, "__annotations__": {}})
    with raises(ValueError, "told", "memory", repr(memory)):
        DiscretizedResNet(wrong(), (1, 1, 1), width=4)


def test_more_memory_than_steps() -> None:
    """The network starts until there are as many states."""
    longer = type("Longer", (ExplicitMultistep,), {"name": "l", "alpha": (1,), "beta": (1,), "memory": 3})
    model = DiscretizedResNet(longer(), (4, 1, 1), width=4)
    assert [block.starting for block in model.blocks()] == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        ("self, f", False),
        ("self, f, scale=2", False),
        ("self, f, place", True),
        ("self, f, *, place", True),
        ("self, f, place=None", True),
        ("self, f, where", True),
        ("self, f, **named", True),
    ],
)
def test_a_block_is_called_by_its_signature(signature: str, told: bool) -> None:
    """And found on subclasses."""
    space: dict[str, Any] = {}
    exec(f"def block({signature}): seen.append({{k: v for k, v in locals().items() if k not in 'selff'}}); return f",
         {"seen": (seen := [])}, space)  # fmt: skip
    scheme = type("Derived", (type("Parent", (Told,), {"block": space["block"]}),), {})()
    f = nn.Linear(1, 1)
    place = lone_place(f, 2, 1)
    assert scheme_block(scheme, f, place) is f
    assert (place in _values(seen[0])) is told


def _values(seen: dict[str, Any]) -> list[Any]:
    return [inner for value in seen.values() for inner in (value.values() if isinstance(value, dict) else [value])]


def test_several_trained_parameters_have_one_vector_a_block() -> None:
    """The card follows them, exactly; they are of one dimension, which timm's optimizers do not decay."""
    model = DiscretizedResNet(Vector(), (3, 1, 1), width=4)
    steps = [block.step for block in model.blocks()[2:]]
    assert all(step.parameter.shape == (2,) for step in steps)
    assert steps[0].coefficients() == Vector().coefficients() == LinearMultistep(("5/8", "1/4", "1/8"), ("3/2",))
    assert model.stability_card().status == "strong"
    with torch.no_grad():
        steps[0].parameter.copy_(torch.tensor([3.0, 2.0]))
    assert steps[0].coefficients() == LinearMultistep((-4, 3, 2), (8,))
    assert model.stability_card().norm >= 9
    spread = DiscretizedResNet(OneVector(), (3, 1, 1), width=4).blocks()[-1].step.parameter.detach()
    assert ((spread - torch.tensor([0.25, 0.125])).abs() <= 0.0101).all()


def test_nothing_is_decided_where_neither_the_step_nor_the_scheme_states_it() -> None:
    """The network's card is that of an own network."""
    card = DiscretizedResNet(Partitioned(), (1, 1, 1), width=4).stability_card()
    assert isinstance(card.method, OwnNetwork)
    assert json.loads(json.dumps(card.to_dict(), allow_nan=False))["growth_parameters"] == "not decided"
    assert (card.status, card.is_zero_stable, card.is_convergent) == ("not decided", NOT_DECIDED, NOT_DECIDED)
    assert "method()" in card.reason
