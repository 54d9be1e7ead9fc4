"""Each kind of fault, so often as STABZOO_FAULTS says (by default once): nothing is lost, other, hung or untold."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kinds import KINDS, MOUNTED, WHOLE, Place, Tally, kept, newest
from mounts import why_not

ROUNDS = int(os.environ.get("STABZOO_FAULTS", "1"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What comes of a training and a study that nothing disturbs."""
    return Place(tmp_path_factory.mktemp("faults"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost(kind: str, seed: int, place: Place, tmp_path: Path) -> None:
    """Whatever is ended, full, closed or limited: what was finished stays, the rest goes on to the same numbers."""
    if kind in MOUNTED and (reason := why_not(tmp_path)):
        pytest.skip(reason)
    tally = KINDS[kind](place, random.Random(seed))
    assert tally.well, "\n".join(tally.notes)


def results_of(folder: Path, accuracy: float, seconds: float) -> Path:
    """A folder with made-up results."""
    folder.mkdir()
    runs = [{"accuracy": accuracy, "seconds": seconds}]
    (folder / "results.json").write_text(json.dumps({"networks": [{"runs": runs}]}))
    return folder


def ending(status: int | None, errors: str = "") -> Any:
    """A command that has ended so."""
    return SimpleNamespace(wait=lambda: status, errors=errors)


def test_the_harness_sees_what_it_looks_for(tmp_path: Path) -> None:
    """Other weights, other results, a run and a checkpoint that are gone, a hang, a traceback, a wrong status."""
    place = Place.__new__(Place)
    place.trained, place.studied = tmp_path / "trained", results_of(tmp_path / "studied", 90.0, 1.0)
    same, other = tmp_path / "same", tmp_path / "other"
    for folder, content in ((place.trained, b"1"), (same, b"1"), (other, b"2")):
        folder.mkdir()
        for name in WHOLE:
            (folder / name).write_bytes(content)
    tally = Tally()
    place.compare_training(same, tally)
    place.compare_study(results_of(tmp_path / "again", 90.0, 2.0), tally)
    place.settle(ending(0), tally, 0)
    assert tally.well
    place.compare_training(other, tally)
    place.compare_training(tmp_path / "nowhere", tally)
    place.compare_study(results_of(tmp_path / "worse", 89.0, 1.0), tally)
    place.compare_study(tmp_path / "nowhere", tally)
    assert (tally.differing, tally.well) == (6, False)
    assert kept(tmp_path, {"a run"}, tally) == set()
    place.settle(ending(1), tally, 0)
    place.settle(ending(None), tally, 0)
    place.settle(ending(1, "Traceback (most recent call last):"), tally, 0)
    assert (tally.lost, tally.hung, tally.untold) == (2, 1, 1)
    (same / "checkpoint-000000012-00.safetensors").touch()
    assert (newest(other), newest(same)) == (-1, 12)
    whole = Tally(faults=1)
    whole.add(tally)
    assert (whole.faults, whole.differing, len(whole.notes)) == (1, 6, len(tally.notes))
