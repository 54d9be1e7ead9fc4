"""Effective depth: known values, laws that hold of all schemes, and the layout of the zoo's own networks."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
import timm
from hypothesis import given, settings
from hypothesis import strategies as st

import stabzoo  # noqa: F401 -- registers the models
from fixtures.messages import raises
from stabzoo.methods import NOT_DECIDED, GeneralLinear, LinearMultistep, OneLeg, RungeKutta
from stabzoo.methods.multistep import BACKWARD_EULER, EULER
from stabzoo.registry.loading import get_scheme
from stabzoo.stability import Enclosure, effective_depth
from stabzoo.stability.properties.effective_depth import network_methods

OPTIMAL = LinearMultistep(("1/3", "5/9", "1/9"), ("16/9",))
UNSTABLE = LinearMultistep((1, 1, 1), (1,))
MIDPOINT = RungeKutta(((0, 0), ("1/2", 0)), (0, 1))

small = st.fractions(min_value=-2, max_value=2, max_denominator=6)
methods = st.integers(1, 4).flatmap(
    lambda d: st.builds(
        LinearMultistep, st.lists(small, min_size=d, max_size=d), st.lists(small, min_size=d, max_size=d)
    )
)


def directions(blocks):
    """P, D and P D, forwards and backwards."""
    found = effective_depth(blocks)
    return [(d.participation, d.composition, d.product) for d in (found.forward, found.backward)]


@pytest.mark.parametrize("n", [1, 2, 3, 9, 27])
def test_in_eulers_network_all_blocks_take_part_and_paths_are_harmonic(n):
    """P = N and D = 1 + 1/2 + ... + 1/N, in both directions."""
    harmonic = sum(Fraction(1, k) for k in range(1, n + 1))
    assert directions([EULER] * n) == [(n, harmonic, n * harmonic)] * 2


def test_by_hand():
    """y1 = f0, y2 = 2 y1 + f1, y3 = 2 y2 + f2: the shares are (1), (4, 1), (16, 4, 1)."""
    p, d = Fraction(21**2, 16**2 + 4**2 + 1), Fraction(16 * 1 + 4 * 2 + 1 * (1 + Fraction(4 * 1 + 1 * 2, 5)), 21)
    assert directions([LinearMultistep((2,), (1,))] * 3) == [(p, d, p * d)] * 2


@pytest.mark.parametrize("root", [Fraction(3, 2), Fraction(2), Fraction(-3)])
def test_an_unstable_scheme_gains_nothing_from_depth(root):
    """Of a simple real root zeta P tends to (zeta^2 + 1) / (zeta^2 - 1), from below."""
    limit = (root**2 + 1) / (root**2 - 1)
    found = [effective_depth([LinearMultistep((root,), (1,))] * n).forward for n in (5, 20, 60)]
    sizes = [f.participation for f in found]
    assert sizes == sorted(sizes)
    assert sizes[-1] < limit
    assert limit - sizes[1] < Fraction(1, 100)
    assert found[2].product - found[1].product < Fraction(1, 100)
    assert effective_depth([EULER] * 60).forward.participation == 60


def test_depth_of_the_papers_schemes():
    """In networks of 32, 44 and 56 layers: the unstable ones saturate, the optimal one does not."""
    stages = [(n, n, n) for n in (5, 7, 9)]
    optimal, unstable = ([effective_depth(network_methods(m, s)).forward for s in stages] for m in (OPTIMAL, UNSTABLE))
    assert [round(float(f.participation), 2) for f in unstable] == [1.84] * 3
    assert [round(float(f.composition), 2) for f in unstable] == [1.34] * 3
    assert [round(float(f.participation), 1) for f in optimal] == [11.3, 16.8, 22.6]


def reference(blocks):
    """The same by floats and matrices, of multistep methods."""
    count = len(blocks)
    states, w = [np.zeros(count)], np.zeros((count + 1, count))
    for n, m in enumerate(blocks):
        new = sum(float(a) * y for a, y in zip(m.alpha, states, strict=False))
        for j, b in enumerate(m.beta[: n + 1]):
            new = new + float(b) * np.eye(count)[n - j]
        states.insert(0, new)
        w[n + 1] = new**2
    depths = [0.0]
    for n in range(1, count + 1):
        depths.append(w[n][:n] @ (1 + np.array(depths)) / w[n].sum() if w[n].any() else 0.0)
    return (w[-1].sum() ** 2 / (w[-1] ** 2).sum(), depths[-1]) if w[-1].any() else (0.0, 0.0)


@dataclass
class Restarting:
    """A scheme that begins anew at a change of shape, or does not."""

    method: LinearMultistep
    at_downsampling: str

    def coefficients(self) -> LinearMultistep:
        """One block's."""
        return self.method


@settings(max_examples=40)
@given(methods, st.integers(1, 9), st.sampled_from(["restart", "project"]))
def test_it_is_what_floating_point_matrices_say(method, count, at_downsampling):
    """Past slopes, Euler starts and restarts included."""
    blocks = network_methods(Restarting(method, at_downsampling), (count, 2))
    assert directions(blocks)[0][:2] == pytest.approx(reference(blocks), rel=1e-9)


@settings(max_examples=40)
@given(methods, st.integers(1, 8), small.filter(bool))
def test_laws(method, count, factor):
    """P and D lie in [1, N], and depend on ratios of weights alone."""
    blocks = [method] * count
    here = directions(blocks)
    for size, depth, product in here:
        assert product == size * depth
        assert size == 0 or (1 <= size <= count and 1 <= depth <= count)
    # how large f is matters to none of it, and how often a step of no state is written down does not either
    assert directions([LinearMultistep(method.alpha, [factor * b for b in method.beta])] * count) == here
    padded = LinearMultistep((*method.alpha, 0), (*method.beta, 0))
    assert directions([padded] * count) == here
    if not method.past_slopes:  # weights that depend on n - j alone are the same in a mirror
        assert here[0] == here[1]


def test_kinds():
    """An evaluation of f counts, whatever kind of method asks for it."""
    runge_kutta = [MIDPOINT] * 5
    assert directions([GeneralLinear.of(MIDPOINT)] * 5) == directions(runge_kutta)
    assert directions(runge_kutta)[0][:2] == (5, effective_depth(runge_kutta).forward.composition)
    assert effective_depth(runge_kutta).forward.composition > effective_depth([EULER] * 5).forward.composition
    one_leg = OneLeg.of(LinearMultistep((1, 0), ("3/2", "-1/2")))
    assert effective_depth([EULER, *[one_leg] * 4]).forward.participation == 5  # each step adds one f to y_n
    for blocks in ([BACKWARD_EULER], [EULER, GeneralLinear.of(EULER)], [get_scheme("hamiltonian").method()]):
        assert effective_depth(blocks) is NOT_DECIDED


def test_beyond_64_evaluations_the_composition_is_enclosed():
    """By bounds that agree to 30 digits."""
    exact, enclosed = (effective_depth([EULER] * n).forward.composition for n in (64, 65))
    assert isinstance(exact, Fraction)
    assert isinstance(enclosed, Enclosure)
    harmonic = list(accumulate(Fraction(1, k) for k in range(1, 66)))
    assert exact == harmonic[63]
    assert enclosed.lower <= harmonic[64] <= enclosed.upper
    assert enclosed.upper - enclosed.lower < Fraction(1, 10**30)


def test_no_blocks():
    """There is no depth of nothing."""
    with raises(ValueError, "block"):
        effective_depth([])


@pytest.mark.parametrize(
    "name",
    [
        "preresnet20",
        "lmresnet20_shared",
        "midpoint20",
        "zerosnet20_opt",
        "rk4_resnet20",
        "zerosnet18_opt",
        "optimal4_resnet20",
    ],
)
def test_the_layout_is_that_of_the_networks(name):
    """Euler starts, restarts and changes of shape stand where the built network has them."""
    network = timm.create_model(name, device="meta")
    scheme = network.scheme
    stages = [len(stage.blocks) for stage in network.stages]
    laid_out = network_methods(scheme, stages)
    assert [method.coefficients() for method in laid_out] == [block.step.coefficients() for block in network.blocks()]
