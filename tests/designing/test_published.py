"""What is published of optimal schemes is reproduced, and proved: values of coefficients, radii, SSP, intervals, angles."""

from __future__ import annotations

from fractions import Fraction

import pytest

from stabzoo.designing import Design, design, load_design
from stabzoo.designing.conditions import Space
from stabzoo.designing.farkas import Refutation
from stabzoo.designing.threshold import threshold_conditions
from stabzoo.methods.multistep import LinearMultistep, exact
from stabzoo.stability import verify_certificate


def proved(found: Design, steps: int, order: int) -> None:
    """What holds of every design, whatever it is for."""
    assert found.method.steps == steps
    assert found.card.order is not None
    assert found.card.order >= order
    assert found.card.is_zero_stable
    assert verify_certificate(found.method, found.card.certificate)


@pytest.mark.parametrize(
    "steps",
    [
        3,
        4,
        5,
        pytest.param(6, marks=pytest.mark.slow),
        pytest.param(7, marks=pytest.mark.slow),
        pytest.param(8, marks=pytest.mark.slow),
    ],
)
def test_order_two_with_one_slope(steps: int) -> None:
    """Rho = (z - 1) (z + r)^(d-1), r = 1 / (2d-3): exactly, and no other is better."""
    found = design(steps, 2, kind="single-beta")
    proved(found, steps, 2)
    radius = Fraction(1, 2 * steps - 3)
    assert found.card.parasitic_radius == radius
    assert found.limit is not None
    assert (found.limit.value, found.gap) == (radius, 0)
    assert found.method.beta[0] == (1 + radius) ** (steps - 1)


RADII = [
    (4, 3, "0.8360138566096939"),
    (5, 3, "0.5"),
    (6, 3, "0.3574033823645259"),
    (6, 4, "0.8234366769214765"),
    (7, 4, "0.5882435941107401"),
    (8, 4, "0.4581233095919941"),
    (8, 5, "0.8273104244216556"),
    (9, 5, "0.6442075516339040"),
]


@pytest.mark.parametrize(
    ("steps", "order", "radius"), [pytest.param(*row, marks=[pytest.mark.slow] if row[0] > 5 else []) for row in RADII]
)
def test_higher_orders_with_one_slope(steps: int, order: int, radius: str) -> None:
    """The known values are those of the best schemes of all: the proved limit is the same to six digits."""
    found = design(steps, order, kind="single-beta")
    proved(found, steps, order)
    assert float(found.card.parasitic_radius) == pytest.approx(float(radius), abs=3e-7)
    assert found.gap is not None
    assert found.gap < 3e-7
    assert found.limit is not None
    assert float(found.limit.value) == pytest.approx(float(radius), abs=1e-12)


def test_five_steps_of_order_three_are_rational() -> None:
    """The roots 1/3 and -1/2, three times."""
    found = design(5, 3, kind="single-beta")
    assert found.method == LinearMultistep(("-1/6", "11/12", "3/8", "-1/12", "-1/24"), ("9/4",))
    assert found.gap == 0


SSP = {
    (2, 2): "0", (3, 2): "1/2", (4, 2): "2/3", (5, 2): "3/4", (6, 2): "4/5",
    (3, 3): "0", (4, 3): "1/3", (5, 3): "1/2", (6, 3): "0.5828216427",
    (5, 4): "0.0211904465", (6, 4): "0.1647592516",
}  # fmt: skip
"""Gottlieb, Ketcheson, Shu (2011), table 8.1: there to three digits."""


@pytest.mark.parametrize(
    ("steps", "order"),
    [pytest.param(*key, marks=[] if key in ((3, 2), (4, 3), (5, 4)) else [pytest.mark.slow]) for key in SSP],
)
def test_ssp_coefficients(steps: int, order: int) -> None:
    """A scheme that has the coefficient, and a refutation of one that is larger by 1e-9, both exact."""
    found = design(steps, order, "ssp_coefficient")
    proved(found, steps, order)
    value, published = found.values["ssp_coefficient"], exact(SSP[steps, order])
    assert isinstance(value, Fraction)
    assert value == published if published.denominator < 100 else abs(value - published) < Fraction(1, 10**9)
    assert found.limit is not None
    above = exact(found.limit.proof["r"])
    assert value < above < value + Fraction(2, 10**9)
    space = Space(found.problem)
    refutation = Refutation.from_dict(found.limit.proof["refutation"])
    assert refutation.holds(space, threshold_conditions(space, above))
    assert not refutation.holds(space, threshold_conditions(space, value))


def test_the_lambda_family() -> None:
    """All schemes of 3 steps and order 2 with one slope: the longest real interval is at lambda = 3, SSP at infinity."""
    found = design(3, 2, "real_interval", kind="single-beta")
    assert found.method == LinearMultistep((1, "-1/3", "1/3"), ("4/3",))
    assert found.values == {"real_interval": 2}
    found = design(3, 2, "ssp_coefficient", kind="single-beta")
    assert found.method == LinearMultistep(("3/4", 0, "1/4"), ("3/2",))
    found = design(3, 2, "error_constant", kind="single-beta")
    assert found.values == {"error_constant": Fraction(1, 6)}  # the leapfrog method's, lambda = -1


@pytest.mark.parametrize(
    ("steps", "angle"), [(1, 90), (2, 90), (3, 86.0323669), (4, 73.3516705), (5, 51.8397556), (6, 17.8397776)]
)
def test_the_only_methods_with_the_new_slope(steps: int, angle: float) -> None:
    """Order d with beta_next alone is BDF's, up to 6 steps."""
    found = design(steps, steps, "sector_angle", kind="bdf-like")
    proved(found, steps, steps)
    assert float(found.card.sector_angle) == pytest.approx(angle, abs=1e-6)  # type: ignore[arg-type]
    assert found.gap == 0


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "angle"), [(3, 90), (4, 86.683), (5, 76.054), (6, 57.92)])
def test_one_step_more_opens_the_sector(steps: int, angle: float) -> None:
    """Order d - 1 with beta_next alone: wider than BDF's of that order."""
    found = design(steps, steps - 1, "sector_angle", kind="bdf-like")
    proved(found, steps, steps - 1)
    assert float(found.card.sector_angle) >= angle  # type: ignore[arg-type]


def test_a_saved_design_is_proved_anew(tmp_path) -> None:
    """A file whose scheme is not what it says is refused."""
    from stabzoo.errors import ConfigError

    found = design(3, 2, kind="single-beta")
    found.save(tmp_path / "design.json")
    assert load_design(tmp_path / "design.json").method == found.method
    text = (tmp_path / "design.json").read_text()
    (tmp_path / "wrong.json").write_text(text.replace('"alpha": [\n      "1/3"', '"alpha": [\n      "1/4"'))
    with pytest.raises(ConfigError, match="wrong"):
        load_design(tmp_path / "wrong.json")
