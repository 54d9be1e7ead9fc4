"""Learnable schemes that cannot leave a stable range: the promise, its proof, and what it does not say."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import timm
import torch

from fixtures.messages import raises
from stabzoo import (
    ConfigError,
    LearnableMultistep,
    LinearMultistep,
    Rational,
    StableRange,
    checkpoint_filter_fn,
    get_scheme,
    is_zero_stable,
)
from stabzoo.claims import check_claims
from stabzoo.networks.steps import Inside, LearnableStep
from stabzoo.stability import product_growth
from stabzoo.stability.parameters.ranges import check_range
from stabzoo.testing.checks import Subject
from stabzoo.testing.steps import check_stable_ranges

LEARNABLE = {"lm_resnet": "lmresnet20", "zerosnet_tra": "zerosnet20_tra"}


def learnt(model: Any) -> list[LearnableStep]:
    """The steps that train."""
    return [block.step for block in model.blocks() if isinstance(block.step, LearnableStep)]


def test_every_learnable_scheme_has_both_ranges_and_they_are_proved() -> None:
    """By `stabzoo check`."""
    checks = {check.report.name: check for check in check_claims(list(LEARNABLE)).schemes}
    for name in LEARNABLE:
        fared = checks[name].ranges
        assert len(fared) == 2
        assert all(check.is_proved and check.problem is None for check in fared.values()), fared
        assert not checks[name].false_claims


@pytest.mark.parametrize("name", LEARNABLE)
def test_no_weight_leaves_the_range(name: str) -> None:
    """The check of the kit."""
    check_stable_ranges(Subject(name))


@pytest.mark.parametrize(("name", "guarantee"), [(n, g) for n in LEARNABLE for g in ("blocks", "products")])
def test_huge_updates_leave_a_network_stable(name: str, guarantee: str) -> None:
    """Without the option the same updates do not, of LM-ResNet; the weight has a finite gradient at each."""
    torch.manual_seed(0)
    network: Any = timm.create_model(LEARNABLE[name], stable=guarantee, width=4)
    plain: Any = timm.create_model(LEARNABLE[name], width=4)
    x = torch.randn(2, 3, 8, 8)
    for rate in (1.0, 1e3, 1e6, 1e9):
        network(x).square().sum().backward()
        for step, free in zip(learnt(network), learnt(plain), strict=True):
            with torch.no_grad():
                gradient = step.free.grad
                assert torch.isfinite(gradient)
                change = rate * torch.sign(gradient)
                step.free -= change
                free.parameter -= change
        network.zero_grad()
    methods = network.block_methods()
    assert all(map(is_zero_stable, methods))
    if name == "lm_resnet":  # a lambda of either sign that is huge is stable
        assert not all(map(is_zero_stable, plain.block_methods()))
    if guarantee == "products":
        assert product_growth(methods).norm == 1


def test_blocks_start_where_the_scheme_does() -> None:
    """Of LM-ResNet in its interval; lambda = -2 is mu = -1/2; ZeroSNet-Opt where the default is outside."""
    torch.manual_seed(0)
    for guarantee, low, high in ((None, 1, 1.1), ("blocks", 1, 1.1), ("products", 0.85, 0.95)):
        numbers = [
            float(s.numbers().detach()) for s in learnt(timm.create_model("lmresnet20", stable=guarantee, width=4))
        ]
        assert all(low - 1e-6 <= number <= high + 1e-6 for number in numbers)
    (mu, *_) = [
        float(s.numbers().detach())
        for s in learnt(timm.create_model("zerosnet20_tra", stable="blocks", lam=-2, width=4))
    ]
    assert mu == pytest.approx(-0.5)
    assert get_scheme("zerosnet_tra", stable="products").coefficients() == get_scheme("zerosnet_opt").coefficients()


def test_a_start_outside_is_refused() -> None:
    """And a guarantee that there is not."""
    with raises(ConfigError, "k_n", "21/20", "0 to 1"):
        get_scheme("lm_resnet", stable="products", k_n="21/20")
    with raises(ConfigError, "blocks", "products"):
        get_scheme("lm_resnet", stable="all")


def test_checkpoints_of_the_two_are_not_mixed_up() -> None:
    """A weight k_n is not read as a free number, nor one of a release dropped."""
    free, plain = (timm.create_model("lmresnet20", width=4, **kind) for kind in ({"stable": "blocks"}, {}))
    with pytest.raises(RuntimeError, match="free"):
        free.load_state_dict(plain.state_dict())
    free.load_state_dict(timm.create_model("lmresnet20", stable="blocks", width=4).state_dict())
    assert checkpoint_filter_fn({"ks.2": torch.ones(1), "ks.0": torch.ones(1)}, free).keys() == {"ks.2"}


def test_gradients_against_differences() -> None:
    """Of the numbers by the weight, to the last digits, near and far from the middle."""
    inside = Inside([0.0, -1.0], [2.0, 3.0])
    weight = torch.tensor([0.3, -4.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(inside, weight)
    assert torch.autograd.gradcheck(inside, torch.zeros(2, dtype=torch.float64, requires_grad=True))
    with raises(ValueError, "99", "100"):
        Inside([99.0], [100.0])


def mixed(ks: list[Fraction]) -> list[LinearMultistep]:
    """LM-ResNet's blocks of these k_n."""
    family = type(get_scheme("lm_resnet")).within("blocks")
    return [family((k,)) for k in ks]


def test_what_zero_stable_blocks_say_of_products() -> None:
    """LM-ResNet: 2n + 1, reached in the limit k_n = 2, and (1+r)/(1-r). ZeroSNet-Tra: pairs may triple."""
    near = Fraction(2) - Fraction(1, 10**9)
    for n in (1, 5, 20):
        norm = product_growth(mixed([near] * n)).norm
        assert 2 * n + 1 - Fraction(1, 10**5) < norm <= 2 * n + 1
    for seed in range(20):
        torch.manual_seed(seed)
        ks = [Fraction(k) for k in (1.5 * torch.rand(12)).tolist()]
        assert product_growth(mixed(ks)).norm <= 3  # r = 1/2
    tra = type(get_scheme("zerosnet_tra")).within("blocks")
    pair = [tra((mu,)) for mu in (Fraction(3) - Fraction(1, 10**6), Fraction(-1) + Fraction(1, 10**6))]
    assert all(map(is_zero_stable, pair))
    assert product_growth(pair * 10).norm > 2**10


class Two(LearnableMultistep):
    """Two parameters."""

    name = "two"
    parameter = ("a", "b")
    formula = staticmethod(lambda p: ([1 - p[0] - p[1], p[0], p[1]], [1 + p[0] + 2 * p[1]]))
    stable_ranges = {"products": StableRange((Fraction(0), Fraction(0)), (Fraction(1, 2), Fraction(1, 2)))}  # noqa: RUF012
    a: Rational = Fraction(1, 4)
    b: Rational = Fraction(1, 8)


def test_several_parameters_are_tried_and_not_proved() -> None:
    """And are kept in their box."""
    scheme = Two(stable="products")
    fared = check_range(Two.within("products"), Two.stable_ranges["products"].intervals(), products=True)
    assert not fared.is_proved
    assert fared.values > 100
    assert fared.problem is None
    step: Any = scheme.block(torch.nn.Identity())
    assert step.coefficients().alpha == pytest.approx((0.625, 0.25, 0.125))
    with torch.no_grad():
        step.free.copy_(torch.tensor([1e30, -1e30]))
    assert sum(map(abs, step.coefficients().alpha)) == 1


def test_a_false_range_is_found() -> None:
    """Too wide, by one end, by both; with a sum that is above 1 at an end; of several parameters."""
    lm = type(get_scheme("lm_resnet")).within("blocks")
    assert check_range(lm, [(Fraction(0), Fraction(2) + Fraction(1, 10**9))]).problem
    assert check_range(lm, [(Fraction(-1, 10**9), Fraction(1))]).problem
    assert check_range(lm, [(Fraction(0), Fraction(3, 2))], products=True).problem
    assert check_range(Two.within("products"), [(Fraction(0), Fraction(3))] * 2).problem
