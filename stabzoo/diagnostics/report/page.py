"""A diagnosis as one self-contained HTML page."""

from __future__ import annotations

import base64

from stabzoo.diagnostics.report.diagnosis import Diagnosis
from stabzoo.diagnostics.report.sections import Section, sections
from stabzoo.diagnostics.report.summary import summary
from stabzoo.plotting.page import render_page
from stabzoo.plotting.style import saved

__all__ = ["page"]


def page(found: Diagnosis) -> str:
    """The page: every section with its table and its figure."""
    parts = [(section, _picture(section)) for section in sections(found)]
    environment = found.to_dict()["environment"]
    return render_page(
        "stabzoo.diagnostics.report",
        "diagnosis.html.j2",
        f"{found.model}: measured stability",
        found=found,
        sentences=summary(found),
        parts=parts,
        environment=environment,
    )


def _picture(section: Section) -> str | None:
    return section.figure and base64.b64encode(saved(section.figure(), "png", section.title)).decode()
