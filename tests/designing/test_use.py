"""A design is used: weighted, bounded, as a model, a registry entry, a study's network, a plugin; on the command line."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from fixtures.commands import Run
from fixtures.messages import raises, refuses, says
from stabzoo.designing import OBJECTIVES, Design, Problem, design, objective, pareto_front
from stabzoo.errors import ConfigError
from stabzoo.families import adams_bashforth, adams_moulton, bdf, milne_simpson, nystrom, ssp
from stabzoo.methods import LinearMultistep
from stabzoo.methods.multistep import EULER, NOT_DECIDED
from stabzoo.registry.schema import Registry
from stabzoo.stability import Enclosure, card
from stabzoo.stability.properties.effective_depth import effective_depth, network_methods
from stabzoo.study.spec import Network


@pytest.fixture(scope="module")
def optimal() -> Design:
    """ZeroSNet-Opt, designed."""
    return design(3, 2, kind="single-beta")


METHODS = [
    bdf(1),
    bdf(3),
    bdf(6),
    adams_bashforth(3),
    adams_bashforth(4),
    adams_moulton(2),
    nystrom(1),
    ssp(4, 3),
    milne_simpson(2),
]
GUIDES = ("ssp_coefficient", "imaginary_interval", "sector_angle")
"""Estimates that go below 0 where there is nothing yet, so that a search gets there."""


@pytest.mark.parametrize(
    "name",
    ["parasitic_radius", "error_constant", "real_interval", "stability_constant", "growth", "effective_depth", *GUIDES],
)
def test_estimates_are_of_the_exact_numbers(name: str) -> None:
    """In floats, what the card proves."""
    import numpy as np

    goal = OBJECTIVES[name]
    for method in METHODS:
        proved = card(method)
        problem = Problem(steps=method.steps, order=proved.order, depth=20)
        rho, sigma = (np.array([float(c) for c in p]) for p in (method.rho, method.sigma))
        estimate, exact = goal.estimate(rho, sigma, problem), goal.exactly(proved, problem)
        if name in GUIDES and exact in (None, 0):
            assert estimate <= 1e-9
        elif exact == math.inf:
            assert estimate == math.inf
        elif exact is NOT_DECIDED:
            assert name == "effective_depth"
            assert not method.is_explicit
        else:
            assert isinstance(exact, Fraction | Enclosure)
            assert estimate == pytest.approx(float(exact), rel=1e-6, abs=1e-9)


def test_a_scheme_of_many_blocks(optimal: Design) -> None:
    """Deeper than Euler's method and than ZeroSNet-Opt of as many blocks, exactly; a network has a number of blocks."""
    found = design(2, 2, "effective_depth", depth=27)
    assert found.card.is_zero_stable
    assert found.card.order == 2
    depths = [effective_depth(network_methods(m, (27,))).forward.product for m in (found.method, EULER, optimal.method)]
    assert found.values["effective_depth"] == depths[0]
    assert depths[0] > 110 > max(depths[1:])
    with raises(ConfigError, "effective_depth", "depth"):
        design(2, 2, "effective_depth")
    with raises(ConfigError, "effective_depth", "explicit", "bdf-like"):
        design(2, 2, "effective_depth", kind="bdf-like", depth=27)


def test_bounds_are_met_exactly_and_named_where_they_are_active() -> None:
    """The longest interval at a parasitic radius of 1/2 is that of lambda -> infinity."""
    found = design(3, 2, "parasitic_radius", kind="single-beta", bounds={"real_interval": 1})
    assert found.values["real_interval"] == 1
    assert any("real_interval" in text for text in found.active)
    assert float(found.card.parasitic_radius) == pytest.approx(5**-0.5, abs=1e-6)
    assert found.limit is None


@pytest.mark.parametrize("weight", ["1/20", "1/4"])
def test_a_mix_is_no_worse_than_others_of_the_family(weight: str) -> None:
    """Of lambda = -1 with little weight on the radius, of -9/5 with more."""
    found = design(3, 2, {"parasitic_radius": weight, "error_constant": 1}, kind="single-beta")

    def cost(method: LinearMultistep) -> float:
        proved, share = card(method), float(Fraction(weight))
        return share * float(proved.parasitic_radius) + abs(float(proved.error_constant))  # type: ignore[arg-type]

    best = cost(found.method)
    for lam in map(Fraction, ("-1", "-3/2", "-9/5", "-5", "10", "3")):
        alpha = (3 * (1 + lam) / (4 * lam), -1 / lam, (1 + lam) / (4 * lam))
        assert best <= cost(LinearMultistep(alpha, ((3 * lam - 1) / (2 * lam),))) + 1e-9


def test_signs_are_kept() -> None:
    """And a zero entry is one."""
    found = design(3, 2, kind="explicit", signs={"alpha": "+", "beta": "+", "beta_2": "0"})
    assert min(found.method.alpha) >= 0
    assert min(found.method.beta) >= 0
    assert found.method.beta[2] == 0
    assert found.card.order == 2


def test_an_objective_is_one_function() -> None:
    """Registered, it is optimised, bounded and returned as the others are."""

    @objective("oldest", "most", lambda proved, problem: proved.coefficients.alpha[-1])
    def _oldest(rho, sigma, problem):
        return -rho[-1]

    try:
        found = design(3, 2, "oldest", kind="single-beta", bounds={"parasitic_radius": "1/2"})
        assert found.values["oldest"] == found.method.alpha[2]
        assert float(found.method.alpha[2]) == pytest.approx(0.25, abs=1e-6)
    finally:
        del OBJECTIVES["oldest"]


def test_a_front_is_of_designs_none_of_which_is_better() -> None:
    """From the least radius to the longest interval; both get larger on the way."""
    front = pareto_front(Problem(steps=3, order=2, kind="single-beta"), "real_interval", 3)
    points = front.points()
    assert points == sorted(points)
    assert points[0] == (pytest.approx(1 / 3), pytest.approx(0.5))
    assert points[-1] == (pytest.approx(3**-0.5), pytest.approx(2))
    with raises(ConfigError, "parasitic_radius"):
        pareto_front(Problem(steps=3, order=2), "parasitic_radius")


def test_it_is_a_model_in_one_line(optimal: Design) -> None:
    """And its scheme has the coefficients."""
    import timm

    model = timm.create_model("multistep20", **optimal.as_args(), width=4)
    assert model.scheme.coefficients() == optimal.method


def test_it_is_an_entry_of_a_registry_and_of_a_study(optimal: Design) -> None:
    """Both are read as such."""
    models = Registry.model_validate({"models": yaml.safe_load(optimal.as_registry("mine", 32))}).expanded_models()
    assert models["mine32"].parameters == optimal.as_args()
    network = Network.model_validate(optimal.as_network("optimal"))
    assert LinearMultistep(network.args["alpha"], network.args["beta"]).alpha == optimal.method.alpha


def test_it_is_a_distribution(run: Run, tmp_path: Path) -> None:
    """Of the file that is kept, explicit or implicit."""
    assert run(f"design 3 3 --kind bdf-like --save {tmp_path / 'bdf.json'}").status == 0
    done = run(f"new-plugin sector --design {tmp_path / 'bdf.json'} --folder {tmp_path}")
    assert done.status == 0, done.err
    text = (tmp_path / "stabzoo-sector" / "stabzoo_sector" / "__init__.py").read_text()
    says(text, '"18/11", "-9/11", "2/11"', "6/11", "ImplicitMultistep")
    refuses(run(f"new-plugin other --design {tmp_path / 'bdf.json'} --alpha 1 --beta 1"), "--design")
    refuses(run(f"new-plugin other --design {tmp_path / 'none.json'}"), "none.json")


def test_the_command_prints_what_is_proved(run: Run, tmp_path: Path) -> None:
    """For people, and as one document."""
    done = run(f"design 3 2 --kind single-beta --plot {tmp_path / 'roots.png'}")
    assert done.status == 0, done.err
    says(done.out, "1/3 (0.333333)", "proved", "multistep56", "verified")
    assert (tmp_path / "roots.png").stat().st_size > 10_000
    data = json.loads(run("design 3 2 --kind single-beta --json").out)
    assert data["args"] == {"alpha": ["1/3", "5/9", "1/9"], "beta": ["16/9"]}
    assert data["limit"]["gap"] == 0
    assert data["certificate_verified"] is True


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("design 3 3 --kind single-beta", ("single-beta", "3 steps", "c_0")),
        ("design 2 2 --objective speed", ("objective", "speed")),
        ("design 2 2 --objective growth", ("depth",)),
        ("design 40 2", ("steps", "40")),
        ("design 3 2 --bound real_interval", ("--bound", "real_interval")),
        ("design 3 2 --bound real_interval=much", ("real_interval", "much")),
        ("design 3 2 --sign gamma=+", ("signs", "gamma")),
        ("design 3 2 --sign alpha_3=+", ("alpha_3",)),
        ("design 3 2 --objective error_constant=-1", ("error_constant", "-1")),
        ("barriers --steps 0", ("steps", "0")),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(run: Run, line: str, facts: tuple[str, ...]) -> None:
    """With the name of it."""
    refuses(run(line), *facts)


def test_barriers_are_a_table(run: Run) -> None:
    """Up to the first order that there is not."""
    done = run("barriers --kind single-beta --steps 3")
    says(done.out, "zero-stable", "because", "c_0 = -2")
    rows = json.loads(run("barriers --kind single-beta --steps 3 --json").out)
    assert [(r["steps"], r["order"]) for r in rows if r["is_feasible"] is False] == [(1, 2), (2, 3), (3, 3)]
    assert all(r["witness"] for r in rows if r["is_feasible"] is True)
