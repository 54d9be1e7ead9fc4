"""What is done for a run, in whatever process: train it in its folder, evaluate it. Importing this imports no torch."""

from __future__ import annotations

import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stabzoo.errors import PluginError
from stabzoo.evaluation.spec import Clean
from stabzoo.metric import Evaluation
from stabzoo.study.measures import Diagnostic
from stabzoo.study.spec import Run
from stabzoo.study.store.records import Diagnosed, Measured, Record, Unmeasured
from stabzoo.study.store.run_folder import RunFolder
from stabzoo.training.spec import differences, software, sources

if TYPE_CHECKING:
    from stabzoo.study.execution.observers import Observer

__all__ = ["EvaluationRequest", "RunFailed", "RunLocked", "execute"]

READERS = {"cpu": 0, "cuda": 4}
"""Processes that decode images for a run, where images are read from disk; on a CPU the processors are busy."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be measured of every run, and the folder that holds the data sets."""

    evaluations: tuple[Evaluation, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    data: Path = Path("data")


@dataclass(frozen=True)
class RunFailed:
    """The run raised an error: its type and text, and where it came from."""

    reason: str
    traceback: str


@dataclass(frozen=True)
class RunLocked:
    """Another process is at the run."""


def execute(run: Run, wanted: EvaluationRequest, work: Path) -> Record | RunFailed | RunLocked:
    """Train ``run`` in its folder below ``work``, from its last checkpoint, and measure what is wanted."""
    folder = RunFolder(work, run.key)
    try:
        with folder.lock() as mine:
            return _execute(run, wanted, folder) if mine else RunLocked()
    except Exception as error:
        return RunFailed(f"{type(error).__name__}: {error}", traceback.format_exc())


def _execute(run: Run, wanted: EvaluationRequest, folder: RunFolder) -> Record:
    import torch

    from stabzoo.data.loading import load_images
    from stabzoo.evaluation.accuracy import measure
    from stabzoo.implicit.report import ConvergenceWarning
    from stabzoo.study.execution.networks import build, coefficients_of
    from stabzoo.study.execution.session import RunSession
    from stabzoo.training.kept.description import keep
    from stabzoo.training.loop import Trainer
    from stabzoo.training.networks import weights_sha256
    from stabzoo.training.process import Process, processor

    if run.software and run.software != software():
        raise RuntimeError(f"expected a process with {run.software}, this one has {software()}; install the same")
    mine = sources(run.model, run.args, run.sources.get("data"))  # the data are the driver's, which has read them all
    for name, expected, got in differences(run.sources, mine):
        raise RuntimeError(f"expected a process with {name}: {expected}, this one has {got}")
    torch.set_num_threads(run.threads)
    if any(diagnostic.kind == "solver" for diagnostic in wanted.diagnostics):
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted, and in the report
    images = load_images(run.data, wanted.data, READERS[run.device])
    observers: list[Observer] = []
    if wanted.diagnostics:
        from stabzoo.study.execution.observers import observers_of  # imports what other studies do not need

        observers = observers_of(wanted.diagnostics, images)
    trainer = Trainer(build(run, images), images, run.training, run.seed, Process(torch.device(run.device)))
    session = RunSession(trainer, observers, wanted.diagnostics, folder)
    session.resume()
    session.run()
    started = time.perf_counter()
    network = trainer.averaged.eval()
    found = list(zip(wanted.evaluations, measure(network, images, wanted.evaluations), strict=True))
    top1 = [float(value) for evaluation, value in found if isinstance(evaluation, Clean) and isinstance(value, float)]
    measured = {"top1": top1[0], "test_images": images.test_count} if top1 else None
    keep(network, images, run.job(processor(run.device)), folder.path, measured)
    diagnosed = [
        Diagnosed(diagnostic=diagnostic, result=observer.result(network, trainer.progress))
        for diagnostic, observer in zip(wanted.diagnostics, observers, strict=True)
    ]
    return Record(
        run=run,
        coefficients=coefficients_of(network),
        parameters=sum(weight.numel() for weight in network.parameters()),
        losses=tuple(trainer.progress.losses),
        diverged=trainer.progress.diverged,
        warnings=tuple(session.warnings),
        weights_sha256=weights_sha256(network),
        measured=tuple(
            Measured(evaluation=evaluation, value=value, metric=evaluation.metric)
            for evaluation, value in found
            if not isinstance(value, PluginError)
        ),
        unmeasured=tuple(
            Unmeasured(evaluation=evaluation, reason=str(value))
            for evaluation, value in found
            if isinstance(value, PluginError)
        ),
        test_images=images.test_count,
        diagnosed=tuple(diagnosed),
        seconds=session.seconds + time.perf_counter() - started,
        cpu=processor(),
    )
