"""What a worker process does: one run after another, reporting over a pipe. Importing this module imports no torch."""

from __future__ import annotations

import os
import signal
import time
import traceback
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

from stabzoo.study.diagnostics import Diagnostic
from stabzoo.study.evaluations import Evaluation
from stabzoo.study.spec import Run
from stabzoo.study.store import Diagnosed, Measured, Record

__all__ = ["EpochDone", "Raised", "Wanted", "work"]


@dataclass(frozen=True)
class Wanted:
    """What is to be measured of every run, and the folder that holds the data sets."""

    evaluations: tuple[Evaluation, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    data: Path = Path("data")


@dataclass(frozen=True)
class EpochDone:
    """One more epoch of the current run is trained; ``failures`` equations of implicit steps were not solved in it."""

    failures: int = 0


@dataclass(frozen=True)
class Raised:
    """The current run raised an error: its type and text, and where it came from."""

    reason: str
    traceback: str


def work(connection: Connection, wanted: Wanted) -> None:
    """Receive runs until the pipe closes; answer each with ``EpochDone``s, then a ``Record`` or a ``Raised``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what stops
    os.environ["OMP_NUM_THREADS"] = "1"  # read once, when torch is imported
    try:
        while True:
            run = connection.recv()
            try:
                answer = execute(run, wanted, connection)
            except Exception as error:
                answer = Raised(f"{type(error).__name__}: {error}", traceback.format_exc())
            connection.send(answer)
    except (EOFError, OSError):
        return  # the parent has closed the pipe, or is gone


def execute(run: Run, wanted: Wanted, connection: Connection) -> Record:
    """Train and evaluate one run on one thread."""
    import torch

    from stabzoo.implicit.report import ConvergenceWarning, solver_report
    from stabzoo.study.accuracy import accuracies
    from stabzoo.study.data import load_images
    from stabzoo.study.networks import PixelScale, build, coefficients_of, weights_sha256
    from stabzoo.training.loop import Trainer

    torch.set_num_threads(run.threads)
    if any(diagnostic.kind == "solver" for diagnostic in wanted.diagnostics):
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted, and in the report
    started = time.perf_counter()
    images = load_images(run.data, wanted.data)
    network = build(run, images)
    observers = []
    if wanted.diagnostics:
        from stabzoo.study.diagnosing import observers_of  # imports what other studies do not need

        observers = observers_of(wanted.diagnostics, images)

    reports, failed = solver_report(network), 0

    def failures() -> int:
        return sum(report.failures.total() + report.backward_failures.total() for report in reports)

    def after_epoch(epoch: int) -> None:
        nonlocal failed
        more = failures() - failed
        for observer in observers:
            observer.after_epoch(network, epoch)
        failed = failures()  # an observer may count from zero
        if epoch:
            connection.send(EpochDone(more))

    trainer = Trainer(network, images, run.training, run.seed)
    trained = trainer.run(after_epoch)
    network = cast(PixelScale, trainer.averaged).eval()
    return Record(
        run=run,
        coefficients=coefficients_of(network),
        parameters=sum(weight.numel() for weight in network.parameters()),
        losses=trained.losses,
        diverged=trained.diverged,
        weights_sha256=weights_sha256(network),
        measured=tuple(
            Measured(evaluation=evaluation, accuracy=found)
            for evaluation, found in zip(
                wanted.evaluations, accuracies(network, images, wanted.evaluations), strict=True
            )
        ),
        diagnosed=tuple(
            Diagnosed(diagnostic=diagnostic, result=observer.result(network))
            for diagnostic, observer in zip(wanted.diagnostics, observers, strict=True)
        ),
        seconds=time.perf_counter() - started,
        cpu=torch.backends.cpu.get_cpu_capability(),
    )
