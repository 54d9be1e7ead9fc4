"""Released models stay what they are: users' checkpoints depend on their names, their parameters and their numbers."""

import copy
import json
from typing import Any

import pytest
from released import CHANGELOG, FILE, announced, changes, released

from stabzoo.registry.catalogue import catalogue


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    """The models of the installed code."""
    return released()


def test_no_released_model_has_changed(now: dict[str, Any]) -> None:
    """Unless the changelog says so; a new model is recorded."""
    before = json.loads(FILE.read_text())
    silent = {
        name: text
        for name, text in changes(before, now).items()
        if name not in announced(CHANGELOG.read_text(encoding="utf-8"))
    }
    assert not silent, (
        f"{silent}: name them under '### Changed models' of the newest version in CHANGELOG.md, in backticks, with what "
        "users of their checkpoints have to do, and run python tests/networks/released.py"
    )
    assert set(now) == set(before), "run python tests/networks/released.py"


def test_every_family_has_logits() -> None:
    """Numbers are recorded of all schemes, and they are numbers."""
    recorded = json.loads(FILE.read_text())
    owners = catalogue().models
    assert {owners[name][1].scheme for name, entry in recorded.items() if "logits" in entry} == {
        config.scheme for _, config in owners.values()
    }
    assert all(abs(value) < 1e6 for entry in recorded.values() for value in entry.get("logits", []))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": 1}, "parameters: 1 before, "),
        ({"checkpoint": "x"}, "checkpoint: x before, "),
        ({"logits": [0.0, 0.0, 0.0, 0.0]}, "logits: "),
    ],
)
def test_a_change_is_seen(change: dict[str, Any], message: str, now: dict[str, Any]) -> None:
    """Another number of parameters, another name in a checkpoint, other arithmetic."""
    before = copy.deepcopy(now)
    before["zerosnet20_opt"] |= change
    assert list(changes(before, now)) == ["zerosnet20_opt"]
    assert changes(before, now)["zerosnet20_opt"].startswith(message)


def test_a_removed_model_is_seen(now: dict[str, Any]) -> None:
    """A name that is gone breaks its users too; a new one does not."""
    fewer = {name: entry for name, entry in now.items() if name != "preresnet20"}
    assert changes(now, fewer) == {"preresnet20": "is gone"}
    assert changes(fewer, now) == {}


def test_the_changelog_is_read() -> None:
    """Names in backticks under that heading of the newest version, nothing else."""
    text = "# Changelog\n\n## 2\n\n### Changed models\n\n- `a20`: other. `b20`\n\n### Fixed\n\n`c`\n\n## 1\n\n### Changed models\n\n`d`\n"
    assert announced(text) == {"a20", "b20"}
    assert announced("# Changelog\n\n## 1\n\n`x`\n") == set()
