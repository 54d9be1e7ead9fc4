"""Sweeps: every verdict of the float filter and of its exact fallback is the exact one."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fixtures.messages import raises
from stabzoo.methods.multistep import MAX_STEPS, exact
from stabzoo.stability import is_zero_stable, sweep


def exactly(row, preconsistent, floats):
    """Return the exact verdict on a row, on the decimals or on the binary values of its floats."""
    alpha = [exact(x) if floats == "decimal" else Fraction(x) for x in row.tolist()]
    if preconsistent:
        alpha[-1] = 1 - sum(alpha[:-1])
    return is_zero_stable(alpha)


def check(rows, preconsistent):
    """Sweep the rows in both meanings and compare every verdict with the exact one; return the binary sweep."""
    for floats in ("decimal", "binary"):
        result = sweep(rows, preconsistent=preconsistent, floats=floats)
        assert result.zero_stable.dtype == bool
        expected = [exactly(row, preconsistent, floats) for row in np.asarray(rows, dtype=float)]
        assert result.zero_stable.tolist() == expected, floats
    return result


@pytest.mark.parametrize("preconsistent", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 6, 12])
def test_random_rows(d, preconsistent):
    """Off the boundary float64 decides nearly all rows, and rightly."""
    generator = np.random.default_rng(d)
    result = check(generator.uniform(-1.5, 1.5, (800, d)) * min(1, 3 / d), preconsistent)
    assert len(result.settled_exactly) <= 8


@pytest.mark.parametrize("preconsistent", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_grids_full_of_boundary_points(d, preconsistent):
    """Rational grids put many rows exactly on the boundary."""
    grid = np.arange(-16, 17, 4 if d == 3 else 1) / 8
    rows = np.stack(np.meshgrid(*[grid] * d, indexing="ij"), axis=-1).reshape(-1, d)
    result = check(rows, preconsistent)
    if not preconsistent:
        assert len(result.settled_exactly) > 0
    assert result.zero_stable.any()


@pytest.mark.parametrize("preconsistent", [False, True])
def test_one_unit_in_the_last_place_from_the_boundary(preconsistent):
    """Both neighbours of boundary sets, in every coordinate."""
    centres = [
        (0, 1, 0),
        (3, -3, 1),
        (2, -1, 0),
        (-1, 1, 1),
        (1, 0, 0),
        (0, 0, 1),
        (1.5, 0, -0.5),
        (1, 1, -1),
        (0.5, 1, -0.5),
    ]
    rows = []
    for centre in centres:
        for i in range(3):
            for towards in (-np.inf, np.inf):
                row = np.array(centre, dtype=float)
                rows += [row.copy()]
                row[i] = np.nextafter(row[i], towards)
                rows += [row]
    result = check(np.array(rows), preconsistent)
    assert 0 < result.zero_stable.sum() < len(rows)


def test_preconsistent_ignores_the_last_column():
    """Even a nan there, which the caller's array keeps."""
    rows = np.array([[0.1, 0.2, 0.7], [0.1, 0.2, np.nan], [2.25, -2.0, 0.75]])
    assert 0.1 + 0.2 + 0.7 == 1.0
    assert Fraction(0.1) + Fraction(0.2) + Fraction(0.7) != 1
    result = sweep(rows, preconsistent=True)
    assert result.zero_stable.tolist() == [True, True, True]
    assert rows[1, 2] != rows[1, 2]  # the caller's array is left alone


def test_the_root_one_is_lost_by_rounding_without_the_option():
    """(0.4, 0.4, 0.2) sums to more than 1 in binary: a root just outside, which the decimal does not have."""
    row = np.array([[0.4, 0.4, 0.2]])
    above = sum(map(Fraction, row[0].tolist())) > 1
    assert above
    assert not sweep(row, floats="binary").zero_stable[0]
    assert sweep(row, floats="binary", preconsistent=True).zero_stable[0]
    assert sweep(row).zero_stable[0]
    assert is_zero_stable((0.4, 0.4, 0.2))  # a float in a sequence means its shortest decimal


def test_a_float_has_one_meaning():
    """A sweep and a single verdict agree on decimals whose sum is 1, which no binary row of them has."""
    generator = np.random.default_rng(3)
    whole = generator.integers(-15, 25, (400, 2))
    rows = np.column_stack([whole, 10 - whole.sum(axis=1)]) / 10
    alone = [is_zero_stable(row) for row in rows.tolist()]
    assert sweep(rows).zero_stable.tolist() == alone
    assert sweep(rows, preconsistent=True).zero_stable.tolist() == alone
    assert sweep(rows, floats="binary").zero_stable.tolist() != alone
    assert sweep([[0.1, 0.9]]).zero_stable[0]
    with raises(ValueError, "floats", "'single'"):
        sweep(rows, floats="single")


coefficients = st.one_of(
    st.integers(-16, 16).map(lambda i: i / 8),
    st.floats(-3, 3, allow_subnormal=True),
    st.sampled_from([1e308, -1e308, 5e-324, 1 + 2**-52, 1 - 2**-53, 1e200]),
)


@settings(max_examples=200)
@given(st.integers(1, 6).flatmap(lambda d: arrays(np.float64, (4, d), elements=coefficients)), st.booleans())
def test_any_floats(rows, preconsistent):
    """Overflowing, subnormal and boundary values."""
    check(rows, preconsistent)


def test_chunks_join():
    """The verdict does not depend on how the rows are cut."""
    generator = np.random.default_rng(7)
    rows = generator.uniform(-2, 2, (10_001, 3))
    whole = sweep(rows).zero_stable
    parts = [sweep(part).zero_stable for part in np.array_split(rows, 7)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert 0 < whole.sum() < len(whole)


def test_float32_and_lists():
    """Anything numpy reads, as single numbers of that type are read; no rows are fine."""
    rows = np.array([[1 / 3, 5 / 9, 1 / 9], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2]], dtype=np.float32)
    assert sweep(rows).zero_stable.tolist() == [is_zero_stable(list(row)) for row in rows] == [False, True, True]
    assert sweep(rows, floats="binary").zero_stable.tolist() == [exactly(row, False, "binary") for row in rows]
    assert sweep([[0, 1, 0], [3, -3, 1]]).zero_stable.tolist() == [True, False]
    assert sweep(np.empty((0, 3))).zero_stable.shape == (0,)


@pytest.mark.parametrize(
    ("rows", "facts"),
    [
        ([1.0, 0.5], ("shape", "(2,)")),
        (np.zeros((2, 0)), ("shape", "(2, 0)")),
        (np.zeros((2, MAX_STEPS + 1)), ("shape", f"(2, {MAX_STEPS + 1})")),
        (np.zeros((2, 2, 2)), ("shape", "(2, 2, 2)")),
        ([[1.0, 0.0], [np.nan, 0.0]], ("finite", "row 1")),
        ([[np.inf, 0.0]], ("finite", "row 0")),
    ],
)
def test_refusals(rows, facts):
    """Wrong shapes and values that are not finite."""
    with raises(ValueError, *facts):
        sweep(rows)


@pytest.mark.parametrize("rows", [[[10**400]], [["x"]], [[1], [1, 2]], [[None, {}]], [[10**100_000]]], ids=range(5))
def test_what_is_no_array_of_floats(rows: list) -> None:
    """One sentence, whatever numpy raises."""
    with pytest.raises(ValueError, match=r"array of floats.* row|finite"):
        sweep(rows)
