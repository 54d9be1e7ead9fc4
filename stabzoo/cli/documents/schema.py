"""``stabzoo schema``: the JSON schema of a document, as pydantic makes it of its model."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from stabzoo.cli.console import output, print_json
from stabzoo.cli.documents.designs import Barrier, Designed
from stabzoo.cli.documents.networks import Audited, Diagnosed, Evaluated, Examined, Predicted
from stabzoo.cli.documents.schemes import Analyzed, Checked, Listed, OnOscillator, Shown
from stabzoo.cli.documents.studies import Correlated, Differing, Results, ShownStudy, Statuses, Studies
from stabzoo.registry.catalogue import unknown_name

__all__ = ["DOCUMENTS", "show_schema"]

DOCUMENTS: dict[str, Any] = {
    "analyze": Analyzed,
    "audit": Audited,
    "barriers": list[Barrier],
    "check": Checked,
    "design": Designed,
    "diagnose": Diagnosed,
    "doctor": Examined,
    "evaluate": Evaluated,
    "list": Listed,
    "oscillator": list[OnOscillator],
    "predict": Predicted,
    "results.json": Results,
    "show": Shown,
    "study correlate": Correlated,
    "study diff": Differing,
    "study list": Studies,
    "study show": ShownStudy,
    "study status": Statuses,
}
"""By the command that prints it with ``--json``, or the file."""


def show_schema(name: str | None) -> None:
    """Print the schema of a document, or the names of all.

    Raises:
        ConfigError: there is none of this name.
    """
    if name is None:
        for known in DOCUMENTS:
            output().print(known)
    elif name in DOCUMENTS:
        print_json(TypeAdapter(DOCUMENTS[name]).json_schema())
    else:
        raise unknown_name("document", name, list(DOCUMENTS))
