"""Named families against the tables of the literature and nodepy's, and where a name stands for coefficients."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

import stabzoo
from fixtures.commands import Run
from fixtures.messages import raises, says
from stabzoo.families import adams_bashforth, adams_moulton, bdf, milne_simpson, named_method, nystrom, ssp
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import as_float, card

TABLE: dict[str, tuple[str, str, str]] = {  # alpha, beta, beta_next; Hairer, Norsett, Wanner I, III.1, and nodepy
    "adams_bashforth(1)": ("1", "1", "0"),
    "adams_bashforth(2)": ("1 0", "3/2 -1/2", "0"),
    "adams_bashforth(3)": ("1 0 0", "23/12 -4/3 5/12", "0"),
    "adams_bashforth(4)": ("1 0 0 0", "55/24 -59/24 37/24 -3/8", "0"),
    "adams_moulton(1)": ("1", "1/2", "1/2"),
    "adams_moulton(2)": ("1 0", "2/3 -1/12", "5/12"),
    "adams_moulton(3)": ("1 0 0", "19/24 -5/24 1/24", "3/8"),
    "adams_moulton(4)": ("1 0 0 0", "323/360 -11/30 53/360 -19/720", "251/720"),
    "nystrom(1)": ("0 1", "2", "0"),
    "nystrom(2)": ("0 1", "2", "0"),
    "nystrom(3)": ("0 1 0", "7/3 -2/3 1/3", "0"),
    "nystrom(4)": ("0 1 0 0", "8/3 -5/3 4/3 -1/3", "0"),
    "milne_simpson(2)": ("0 1", "4/3 1/3", "1/3"),
    "milne_simpson(3)": ("0 1 0", "4/3 1/3", "1/3"),
    "milne_simpson(4)": ("0 1 0 0", "62/45 4/15 2/45 -1/90", "29/90"),
    "bdf(1)": ("1", "0", "1"),
    "bdf(2)": ("4/3 -1/3", "0", "2/3"),
    "bdf(3)": ("18/11 -9/11 2/11", "0", "6/11"),
    "bdf(4)": ("48/25 -36/25 16/25 -3/25", "0", "12/25"),
    "bdf(5)": ("300/137 -300/137 200/137 -75/137 12/137", "0", "60/137"),
    "bdf(6)": ("120/49 -150/49 400/147 -75/49 24/49 -10/147", "0", "20/49"),
    "ssp(3, 2)": ("3/4 0 1/4", "3/2", "0"),
    "ssp(4, 2)": ("8/9 0 0 1/9", "4/3", "0"),
    "ssp(4, 3)": ("16/27 0 0 11/27", "16/9 0 0 4/9", "0"),
    "ssp(5, 3)": ("25/32 0 0 0 7/32", "25/16 0 0 0 5/16", "0"),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_tables(name: str) -> None:
    """Exactly."""
    alpha, beta, beta_next = TABLE[name]
    assert named_method(name) == LinearMultistep(alpha.split(), beta.split(), beta_next)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 13])
def test_orders(k: int) -> None:
    """As the theory says: k, or k + 1 of the implicit ones; one more where the quadrature is symmetric."""
    assert bdf(k).order == adams_bashforth(k).order == k
    assert adams_moulton(k).order == k + 1
    assert nystrom(k).order == (2 if k == 1 else k)
    assert milne_simpson(k).order == {1: 2, 2: 4}.get(k, k + 1)
    assert card(adams_bashforth(k)).status == card(adams_moulton(k)).status == "strong"
    assert card(nystrom(k)).status == card(milne_simpson(k)).status == "weak"


def test_bdf_is_zero_stable_up_to_six_steps() -> None:
    """Dahlquist, Cryer."""
    assert [card(bdf(k)).is_zero_stable for k in range(1, 10)] == [k <= 6 for k in range(1, 10)]


@pytest.mark.parametrize(
    ("steps", "order", "coefficient"),
    [
        (2, 1, 1), (3, 2, 1 / 2), (6, 2, 4 / 5), (4, 3, 1 / 3), (5, 3, 1 / 2), (6, 3, 0.583), (5, 4, 0.021), (6, 4, 0.165),
        (7, 4, 0.282), (8, 4, 0.359), (7, 5, 0.038), (8, 5, 0.145), (10, 5, 0.282), (10, 6, 0.052),
    ],
)  # fmt: skip
def test_ssp_methods(steps: int, order: int, coefficient: float) -> None:
    """The order is exact, the coefficient is that of Ketcheson's table (2009, Table 2)."""
    method = ssp(steps, order)
    proved = card(method)
    assert method.order == order
    assert method.is_explicit
    assert as_float(proved.ssp_coefficient) == pytest.approx(coefficient, abs=5.1e-4)
    assert proved.is_zero_stable


@pytest.mark.parametrize(("steps", "order"), [(1, 2), (2, 2), (3, 3), (4, 4)])
def test_no_ssp_method(steps: int, order: int) -> None:
    """The steps are too few."""
    with raises(ValueError, "ssp", f"{steps} steps", f"order {order}"):
        ssp(steps, order)


@pytest.mark.parametrize(
    "name",
    ["", "bdf", "bdf()", "bdf(0)", "bdf(65)", "bdf(2, 3)", "ssp(3)", "bdf(2.0)", "bdf(-1)", "bdf(9999999999)", "ssp(3,13)",
     "__import__('os')", "bdf(2); bdf(3)", "BDF(2)", "bdf(2)(3)"],
)  # fmt: skip
def test_what_is_no_name(name: str) -> None:
    """A sentence; nothing is executed."""
    with raises(ValueError, "expected"):
        named_method(name)


def test_names_stand_for_coefficients(run: Run) -> None:
    """On the command line, in a scheme's parameters, and in Python."""
    shown = json.loads(run("analyze ' bdf( 3 ) ' --json").out)
    assert shown["card"]["alpha"] == ["18/11", "-9/11", "2/11"]
    shown = json.loads(run("show multistep --set 'family=ssp(4, 3)' --json").out)
    assert shown["card"]["order"] == 3
    scheme = stabzoo.get_scheme("multistep", family="adams_bashforth(3)")
    assert scheme.coefficients().beta == (Fraction(23, 12), Fraction(-4, 3), Fraction(5, 12))
    assert stabzoo.bdf(2) == stabzoo.named_method("bdf(2)")
    for line, facts in (
        ("analyze 'bdf(3'", ("bdf(k)", "'bdf(3'")),
        ("analyze", ("--alpha", "bdf(3)")),
        ("analyze --alpha 1", ("--alpha", "--beta")),
        ("analyze 'bdf(3)' --alpha 1 --beta 1", ("bdf(3)", "both")),
        ("show multistep --set 'family=bdf(2)'", ("explicit", "bdf(2)")),
        ("show multistep --set 'family=nystrom(2)' --set alpha=1 --set beta=1", ("family", "alpha", "not both")),
    ):
        status, out, err = run(line)
        assert (status, out) == (2, "")
        says(err, *facts)
