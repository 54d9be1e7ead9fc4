"""Runs spread over worker processes; a process that dies costs the one run it was at, and that one is started again."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TypeAlias

from stabzoo.study.spec import Run
from stabzoo.study.store import Record
from stabzoo.study.worker import EpochDone, Raised, Wanted, work

__all__ = ["ATTEMPTS", "Died", "run_all"]

ATTEMPTS = 3
"""How often a run is started before the processes that die at it are taken for its fault."""


@dataclass(frozen=True)
class Died:
    """The process training a run ended unasked; ``attempts`` starts of that run have gone this way."""

    reason: str
    attempts: int


Event: TypeAlias = Record | EpochDone | Raised | Died


class _Lane:
    """A worker process, spawned so that it inherits neither threads nor an initialised torch, and the run it is at."""

    def __init__(self, wanted: Wanted) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, remote = context.Pipe()
        self.process: SpawnProcess = context.Process(target=work, args=(remote, wanted), daemon=True)
        self.process.start()
        remote.close()  # with our copy open, the death of the process would not close the pipe
        self.run: Run | None = None

    def start(self, run: Run) -> None:
        """Hand ``run`` to the process; if that has died while idle, its closed pipe says so when it is waited for."""
        self.run = run
        with contextlib.suppress(OSError):
            self.connection.send(run)

    def end(self) -> str:
        """Close the pipe, on which a live process exits or is killed, and say how the process ended."""
        self.connection.close()
        self.process.join(timeout=0.2)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def run_all(runs: Sequence[Run], wanted: Wanted, workers: int) -> Generator[tuple[Run, Event]]:
    """Execute ``runs`` in at most ``workers`` processes; yield what happens to which run, as it happens.

    A run is over with its ``Record``, its ``Raised``, or its ``Died`` number ``ATTEMPTS``. Closing the generator ends
    the processes.
    """
    waiting = deque(runs)
    deaths: Counter[str] = Counter()
    lanes: dict[Connection, _Lane] = {}
    try:
        while True:
            for lane in lanes.values():
                if waiting and lane.run is None:
                    lane.start(waiting.popleft())
            while waiting and len(lanes) < workers:
                lane = _Lane(wanted)
                lanes[lane.connection] = lane
                lane.start(waiting.popleft())
            busy = [connection for connection, lane in lanes.items() if lane.run]
            if not busy:
                return
            ready = wait(busy)
            for connection in [connection for connection in busy if connection in ready]:
                lane = lanes[connection]
                run = lane.run
                assert run is not None
                try:
                    event: Event = connection.recv()
                except (EOFError, OSError):
                    del lanes[connection]
                    deaths[run.key] += 1
                    if deaths[run.key] < ATTEMPTS:
                        waiting.append(run)
                    yield run, Died(lane.end(), deaths[run.key])
                    continue
                if not isinstance(event, EpochDone):
                    lane.run = None
                yield run, event
    finally:
        for lane in lanes.values():
            lane.end()
