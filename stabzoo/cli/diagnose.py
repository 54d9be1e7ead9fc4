"""``stabzoo diagnose``: one report of everything measured of a network, on the terminal, as JSON, as a page."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from stabzoo.cli.console import output, print_json, table
from stabzoo.data.labelled import load_labelled_images
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Data
from stabzoo.diagnostics.report.diagnosis import Diagnosis, diagnose
from stabzoo.diagnostics.report.sections import sections
from stabzoo.errors import ConfigError
from stabzoo.files import write_atomically
from stabzoo.training.networks import load_model

__all__ = ["diagnose_model"]


def diagnose_model(
    name: str,
    data: Data,
    *,
    root: Path,
    checkpoint: Path | None,
    images: int,
    sigma: float,
    condition_numbers: bool,
    smallest: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Measure a timm model on test images, print the report, and write it as a page and as JSON if ``folder`` is given.

    Raises:
        ConfigError: the model, its checkpoint, the data or the folder cannot be used; nothing is written then.
    """
    if not sigma > 0:
        raise ConfigError(f"sigma: expected a deviation above 0 on the pixel scale [0, 1], got {sigma}")
    model = load_model(name, load_images(data, root), checkpoint)
    found = diagnose(
        model,
        load_labelled_images(data, root, images),
        name=name,
        checkpoint=str(checkpoint) if checkpoint else None,
        sigma=sigma,
        condition_numbers=condition_numbers,
        smallest=smallest,
    )
    if folder is not None:
        _write(found, folder)
    if as_json:
        print_json(found.to_dict())
        return
    _print(output(), found)
    if folder is not None:
        output().print(f"\n{folder / 'diagnosis.html'}\n{folder / 'diagnosis.json'}")


def _print(console: Console, found: Diagnosis) -> None:
    console.print(f"{found.model}, {found.parameters:,} parameters".replace(",", " ", 1), style="bold")
    for section in sections(found):
        console.print(f"\n{section.title}", style="bold")
        table(console, dict(zip(section.columns, zip(*section.rows, strict=True), strict=True)), section.columns[-1:])
        console.print(section.meaning, style="dim")
    for part, reason in found.skipped.items():
        console.print(f"\n{part}: left out, {reason}", style="yellow")


def _write(found: Diagnosis, folder: Path) -> None:
    from stabzoo.diagnostics.report.page import page

    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n"
        for file, content in (("diagnosis.html", page(found)), ("diagnosis.json", text)):
            write_atomically(folder / file, content.encode())
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from error
