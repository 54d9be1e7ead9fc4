"""One training from the command line: what it is, its folder, and going on where it was stopped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import save

from stabzoo.data.images import Images
from stabzoo.data.loading import load_images
from stabzoo.errors import ConfigError
from stabzoo.evaluation.accuracy import iter_logits, num_correct
from stabzoo.evaluation.perturbations import perturbation
from stabzoo.evaluation.spec import Clean
from stabzoo.files import exclusive, write_atomically
from stabzoo.implicit.step import solver_report
from stabzoo.networks.steps import LearnableStep
from stabzoo.training.checkpoint import Checkpoints
from stabzoo.training.loop import Trained, Trainer
from stabzoo.training.networks import create
from stabzoo.training.pixel_scale import PixelScale
from stabzoo.training.process import Process
from stabzoo.training.progress import TrainingProgress
from stabzoo.training.spec import Job
from stabzoo.training.tracking import Tracker

__all__ = ["network_of", "train_job"]


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
    """Train, or go on with, the network of ``job``; ``folder`` then has

    ``job.json``, the ``checkpoint-*`` files, ``history.csv`` with a row an epoch, and ``weights.safetensors``, the
    weights to be used (averaged, if the training averages them), once it is finished.

    A checkpoint is written after every epoch, and every ``checkpoint_steps`` updates.  ``workers`` processes decode
    images that are not in memory; ``trackers`` are told the settings and every epoch.

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
    first = process.rank == 0
    images = load_images(job.data, root, workers)
    trainer = Trainer(network_of(job, images), images, job.training, job.seed, process)
    checkpoints = Checkpoints(folder)
    _same_job(job, folder, write=first)
    process.wait()
    state, damaged = checkpoints.newest()
    if state is not None:
        trainer.load(state)
    progress = trainer.progress
    last = progress.steps
    reports = solver_report(trainer.network)
    with TrainingProgress(console, job, reports, images.train_count, len(trainer.batches(0)), enabled=first) as shown:
        shown.start(progress.steps, damaged)
        for tracker in trackers:
            tracker.settings(job.model_dump(mode="json"))

        def save_checkpoint() -> None:
            nonlocal last
            if first and progress.steps != last:
                checkpoints.save(progress.steps, trainer.state())
                last = progress.steps

        def after_epoch(epoch: int) -> dict[str, Any] | None:
            if not epoch:
                return None
            note = _note(trainer, images) if first else {}
            process.wait()
            shown.epoch(note)
            for tracker in trackers:
                tracker.epoch(epoch, {name: value for name, value in note.items() if name != "epoch"})
            return note

        def after_step() -> None:
            progress = trainer.progress
            shown.step(progress.steps)
            if progress.updates == 0 or (checkpoint_steps and progress.steps % checkpoint_steps == 0):
                save_checkpoint()
                if first and progress.updates == 0:
                    _write_history(folder, progress.notes)

        trained = trainer.run(after_epoch, after_step)
        save_checkpoint()
    if first:
        _write_history(folder, progress.notes)
        weights = {name: tensor.cpu().contiguous() for name, tensor in trainer.averaged.network.state_dict().items()}  # type: ignore[union-attr]  # pyright: ignore
        write_atomically(folder / "weights.safetensors", save(weights))
    return trained


def network_of(job: Job, images: Images) -> PixelScale:
    """The untrained network of ``job``.

    Raises:
        ConfigError: it cannot be built.
    """
    try:
        return create(job.model, job.args, job.seed, images)
    except Exception as error:  # whatever a model of anyone raises about its arguments
        raise ConfigError(f"{job.model} cannot be built: {error or type(error).__name__}") from error


@contextmanager
def _locked(folder: Path, process: Process) -> Iterator[None]:
    """Keep other drivers out of the folder."""
    if process.rank:
        yield
        return
    with exclusive(folder / ".lock") as mine:
        if not mine:
            raise ConfigError(f"{folder}: another training is using it; wait for its end, or use another --folder")
        yield


def _same_job(job: Job, folder: Path, *, write: bool) -> None:
    path = folder / "job.json"
    mine = job.model_dump(mode="json")
    if not path.exists():
        if write:
            write_atomically(path, json.dumps(mine, indent=1).encode() + b"\n")
        return
    try:
        theirs = json.loads(path.read_bytes())
        differing = [key for key in mine if theirs.get(key) != mine[key]]
    except (ValueError, AttributeError):
        raise ConfigError(f"{path}: is damaged; use another --folder, or remove this one") from None
    if differing:
        key = differing[0]
        raise ConfigError(
            f"{folder} holds another training: {key} is {json.dumps(theirs.get(key))} there and "
            f"{json.dumps(mine[key])} here; use another --folder"
        )


def _note(trainer: Trainer, images: Images) -> dict[str, Any]:
    """What is written down of a finished epoch."""
    network = trainer.averaged
    was_training = network.training
    top1 = top5 = 0
    for labels, ((logits,),) in iter_logits(network, images, [perturbation(Clean(kind="clean"), images)]):
        top1, top5 = top1 + num_correct(logits, labels), top5 + num_correct(logits, labels, 5)
    network.train(was_training)
    progress = trainer.progress
    note = {
        "epoch": progress.epoch,
        "loss": progress.losses[-1],
        "lr": trainer.optimizer.param_groups[0]["lr"],
        "top1": 100 * top1 / images.test_count,
        "top5": 100 * top5 / images.test_count,
    }
    for name, module in trainer.network.network.named_modules():
        if isinstance(module, LearnableStep):
            note[f"{name}.parameter"] = float(module.parameter.detach())
    reports = solver_report(trainer.network)
    if reports:
        solves = sum(report.solves for report in reports) or 1
        note["evaluations_a_solve"] = sum(report.evaluations for report in reports) / solves
        note["not_solved"] = sum(report.failures.total() + report.backward_failures.total() for report in reports)
        for report in reports:
            report.reset()
    return note


def _write_history(folder: Path, notes: list[dict[str, Any]]) -> None:
    if not notes:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(notes[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(notes)
    write_atomically(folder / "history.csv", text.getvalue().encode())
