"""A diagnosis, or an audit, as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from stabzoo.diagnostics.audit.audit import Audit
from stabzoo.diagnostics.report.audited import audit_sections, audit_summary
from stabzoo.diagnostics.report.diagnosis import Diagnosis
from stabzoo.diagnostics.report.sections import Section, sections
from stabzoo.diagnostics.report.summary import summary
from stabzoo.plotting.page import render_page
from stabzoo.plotting.style import saved

__all__ = ["audit_page", "page"]


def page(found: Diagnosis) -> str:
    """The page of a diagnosis: every section with its table and its figure."""
    return _page(found, "measured stability", summary(found), sections(found))


def audit_page(found: Audit) -> str:
    """The page of an audit."""
    return _page(found, "audit", audit_summary(found), audit_sections(found))


def _page(found: Diagnosis | Audit, called: str, sentences: Sequence[str], sections: Sequence[Section]) -> str:
    parts = [(section, _picture(section)) for section in sections]
    return render_page(
        "stabzoo.diagnostics.report",
        "diagnosis.html.j2",
        f"{found.model}: {called}",
        found=found,
        sentences=sentences,
        parts=parts,
        pictured=[section.title for section, picture in parts if picture],
        environment=found.to_dict()["environment"],
    )


def _picture(section: Section) -> str | None:
    return section.figure and base64.b64encode(saved(section.figure(), "png", section.title)).decode()
