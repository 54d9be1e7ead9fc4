"""What tells one state of a plugin's code from another, read without importing it."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from stabzoo.registry.discovery import Plugin

__all__ = ["code_digest"]


def code_digest(plugin: Plugin) -> str:
    """SHA-256, sixteen digits of it, of the files of a plugin's package, or of the archive that it lies in.

    An installation for development changes without its version.  All files count but what Python has compiled.
    """
    package = plugin.module.partition(".")[0]
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    found = hashlib.sha256()
    archive = getattr(spec and spec.loader, "archive", None)
    if archive:
        found.update(Path(archive).read_bytes())
    for folder in [] if archive or spec is None else sorted(spec.submodule_search_locations or ()):
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode(errors="surrogateescape"))
                found.update(path.read_bytes())
    return found.hexdigest()[:16]
