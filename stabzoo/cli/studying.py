"""``stabzoo study``: which studies there are, what they are, how far they are here, and what came of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stabzoo.cli.console import Cell, output, print_json, table
from stabzoo.study.analysis.difference import Change, Contrast, changes, contrasts
from stabzoo.study.analysis.phrases import command_text, published_text
from stabzoo.study.spec import FULL, Published, Study, load_study, shipped_studies
from stabzoo.study.store.run_index import Holdings, RunState, Standing
from stabzoo.terminal import say

__all__ = [
    "compare_studies",
    "export_results",
    "list_studies",
    "report_study",
    "run_named",
    "show_status",
    "show_study",
]

RUNS = Path("runs")
"""Where the results of all studies are kept unless another folder is asked for."""

STATES = {"finished": "green", "running": "blue", "failed": "red", "missing": "dim"}


def run_named(
    name: str,
    scale: str,
    *,
    folder: Path | None,
    workers: int | None,
    engine: Literal["local", "dask"],
    scheduler: str | None,
    device: Literal["cpu", "cuda"],
    root: Path,
    download: bool,
) -> int:
    """Do a study, and return 1 if a run failed, else 0."""
    from stabzoo.study import load_study, run_study

    study = load_study(name, scale)
    if download:
        from stabzoo.data.loading import fetch

        fetch(study.data, root)
    place, store = _places(study, folder)
    result = run_study(study, place, workers, output(), root, store, engine=engine, scheduler=scheduler, device=device)
    return int(not result.ok)


def list_studies(folder: Path | None, *, as_json: bool) -> None:
    """Print the studies that come with stabzoo, and how many of their runs are finished in ``folder``."""
    holdings = _holdings(folder)
    found: list[tuple[Study, dict[str, tuple[int, int]]]] = []
    for name in shipped_studies():
        study = load_study(name)
        scaled = [study.at(scale) for scale in (FULL, *study.scales)]
        counts = {each.scale: (len(holdings.records(each)), _count(each)) for each in scaled}
        found.append((study, counts))
    if as_json:
        print_json(
            {
                "results": str(holdings.path),
                "studies": [
                    {
                        "name": study.name,
                        "title": study.title,
                        "scales": [
                            {"scale": scale, "runs": runs, "finished": finished}
                            for scale, (finished, runs) in counts.items()
                        ],
                    }
                    for study, counts in found
                ],
            }
        )
        return
    columns: dict[str, Sequence[Cell]] = {
        "study": [study.name for study, _ in found],
        "runs": [str(counts[FULL][1]) for _, counts in found],
        "finished": [_finished(counts) for _, counts in found],
        "title": [study.title for study, _ in found],
        "scales": [", ".join(study.scales) for study, _ in found],
    }
    console = output()
    table(console, columns, expendable=("scales",), whole=("study",))


def _finished(counts: dict[str, tuple[int, int]]) -> str:
    """``9/15, laptop 3/3``: of the scales with what is finished, the full one first."""
    texts = [
        f"{'' if scale == FULL else f'{scale} '}{finished}/{runs}"
        for scale, (finished, runs) in counts.items()
        if finished
    ]
    return ", ".join(texts) or "-"


def show_study(name: str, scale: str, *, as_json: bool) -> None:
    """Print all that a study says, and the keys of its runs."""
    study = load_study(name, scale)
    keys = {(network.label, seed): study.run(network, seed).key for network in study.networks for seed in study.seeds}
    if as_json:
        runs = [{"network": label, "seed": seed, "key": key} for (label, seed), key in keys.items()]
        print_json({**study.model_dump(mode="json"), "runs": runs, "command": command_text(study)})
        return
    console = output()
    say(console, study.title, style="bold")
    say(console, study.description)
    console.print()
    entries = {
        "scale": study.scale,
        "runs": f"{len(keys)}: one a network and seed; seeds {', '.join(map(str, study.seeds))}",
        "data": _named(study.data.model_dump(mode="json"), "name"),
        "training": _settings(study.training.model_dump(mode="json", exclude_defaults=True)),
        "evaluations": "; ".join(evaluation.title for evaluation in study.evaluations),
        "diagnostics": "; ".join(_named(entry.model_dump(mode="json"), "kind") for entry in study.diagnostics),
    }
    grid = Table.grid(padding=(0, 2, 0, 0))
    for what, text in entries.items():
        grid.add_row(Text(what), Text(text or "none"))
    console.print(grid)
    console.print()
    columns: dict[str, Sequence[Cell]] = {
        "network": [network.label for network in study.networks],
        "model": [network.model for network in study.networks],
        "args": [_settings(network.args) or "-" for network in study.networks],
        "keys": [", ".join(keys[network.label, seed] for seed in study.seeds) for network in study.networks],
    }
    table(console, columns, expendable=("keys",))
    for published in study.published:
        console.print()
        _show_published(console, published)
    for title, lines in (
        ("Limits", study.limits),
        ("Scales", [f"{scale}: {_scale_text(study, scale)}" for scale in study.scales]),
    ):
        if lines:
            say(console, f"\n{title}", style="bold")
            for line in lines:
                say(console, f"- {line}")
    say(console, f"\n{command_text(study)}", style="dim")


def _show_published(console: Console, published: Published) -> None:
    from stabzoo.terminal import numbers

    say(console, f"Published: {published.reference}", style="bold")
    say(console, published.setting)
    columns = {
        column: [published_text(row[i]) for row in published.values.values()]
        for i, column in enumerate(published.columns)
    }
    heads = {"network": [Text(label) for label in published.values]}
    for part in numbers("", heads, columns, console.width):
        console.print(part)


def _scale_text(study: Study, scale: str) -> str:
    smaller = study.at(scale)
    text = f"{_count(smaller)} runs"
    if settings := _settings({**study.scales[scale].args, **study.scales[scale].training}):
        text += f"; {settings}"
    return f"{text}; {_named(smaller.data.model_dump(mode='json'), 'name')}"


def show_status(name: str | None, scale: str | None, folder: Path | None, *, as_json: bool) -> None:
    """Print how the runs stand of the studies that were done in ``folder``, or of one of them."""
    holdings = _holdings(folder)
    standings = holdings.standings() if name is None else _standings_of(holdings, name, scale)
    standings = [standing for standing in standings if name or scale in (None, standing.scale)]
    if as_json:
        print_json({"results": str(holdings.path), "studies": [standing.to_dict() for standing in standings]})
        return
    console = output()
    if not standings:
        say(console, f"No study was done in {holdings.path.parent} yet.")
        return
    columns: dict[str, Sequence[Cell]] = {
        "study": [standing.study for standing in standings],
        "scale": [standing.scale for standing in standings],
        "runs": [str(len(standing.runs)) for standing in standings],
        **{state: [str(standing.count(state) or "-") for standing in standings] for state in STATES},
    }
    table(console, columns)
    begun = [
        (standing, run)
        for standing in standings
        for run in standing.runs
        if name or run.state in ("running", "failed") or (run.state == "missing" and run.epoch)
    ]
    _show_runs(console, begun)


def _show_runs(console: Console, rows: Sequence[tuple[Standing, RunState]]) -> None:
    if not rows:
        return
    console.print()
    columns: dict[str, Sequence[Cell]] = {
        "study": [standing.study for standing, _ in rows],
        "scale": [standing.scale for standing, _ in rows],
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
        case "missing":
            if run.epoch and run.epoch == run.epochs:
                return "missing, trained but not all is measured"
            return f"missing, stopped after {epoch}" if run.epoch else "missing"
        case _:
            return run.state


def _standings_of(holdings: Holdings, name: str, scale: str | None) -> list[Standing]:
    study = load_study(name)
    if scale is not None:
        return [holdings.standing(study.at(scale))]
    done = [each for each in (FULL, *study.scales) if (study.name, each) in holdings.asked]
    return [holdings.standing(study.at(each)) for each in done or [FULL]]


def report_study(name: str, scale: str, folder: Path | None, keep: Path | None) -> int:
    """Report a study from the runs that are finished, and return 1 if none is, else 0."""
    from stabzoo.study.report.report import REPORT_FILES, Failure, Report
    from stabzoo.study.report.terminal import show

    study, console = load_study(name, scale), output()
    place, store = _places(study, folder)
    holdings = Holdings(store, needed=True)
    records, runs = holdings.records(study), holdings.standing(study).runs
    missing = f"{len(runs) - len(records)} of {len(runs)} runs are missing in {holdings.path}; {command_text(study)}"
    if not records:
        say(console, f"{missing} trains them")
        return 1
    failures = [
        Failure(run.label, run.seed, run.reason, "")
        for run in runs
        if run.state == "failed" and run.seed is not None and run.reason
    ]
    report = Report.of(study, records, failures)
    place.mkdir(parents=True, exist_ok=True)
    report.write(place)
    show(console, report)
    console.print()
    if len(records) < len(runs):
        say(console, f"{missing} trains them", style="yellow")
    for file in REPORT_FILES:
        say(console, str(place / file))
    if keep is not None:
        from stabzoo.study.report.summary import write_summary

        write_summary(report, keep)
        for file in ("summary.md", "results.csv"):
            say(console, str(keep / file))
    return 0


def compare_studies(first: str, second: str, folder: Path | None, other: Path | None, *, as_json: bool) -> None:
    """Print which settings of two studies differ, and the accuracies of networks of the same label."""
    from stabzoo.study.analysis.comparison import rows_of

    places = (folder, folder if other is None else other)
    studies = [_study_at(text) for text in (first, second)]
    rows = [rows_of(study, _holdings(place).records(study)) for study, place in zip(studies, places, strict=True)]
    settings = changes(studies[0], studies[1])
    accuracies = contrasts((studies[0], rows[0]), (studies[1], rows[1]))
    counts = [sum(len(row.records) for row in of) for of in rows]
    if as_json:
        print_json(
            {
                "studies": [
                    {"name": study.name, "scale": study.scale, "runs": _count(study), "finished": count}
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
        say(console, f"{line}, {count} of {_count(study)} runs finished")
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
        "A": [_value(change.first) for change in settings],
        "B": [_value(change.second) for change in settings],
    }
    table(console, columns)


def _show_contrasts(console: Console, accuracies: Sequence[Contrast]) -> None:
    shown = [entry for entry in accuracies if entry.first or entry.second]
    if not shown:
        say(console, "No network of the same label has a finished run.")
        return
    columns: dict[str, Sequence[Cell]] = {
        "network": [entry.label for entry in shown],
        "evaluation": [entry.evaluation for entry in shown],
        "A": [_accuracy(entry.first) for entry in shown],
        "B": [_accuracy(entry.second) for entry in shown],
        "difference": ["-" if entry.difference is None else f"{entry.difference:+.1f}" for entry in shown],
        "beyond spread": ["-" if entry.exceeds is None else "yes" if entry.exceeds else "no" for entry in shown],
    }
    table(console, columns)
    say(
        console,
        "Test accuracy in percent, mean ± standard deviation over the seeds; difference: B minus A; spread: the "
        "larger of the two deviations.",
        style="dim",
    )


def export_results(path: Path, study: str | None, folder: Path | None) -> None:
    """Write the table of all results, or those of one study, as CSV or Parquet."""
    from stabzoo.study.store.export import export

    rows = export(Holdings(folder or RUNS, needed=True), path, study)
    say(output(), f"{path}: {rows} rows")


def _holdings(folder: Path | None) -> Holdings:
    """What is in ``folder``, which must have results if it is asked for."""
    return Holdings(folder or RUNS, needed=folder is not None)


def _places(study: Study, folder: Path | None) -> tuple[Path, Path]:
    """The folder of a study's report, and that of the results."""
    return (folder, folder) if folder else (RUNS / study.folder_name, RUNS)


def _study_at(text: str) -> Study:
    """``NAME`` or ``NAME@SCALE``."""
    if match := re.fullmatch(r"(.+)@([a-z][a-z0-9-]*)", text):
        return load_study(match[1], match[2])
    return load_study(text)


def _title(study: Study, folder: Path | None) -> str:
    scale = "" if study.scale == FULL else f" at scale {study.scale}"
    return f"{study.name}{scale}{f' in {folder}' if folder else ''}"


def _count(study: Study) -> int:
    """The number of its runs."""
    return len(study.networks) * len(study.seeds)


def _accuracy(values: Sequence[float]) -> str:
    from statistics import fmean, stdev

    if not values:
        return "no run"
    return f"{fmean(values):.1f}" + (f"±{stdev(values):.1f}" if len(values) > 1 else "")


def _named(values: dict[str, Any], name: str) -> str:
    """``digits, size=16``."""
    rest = {key: value for key, value in values.items() if key != name}
    return ", ".join(text for text in (str(values[name]), _settings(rest)) if text)


def _settings(values: dict[str, Any]) -> str:
    """``epochs=8, alpha=1/3,5/9,1/9``, as options of commands take them."""
    return ", ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    match value:
        case None:
            return "-"
        case str():
            return value
        case list():
            return ",".join(map(_value, value)) or "none"
        case dict():
            return f"({_settings(value)})"
        case _:
            return json.dumps(value)
