"""What a worker process does: one run after another, reporting over a pipe. Importing this module imports no torch."""

from __future__ import annotations

import os
import signal
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection

from stabzoo.study.evaluations import Evaluation
from stabzoo.study.spec import Run
from stabzoo.study.store import Measured, Record

__all__ = ["EpochDone", "Raised", "work"]


@dataclass(frozen=True)
class EpochDone:
    """One more epoch of the current run is trained."""


@dataclass(frozen=True)
class Raised:
    """The current run raised an error: its type and text, and where it came from."""

    reason: str
    traceback: str


def work(connection: Connection, evaluations: tuple[Evaluation, ...]) -> None:
    """Receive runs until the pipe closes; answer each with ``EpochDone``s, then a ``Record`` or a ``Raised``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what stops
    os.environ["OMP_NUM_THREADS"] = "1"  # read once, when torch is imported
    try:
        while True:
            run = connection.recv()
            try:
                answer = execute(run, evaluations, connection)
            except Exception as error:
                answer = Raised(f"{type(error).__name__}: {error}", traceback.format_exc())
            connection.send(answer)
    except (EOFError, OSError):
        return  # the parent has closed the pipe, or is gone


def execute(run: Run, evaluations: tuple[Evaluation, ...], connection: Connection) -> Record:
    """Train and evaluate one run on one thread."""
    import torch

    from stabzoo.study.accuracy import accuracy, perturb
    from stabzoo.study.data import load_images
    from stabzoo.study.networks import build, coefficients_of, weights_sha256
    from stabzoo.study.training import train

    torch.set_num_threads(run.threads)
    started = time.perf_counter()
    images = load_images(run.data)
    network = build(run)
    trained = train(network, images, run.training, run.seed, on_epoch=lambda: connection.send(EpochDone()))
    return Record(
        run=run,
        coefficients=coefficients_of(network),
        parameters=sum(weight.numel() for weight in network.parameters()),
        losses=trained.losses,
        diverged=trained.diverged,
        weights_sha256=weights_sha256(network),
        measured=tuple(
            Measured(
                evaluation=evaluation,
                accuracy=accuracy(network, perturb(images.test, evaluation), images.test_labels),
            )
            for evaluation in evaluations
        ),
        seconds=time.perf_counter() - started,
        cpu=torch.backends.cpu.get_cpu_capability(),
    )
