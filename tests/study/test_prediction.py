"""Which quantity orders measured numbers: against known correlations, and on the papers' published accuracies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fixtures import ROOT
from fixtures.commands import Run
from fixtures.generated.random_schemes import networks
from fixtures.messages import refuses
from stabzoo.study.analysis import prediction
from stabzoo.study.analysis.prediction import (
    QUANTITIES,
    Observation,
    partial_spearman,
    predictions,
    published,
    selection,
    spearman,
)
from stabzoo.study.figures.prediction import write_prediction
from stabzoo.study.spec import load_study

TABLES = ("zerosnet-table-1", "zerosnet-table-2", "zerosnet-table-3")


@pytest.fixture(autouse=True)
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resamples enough for a test."""
    monkeypatch.setattr(prediction, "RESAMPLES", 200)
    monkeypatch.setattr(prediction, "SPLITS", 50)


@pytest.fixture(scope="module")
def printed() -> list[Observation]:
    """The 39 published accuracies."""
    return [one for name in TABLES for one in published(load_study(name), "clean")]


def test_rank_correlations_by_hand() -> None:
    """1 - 6 sum d^2 / (n^3 - n); none of what is constant; what a control explains is taken out."""
    assert spearman(np.array([1, 2, 3, 4]), np.array([10, 30, 20, 40])) == pytest.approx(1 - 6 * 2 / 60)
    assert spearman(np.array([1, 1, 1]), np.array([1, 2, 3])) is None
    x, y, z = np.array([1, 2, 3, 4, 5]), np.array([2, 1, 4, 3, 5]), np.array([1, 3, 2, 5, 4])
    rxy, rxz, ryz = 0.8, 0.8, 0.3
    assert [spearman(x, y), spearman(x, z), spearman(y, z)] == pytest.approx([rxy, rxz, ryz])
    assert partial_spearman(x, y, z) == pytest.approx((rxy - rxz * ryz) / ((1 - rxz**2) * (1 - ryz**2)) ** 0.5)
    assert partial_spearman(x, x, x) is None


def test_published_accuracies(printed: list[Observation]) -> None:
    """Of 39 networks: unstable ones are ordered by what zero stability cannot say."""
    found = {row.quantity: row for row in predictions(printed)}
    assert len(printed) == 39
    assert list(found) == list(QUANTITIES)
    assert [round(found[name].correlation or 0, 2) for name in ("zero stability", "effective depth")] == [0.85, 0.87]
    assert found["zero stability"].unstable is None
    assert round(found["participation"].unstable or 0, 2) == 0.86
    assert found["zero stability"].partial is None
    for row in found.values():
        assert row.low is not None
        assert row.high is not None
        assert -1 <= row.low <= (row.correlation or 0) <= row.high <= 1


def test_a_quantity_that_decides_everything_is_found_and_one_that_does_not_is_not(printed: list[Observation]) -> None:
    """Accuracies that are P itself are ordered by P, in the half that was not looked at too; noise is ordered by none."""
    of_p = [replace(one, measured=one.quantities["participation"]) for one in printed]
    chosen = selection(of_p)
    assert chosen.chosen["participation"] == pytest.approx(1)
    assert chosen.held_out == pytest.approx(1)
    noise = np.random.default_rng(0).random(len(printed))
    found = selection([replace(one, measured=value) for one, value in zip(printed, noise, strict=True)])
    assert abs(found.held_out or 0) < 0.5


def test_it_does_not_depend_on_the_order_of_magnitude(printed: list[Observation]) -> None:
    """Ranks are all that counts."""
    some = printed[:12]
    assert predictions([replace(one, measured=one.measured**3) for one in some]) == predictions(some)


def test_the_figure(printed: list[Observation], tmp_path: Path) -> None:
    """Written as a picture."""
    write_prediction(printed, "clean", tmp_path / "predicts.png")
    assert (tmp_path / "predicts.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_says_what_is_missing(run: Run, tmp_path: Path) -> None:
    """Nothing is measured yet, or nothing is published."""
    result = run("study correlate root-scan --published")
    refuses(result, "root-scan", "clean", "0")
    refuses(run("study correlate root-scan --published --evaluation fog"), "fog", "root-scan")


def test_the_schemes_of_the_study_are_those_that_its_seed_draws() -> None:
    """At least 60 schemes, at two depths, on both sides of zero stability."""
    text = (ROOT / "stabzoo" / "study" / "studies" / "predicts.yaml").read_text()
    assert networks() in text
    study = load_study("predicts")
    assert len({str(network.args) for network in study.networks}) == len(study.networks) / 2 >= 60
    for scale in study.scales:
        study.at(scale)
