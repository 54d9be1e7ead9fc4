"""The folder that a run is trained in: who is at it, how far it is, why it failed; its checkpoints lie there too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import NonNegativeInt, ValidationError

from stabzoo.config import Strict
from stabzoo.errors import ConfigError
from stabzoo.files import exclusive, is_locked, open_regular, write_atomically

__all__ = ["KEY", "Progress", "RunFolder"]

KEY = re.compile("[0-9a-f]{16}")
"""What the key of a run is, which names its folder; a key from a database may be anything."""

LONGEST = 2**16  # bytes of a file that tells how a run stands


class Progress(Strict):
    """``epoch`` of ``epochs`` are trained, in which ``unsolved`` equations of implicit steps were not solved.

    ``anew`` says why the run was started from scratch although it had a checkpoint.
    """

    epoch: NonNegativeInt
    epochs: NonNegativeInt
    unsolved: NonNegativeInt = 0
    anew: str | None = None


class RunFolder:
    """``root``/``key``, of the run with that key.

    It is kept when the run is finished, with its last checkpoint: what is asked of the network later needs no training.
    Links are not followed from it, so that a folder from a stranger reaches no other.

    Raises:
        ConfigError: the key is none, or the folder is a link.
    """

    def __init__(self, root: Path, key: str) -> None:
        if not KEY.fullmatch(key):
            raise ConfigError(f"{root}: expected the key of a run, 16 hexadecimal digits, got {key!r:.80}")
        self.path = root / key
        if self.path.is_symlink():
            raise ConfigError(f"{self.path}: is a link; expected the folder of a run; remove it")

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the folder inside; False where another process trains the run."""
        self.path.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path / ".lock") as mine:
            yield mine

    def locked(self) -> bool:
        """Whether some process trains the run now.  Not to be asked by the process that does."""
        return is_locked(self.path / ".lock")

    def progress(self) -> Progress | None:
        """How far the run is; None before its first epoch."""
        try:
            return Progress.model_validate_json(self._content("progress.json"))
        except (OSError, ValidationError):
            return None

    def report(self, progress: Progress) -> None:
        """Say how far the run is."""
        write_atomically(self.path / "progress.json", progress.model_dump_json().encode())

    def failure(self) -> str | None:
        """Why the run was given up the last time; None where it was not."""
        try:
            return self._content("failure.txt").decode(errors="replace")
        except OSError:
            return None

    def _content(self, name: str) -> bytes:
        with open_regular(self.path / name, follow=False) as file:
            return file.read(LONGEST)

    def fail(self, reason: str | None) -> None:
        """Say why the run was given up, or with None that it is tried again."""
        if reason is not None:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / "failure.txt", reason.encode())
        else:
            (self.path / "failure.txt").unlink(missing_ok=True)
