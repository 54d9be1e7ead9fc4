"""Processes on this machine as an executor; one that dies costs the one call it was at."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, ParamSpec, TypeVar

__all__ = ["ProcessExecutor", "WorkerDied"]

P = ParamSpec("P")
T = TypeVar("T")


class WorkerDied(RuntimeError):  # noqa: N818 -- it says what happened
    """The process of a call ended unasked; the text says how."""


class ProcessExecutor(Executor):
    """Calls in at most ``workers`` processes of one thread each, spawned so that they inherit nothing of torch.

    Unlike `concurrent.futures.ProcessPoolExecutor` it survives the death of a process: the call that it was running
    raises `WorkerDied`, and all others continue.  The processes end with this one, however it ends.  With ``gpus``,
    process i sees GPU i modulo their number, and no other.
    """

    def __init__(self, workers: int, gpus: int = 0) -> None:
        self._threads = ThreadPoolExecutor(workers)  # each waits for a process of its own
        self._own = threading.local()
        self._lanes: list[_Lane] = []
        self._numbers = count()
        self._gpus = gpus
        self._over = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn``, which must be picklable, in one of the processes; what it raises must be picklable too."""
        return self._threads.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; with ``cancel_futures`` at once, in the middle of their calls."""
        if cancel_futures:
            self._over = True
            for lane in self._lanes:
                lane.kill()
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for lane in self._lanes:
            lane.end()

    def _call(self, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
        lane: _Lane | None = getattr(self._own, "lane", None)
        if lane is None or not lane.alive:
            if self._over:
                raise WorkerDied("was ended")
            lane = self._own.lane = _Lane(next(self._numbers), self._gpus)
            self._lanes.append(lane)
            if self._over:  # since it was asked
                lane.kill()
        return lane.call(fn, args, kwargs)


class _Lane:
    """One process, and the pipe to it."""

    def __init__(self, number: int, gpus: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, remote = context.Pipe()
        # not a daemon, which may have no children that decode images; it watches its parent by itself
        self._process: SpawnProcess = context.Process(target=_serve, args=(remote, number, gpus))
        self._process.start()
        remote.close()  # with our copy open, the death of the process would not close the pipe

    @property
    def alive(self) -> bool:
        """Whether it can be called."""
        return self._process.is_alive()

    def call(self, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
        """Call and wait."""
        try:
            self._connection.send((fn, args, kwargs))
            good, found = self._connection.recv()
        except (EOFError, OSError):
            raise WorkerDied(self.end()) from None
        if good:
            return found
        raise found

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()

    def end(self) -> str:
        """Close the pipe, on which a live process exits or is killed, and say how the process ended."""
        self._connection.close()
        self._process.join(timeout=0.2)
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _serve(connection: Connection, number: int, gpus: int) -> None:
    """Answer calls until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what stops
    os.environ["OMP_NUM_THREADS"] = "1"  # read once, when torch is imported
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[number % gpus]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe
        while True:
            fn, args, kwargs = connection.recv()
            try:
                answer: tuple[bool, Any] = True, fn(*args, **kwargs)
            except Exception as error:
                answer = False, error
            connection.send(answer)


def _end_with_parent() -> None:
    """A parent that is killed closes its pipe, but a process in the middle of a call would notice only afterwards."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
