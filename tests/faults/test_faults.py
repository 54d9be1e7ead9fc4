"""Each kind of fault, so often as STABZOO_FAULTS says (by default once): nothing is lost, other, hung or untold."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from kinds import KINDS, MOUNTED, Place
from mounts import why_not

ROUNDS = int(os.environ.get("STABZOO_FAULTS", "1"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What comes of a training and a study that nothing disturbs."""
    return Place(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost(kind: str, seed: int, place: Place, tmp_path: Path) -> None:
    """Whatever is ended, full, closed or limited: what was finished stays, the rest goes on to the same numbers."""
    if kind in MOUNTED and (reason := why_not(tmp_path)):
        pytest.skip(reason)
    tally = KINDS[kind](place, random.Random(seed))
    assert tally.well, "\n".join(tally.notes)


def test_the_harness_sees_what_it_looks_for(place: Place) -> None:
    """A training of other weights, a study without results, a checkpoint that is gone."""
    from kinds import TRAIN, Tally, kept, recorded

    tally, folder = Tally(), place.new()
    place.settle(place.start([*TRAIN, folder, "--seed", "1"]), tally, 0)
    assert tally.well
    place.compare_training(folder, tally)
    place.compare_study(folder, tally)
    kept(folder, recorded(place.studied), tally)
    place.settle(place.start(["no-such-command"]), tally, 0)
    assert (tally.differing, tally.lost, tally.well) == (3, 2, False)
