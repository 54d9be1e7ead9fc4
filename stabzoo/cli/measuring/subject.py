"""The network that a command measures, and on what: a timm model, or what a training has left in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from timm.data import resolve_model_data_config
from torch import nn

from stabzoo.cli.arguments.datasets import dataset_of
from stabzoo.cli.arguments.settings import parse_arguments
from stabzoo.cli.console import table
from stabzoo.data.labelled import LabelledImages, load_labelled_images
from stabzoo.data.loading import load_images
from stabzoo.diagnostics.audit.audit import Audit
from stabzoo.diagnostics.report.diagnosis import Diagnosis
from stabzoo.diagnostics.report.sections import Section
from stabzoo.errors import ConfigError
from stabzoo.files import write_atomically
from stabzoo.terminal import say
from stabzoo.training.kept.description import CONFIG
from stabzoo.training.kept.loading import load_finished
from stabzoo.training.networks import load_model, own_size

__all__ = ["Asked", "Subject", "made", "print_report", "subject_of", "written"]


@dataclass(frozen=True)
class Asked:
    """The options of the command that say which network is measured, on what."""

    name: str
    root: Path
    data: str | None
    size: int | None
    verified: bool
    checkpoint: Path | None
    pretrained: bool
    arguments: tuple[str, ...]
    images: int | None
    device: str


@dataclass(frozen=True)
class Subject:
    """A network, what it is measured on, and where its weights are from; None: random."""

    name: str
    model: nn.Module
    data: LabelledImages
    weights: str | None


def subject_of(asked: Asked) -> Subject:
    """Load the network and its images.

    Raises:
        ConfigError: the model, its checkpoint or the data cannot be used.
    """
    return _trained(asked) if Path(asked.name).is_dir() else _built(asked)


def _trained(asked: Asked) -> Subject:
    """What a training has left in a folder; nothing of it is said again."""
    given = {
        "--data": asked.data,
        "--size": asked.size,
        "--checkpoint": asked.checkpoint,
        "--pretrained": asked.pretrained,
        "--arg": asked.arguments,
    }
    if named := [option for option, value in given.items() if value]:
        raise ConfigError(
            f"{', '.join(named)}: {asked.name} is the folder of a training, whose {CONFIG} gives the model, its "
            "arguments, weights and data; omit the option, or name the model instead of the folder"
        )
    trained = load_finished(Path(asked.name), asked.root)
    data = load_labelled_images(trained.job.data, asked.root, asked.images)
    return Subject(trained.job.model, trained.network.network, data, asked.name)


def _built(asked: Asked) -> Subject:
    """A timm model for the data, at its own size unless another is asked for."""
    args: dict[str, Any] = parse_arguments(asked.arguments)
    own = own_size(asked.name)
    data = dataset_of(asked.data or "digits", asked.size, own and own.pixels, verified=asked.verified, only_tested=True)
    images = load_images(data, asked.root)
    if own and own.fixed and images.shape[1] != own.pixels:
        args.setdefault("img_size", images.shape[1])
    if asked.pretrained:
        args["pretrained"] = True
    model = load_model(asked.name, images, asked.checkpoint, args)
    labelled = load_labelled_images(data, asked.root, asked.images, _normalization(model) if asked.pretrained else None)
    where = str(asked.checkpoint) if asked.checkpoint else "timm, pretrained" if asked.pretrained else None
    return Subject(asked.name, model, labelled, where)


def _normalization(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What the images of a pretrained model are normalised with."""
    config: Mapping[str, Any] = resolve_model_data_config(model)
    return tuple(config["mean"]), tuple(config["std"])


def made(folder: Path) -> None:
    """Have the folder of a report, before minutes are spent.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from error


def written(folder: Path, name: str, page: str, numbers: Mapping[str, Any]) -> str:
    """Write a report as ``name.html`` and ``name.json``, and return the two paths, a line each.

    Raises:
        ConfigError: a file cannot be written.
    """
    text = json.dumps(numbers, indent=1, allow_nan=False) + "\n"
    paths = {folder / f"{name}.html": page, folder / f"{name}.json": text}
    try:
        for path, content in paths.items():
            write_atomically(path, content.encode())
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from error
    return "\n".join(map(str, paths))


def print_report(
    console: Console, found: Diagnosis | Audit, sentences: Sequence[str], parts: Sequence[Section]
) -> None:
    """Print a report: what to know first, every section as a table, and what was left out."""
    parameters = f"{found.parameters:,}".replace(",", " ")
    console.print(f"{found.model}, {parameters} parameters", style="bold")
    for sentence in sentences:
        say(console, sentence)
    for section in parts:
        console.print(f"\n{section.title}", style="bold")
        if section.rows:
            columns = dict(zip(section.columns, zip(*section.rows, strict=True), strict=True))
            table(console, columns, section.columns[:1:-1])
        console.print(section.meaning, style="dim")
    for part, reason in found.skipped.items():
        console.print(f"\n{part}: left out, {reason}", style="yellow")
