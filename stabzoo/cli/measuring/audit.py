"""``stabzoo audit``: the scheme that a network has learnt, exactly, and its blocks as steps of Euler's method."""

from __future__ import annotations

from pathlib import Path

from stabzoo.cli.console import output, print_json
from stabzoo.cli.measuring.subject import Asked, made, print_report, subject_of, written
from stabzoo.diagnostics.audit.audit import LOOKED_AT, audit
from stabzoo.diagnostics.report.audited import audit_sections, audit_summary
from stabzoo.errors import ConfigError
from stabzoo.training.process import this_process

__all__ = ["audit_model"]


def audit_model(asked: Asked, *, sigma: float, folder: Path | None, as_json: bool) -> None:
    """Audit a network on test images, print the report, and write it as a page and as JSON if ``folder`` is given.

    Raises:
        ConfigError: the model, its checkpoint, the data or the folder cannot be used; nothing is written then.
    """
    if not sigma > 0:
        raise ConfigError(f"sigma: expected a deviation above 0, got {sigma}")
    device = this_process(asked.device).device
    subject = subject_of(asked)
    if folder is not None:
        made(folder)
    found = audit(
        subject.model.to(device),
        subject.data.to(device),
        name=subject.name,
        checkpoint=subject.weights,
        sigma=sigma,
        most=asked.images or LOOKED_AT,
    )
    paths = ""
    if folder is not None:
        from stabzoo.diagnostics.report.page import audit_page  # which draws

        paths = written(folder, "audit", audit_page(found), found.to_dict())
    if as_json:
        print_json(found.to_dict())
        return
    print_report(output(), found, audit_summary(found), audit_sections(found))
    if paths:
        output().print(f"\n{paths}")
