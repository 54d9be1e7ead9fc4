"""``stabzoo train``: one network, trained and kept."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from stabzoo.cli.arguments.datasets import dataset_of, recipe_of, short_name
from stabzoo.cli.arguments.folders import look
from stabzoo.cli.arguments.settings import parse_arguments, parse_settings
from stabzoo.cli.console import output
from stabzoo.config import file_name, validate
from stabzoo.data.loading import fetch
from stabzoo.data.manifest import manifest
from stabzoo.data.spec import Archived, Data, Folder
from stabzoo.errors import ConfigError
from stabzoo.terminal import say
from stabzoo.training.job import job_in, train_job
from stabzoo.training.process import processor, this_process, workers_of
from stabzoo.training.spec import Job, Training, recipe, settings_of, software, sources
from stabzoo.training.tracking import TrackerName, open_tracker

__all__ = ["train_model"]


def train_model(
    name: str,
    *,
    data: str,
    size: int | None,
    root: Path,
    download: bool,
    verified: bool,
    settings: tuple[str, ...],
    arguments: tuple[str, ...],
    chosen: str | None,
    seed: int,
    device: str,
    threads: int | None,
    folder: Path | None,
    checkpoint_steps: int | None,
    workers: int | None,
    log: tuple[TrackerName, ...],
) -> int:
    """Train a timm model; 1 if its loss was not finite.

    Raises:
        ConfigError: an option, the data or the model cannot be used.
    """
    if checkpoint_steps is not None and checkpoint_steps < 1:
        raise ConfigError(f"checkpoint-steps: expected at least 1, got {checkpoint_steps}")
    images = dataset_of(data, size, verified=verified)
    given = parse_settings(settings, Training)
    looked = None
    if isinstance(images, Folder) and Path(data).is_dir():
        looked = look(images, root, device, sized=size is not None)
        images = looked.data
    if chosen:
        training = recipe(chosen, given)
    elif looked:
        training = recipe(looked.recipe, looked.settings | settings_of(name) | given)
    else:
        training = recipe(recipe_of(images), settings_of(name) | given)
    folder = folder or _folder_of(f"{name}-{short_name(images)}-{seed}")
    training = _as_begun_or_fastest(training, folder)
    args = parse_arguments(arguments)
    if download:
        fetch(images, root)
    process = this_process(device)
    if looked and process.rank == 0:
        say(output(), looked.chosen(training, chosen or looked.recipe))
    if threads is None:
        threads = (
            max(1, (os.cpu_count() or 1) // process.world) if process.device.type == "cpu" else torch.get_num_threads()
        )
    settled = {
        "model": name,
        "args": args,
        "data": images,
        "training": training,
        "seed": seed,
        "device": process.device.type,
        "threads": threads,
        "processes": process.world,
        "processor": processor(process.device.type),
        "software": software(),
        "sources": sources(name, args, manifest(images, root)),
    }
    decoders = workers_of(workers, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    trackers = [open_tracker(tracker, folder) for tracker in dict.fromkeys(log)] if process.rank == 0 else []
    try:
        job = validate(Job, settled, name)
        trained = train_job(job, folder, root, process, output(), checkpoint_steps, decoders, trackers)
    finally:
        for tracker in trackers:
            tracker.close()
        process.leave()
    if process.rank == 0:
        output().print(folder / "model.safetensors")
        _warn_of_mean_image(images)
    if trained.diverged:
        output().print("The training diverged: its loss was not finite.", style="yellow")
    return int(trained.diverged)


def _as_begun_or_fastest(training: Training, folder: Path) -> Training:
    """The training with the layout and the compiling that nobody has chosen: its folder's, or the fastest."""
    left = {"layout", "compile"} - training.model_fields_set
    begun = job_in(folder) if left else None
    return training.model_copy(
        update={choice: getattr(begun.training, choice) if begun else "fastest" for choice in left}
    )


def _warn_of_mean_image(images: Data) -> None:
    """Say that timm's layout cannot hold what such a training subtracts."""
    if isinstance(images, Archived) and images.normalization == "mean-image":
        say(
            output(),
            "warning: timm has no place for a mean image, so config.json has the channels' means: a network opened "
            "by it gets other images than this training's; `stabzoo evaluate` and `diagnose` subtract the image",
            style="yellow",
        )


def _folder_of(training: str) -> Path:
    """Where a training of this name is kept."""
    try:
        return Path("runs") / file_name(training)
    except ValueError as error:
        raise ConfigError(f"folder: {error}; give one with --folder") from None
