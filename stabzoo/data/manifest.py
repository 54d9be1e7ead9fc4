"""What tells one set of images from another: their names, sizes and bytes. Importing this module imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from stabzoo.data.image_files import EXTENSIONS, files_of_classes, folders_below
from stabzoo.data.spec import Archived, Data, Folder, Timm
from stabzoo.files import digest

__all__ = ["NOT_HERE", "manifest"]

NOT_HERE = "not here"
"""The manifest of data that are not where they are looked for."""


def manifest(data: Data, root: Path) -> str | None:
    """The `digest` of the files of ``data`` below ``root``, whose relative names say the class.

    Of a folder of images only the images count that are read: no notes, no hidden files of a desktop.

    None for data that cannot be others without another name: scikit-learn's digits, what is generated, published files
    whose checksums are compared when they are read, and the data sets that timm has others download.
    """
    files: Callable[[Path], Iterator[Path]]
    match data:
        case Folder():
            parts = [data.train] if data.test_share is not None else [data.train, data.test]
            folders, files = [root / data.path / part for part in parts], _images_of_classes
        case Timm(dataset=""):
            folders, files = [root / data.path], _images
        case Archived(verified=False):
            folders, files = [root / data.folder], _files
        case _:
            return None
    if not all(folder.exists() for folder in folders):
        return NOT_HERE
    return digest(
        (f"{i}/{os.path.relpath(path, folder)}", path)
        for i, folder in enumerate(folders)
        for path in files(folder)
        if path.exists()  # and is no broken link
    )


def _images_of_classes(folder: Path) -> Iterator[Path]:
    """What `stabzoo.data.from_disk.open_folder` reads."""
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    return (Path(path) for path, _ in files_of_classes(folder, classes))


def _images(folder: Path) -> Iterator[Path]:
    """The images below a folder, or the archive that it is."""
    return (path for path in _files(folder) if path == folder or path.name.lower().endswith(EXTENSIONS))


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, or the file that it is."""
    if not folder.is_dir():
        yield folder
        return
    for here, names in folders_below(folder, set()):
        yield from (Path(here) / name for name in names)
