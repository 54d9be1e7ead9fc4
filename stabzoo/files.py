"""Files: written as a whole or not at all, and locked against other processes."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["exclusive", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` is, at any moment and after a crash, the old file or the whole new one."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep a shared folder's other readers out
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextmanager
def exclusive(file: Path) -> Iterator[bool]:
    """Hold the lock on ``file`` inside; False where another process has it.

    It is a lock of the process, not of the open file, which processes that decode images would inherit and may outlive
    it with; it goes with the process, however that ends.
    """
    with file.open("w") as opened:
        try:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows both
            yield False
            return
        yield True
