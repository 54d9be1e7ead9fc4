"""The inputs that are kept, once more: those that were faults, and some that reach much."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from targets import TARGETS  # noqa: E402

KEPT = {path.name: sorted(path.iterdir()) for path in (HERE / "corpus").iterdir()}


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_kept_is_read_or_refused(target: str) -> None:
    """In a sentence."""
    assert KEPT[target]
    for path in KEPT[target]:
        TARGETS[target](path.read_bytes())
