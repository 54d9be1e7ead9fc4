"""The picture of a scheme: drawn for everything, written as a whole or not at all."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

import stabzoo
from fixtures.messages import raises
from stabzoo import LinearMultistep
from stabzoo.errors import ConfigError
from stabzoo.plotting.scheme import scheme_figure, write_scheme_plot
from stabzoo.stability import StabilityCard, card

LEAPFROG = LinearMultistep((0, 1), (2,))
MAGIC = {".png": b"\x89PNG\r\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


def axes_of(proved: StabilityCard) -> tuple[Axes, Axes]:
    """The two pictures of a card."""
    left, right = scheme_figure(proved, "a method").axes
    return left, right


def test_growth_of_a_network_is_a_third_picture() -> None:
    """Its blocks and the values of the curve, on a logarithmic axis."""
    axes = scheme_figure(card(LEAPFROG), "a network", [1.0, 2.0, 8.0]).axes
    assert len(axes) == 3
    line = axes[2].get_lines()[0]
    assert list(line.get_xdata()) == [0, 1, 2]
    assert list(line.get_ydata()) == [1.0, 2.0, 8.0]
    assert axes[2].get_yscale() == "log"


def legend(axes: Axes) -> list[str]:
    """The texts of a legend."""
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


@pytest.mark.parametrize("name", stabzoo.list_schemes())
def test_every_scheme_is_drawn(name: str, tmp_path: Path) -> None:
    """A PNG, and nothing else in the folder."""
    path = tmp_path / f"{name}.png"
    write_scheme_plot(card(stabzoo.get_scheme(name)), path, name)
    assert path.read_bytes().startswith(MAGIC[".png"])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", MAGIC)
def test_every_format_is_the_same_file_each_time(suffix: str, tmp_path: Path) -> None:
    """No date and no random identifiers in it; upper-case suffixes too."""
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix.upper()}"
    for path in (first, second):
        write_scheme_plot(card(LEAPFROG), path, "leapfrog $x_1")
    assert first.read_bytes().startswith(MAGIC[suffix])
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("method", "left", "right"),
    [
        (LEAPFROG, ["on the circle, simple"], ["stability region: no interior here", "imaginary interval (-i, i)"]),
        (
            LinearMultistep(("1/3", "5/9", "1/9"), ("16/9",)),
            ["parasitic radius 1/3", "inside", "on the circle, simple"],
            ["stability region", "real interval (-1/2, 0)", "imaginary interval empty"],
        ),
        (LinearMultistep((-3, 5, -1), (4,)), ["parasitic radius 4.236", "outside"], ["real interval empty"]),
        (LinearMultistep((2, -1), (1,)), ["on the circle, multiple"], ["real interval (-4, 0)"]),
        (LinearMultistep((1,), (0,), 1), ["on the circle, simple"], ["real interval (-∞, 0)"]),
        (LinearMultistep((1,), ("1/2",), "1/2"), [], ["imaginary interval (-∞i, ∞i)"]),
        (LinearMultistep(("1/3",) * 3, (0,)), ["inside"], ["real interval (-∞, 0)"]),
        (LinearMultistep((0,), (1,)), ["inside"], ["stability region"]),
        (LinearMultistep((1, 0, 0), (0, "1/1000", 1000)), ["inside"], ["boundary locus $\\rho/\\sigma$"]),
        (LinearMultistep((1,), (Fraction(1, 10**40),)), [], ["real interval (-2e+40, 0)"]),
        (LinearMultistep((Fraction(1, 20),) * 20, (1,)), ["inside"], []),
    ],
)
def test_what_the_legend_says_is_proved(method: LinearMultistep, left: list[str], right: list[str]) -> None:
    """Stable, weakly stable and unstable, explicit and implicit, degenerate and badly scaled methods."""
    roots, region = axes_of(card(method))
    assert set(left) <= set(legend(roots))
    assert set(right) <= set(legend(region))


@pytest.mark.parametrize("lam", ["-9/5", "3", "-1/2", "1/2", "-1"])
def test_the_window_is_a_square_around_locus_and_intervals(lam: str) -> None:
    """Nothing is cut off, and a unit is as long on both axes."""
    proved = card(stabzoo.get_scheme("zerosnet", lam=lam))
    _, axes = axes_of(proved)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert right - left == pytest.approx(top - bottom)
    assert axes.get_aspect() == 1
    for line in axes.get_lines():
        if str(line.get_label()).startswith("_"):  # the axes
            continue
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        assert ((left <= x) & (x <= right) & (bottom <= y) & (y <= top)).all()


def test_a_locus_that_goes_to_infinity_leaves_a_finite_window() -> None:
    """The trapezoidal rule's is the imaginary axis."""
    _, axes = axes_of(card(LinearMultistep((1,), ("1/2",), "1/2")))
    assert 1 < axes.get_ylim()[1] < 100


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("plot.jpg", (".png, .svg or .pdf", "'.jpg'")),
        ("plot", (".png, .svg or .pdf", "no suffix")),
        ("nowhere/plot.png", ("No such file or directory", "folder")),
        ("folder.png", ("Is a directory",)),
        ("x" * 300 + ".png", ("File name too long",)),
    ],
)
def test_a_file_that_cannot_be_written_is_one_sentence(name: str, facts: tuple[str, ...], tmp_path: Path) -> None:
    """And leaves nothing behind."""
    (tmp_path / "folder.png").mkdir()
    with raises(ConfigError, tmp_path / name, *facts):
        write_scheme_plot(card(LEAPFROG), tmp_path / name, "leapfrog")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_failure_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disk full, while drawing or while replacing."""
    path = tmp_path / "plot.png"
    path.write_text("earlier")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, full)
            with raises(ConfigError, path, "No space left on device"):
                write_scheme_plot(card(LEAPFROG), path, "leapfrog")
        assert path.read_text() == "earlier"
        assert os.listdir(tmp_path) == ["plot.png"]


@pytest.mark.parametrize(
    "coefficients",
    [(("1e100",), (1,)), ((1,), ("1e100",)), ((1,), ("1e-100",)), (("1e-100", "1e100"), ("1e-100", "1e100"))],
)
def test_the_largest_and_the_smallest_coefficients_are_drawn(coefficients: tuple, tmp_path: Path) -> None:
    """The limits of what a method may have."""
    write_scheme_plot(card(LinearMultistep(*coefficients)), tmp_path / "plot.png", "extreme")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
