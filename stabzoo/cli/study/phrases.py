"""How settings are written in the tables of ``stabzoo study``, and where its results lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stabzoo.study.spec import Study
from stabzoo.study.store.run_index import RunIndex

RUNS = Path("runs")
"""Where the results of all studies are kept unless another folder is asked for."""


def results_in(folder: Path | None) -> RunIndex:
    """What is in ``folder``, which must have results if it is asked for."""
    return RunIndex(folder or RUNS, needed=folder is not None)


def count_runs(study: Study) -> int:
    """The number of its runs."""
    return len(study.networks) * len(study.seeds)


def named_text(values: dict[str, Any], name: str) -> str:
    """``digits, size=16``."""
    rest = {key: value for key, value in values.items() if key != name}
    return ", ".join(text for text in (str(values[name]), settings_text(rest)) if text)


def settings_text(values: dict[str, Any]) -> str:
    """``epochs=8, alpha=1/3,5/9,1/9``, as options of commands take them."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in values.items())


def value_text(value: Any) -> str:
    """A setting's value: text and numbers as they are, lists with commas, ``-`` for none."""
    match value:
        case None:
            return "-"
        case str():
            return value
        case list():
            return ",".join(map(value_text, value)) or "none"
        case dict():
            return f"({settings_text(value)})"
        case _:
            return json.dumps(value)
