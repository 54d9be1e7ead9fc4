"""``stabzoo diagnose``: one report of everything measured of a network, on the terminal, as JSON, as a page."""

from __future__ import annotations

import sys
from pathlib import Path

from stabzoo.cli.console import output, print_json
from stabzoo.cli.measuring.subject import Asked, made, print_report, subject_of, written
from stabzoo.diagnostics.report.measuring import diagnose
from stabzoo.diagnostics.report.sections import sections
from stabzoo.diagnostics.report.summary import summary
from stabzoo.errors import ConfigError
from stabzoo.terminal import Bar, new_console
from stabzoo.training.process import this_process

__all__ = ["diagnose_model"]


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
    subject = subject_of(asked)
    if folder is not None:
        made(folder)
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
    paths = ""
    if folder is not None:
        from stabzoo.diagnostics.report.page import page  # which draws

        paths = written(folder, "diagnosis", page(found), found.to_dict())
    if as_json:
        print_json(found.to_dict())
        return
    print_report(output(), found, summary(found), sections(found))
    if paths:
        output().print(f"\n{paths}")


class _Progress(Bar):
    """What is measured now, on the terminal's error stream, so that a piped report is the report alone."""

    def __init__(self) -> None:
        super().__init__(new_console(stream=sys.stderr), "{task.fields[part]}", "")
        self._task = self._bar.add_task("", total=1.0, part="")

    def tell(self, part: str, done: float) -> None:
        """``part`` is measured next, and ``done`` of 1 are."""
        self._bar.update(self._task, completed=done, part=part, refresh=True)
