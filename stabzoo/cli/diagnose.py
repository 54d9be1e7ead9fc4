"""``stabzoo diagnose``: one report of everything measured of a network, on the terminal, as JSON, as a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from timm.data import resolve_model_data_config
from torch import nn

from stabzoo.cli.arguments.datasets import dataset_of
from stabzoo.cli.arguments.settings import parse_arguments
from stabzoo.cli.console import output, print_json, table
from stabzoo.data.labelled import LabelledImages, load_labelled_images
from stabzoo.data.loading import load_images
from stabzoo.diagnostics.report.diagnosis import Diagnosis
from stabzoo.diagnostics.report.measuring import diagnose
from stabzoo.diagnostics.report.sections import sections
from stabzoo.diagnostics.report.summary import summary
from stabzoo.errors import ConfigError
from stabzoo.files import write_atomically
from stabzoo.terminal import Bar, new_console, say
from stabzoo.training.kept.description import CONFIG
from stabzoo.training.kept.loading import load_finished
from stabzoo.training.networks import load_model, own_size
from stabzoo.training.process import this_process

__all__ = ["Asked", "diagnose_model"]


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
class _Subject:
    """A network, what it is measured on, and where its weights are from; None: random."""

    name: str
    model: nn.Module
    data: LabelledImages
    weights: str | None


def diagnose_model(
    asked: Asked,
    *,
    sigma: float,
    seconds: float,
    condition_numbers: bool,
    smallest: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Measure a network on test images, print the report, and write it as a page and as JSON if ``folder`` is given.

    Raises:
        ConfigError: the model, its checkpoint, the data or the folder cannot be used; nothing is written then.
    """
    for name, value, unit in (("sigma", sigma, "a deviation"), ("seconds", seconds, "a time")):
        if not value > 0:
            raise ConfigError(f"{name}: expected {unit} above 0, got {value}")
    device = this_process(asked.device).device
    subject = _trained(asked) if Path(asked.name).is_dir() else _built(asked)
    if folder is not None:
        _make(folder)  # before minutes are spent
    with _Progress() as progress:
        found = diagnose(
            subject.model.to(device),
            subject.data.to(device),
            name=subject.name,
            checkpoint=subject.weights,
            sigma=sigma,
            seconds=seconds,
            condition_numbers=condition_numbers,
            smallest=smallest,
            tell=progress.tell,
        )
    if folder is not None:
        _write(found, folder)
    if as_json:
        print_json(found.to_dict())
        return
    _print(output(), found)
    if folder is not None:
        output().print(f"\n{folder / 'diagnosis.html'}\n{folder / 'diagnosis.json'}")


def _trained(asked: Asked) -> _Subject:
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
            f"{', '.join(named)}: {asked.name} is the folder of a training, whose {CONFIG} says which model it is, "
            "with which arguments, weights and data; leave it out, or name the model instead of the folder"
        )
    trained = load_finished(Path(asked.name), asked.root)
    data = load_labelled_images(trained.job.data, asked.root, asked.images)
    return _Subject(trained.job.model, trained.network.network, data, asked.name)


def _built(asked: Asked) -> _Subject:
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
    return _Subject(asked.name, model, labelled, where)


def _normalization(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What the images of a pretrained model are normalised with."""
    config: Mapping[str, Any] = resolve_model_data_config(model)
    return tuple(config["mean"]), tuple(config["std"])


class _Progress(Bar):
    """What is measured now, on the terminal's error stream, so that a piped report is the report alone."""

    def __init__(self) -> None:
        super().__init__(new_console(stream=sys.stderr), "{task.fields[part]}", "")
        self._task = self._bar.add_task("", total=1.0, part="")

    def tell(self, part: str, done: float) -> None:
        """``part`` is measured next, and ``done`` of 1 are."""
        self._bar.update(self._task, completed=done, part=part, refresh=True)


def _print(console: Console, found: Diagnosis) -> None:
    parameters = f"{found.parameters:,}".replace(",", " ")
    console.print(f"{found.model}, {parameters} parameters", style="bold")
    for sentence in summary(found):
        say(console, sentence)
    for section in sections(found):
        console.print(f"\n{section.title}", style="bold")
        table(console, dict(zip(section.columns, zip(*section.rows, strict=True), strict=True)), section.columns[-1:])
        console.print(section.meaning, style="dim")
    for part, reason in found.skipped.items():
        console.print(f"\n{part}: left out, {reason}", style="yellow")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from error


def _write(found: Diagnosis, folder: Path) -> None:
    from stabzoo.diagnostics.report.page import page

    text = json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n"
    try:
        for file, content in (("diagnosis.html", page(found)), ("diagnosis.json", text)):
            write_atomically(folder / file, content.encode())
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from error
