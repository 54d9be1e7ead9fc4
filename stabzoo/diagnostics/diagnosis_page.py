"""A diagnosis as one self-contained HTML page."""

from __future__ import annotations

import base64
import io

from stabzoo.diagnostics.diagnosis import Diagnosis
from stabzoo.diagnostics.diagnosis_sections import Section, sections
from stabzoo.report.page import render_page

__all__ = ["page"]


def page(found: Diagnosis) -> str:
    """The page: every section with its table and its figure."""
    parts = [(section, _picture(section)) for section in sections(found)]
    environment = found.to_dict()["environment"]
    return render_page(
        "stabzoo.diagnostics",
        "diagnosis.html.j2",
        f"{found.model}: measured stability",
        found=found,
        parts=parts,
        environment=environment,
    )


def _picture(section: Section) -> str | None:
    if section.figure is None:
        return None
    content = io.BytesIO()
    section.figure().savefig(content, format="png", dpi=150, metadata={"Title": section.title})
    return base64.b64encode(content.getvalue()).decode()
