"""Randomized smoothing: its noise is what it is said to be, its limits hold, and rounding takes nothing from its proof."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from flint import arb, ctx
from scipy.stats import binomtest
from torch import Tensor, nn

from fixtures.messages import says
from stabzoo.data.images import InMemoryDataset
from stabzoo.evaluation import smoothing
from stabzoo.evaluation.accuracy import measure
from stabzoo.evaluation.l2 import Abstentions, Smoothed, meanings
from stabzoo.evaluation.smoothing import STEP, DiscreteNormal, lower_limit, smoothed_radii

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = {"sigma": 0.25, "n0": 50, "n": 1000, "alpha": 0.001, "seed": 0}


class Half(nn.Module):
    """Two classes, on either side of a hyperplane of normal (1, 1, 1, 1) / 2 through the grey image."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        self.seen.append(x)
        distance = self.scale * (x.flatten(1) - 0.5).sum(1) / 2
        return torch.stack([distance, -distance], 1)


def greys(*distances: float) -> InMemoryDataset:
    """Grey images at distances of the plane, all of the first class."""
    pixels = torch.stack([torch.full((1, 2, 2), 0.5 + distance / 2) for distance in distances])
    labels, one = torch.zeros(len(pixels), dtype=torch.long), torch.ones(1, 1, 1)
    return InMemoryDataset(pixels, labels, pixels, labels, 2, 0 * one, one)


def test_the_noise_is_the_discrete_normal() -> None:
    """Its table against 200 digits of Phi, its draws against a search of the table."""
    noise, generator = DiscreteNormal(0.1), np.random.default_rng(0)
    ctx.prec = 700
    scale = arb(0.1) * smoothing.LEVELS
    for place in generator.integers(len(noise.edges), size=200).tolist():
        edge = (arb(place) - noise.reach + arb(0.5)) / scale
        exact = (-edge / arb(2).sqrt()).erfc() / 2
        table = arb(int(noise.edges[place])) / arb(2) ** 63
        assert abs(table - exact) < smoothing._CDF + 2.0**-63
    drawn = noise.draw((50_000,), np.random.default_rng(1))
    uniform = np.random.default_rng(1).integers(2**63, size=50_000, dtype=np.uint64)
    assert np.array_equal(drawn, np.searchsorted(noise.edges, uniform, side="right") - noise.reach)
    assert abs((drawn * STEP).std() / 0.1 - 1) < 0.02
    assert noise.error < 1e-9


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (990, 1000), (1000, 1000), (99_999, 100_000)])
def test_the_limit_is_clopper_and_pearsons(successes: int, trials: int) -> None:
    """Rounded down."""
    expected = binomtest(successes, trials, alternative="greater").proportion_ci(0.999, "exact").low
    found = lower_limit(successes, trials, 0.001)
    assert found <= expected
    assert found == pytest.approx(expected, abs=2e-9)


def test_of_a_half_space_the_certified_radius_is_below_the_distance() -> None:
    """Which is the true one, whatever sigma; close to the plane it abstains, and a wrong answer has none."""
    distances = (0.3, 0.1, 0.001, -0.3)
    radii = smoothed_radii(Half(), greys(*distances), 4, **SETTINGS)
    for radius, distance in zip(radii[:2].tolist(), distances, strict=False):
        assert distance - 0.06 < radius < distance
    assert radii[2:].tolist() == [-1, 0]


def test_certificates_are_wrong_as_rarely_as_is_said() -> None:
    """At alpha = 0.2 the radius is above the distance in about every fifth trial, and in no more."""
    images = greys(0.1)
    settings = {**SETTINGS, "alpha": 0.2, "n": 200}
    wrong = sum(float(smoothed_radii(Half(), images, 1, **{**settings, "seed": seed})[0]) > 0.1 for seed in range(100))
    assert 5 < wrong < 32  # 20 +- 3 deviations


def test_what_the_network_sees_says_nothing_of_the_image_but_its_step() -> None:
    """All its pixels are whole steps; images that round to one have the same votes, and lose what they were moved by."""
    network = Half()
    here = smoothed_radii(network, greys(0.2), 1, **SETTINGS)
    seen = torch.cat(network.seen).double() / STEP
    assert (seen - seen.round()).abs().max() < 0.02  # float32 of values up to 2
    moved = greys(0.2)
    moved = replace(moved, test=moved.test + 0.3 * STEP)
    other = Half()
    there = smoothed_radii(other, moved, 1, **SETTINGS)
    assert torch.equal(torch.cat(other.seen), torch.cat(network.seen))
    on_grid = torch.round(greys(0.2).test.double() / STEP) * STEP
    distances = [float((images.test.double() - on_grid).norm()) for images in (greys(0.2), moved)]
    assert float(here - there) == pytest.approx(distances[1] - distances[0], abs=1e-9)


def test_unclear_answers_count_for_no_class() -> None:
    """Of logits that rounding may order otherwise, and of what is not a number."""

    class Tied(Half):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 0 + torch.tensor([1 + 1e-6, 1.0])

    class Nan(Half):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * math.nan

    for network in (Tied(), Nan()):
        assert smoothed_radii(network, greys(0.3), 1, **SETTINGS).tolist() == [-1]


def test_evaluations_share_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several radii and the abstentions; of fewer images, at equal distances; the same for the same seed."""
    settings = {"sigma": 0.25, "n0": 50, "n": 500, "seed": 3}
    calls, images = [], greys(0.3, 0.2, 0.001, 0.1, -0.2)

    def counted(*args, **kwargs):
        calls.append(args)
        return smoothed_radii(*args, **kwargs)

    monkeypatch.setattr(smoothing, "smoothed_radii", counted)
    radii = (0, "0.1", 0.15, 0.9)
    asked = [
        *(Smoothed(kind="smoothed", radius=radius, **settings) for radius in radii),  # type: ignore[arg-type]
        Abstentions(kind="abstentions", **settings),  # type: ignore[arg-type]
    ]
    found = measure(Half(), images, asked)
    assert len(calls) == 1
    assert found == [60, 40, 40, 0, 20]
    assert measure(Half(), images, asked) == found
    few = Smoothed(kind="smoothed", radius=0.1, images=2, **settings)  # type: ignore[arg-type]
    assert measure(Half(), images, [few]) == [50]  # the first and the last
    assert few.counted(5) == 2
    assert "0.999" in few.evidence
    assert any("0.001" in text for text in meanings(asked))
    says(meanings(asked, (3, 32, 48))[-1], "32x48 pixels")
