"""Files: written as a whole or not at all, read only where they are files, and locked against other processes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["digest", "exclusive", "is_locked", "open_regular", "write_atomically"]

SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # non-blocking: to open a FIFO waits for its other end otherwise
NEW = 0o666  # less the umask

READ = 2**28
"""Bytes of files whose contents a `digest` is of; of more it is of their names and sizes."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` is, at any moment and after a crash, the old file or the whole new one.

    A new file has the permissions that the umask leaves.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, NEW)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def open_regular(path: Path, *, follow: bool = True) -> BinaryIO:
    """Open a file for reading; what would be waited for or never ends (a FIFO, a device) is refused.

    With ``follow`` false a link is refused, too.

    Raises:
        OSError: it is not a regular file, or cannot be read; also for a name that no file can have.
    """
    flags = os.O_RDONLY | SAFELY
    return os.fdopen(_open(path, flags & ~os.O_NOFOLLOW if follow else flags), "rb")


def digest(files: Iterable[tuple[str, Path]]) -> str:
    """``12 files, 4711 bytes, sha256 ...`` of files and the names they go by.

    It is over the names, the sizes and, up to `READ` bytes in all, the contents.

    Raises:
        OSError: one of them cannot be read.
    """
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


@contextmanager
def exclusive(file: Path) -> Iterator[bool]:
    """Hold the lock on ``file`` inside; False where another process has it.

    It is a lock of the process, not of the open file, which processes that decode images would inherit and may outlive
    it with; it goes with the process, however that ends.  The file is made where there is none, and never changed.

    Raises:
        OSError: it is a link, not a regular file, or cannot be opened.
    """
    descriptor = _open(file, os.O_RDWR | os.O_CREAT | SAFELY)
    try:
        yield _take(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def is_locked(file: Path) -> bool:
    """Whether some process holds the lock on ``file``, without making or changing it.

    Not to be asked by the process that does: a process loses its lock when it closes the file.
    """
    try:
        descriptor = _open(file, os.O_RDONLY | SAFELY)
    except OSError:  # nobody of ours locks what is missing, a link or a directory
        return False
    try:
        return not _take(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    """The descriptor of a regular file.

    Raises:
        OSError: it is none.
    """
    try:
        descriptor = os.open(path, flags, NEW)
    except ValueError as error:  # a NUL in its name, or a letter that the file system cannot have
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def _take(descriptor: int, kind: int) -> bool:
    try:
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows both
        return False
    return True
