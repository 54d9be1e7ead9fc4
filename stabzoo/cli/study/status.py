"""``stabzoo study status``: which runs are finished, running, failed or missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from stabzoo.cli.console import Cell, output, print_json, table
from stabzoo.cli.study.phrases import results_in
from stabzoo.study.spec import FULL, check_models, load_study
from stabzoo.study.store.run_index import RunIndex, RunState, State, StudyStatus
from stabzoo.terminal import say

__all__ = ["show_status"]


STATES: dict[State, str] = {
    "finished": "green",
    "running": "blue",
    "failed": "red",
    "damaged": "red",
    "missing": "dim",
}


MOST_ROWS = 500
"""Runs that are listed; of more, those that are finished are counted only."""


def show_status(name: str | None, scale: str | None, folder: Path | None, *, as_json: bool) -> None:
    """Print how the runs stand of the studies that were done in ``folder``, or of one of them."""
    index = results_in(folder)
    statuses = index.statuses() if name is None else statuses_of(index, name, scale)
    statuses = [status for status in statuses if name or scale in (None, status.scale)]
    if as_json:
        print_json({"results": str(index.path), "studies": [status.to_dict() for status in statuses]})
        return
    console = output()
    if not statuses:
        say(console, f"No study was done in {index.path.parent} yet.")
        return
    columns: dict[str, Sequence[Cell]] = {
        "study": [status.study for status in statuses],
        "scale": [status.scale for status in statuses],
        "runs": [str(len(status.runs)) for status in statuses],
        **{
            state: [str(status.count(state) or "-") for status in statuses]
            for state in STATES
            if state != "damaged" or any(status.count(state) for status in statuses)
        },
    }
    table(console, columns)
    begun = [
        (status, run)
        for status in statuses
        for run in status.runs
        if name or run.state in ("running", "failed", "damaged") or (run.state == "missing" and run.epoch)
    ]
    _show_runs(console, begun)


def _show_runs(console: Console, rows: Sequence[tuple[StudyStatus, RunState]]) -> None:
    listed = rows if len(rows) <= MOST_ROWS else [row for row in rows if row[1].state != "finished"][:MOST_ROWS]
    if listed:
        console.print()
        _list_runs(console, listed)
    if len(listed) < len(rows):
        say(console, f"\nNot listed, see --json: {len(rows) - len(listed)} runs", style="dim")


def _list_runs(console: Console, rows: Sequence[tuple[StudyStatus, RunState]]) -> None:
    columns: dict[str, Sequence[Cell]] = {
        "study": [status.study for status, _ in rows],
        "scale": [status.scale for status, _ in rows],
        "network": [run.label for _, run in rows],
        "seed": ["-" if run.seed is None else str(run.seed) for _, run in rows],
        "run": [run.key for _, run in rows],
        "state": [Text(_state_text(run), style=STATES[run.state]) for _, run in rows],
    }
    for heading in ("study", "scale"):
        if len(set(columns[heading])) == 1:  # the table above says it
            del columns[heading]
    table(console, columns, expendable=("run",))


def _state_text(run: RunState) -> str:
    """``finished``, ``running, epoch 3 of 8``, ``failed: out of memory``, ``missing, stopped after epoch 3 of 8``."""
    epoch = f"epoch {run.epoch} of {run.epochs}"
    match run.state:
        case "running":
            return f"running, {epoch} done" if run.epoch else "running"
        case "failed":
            return f"failed: {run.reason}"
        case "damaged":
            return f"damaged, is done again: {run.reason}"
        case "missing":
            if run.epoch and run.epoch == run.epochs:
                return "missing, trained but not all is measured"
            return f"missing, stopped after {epoch}" if run.epoch else "missing"
        case _:
            return run.state


def statuses_of(index: RunIndex, name: str, scale: str | None) -> list[StudyStatus]:
    study = index.as_recorded(load_study(name, recorded=True))
    done = [each for each in (FULL, *study.scales) if (study.name, each) in index.asked]
    scaled = [study.at(each) for each in ([scale] if scale is not None else done or [FULL])]
    found = [index.status(each) for each in scaled]
    finished = {run.label for status in found for run in status.runs if run.state == "finished"}
    for each in scaled:  # what has finished is looked at without the plugin of its model too
        check_models(each, [network.label for network in each.networks if network.label not in finished])
    return found
