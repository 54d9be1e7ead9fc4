"""What is done for a run, in whatever process: train it in its folder, evaluate it. Importing this imports no torch."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from stabzoo.evaluation.spec import Evaluation
from stabzoo.study.measures import Diagnostic
from stabzoo.study.spec import Run
from stabzoo.study.store.records import Diagnosed, Measured, Record
from stabzoo.study.store.run_folder import Progress, RunFolder
from stabzoo.training.spec import software

if TYPE_CHECKING:
    from stabzoo.study.execution.observers import Observer
    from stabzoo.training.checkpoint import Checkpoints
    from stabzoo.training.loop import Trainer

__all__ = ["Busy", "Raised", "Wanted", "execute"]

SECONDS = 600.0
"""Between checkpoints within an epoch."""

READERS = {"cpu": 0, "cuda": 4}
"""Processes that decode images for a run, where images are read from disk; on a CPU the processors are busy."""


@dataclass(frozen=True)
class Wanted:
    """What is to be measured of every run, and the folder that holds the data sets."""

    evaluations: tuple[Evaluation, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    data: Path = Path("data")


@dataclass(frozen=True)
class Raised:
    """The run raised an error: its type and text, and where it came from."""

    reason: str
    traceback: str


@dataclass(frozen=True)
class Busy:
    """Another process is at the run."""


def execute(run: Run, wanted: Wanted, work: Path) -> Record | Raised | Busy:
    """Train ``run`` in its folder below ``work``, from its last checkpoint, and measure what is wanted."""
    folder = RunFolder(work, run.key)
    try:
        with folder.lock() as mine:
            return _execute(run, wanted, folder) if mine else Busy()
    except Exception as error:
        return Raised(f"{type(error).__name__}: {error}", traceback.format_exc())


def _execute(run: Run, wanted: Wanted, folder: RunFolder) -> Record:
    import torch

    from stabzoo.data.loading import load_images
    from stabzoo.evaluation.accuracy import accuracies
    from stabzoo.implicit.report import ConvergenceWarning
    from stabzoo.study.execution.networks import build, coefficients_of
    from stabzoo.training.loop import Trainer
    from stabzoo.training.networks import weights_sha256
    from stabzoo.training.pixel_scale import PixelScale
    from stabzoo.training.process import Process

    if run.software and run.software != software():
        raise RuntimeError(f"expected a process with {run.software}, this one has {software()}; install the same")
    torch.set_num_threads(run.threads)
    if any(diagnostic.kind == "solver" for diagnostic in wanted.diagnostics):
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted, and in the report
    images = load_images(run.data, wanted.data, READERS[run.device])
    observers: list[Observer] = []
    if wanted.diagnostics:
        from stabzoo.study.execution.observers import observers_of  # imports what other studies do not need

        observers = observers_of(wanted.diagnostics, images)
    trainer = Trainer(build(run, images), images, run.training, run.seed, Process(torch.device(run.device)))
    training = Training(trainer, observers, wanted.diagnostics, folder)
    training.run()
    started = time.perf_counter()
    network = cast(PixelScale, trainer.averaged).eval()
    found = accuracies(network, images, wanted.evaluations)
    measured = zip(wanted.evaluations, found, strict=True)
    diagnosed = [
        Diagnosed(diagnostic=diagnostic, result=observer.result(network))
        for diagnostic, observer in zip(wanted.diagnostics, observers, strict=True)
    ]
    return Record(
        run=run,
        coefficients=coefficients_of(network),
        parameters=sum(weight.numel() for weight in network.parameters()),
        losses=tuple(trainer.progress.losses),
        diverged=trainer.progress.diverged,
        weights_sha256=weights_sha256(network),
        measured=tuple(Measured(evaluation=evaluation, accuracy=value) for evaluation, value in measured),
        diagnosed=tuple(diagnosed),
        seconds=training.seconds + time.perf_counter() - started,
        cpu=torch.backends.cpu.get_cpu_capability(),
    )


class Training:
    """The training of one run, with checkpoints after every epoch and every `SECONDS`, and what is observed of it.

    Attributes:
        seconds: How long it has trained, in all processes that were at it.
    """

    def __init__(
        self, trainer: Trainer, observers: Sequence[Observer], diagnostics: Sequence[Diagnostic], folder: RunFolder
    ) -> None:
        from stabzoo.implicit.step import solver_report
        from stabzoo.training.checkpoint import Checkpoints

        self.trainer, self.folder = trainer, folder
        self.observers = {
            diagnostic.model_dump_json(): observer for diagnostic, observer in zip(diagnostics, observers, strict=True)
        }
        self.checkpoints: Checkpoints = Checkpoints(folder.path)
        self.reports = solver_report(trainer.network)
        self.unsolved = self.counted = 0
        self.seconds, self.last = 0.0, time.perf_counter()
        state, _ = self.checkpoints.newest()
        if state is not None and self._knows_all(state):
            self._load(state)

    def run(self) -> None:
        """Train to the end; the last checkpoint stays."""
        self.trainer.run(self._after_epoch, self._after_step)
        if not self.checkpoints.files() or self.trainer.progress.diverged:
            self._save()
        for old in self.checkpoints.files()[1:]:
            old.unlink(missing_ok=True)

    def _after_epoch(self, epoch: int) -> None:
        self.unsolved += self._failures() - self.counted
        for observer in self.observers.values():
            observer.after_epoch(self.trainer.network, epoch)
        self.counted = self._failures()  # an observer may count from zero
        if epoch:
            epochs = self.trainer.training.epochs
            self.folder.report(Progress(epoch=epoch, epochs=epochs, unsolved=self.unsolved))

    def _after_step(self) -> None:
        if self.trainer.progress.updates == 0 or time.perf_counter() - self.last > SECONDS:
            self._save()

    def _failures(self) -> int:
        return sum(report.failures.total() + report.backward_failures.total() for report in self.reports)

    def _knows_all(self, state: dict[str, Any]) -> bool:
        """Whether every observer that must see each epoch was there in the epochs of ``state``."""
        return all(name in state["observers"] or not observer.watches for name, observer in self.observers.items())

    def _save(self) -> None:
        now = time.perf_counter()
        self.seconds, self.last = self.seconds + now - self.last, now
        state = {
            "trainer": self.trainer.state(),
            "observers": {name: observer.state for name, observer in self.observers.items()},
            "unsolved": self.unsolved,
            "seconds": self.seconds,
        }
        self.checkpoints.save(self.trainer.progress.steps, state)

    def _load(self, state: dict[str, Any]) -> None:
        self.trainer.load(state["trainer"])
        for name, observer in self.observers.items():
            observer.state = state["observers"].get(name, observer.state)
        self.unsolved, self.seconds = state["unsolved"], state["seconds"]
