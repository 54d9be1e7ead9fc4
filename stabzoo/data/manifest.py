"""What tells one set of images from another: their names, sizes and bytes. Importing this module imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stabzoo.data.image_files import folders_below
from stabzoo.data.spec import Archived, Data, Folder, Timm
from stabzoo.files import digest

__all__ = ["NOT_HERE", "manifest"]

NOT_HERE = "not here"
"""The manifest of data that are not where they are looked for."""


def manifest(data: Data, root: Path) -> str | None:
    """The `digest` of the files of ``data`` below ``root``, whose relative names say the class.

    None for data that cannot be others without another name: scikit-learn's digits, published files whose checksums
    are compared when they are read, and the data sets that timm has others download.
    """
    match data:
        case Folder():
            folders = [root / data.path / data.train, root / data.path / data.test]
        case Timm(dataset=""):
            folders = [root / data.path]
        case Archived(verified=False):
            folders = [root / data.folder]
        case _:
            return None
    if not all(folder.exists() for folder in folders):
        return NOT_HERE
    return digest((f"{i}/{name}", path) for i, folder in enumerate(folders) for name, path in _files(folder))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder by their relative names, or the file that it is."""
    if not folder.is_dir():
        yield folder.name, folder
        return
    for here, names in folders_below(folder, set()):
        for name in names:
            path = Path(here) / name
            if path.exists():  # and no broken link
                yield os.path.relpath(path, folder), path
