"""Commands in processes of their own, which are disturbed: forked from a server that has everything imported.

A command of stabzoo takes seconds to import torch and timm; forked it begins at once, so that a signal at a random
moment meets what the command does and not its imports.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["PATIENCE", "Command", "ended", "limit", "run_here"]

PATIENCE = 240.0
"""Seconds after which a process hangs, however busy the machine is."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["torch", "timm", "stabzoo.cli.train", "stabzoo.study.execution.driver", "stabzoo.training.job", "stabzoo.study.report.report"]
)  # fmt: skip

Prepare = Callable[[], None]


def run_here(line: Sequence[str]) -> int:
    """The status of a command in this process."""
    import torch

    from stabzoo.cli import main

    torch.set_num_threads(1)
    return main(list(line))


def _child(line: Sequence[str], out: Path, variables: Mapping[str, str], prepare: Prepare | None) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(variables)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(out.with_suffix(f".{name}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
    if prepare is not None:
        prepare()
    status = run_here(line)
    sys.stdout.flush()
    sys.exit(status)


class Command:
    """A command of stabzoo that is under way; ``prepare`` is called in its process before it begins."""

    def __init__(
        self,
        line: Sequence[object],
        out: Path,
        variables: Mapping[str, str] | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        self.out = out
        self.started = time.monotonic()
        self.process = SERVER.Process(target=_child, args=([str(word) for word in line], out, variables or {}, prepare))
        self.process.start()

    @property
    def pid(self) -> int:
        """Of its process, and of its group."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.is_alive()

    def children(self) -> list[psutil.Process]:
        """The processes below it."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[psutil.Process]:
        """Those of them in which runs are trained."""
        found = []
        for child in self.children():
            with suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def disturb(self, number: int, *, group: bool = False) -> bool:
        """Send a signal to the process or to all of its group; False where it has ended."""
        if not self.alive:
            return False
        try:
            os.killpg(self.pid, number) if group else os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """Its status, less than 0 for a signal; None where it hangs, and is killed."""
        below = self.children()
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.disturb(signal.SIGKILL, group=True)
            self.process.join(10)
            return None
        return self.process.exitcode if ended([child.pid for child in below]) else None

    @property
    def errors(self) -> str:
        """What it has written to standard error."""
        path = self.out.with_suffix(".err")
        return path.read_text(errors="replace") if path.exists() else ""


def ended(processes: Sequence[int], seconds: float = PATIENCE) -> bool:
    """Whether the processes end by themselves; those that do not are killed."""
    deadline = time.monotonic() + seconds
    while left := [number for number in processes if _runs(number)]:
        if time.monotonic() > deadline:
            for number in left:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            return False
        time.sleep(0.02)
    return True


def _runs(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def limit(kind: str, value: int) -> None:
    """Limit a resource of this process; memory is what it has and ``value`` more."""
    number = {"file size": resource.RLIMIT_FSIZE, "open files": resource.RLIMIT_NOFILE, "memory": resource.RLIMIT_AS}
    more = psutil.Process().memory_info().vms if kind == "memory" else 0
    resource.setrlimit(number[kind], (value + more, resource.getrlimit(number[kind])[1]))
