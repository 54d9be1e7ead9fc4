"""``stabzoo study diff``: which settings of two studies differ, and their accuracies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from stabzoo.cli.console import Cell, output, print_json, table
from stabzoo.cli.study.phrases import count_runs, results_in, value_text
from stabzoo.study.analysis.difference import Change, Contrast, changes, contrasts
from stabzoo.study.analysis.phrases import INTERVALS, estimate_text, sample_text
from stabzoo.study.spec import FULL, Study, load_study
from stabzoo.terminal import say

__all__ = ["compare_studies"]

VERDICTS = {"above": "higher", "below": "lower", "not decided": "not decided"}


def compare_studies(first: str, second: str, folder: Path | None, other: Path | None, *, as_json: bool) -> None:
    """Print which settings of two studies differ, and the accuracies of networks of the same label."""
    from stabzoo.study.analysis.comparison import rows_of

    places = (folder, folder if other is None else other)
    studies = [_study_at(text) for text in (first, second)]
    rows = [rows_of(study, results_in(place).records(study)) for study, place in zip(studies, places, strict=True)]
    settings = changes(studies[0], studies[1])
    accuracies = contrasts((studies[0], rows[0]), (studies[1], rows[1]))
    counts = [sum(len(row.records) for row in of) for of in rows]
    if as_json:
        print_json(
            {
                "studies": [
                    {"name": study.name, "scale": study.scale, "runs": count_runs(study), "finished": count}
                    for study, count in zip(studies, counts, strict=True)
                ],
                "settings": [{"setting": c.setting, "first": c.first, "second": c.second} for c in settings],
                "accuracies": [entry.to_dict() for entry in accuracies],
            }
        )
        return
    console = output()
    names = [f"A: {_title(study, place)}" for study, place in zip(studies, places, strict=True)]
    names[1] = f"B{names[1][1:]}"
    for line, study, count in zip(names, studies, counts, strict=True):
        say(console, f"{line}, {count} of {count_runs(study)} runs finished")
    console.print()
    _show_changes(console, settings)
    console.print()
    _show_contrasts(console, accuracies)


def _show_changes(console: Console, settings: Sequence[Change]) -> None:
    if not settings:
        say(console, "All settings are the same.")
        return
    columns: dict[str, Sequence[Cell]] = {
        "setting": [change.setting for change in settings],
        "A": [value_text(change.first) for change in settings],
        "B": [value_text(change.second) for change in settings],
    }
    table(console, columns)


def _show_contrasts(console: Console, accuracies: Sequence[Contrast]) -> None:
    shown = [entry for entry in accuracies if entry.first.values or entry.second.values]
    if not shown:
        say(console, "No network of the same label has a finished run.")
        return
    columns: dict[str, Sequence[Cell]] = {
        "network": [entry.label for entry in shown],
        "evaluation": [entry.evaluation for entry in shown],
        "A": [sample_text(entry.first, entry.places) for entry in shown],
        "B": [sample_text(entry.second, entry.places) for entry in shown],
        "difference": [_difference_text(entry) for entry in shown],
        "B is": [VERDICTS[entry.difference.verdict] if entry.difference else "-" for entry in shown],
    }
    table(console, columns)
    say(
        console,
        "Test accuracy in percent unless a unit is given, mean ± standard deviation over the seeds; difference: B "
        f"minus A. {INTERVALS}",
        style="dim",
    )


def _study_at(text: str) -> Study:
    """``NAME`` or ``NAME@SCALE``."""
    if match := re.fullmatch(r"(.+)@([a-z][a-z0-9-]*)", text):
        return load_study(match[1], match[2], recorded=True)
    return load_study(text, recorded=True)


def _title(study: Study, folder: Path | None) -> str:
    scale = "" if study.scale == FULL else f" at scale {study.scale}"
    return f"{study.name}{scale}{f' in {folder}' if folder else ''}"


def _difference_text(entry: Contrast) -> str:
    return "-" if entry.difference is None else estimate_text(entry.difference, entry.places)
