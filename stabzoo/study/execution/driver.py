"""Running a study: find the missing runs, train them, and report all that are finished."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, TypeAlias

from rich.console import Console

from stabzoo.errors import ConfigError
from stabzoo.study.analysis.phrases import places_of
from stabzoo.study.execution.executors import open_executor, worker_died
from stabzoo.study.execution.progress import RunProgress
from stabzoo.study.execution.worker import EvaluationRequest, RunFailed, RunLocked, execute
from stabzoo.study.report.report import REPORT_FILES, Failure, Report, failures_of
from stabzoo.study.report.terminal import show
from stabzoo.study.spec import Network, Run, Study
from stabzoo.study.store.records import DamagedRecordError, Record
from stabzoo.study.store.run_folder import RunFolder
from stabzoo.study.store.store import Store
from stabzoo.terminal import new_console, say

__all__ = ["ATTEMPTS", "StudyResult", "run_study"]

ATTEMPTS = 3
"""How often a run is started before the processes that die at it are taken for its fault."""

POLL = 0.25
"""Seconds between two looks at how far the runs are."""

LOOKS = 256
"""Runs that are looked at each time: no more for a study of many."""

Device: TypeAlias = Literal["cpu", "cuda"]
Runs: TypeAlias = dict[str, tuple[Network, Run]]


@dataclass(frozen=True)
class StudyResult:
    """A finished study: its report, and the folder that holds it."""

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
    engine: Literal["local", "dask"] = "local",
    scheduler: str | None = None,
    device: Device = "cpu",
) -> StudyResult:
    """Train the missing runs, then write the report into ``folder`` and print it.

    Every run is trained in a folder of its own, STORE/work/KEY, with checkpoints, and every finished one is on the disk
    at once: whatever interrupts a study, a run or a process, the same call resumes it.  Several drivers may run one
    study at the same time; each run is trained by one of them.

    Args:
        study: The study to run.
        folder: Where the report goes.
        workers: Processes of one thread; by default one a processor, with ``device="cuda"`` one per GPU.
        console: Where progress is printed.
        data: The folder that holds the data sets.
        store: The one with the results of all studies that share their runs, by default ``folder``.
        engine: ``local`` processes, or those of a dask cluster: one that is started here, or that of ``scheduler``.
        scheduler: Its address.
        device: Where networks are trained; each run takes one GPU.

    Raises:
        ConfigError: when the data are missing or a network cannot be built (nothing has been trained then),
            there is no such engine or device here, or a folder cannot be written.
        KeyboardInterrupt: on Ctrl-C, after the processes are stopped and the message says how to resume.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers: expected at least 1, got {workers}")
    try:
        driver = _Driver(study, Store(store or folder), console or new_console(), data, device)
        return driver.study_result(folder, engine, workers, scheduler)
    except BrokenPipeError:  # of the output, whose reader is gone
        raise
    except OSError as error:  # errors of a run itself stay in its process
        raise ConfigError(f"{error.filename or folder}: cannot be used ({error.strerror or error})") from error


class _Driver:
    """One execution of a study: ``records`` and ``failures`` are the results of its ``runs``, by their keys."""

    def __init__(self, study: Study, store: Store, console: Console, data: Path, device: Device) -> None:
        self.study, self.store, self.console, self.data = study, store, console, data
        self.device: Device = device
        self.work = store.path.parent / "work"
        self.runs: Runs = {run.key: (network, run) for network, run in study.runs(device, data)}
        self.records: dict[str, Record] = {}
        self.failures: list[Failure] = []

    def study_result(
        self, folder: Path, engine: Literal["local", "dask"], workers: int | None, scheduler: str | None
    ) -> StudyResult:
        """Do all that is missing, and report."""
        folder.mkdir(parents=True, exist_ok=True)
        asked = [(network.label, run) for network, run in self.runs.values()]
        self.store.ask(self.study.name, self.study.scale, asked)
        self.records = self.recorded([run for _, run in asked])
        if missing := {key: entry for key, entry in self.runs.items() if key not in self.records}:
            try:
                self.train(missing, engine, workers, scheduler)
            except KeyboardInterrupt:
                kept = f"{len(self.records)} of {len(self.runs)} runs are finished and kept in {self.store.path}"
                self.say(f"Interrupted. {kept}; run the same command to resume.", style="yellow")
                raise
        else:
            self.say(f"All {len(self.runs)} runs are in {self.store.path} already; nothing to train.")
        order = {(network.label, run.seed): i for i, (network, run) in enumerate(self.runs.values())}
        self.failures.sort(key=lambda failure: order[failure.label, failure.seed])
        report = Report.of(self.study, self.records, self.failures)
        report.write(folder)
        show(self.console, report)
        self.console.print()
        for name in REPORT_FILES:
            self.say(str(folder / name))
        return StudyResult(report, folder)

    def say(self, text: str, style: str = "") -> None:
        """Print a line."""
        say(self.console, text, style=style)

    def recorded(self, runs: Sequence[Run]) -> dict[str, Record]:
        """The records of those that have all that is asked for now, by their keys; a damaged one is announced."""
        found: dict[str, Record] = {}
        for key, record in self.store.load_all(runs).items():
            if isinstance(record, DamagedRecordError):
                self.say(f"{record}; this run is done again", style="yellow")
            elif record.holds(self.study.evaluations, self.study.diagnostics):
                found[key] = record
        return found

    def train(
        self, missing: Runs, engine: Literal["local", "dask"], workers: int | None, scheduler: str | None
    ) -> None:
        """Train what is missing, in an executor."""
        from stabzoo.data.loading import load_images
        from stabzoo.study.execution.networks import check_networks

        check_networks(self.study, load_images(self.study.data, self.data))
        workers = min(workers or (1 if scheduler else _workers(self.device)), len(missing))
        where = f"in {workers} process{'es' if workers > 1 else ''} of one thread"
        if engine == "dask":
            where = f"by dask at {scheduler}" if scheduler else f"by dask, {where}"
        self.say(f"{self.study.title}\n{len(missing)} of {len(self.runs)} runs to train, {where}")
        epochs = {key: run.training.epochs for key, (_, run) in missing.items()}
        with (
            RunProgress(self.console, len(self.runs), len(self.records), epochs) as progress,
            open_executor(engine, workers, scheduler=scheduler, device=self.device) as executor,
        ):
            _Training(self, executor, progress, missing).finish()


class _Training:
    """The runs that are under way: submitted to an executor, or trained by another driver."""

    def __init__(self, driver: _Driver, executor: Executor, progress: RunProgress, missing: Runs) -> None:
        self.driver, self.executor, self.progress, self.runs = driver, executor, progress, missing
        study = driver.study
        self.wanted = EvaluationRequest(study.evaluations, study.diagnostics, driver.data.absolute())
        self.work = driver.work.absolute()  # the processes of a cluster may have another current folder
        self.attempts: Counter[str] = Counter()
        self.pending: dict[Future[Record | RunFailed | RunLocked], str] = {}
        self.done: SimpleQueue[Future[Record | RunFailed | RunLocked]] = SimpleQueue()
        self.begun_anew: set[str] = set()
        self.elsewhere: dict[str, None] = {}  # the one that was not looked at for longest first

    def finish(self) -> None:
        """Wait for all of them."""
        for key in self.runs:
            self.submit(key)
        looked = -math.inf
        while self.pending or self.elsewhere:
            with suppress(Empty):
                future = self.done.get(timeout=POLL)
                self.settle(self.pending.pop(future), future)
            if time.monotonic() - looked >= POLL:
                self.look()
                looked = time.monotonic()

    def look(self) -> None:
        """See how far the first `LOOKS` runs are; those are executed first that were submitted first."""
        for key in list(islice(self.elsewhere, LOOKS)):
            del self.elsewhere[key]
            self.look_elsewhere(key)
        for key in (*islice(self.pending.values(), LOOKS), *islice(self.elsewhere, LOOKS)):
            self.watch(key)

    def watch(self, key: str) -> None:
        """See how far a run is; a start from scratch is reported once."""
        if found := self.folder(key).progress():
            self.progress.epoch(key, found.epoch, found.unsolved)
            if found.anew and key not in self.begun_anew:
                self.begun_anew.add(key)
                self.driver.say(f"{self.name(key)}: is trained from scratch; {found.anew}", style="yellow")

    def folder(self, key: str) -> RunFolder:
        """Where the run is trained."""
        return RunFolder(self.work, key)

    def name(self, key: str) -> str:
        """What the run is called."""
        network, run = self.runs[key]
        return f"{network.label}, seed {run.seed}"

    def submit(self, key: str) -> None:
        """Have the run done."""
        self.folder(key).fail(None)
        future = self.executor.submit(execute, self.runs[key][1], self.wanted, self.work)
        self.pending[future] = key
        future.add_done_callback(self.done.put)

    def settle(self, key: str, future: Future[Record | RunFailed | RunLocked]) -> None:
        """Take the result of a call."""
        try:
            outcome = future.result()
        except ConfigError:  # not of the run: there is no executor any more
            raise
        except Exception as error:
            if worker_died(error):
                self.died(key, str(error))
            else:
                self.fail(key, f"{type(error).__name__}: {error}")
            return
        match outcome:
            case Record():
                self.succeed(key, self.driver.store.save(outcome))
            case RunFailed(reason=reason, traceback=traceback):
                self.fail(key, reason, traceback)
            case RunLocked():
                self.elsewhere[key] = None

    def look_elsewhere(self, key: str) -> None:
        """See whether another driver is still at the run, has finished it, or has left it."""
        if self.folder(key).locked():
            self.elsewhere[key] = None
        elif record := self.driver.recorded([self.runs[key][1]]).get(key):
            self.succeed(key, record)
        else:
            self.submit(key)

    def succeed(self, key: str, record: Record) -> None:
        """The run is done."""
        self.watch(key)
        self.driver.records[key] = record
        measured = ", ".join(
            f"{evaluation.title} {value:.{places_of(evaluation, [value])}f}"
            for evaluation in self.wanted.evaluations
            if (value := record.value(evaluation)) is not None
        )
        self.progress.finish(key, f"{self.name(key)}: {measured}{' (diverged)' if record.diverged else ''}")
        network, run = self.runs[key]
        self.driver.failures += failures_of(network.label, run.seed, record)
        for text in record.warnings:
            self.driver.say(f"warning: {self.name(key)}: {text}", style="yellow")

    def fail(self, key: str, reason: str, traceback: str = "") -> None:
        """The run is given up."""
        network, run = self.runs[key]
        self.folder(key).fail(reason)
        self.driver.failures.append(Failure(network.label, run.seed, reason, traceback))
        self.progress.finish(key, f"{self.name(key)}: failed: {reason}")

    def died(self, key: str, how: str) -> None:
        """The run's process has ended unasked: start it again, a few times."""
        self.attempts[key] += 1
        reason = f"its process {how}{' (out of memory?)' if 'SIGKILL' in how else ''}"
        if self.attempts[key] < ATTEMPTS:
            self.driver.say(f"{self.name(key)}: {reason}; the run is started again", style="yellow")
            self.submit(key)
        else:
            self.fail(key, f"{reason}, {ATTEMPTS} times in all")


def _workers(device: Device) -> int:
    """One a processor, or a GPU.

    Raises:
        ConfigError: there is no GPU.
    """
    if device == "cpu":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    import torch

    if not torch.cuda.is_available():
        raise ConfigError("device: expected one that this machine has, got 'cuda': torch finds no GPU; use cpu")
    return torch.cuda.device_count()
