"""One training from the command line: what it is, its folder, and resuming where it was stopped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from rich.console import Console

from stabzoo.config import load_json
from stabzoo.data.loading import load_images
from stabzoo.diagnostics.audit.scheme import learnt_scheme
from stabzoo.errors import ConfigError
from stabzoo.evaluation.accuracy import iter_logits, num_correct
from stabzoo.files import exclusive, write_atomically
from stabzoo.implicit.step import solver_report
from stabzoo.networks.steps import trained_coefficients
from stabzoo.stability import as_float
from stabzoo.terminal import say
from stabzoo.training.kept.description import CONFIG, keep
from stabzoo.training.loop import Trained, Trainer
from stabzoo.training.networks import network_of
from stabzoo.training.process import Process
from stabzoo.training.progress import TrainingProgress
from stabzoo.training.session import Session
from stabzoo.training.spec import Job, differences
from stabzoo.training.tracking import Tracker

if TYPE_CHECKING:
    from stabzoo.diagnostics.wellposed import WellPosedness

__all__ = ["job_in", "train_job"]


def train_job(
    job: Job,
    folder: Path,
    root: Path,
    process: Process,
    console: Console,
    checkpoint_steps: int | None = None,
    workers: int = 0,
    trackers: Sequence[Tracker] = (),
) -> Trained:
    """Train, or resume training, the network of ``job``; ``folder`` then has

    ``config.json``, the ``checkpoint-*`` files, ``history.csv`` with a row per epoch, and ``model.safetensors``, the
    weights to be used (averaged, if the training averages them), once it is finished.

    A checkpoint is written after every epoch, and every ``checkpoint_steps`` updates.  ``workers`` processes decode
    images that are not in memory; ``trackers`` receive the settings and every epoch.

    Raises:
        ConfigError: the model cannot be built, the data are missing, or ``folder`` holds another training or is in use.
    """
    torch.set_num_threads(job.threads)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, process):
            return _train(job, folder, root, process, console, checkpoint_steps, workers, trackers)
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be used ({error.strerror or error})") from error


def _train(
    job: Job,
    folder: Path,
    root: Path,
    process: Process,
    console: Console,
    checkpoint_steps: int | None,
    workers: int,
    trackers: Sequence[Tracker],
) -> Trained:
    images = load_images(job.data, root, workers)
    trainer = Trainer(network_of(job, images), images, job.training, job.seed, process)
    first = process.rank == 0
    if not _same_job(job, folder) and first:
        keep(trainer.network, images, job, folder, weights=False)
    process.wait()
    session = _Session(trainer, folder, checkpoint_steps, trackers, writes=first)
    damaged = session.resume()
    steps = len(trainer.batches(0))
    if first and job.training.batch_size > images.train_count:
        say(
            console,
            f"warning: batch_size {job.training.batch_size} is more than the {images.train_count} images for training: "
            "an epoch is one update; --set batch_size takes fewer",
            style="yellow",
        )
    with TrainingProgress(console, job, session.reports, images.train_count, steps, enabled=first) as shown:
        session.shown = shown
        shown.start(trainer.progress.steps, damaged, trainer.layout, compiled=trainer.compiled)
        for tracker in trackers:
            tracker.settings(job.model_dump(mode="json"))
        trained = session.run()
        if first and trained.diverged:
            shown.warn(session.troubles(), trainer.progress.epoch + 1)
    if first:
        _write_history(folder, trainer.progress.notes)
        tops = [note["top1"] for note in trainer.progress.notes]
        chosen = max if job.training.selection == "best-epoch" else (lambda found: found[-1])
        measured = {"top1": chosen(tops), "test_images": images.test_count} if tops else None
        keep(trainer.averaged, images, job, folder, measured)
    return trained


class _Session(Session):
    """A training that is shown, told to trackers, and written down epoch by epoch in ``history.csv``."""

    shown: TrainingProgress

    def __init__(
        self,
        trainer: Trainer,
        folder: Path,
        checkpoint_steps: int | None,
        trackers: Sequence[Tracker],
        *,
        writes: bool,
    ) -> None:
        super().__init__(trainer, folder, writes=writes)
        self.folder, self.checkpoint_steps, self.trackers = folder, checkpoint_steps, trackers

    def is_due(self) -> bool:
        """Every so many updates of the weights."""
        return bool(self.checkpoint_steps and self.trainer.progress.steps % self.checkpoint_steps == 0)

    def after_epoch(self, epoch: int) -> dict[str, Any] | None:
        """Test the network, and tell."""
        if not epoch:
            self.proved = {step.name for step in self.equations() if step.proof} if self.writes else set()
            return None
        note: dict[str, Any] = {}
        if self.writes:
            equations = self.equations()
            note = self._note(equations)
            self.shown.epoch(note)
            self.shown.warn(self.troubles(equations), epoch)
        self.trainer.process.wait()
        for tracker in self.trackers:
            tracker.epoch(epoch, {name: value for name, value in note.items() if name != "epoch" and value is not None})
        return note

    def after_step(self) -> None:
        """Show where the training is, and write what is due."""
        progress = self.trainer.progress
        self.shown.step(progress.steps)
        super().after_step()
        if self.writes and progress.updates == 0:
            _write_history(self.folder, progress.notes)

    def _note(self, equations: list[WellPosedness]) -> dict[str, Any]:
        """What is written down of a finished epoch."""
        trainer, images = self.trainer, self.trainer.images
        network = trainer.averaged
        was_training = network.training
        top1 = top5 = 0
        for labels, logits in iter_logits(network, images):
            top1, top5 = top1 + num_correct(logits, labels), top5 + num_correct(logits, labels, 5)
        network.train(was_training)
        note = {
            "epoch": trainer.progress.epoch,
            "loss": trainer.progress.losses[-1],
            "lr": trainer.optimizer.param_groups[0]["lr"],
            "top1": 100 * top1 / images.test_count,
            "top5": 100 * top5 / images.test_count,
        }
        for name, module in trainer.network.network.named_modules():
            for key, parameter in trained_coefficients(module).items():
                values = parameter.detach().flatten().tolist()
                several = len(values) > 1
                note |= {f"{name}.{key}{f'.{i}' if several else ''}": value for i, value in enumerate(values)}
        note |= self._learnt()
        if self.reports:
            solver_report(trainer.network)  # brings the counts of a compiled network up to date
            solves = sum(report.solves for report in self.reports) or 1
            note["evaluations_a_solve"] = sum(report.evaluations for report in self.reports) / solves
            note["not_solved"] = self.unsolved()
            note["unchecked"] = sum(report.unchecked for report in self.reports)
            note["proved"] = sum(step.proof is not None for step in equations)
            note["equations"] = len(equations)
            note["largest_real_part"] = max((s.abscissa.value for s in equations if s.abscissa), default=None)
            for report in self.reports:
                report.reset()
        return note

    def _learnt(self) -> dict[str, Any]:
        """Of a network that trains coefficients: how many of its blocks are unstable, and their largest product."""
        try:
            scheme = learnt_scheme(self.trainer.network.network)
        except ValueError:  # a coefficient that gives no method: the training has diverged
            return {"unstable_blocks": None, "largest_product": None}
        if scheme is None or not scheme.trains:
            return {}
        return {"unstable_blocks": len(scheme.unstable), "largest_product": as_float(scheme.now.growth.norm)}


@contextmanager
def _locked(folder: Path, process: Process) -> Iterator[None]:
    """Keep other drivers out of the folder."""
    if process.rank:
        yield
        return
    with exclusive(folder / ".lock") as mine:
        if not mine:
            raise ConfigError(f"{folder}: another training is using it; wait until it ends, or use another --folder")
        yield


def job_in(folder: Path) -> Job | None:
    """The training that a folder already has; None where it has none.

    Raises:
        ConfigError: its description is damaged, or cannot be read.
    """
    path = folder / CONFIG
    try:
        if not path.exists():
            return None
        theirs = load_json(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    for key in ("stabzoo", "job"):
        theirs = theirs.get(key) if isinstance(theirs, dict) else None
    try:
        return Job.model_validate(theirs)
    except ValidationError:
        raise ConfigError(f"{path}: is damaged; use another --folder, or remove this one") from None


MOST_TOLD = 4
"""Differences between two trainings, in a message; of more it says how many."""


def _same_job(job: Job, folder: Path) -> bool:
    """Whether the folder already has this training; False where it has none."""
    found = job_in(folder)
    if found is None:
        return False
    mine, theirs = (one.model_dump(mode="json") for one in (job, found))
    if differing := list(differences(theirs, mine)):
        told = [f"{name} is {json.dumps(there)} there and {json.dumps(here)} here" for name, there, here in differing]
        raise ConfigError(
            f"{folder} holds another training: {'; '.join(told[:MOST_TOLD])}"
            f"{f'; and {more} more' if (more := len(told) - MOST_TOLD) > 0 else ''}; use another --folder for this one"
        )
    return True


def _write_history(folder: Path, notes: list[dict[str, Any]]) -> None:
    if not notes:
        return
    text = io.StringIO()
    names = list(dict.fromkeys(name for note in notes for name in note))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(notes)
    write_atomically(folder / "history.csv", text.getvalue().encode())
