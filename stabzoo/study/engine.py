"""Doing a study: which runs are missing, training those, and reporting what there is."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from stabzoo.config import ConfigError
from stabzoo.study.pool import ATTEMPTS, Died, run_all
from stabzoo.study.report import REPORT_FILES, Failure, Report
from stabzoo.study.spec import Network, Run, Study
from stabzoo.study.store import Record, Store
from stabzoo.study.terminal import RunProgress, say, show
from stabzoo.study.worker import EpochDone, Raised, Wanted

__all__ = ["StudyResult", "run_study"]


@dataclass(frozen=True)
class StudyResult:
    """A finished study: its report, and the folder that holds it with every run."""

    report: Report
    folder: Path

    @property
    def ok(self) -> bool:
        """Whether every run finished."""
        return not self.report.failures


def run_study(
    study: Study,
    folder: Path,
    workers: int | None = None,
    console: Console | None = None,
    data: Path = Path("data"),
    store: Path | None = None,
) -> StudyResult:
    """Train the runs that are not there yet, then write the report into ``folder`` and print it.

    Every finished run is on the disk at once, so whatever interrupts a study, doing it again goes on where it was.
    ``workers`` is the number of processes, one thread each; by default the number of processors at hand.
    ``data`` is the folder that holds the data sets, ``store`` the one with the results of all studies that share their
    runs, by default ``folder``.

    Raises:
        ConfigError: when the data are missing or a network cannot be built (nothing has been trained then),
            or the folder cannot be written.
        KeyboardInterrupt: on Ctrl-C, after the processes are stopped and it is said how to go on.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers: expected at least 1, got {workers}")
    try:
        return _run_study(study, folder, workers or _processors(), console or Console(), data, Store(store or folder))
    except BrokenPipeError:  # of the output, whose reader is gone
        raise
    except OSError as error:  # errors of a run itself stay in its process
        raise ConfigError(f"{error.filename or folder}: cannot be used ({error.strerror or error})") from error


def _run_study(study: Study, folder: Path, workers: int, console: Console, data: Path, store: Store) -> StudyResult:
    folder.mkdir(parents=True, exist_ok=True)
    for path in store.damaged:
        say(console, f"{path} is damaged and left out", style="yellow")
    runs: dict[str, tuple[Network, Run]] = {}
    for network in study.networks:
        for seed in study.seeds:
            run = study.run(network, seed)
            runs[run.key] = network, run
    store.ask(study.name, study.scale, [(network.label, run) for network, run in runs.values()])
    records = _finished(study, store, [run for _, run in runs.values()], console)
    missing = {key: entry for key, entry in runs.items() if key not in records}
    failures: list[Failure] = []
    if missing:
        try:
            failures = _train(study, store, missing, records, workers, console, data)
        except KeyboardInterrupt:
            kept = f"{len(records)} of {len(runs)} runs are finished and kept in {store.path}"
            say(console, f"Interrupted. {kept}; run the same command to go on.", style="yellow")
            raise
    else:
        say(console, f"All {len(runs)} runs are in {store.path} already; nothing to train.")
    report = Report.of(study, records, failures)
    report.write(folder)
    show(console, report)
    console.print()
    for name in REPORT_FILES:
        say(console, str(folder / name))
    return StudyResult(report, folder)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finished(study: Study, store: Store, runs: list[Run], console: Console) -> dict[str, Record]:
    """The usable records, by key; a damaged one is announced, one that lacks what is asked for now is left out."""
    records: dict[str, Record] = {}
    for run in runs:
        try:
            record = store.load(run)
        except ValueError as error:
            say(console, f"{error}; this run is done again", style="yellow")
            continue
        if record and record.holds(study.evaluations, study.diagnostics):
            records[run.key] = record
    return records


def _train(
    study: Study,
    store: Store,
    missing: dict[str, tuple[Network, Run]],
    records: dict[str, Record],
    workers: int,
    console: Console,
    data: Path,
) -> list[Failure]:
    """Train ``missing``, adding to ``records`` and to the store as they finish; return those that did not."""
    from stabzoo.study.data import load_images
    from stabzoo.study.networks import check_networks

    check_networks(study, load_images(study.data, data))
    workers = min(workers, len(missing))
    total = len(records) + len(missing)
    processes = f"{workers} process{'es' if workers > 1 else ''} of one thread"
    say(console, f"{study.title}\n{len(missing)} of {total} runs to train, in {processes}")
    failures: list[Failure] = []
    wanted = Wanted(study.evaluations, study.diagnostics, data)
    events = run_all([run for _, run in missing.values()], wanted, workers)
    with RunProgress(console, total, len(records), study.training.epochs) as progress, closing(events):
        for run, event in events:
            label = missing[run.key][0].label
            name = f"{label}, seed {run.seed}"
            match event:
                case EpochDone(failures=unsolved):
                    progress.epoch(run.key, unsolved)
                case Record():
                    records[run.key] = store.save(event)
                    accuracies = ", ".join(f"{entry.evaluation.title} {entry.accuracy:.1f}" for entry in event.measured)
                    progress.finish(run.key, f"{name}: {accuracies}{' (diverged)' if event.diverged else ''}")
                case Raised(reason=reason, traceback=traceback):
                    failures.append(Failure(label, run.seed, reason, traceback))
                    progress.finish(run.key, f"{name}: failed: {reason}")
                case Died(reason=reason, attempts=attempts):
                    hint = " (out of memory?)" if "SIGKILL" in reason else ""
                    reason = f"its process {reason}{hint}"
                    if attempts < ATTEMPTS:
                        say(console, f"{name}: {reason}; the run is started again", style="yellow")
                        progress.restart(run.key)
                    else:
                        failures.append(Failure(label, run.seed, f"{reason}, {attempts} times in all", ""))
                        progress.finish(run.key, f"{name}: failed: {reason}")
    return failures
