"""Images as files: finding them below a folder, and decoding one, of a known format and a bounded size."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from PIL import Image

__all__ = ["EXTENSIONS", "decode", "files_of_classes", "folders_below", "links_in_a_circle", "pixels_of"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""What their content may be; Pillow knows more, of which one is a program (PostScript)."""


def decode(file: IO[bytes]) -> Image.Image:
    """The image in ``file``, as red, green and blue.

    Raises:
        Exception: it is of no known format, damaged, or of more pixels than `PIL.Image.MAX_IMAGE_PIXELS`; a damaged
            file raises whatever its bytes lead to.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file, formats=FORMATS) as image:
            return image.convert("RGB")


def pixels_of(file: IO[bytes]) -> tuple[int, int]:
    """Width and height of the image in ``file``, from its head; it raises what `decode` does."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file, formats=FORMATS) as image:
            return image.size


def files_of_classes(folder: Path, classes: Sequence[str]) -> list[tuple[str, int]]:
    """The image files below ``folder``/CLASS with the number of their class, in the order that torchvision has.

    Links are followed, but to a folder only once, and to none that ``folder`` lies in.
    """
    seen = _above(folder) | {_identity(folder / name) for name in classes}
    return [
        (os.path.join(here, name), number)
        for number, label in enumerate(classes)
        for here, names in sorted(folders_below(folder / label, seen))
        for name in sorted(names)
        if name.lower().endswith(EXTENSIONS)
    ]


def folders_below(root: Path, seen: set[Any], circles: list[str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """``root`` and all folders below it with the names of their files, but those that were ``seen``.

    Folders that were seen before are noted in ``circles``.
    """
    for here, folders, names in os.walk(root, followlinks=True):
        found = []
        for path in (os.path.join(here, name) for name in sorted(folders)):
            identity = _identity(Path(path))
            if identity not in seen:
                seen.add(identity)
                found.append(os.path.basename(path))
            elif circles is not None:
                circles.append(path)
        folders[:] = found
        yield here, names


def links_in_a_circle(root: Path) -> list[str]:
    """Links below ``root`` to an existing folder, or that ``root`` lies in."""
    circles: list[str] = []
    for _ in folders_below(root, _above(root), circles):
        pass
    return circles


def _above(folder: Path) -> set[Any]:
    """The folder and all that it lies in."""
    return {_identity(path) for path in (folder.absolute(), *folder.absolute().parents)}


def _identity(folder: Path) -> Any:
    """What is the same for a folder and all links to it."""
    try:
        found = folder.stat()
    except OSError:  # gone since it was listed
        return str(folder)
    return found.st_dev, found.st_ino
