"""What tells one state of a plugin's code from another, read without importing it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from stabzoo.files import digest
from stabzoo.registry.discovery import Plugin

__all__ = ["code_digest"]


def code_digest(plugin: Plugin) -> str:
    """The `digest` of the files of a plugin's package, or of the archive that it lies in.

    An installation for development changes without its version.  All files count but what Python has compiled.
    """
    try:
        spec = find_spec(plugin.module.partition(".")[0])
    except (ImportError, ValueError):
        spec = None
    if archive := getattr(spec and spec.loader, "archive", None):
        return digest([(Path(archive).name, Path(archive))])
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    files = ((str(path.relative_to(folder)), path) for folder in folders for path in folder.rglob("*"))
    return digest((name, path) for name, path in files if path.is_file() and "__pycache__" not in path.parts)
