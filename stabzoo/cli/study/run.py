"""``stabzoo study run``, ``report`` and ``export``: do a study, report what is finished, and write it as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from stabzoo.cli.console import output
from stabzoo.cli.study.phrases import RUNS
from stabzoo.errors import ConfigError
from stabzoo.files import write_atomically
from stabzoo.study.analysis.phrases import command_text
from stabzoo.study.spec import Study, load_study
from stabzoo.study.store.run_index import RunIndex
from stabzoo.terminal import say

__all__ = ["export_results", "report_study", "run_named"]


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


def report_study(name: str, scale: str, folder: Path | None, keep: Path | None, latex: Path | None = None) -> int:
    """Report a study from the runs that are finished, and return 1 if none is, else 0."""
    from stabzoo.study.report.report import REPORT_FILES, Failure, Report
    from stabzoo.study.report.terminal import show

    study, console = load_study(name, scale, recorded=True), output()
    place, store = _places(study, folder)
    index = RunIndex(store, needed=True)
    study = index.as_recorded(study)
    records, status = index.look(study)
    runs = status.runs
    damaged = status.count("damaged")
    missing = (
        f"{len(runs) - len(records)} of {len(runs)} runs are missing in {index.path}"
        f"{f', {damaged} of them damaged' if damaged else ''}; {command_text(study)}"
    )
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
    if latex is not None:
        from stabzoo.study.report import latex as tables

        try:
            write_atomically(latex, tables.latex(report).encode())
        except OSError as error:
            raise ConfigError(
                f"{latex}: cannot be written ({error.strerror or error}); give a folder that exists"
            ) from None
        say(console, str(latex))
    return 0


def export_results(path: Path, study: str | None, folder: Path | None) -> None:
    """Write the table of all results, or those of one study, as CSV or Parquet."""
    from stabzoo.study.report.export import export

    rows = export(RunIndex(folder or RUNS, needed=True), path, study)
    say(output(), f"{path}: {rows} rows")


def _places(study: Study, folder: Path | None) -> tuple[Path, Path]:
    """The folder of a study's report, and that of the results."""
    return (folder, folder) if folder else (RUNS / study.folder_name, RUNS)
