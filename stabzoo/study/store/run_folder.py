"""The folder that a run is trained in: who is at it, how far it is, why it failed; its checkpoints lie there too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import NonNegativeInt, ValidationError

from stabzoo.config import Strict
from stabzoo.files import exclusive, write_atomically

__all__ = ["Progress", "RunFolder"]


class Progress(Strict):
    """``epoch`` of ``epochs`` are trained, in which ``unsolved`` equations of implicit steps were not solved."""

    epoch: NonNegativeInt
    epochs: NonNegativeInt
    unsolved: NonNegativeInt = 0


class RunFolder:
    """``root``/``key``, of the run with that key.

    It is kept when the run is finished, with its last checkpoint: what is asked of the network later needs no training.
    """

    def __init__(self, root: Path, key: str) -> None:
        self.path = root / key

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the folder inside; False where another process trains the run."""
        self.path.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path / ".lock") as mine:
            yield mine

    def locked(self) -> bool:
        """Whether some process trains the run now.  Not to be asked by the process that does."""
        if not self.path.is_dir():
            return False
        with self.lock() as mine:
            return not mine

    def progress(self) -> Progress | None:
        """How far the run is; None before its first epoch."""
        try:
            return Progress.model_validate_json((self.path / "progress.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def report(self, progress: Progress) -> None:
        """Say how far the run is."""
        write_atomically(self.path / "progress.json", progress.model_dump_json().encode())

    def failure(self) -> str | None:
        """Why the run was given up the last time; None where it was not."""
        try:
            return (self.path / "failure.txt").read_text(encoding="utf-8")
        except OSError:
            return None

    def fail(self, reason: str | None) -> None:
        """Say why the run was given up, or with None that it is tried again."""
        if reason is not None:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / "failure.txt", reason.encode())
        else:
            (self.path / "failure.txt").unlink(missing_ok=True)
