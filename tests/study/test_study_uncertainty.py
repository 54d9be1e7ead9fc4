"""Intervals over seeds and test images: what they cover, what they decide, and what they leave open."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stabzoo.study.analysis.comparison import spearman
from stabzoo.study.analysis.uncertainty import TAIL, Estimate, Sample, contrast, leader, least_difference, wilson


def many(*values: float) -> Sample:
    """Accuracies on so many images that these decide nothing."""
    return Sample.of_accuracies(values, 10**12)


@pytest.mark.parametrize(("right", "images"), [(0, 7), (7, 7), (1, 200), (100, 200), (530, 540)])
@pytest.mark.parametrize("tail", [0.025, 0.001])
def test_wilson_is_scipys(right: int, images: int, tail: float) -> None:
    """In percent; 0 and 1 are limits of their own."""
    expected = stats.binomtest(right, images).proportion_ci(1 - 2 * tail, method="wilson")
    assert wilson(100 * right / images, images, tail) == pytest.approx(
        (100 * expected.low, 100 * expected.high), abs=1e-9
    )


def test_of_one_network_the_seeds_are_students() -> None:
    """Where the images decide nothing."""
    values = (90.0, 92.0, 95.0)
    expected: Any = stats.ttest_1samp(values, 0).confidence_interval(1 - 2 * TAIL)
    found = contrast([many(*values)])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_of_equal_seeds_two_networks_are_newcombes() -> None:
    """Method 10 of the difference of two proportions: squares of the distances to Wilson's limits (56/70 and 48/80)."""
    pair = Sample.of_accuracies([80.0] * 2, 70), Sample.of_accuracies([60.0] * 2, 80)
    found = contrast([pair[0]], [pair[1]])
    assert (found.low, found.high) == pytest.approx((5.24, 33.39), abs=0.01)  # printed in his Table II, (a)


def test_one_seed_and_unknown_images_decide_nothing() -> None:
    """However far apart; a number that no seed changes is known."""
    far = Sample.of_accuracies([99.0], 10_000), Sample.of_accuracies([1.0, 1.0], 10_000)
    found = contrast([far[0]], [far[1]])
    assert (found.value, found.low, found.high, found.verdict) == (98, None, None, "not decided")
    assert found.unknown == "one seed"
    assert least_difference([far[0]], [far[1]]).unknown == "one seed"
    uncounted = Sample.of_accuracies([99.0, 99.0], None)
    assert contrast([uncounted], [far[1]]).unknown == "number of test images not recorded"
    fixed = contrast([Sample((3.0,), fixed=True)], [Sample((2.0,), fixed=True)])
    assert (fixed.low, fixed.high, fixed.verdict) == (1, 1, "above")


def test_one_image_of_two_hundred_is_no_verdict() -> None:
    """+0.5 points, in each of three seeds alike."""
    found = contrast([Sample.of_accuracies([95.5] * 3, 200)], [Sample.of_accuracies([95.0] * 3, 200)])
    assert found.value == 0.5
    assert found.verdict == "not decided"


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spreads", [(1, 1), (1, 10), (1, 1, 1, 1, 1, 10), (1, 1, 1, 2, 4, 10)])
def test_at_least_the_level_is_covered(seeds: int, spreads: tuple[float, ...]) -> None:
    """Whatever the networks' spreads over seeds, and where one has nearly all: groups of equal true means."""
    draws = np.random.default_rng(0).normal(0, spreads, (800, seeds, len(spreads)))
    half = len(spreads) // 2
    missed = 0
    for draw in draws:
        samples = [Sample(tuple(values)) for values in draw.T.tolist()]
        missed += contrast(samples[:half], samples[half:]).verdict != "not decided"
    assert missed / len(draws) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(draws))


def test_images_that_all_networks_share_are_covered() -> None:
    """What decides an image is common to six networks and three seeds, so that more networks do not tell more."""
    rng, images, missed, trials = np.random.default_rng(1), 200, 0, 400
    for _ in range(trials):
        hard = rng.random(images) < 0.2  # of the true 20 %
        flips = rng.random((6, 3, images)) < 0.02
        right = 100 * (~hard ^ flips).mean(axis=2)
        found = contrast([Sample.of_accuracies(values, images) for values in right.tolist()])
        truth = 100 * (0.8 * 0.98 + 0.2 * 0.02)
        missed += not (found.low or 0) <= truth <= (found.high or 100)
    assert missed / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_false_winners_are_rare() -> None:
    """Of five networks that are alike one is in front, and seldom called the best, or the worst."""
    rng, named, trials = np.random.default_rng(2), 0, 400
    for _ in range(trials):
        samples = {str(i): Sample(tuple(rng.normal(0, 1, 3).tolist())) for i in range(5)}
        named += any(leader(samples, last=last)[1].verdict != "not decided" for last in (False, True))
    assert named / trials < 0.05


def test_the_margin_is_of_the_worst_and_the_best() -> None:
    """All pairs must be shown to be above, with no correction; that one is below is corrected for the number of pairs."""
    stable, unstable = [many(90, 91, 92), many(85, 86, 87)], [many(70, 71, 72), many(60, 61, 62), many(50, 51, 52)]
    margin = least_difference(stable, unstable)
    pair = contrast([stable[1]], [unstable[0]])
    assert (margin.value, margin.low, margin.verdict) == (15, pair.low, "above")
    assert margin.high is not None
    assert pair.high is not None
    assert margin.high > pair.high
    assert least_difference(stable, unstable, chosen=True).low < pair.low  # type: ignore[operator]  # pyright: ignore
    assert least_difference(unstable, stable).verdict == "below"
    one = least_difference(stable[:1], unstable[:1])
    assert one == contrast(stable[:1], unstable[:1])


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [((0.1, 2.0), "above"), ((0.0, 2.0), "not decided"), ((-2.0, 0.0), "not decided"), ((-2.0, -0.1), "below")],
)
def test_the_whole_interval_decides(limits: tuple[float, float], verdict: str) -> None:
    """0 itself is on neither side."""
    assert Estimate(0.0, *limits).verdict == verdict


ACCURACIES = st.lists(st.sampled_from([10.0, 20.0, 33.3, 50.0, 99.9]) | st.floats(0, 100), min_size=1, max_size=7)


@given(ACCURACIES, ACCURACIES)
def test_no_correlation_exceeds_the_largest(first: list[float], second: list[float]) -> None:
    """However the accuracies tie, to the last bit; it is SciPy's, and the largest is attained by a permutation."""
    values, found = [*first, *second], spearman(first, second)
    ordered = sorted(values, reverse=True)
    largest = spearman(ordered[: len(first)], ordered[len(first) :])
    assert -1 <= found <= largest <= 1 + 1e-12
    if len(set(values)) > 1:
        groups = [1] * len(first) + [0] * len(second)
        expected: Any = stats.spearmanr(groups, values)
        assert found == pytest.approx(expected.statistic, abs=1e-12)


def test_ties_raise_the_largest_correlation() -> None:
    """Without ties 0.88 is the most of three and three; where the unstable ones tie it is more."""
    assert spearman([6, 5, 4], [3, 2, 1]) == pytest.approx(0.8783, abs=1e-4)
    assert spearman([6, 5, 4], [1, 1, 1]) == pytest.approx(0.9333, abs=1e-4)
    assert spearman([6, 6, 6], [1, 1, 1]) == pytest.approx(1)
    assert spearman([1, 1], [1, 1]) == 0
