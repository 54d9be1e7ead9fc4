"""What tells one set of images from another: their names, sizes and bytes. Importing this module imports no torch."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from stabzoo.data.image_files import folders_below
from stabzoo.data.spec import Archived, Data, Folder, Timm
from stabzoo.files import open_regular

__all__ = ["NOT_HERE", "digest", "manifest"]

NOT_HERE = "not here"
"""The manifest of data that are not where they are looked for."""

READ = 2**28
"""Bytes of files whose contents are hashed; of more the names and sizes are."""

ARCHIVES = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python", "mnist": "MNIST"}


def manifest(data: Data, root: Path) -> str | None:
    """How many files ``data`` has below ``root``, of how many bytes, and a SHA-256 that changes when one of them does.

    It is over their relative names, which say the class, their sizes and, up to `READ` bytes in all, their contents.
    None for data that cannot be others without another name: scikit-learn's digits, published files whose checksums
    are compared when they are read, and the data sets that timm has others download.
    """
    match data:
        case Folder():
            folders = [root / data.path / data.train, root / data.path / data.test]
        case Timm(dataset=""):
            folders = [root / data.path]
        case Archived(verified=False):
            folders = [root / ARCHIVES[data.name]]
        case _:
            return None
    if not all(folder.exists() for folder in folders):
        return NOT_HERE
    files = [(f"{i}/{name}", path) for i, folder in enumerate(folders) for name, path in _files(folder)]
    return digest(files)


def digest(files: list[tuple[str, Path]]) -> str:
    """``12 files, 4711 bytes, sha256 ...`` of files and the names they go by."""
    entries = [(name, path, path.stat()) for name, path in sorted(files)]
    total = sum(state.st_size for _, _, state in entries)
    found = hashlib.sha256()
    for name, path, state in entries:
        found.update(f"{name}\0{state.st_size}\0".encode(errors="surrogateescape"))
        if total <= READ and stat.S_ISREG(state.st_mode):
            with open_regular(path) as file:
                while block := file.read(2**20):
                    found.update(block)
    return f"{len(entries)} file{'s' * (len(entries) != 1)}, {total} bytes, sha256 {found.hexdigest()[:16]}"


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
