"""File systems of this process alone: small ones, and ones that cannot be written to. Needs Linux's user namespaces."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

__all__ = ["mount", "private", "remount", "why_not"]

NEW_NAMESPACE, NEW_USER = 0x00020000, 0x10000000
READ_ONLY, REMOUNT, PRIVATE, RECURSIVE = 1, 32, 1 << 18, 1 << 14
LIBC = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(LIBC, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def private() -> None:
    """From here on what this process mounts is seen by it and its children alone."""
    user, group = os.getuid(), os.getgid()
    try:
        _call("unshare", NEW_NAMESPACE)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        _call("unshare", NEW_NAMESPACE | NEW_USER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _call("mount", b"none", b"/", None, PRIVATE | RECURSIVE, None)


def mount(folder: Path, size: int) -> None:
    """Mount an empty file system of ``size`` bytes in memory."""
    _call("mount", b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={size}".encode())


def remount(folder: Path, size: int, *, read_only: bool = False) -> None:
    """Give it another size, and take or give the right to write."""
    _call(
        "mount", b"tmpfs", bytes(folder), b"tmpfs", REMOUNT | (READ_ONLY if read_only else 0), f"size={size}".encode()
    )


def why_not(folder: Path) -> str | None:
    """Why nothing can be mounted here; None where it can."""
    if not hasattr(LIBC, "unshare"):
        return "no user namespaces here: this is not Linux"
    child = os.fork()
    if not child:
        try:
            private()
            mount(folder, 2**20)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"nothing can be mounted here: {os.strerror(status)}" if status else None
