"""Checkpoints that are whole or absent: one file each, named by its content, the newest two kept.

A checkpoint is written to a temporary file, forced to the disk, and renamed, so that a process killed at any moment
leaves the earlier ones as they are.  Its name has a part of the SHA-256 of its bytes: a file that a disk or a copy has
torn is recognised, and the one before is used.  Nothing is pickled: tensors are in safetensors, the rest is JSON.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from stabzoo.files import open_regular, write_atomically

__all__ = ["Checkpoints", "pack", "unpack"]

KEPT = 2
_TENSOR, _PAIRS, _STATE = "tensor", "pairs", "state"


def pack(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """Split nested dicts and lists of tensors, numbers, strings and None into what JSON can hold, and the tensors.

    Tuples become lists; keys may be strings and integers.

    Raises:
        TypeError: something else is in it.
    """
    tensors: dict[str, Tensor] = {}

    def walk(value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            tensors[name] = value.detach().cpu().contiguous().clone()  # safetensors refuses tensors that share memory
            return {_TENSOR: name}
        if isinstance(value, dict):
            return {_PAIRS: [[key, walk(item, f"{name}.{key}" if name else str(key))] for key, item in value.items()]}
        if isinstance(value, list | tuple):
            return [walk(item, f"{name}.{i}") for i, item in enumerate(value)]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"{name}: expected tensors, numbers and strings in a checkpoint, got {type(value).__name__}")

    return walk(tree, ""), tensors


def unpack(packed: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `pack`."""
    if isinstance(packed, list):
        return [unpack(item, tensors) for item in packed]
    if isinstance(packed, dict):
        if _TENSOR in packed:
            return tensors[packed[_TENSOR]]
        return {key: unpack(item, tensors) for key, item in packed[_PAIRS]}
    return packed


class Checkpoints:
    """The checkpoints of one training, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def files(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("checkpoint-*.safetensors"), reverse=True)

    def save(self, step: int, state: Any) -> Path:
        """Write the ``state`` after ``step`` steps, for good, and remove all but it and the newest from before it.

        Those of later steps go too: they are damaged, or of a training that was not resumed.  Only one process may
        write to a folder.
        """
        packed, tensors = pack(state)
        content = save(tensors, {_STATE: json.dumps(packed)})
        path = self.folder / f"checkpoint-{step:09d}-{_digest(content)}.safetensors"
        write_atomically(path, content)
        others = [file for file in self.files() if file != path]
        before = [file for file in others if file.name < f"checkpoint-{step:09d}"][: KEPT - 1]
        killed = self.folder.glob(".checkpoint-*")  # of processes killed in a save
        for old in (*(file for file in others if file not in before), *killed):
            with suppress(OSError):  # what is no file is none of ours
                old.unlink()
        return path

    def newest(self) -> tuple[Any, list[Path]]:
        """The newest whole checkpoint's state, None if there is none; and the newer files that are not.

        These are damaged, or cannot be opened.
        """
        damaged: list[Path] = []
        for path in self.files():
            try:
                with open_regular(path, follow=False) as file:
                    content = file.read()
                if path.stem.endswith(_digest(content)):
                    return unpack(json.loads(_metadata(content)[_STATE]), load(content)), damaged
            # it cannot be opened, or it is somebody else's with the digest in its name
            except (OSError, SafetensorError, LookupError, ValueError, TypeError, RecursionError):
                pass
            damaged.append(path)
        return None, damaged


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]
