"""Processes as an executor: killed ones, calls that raise, and the end of it all."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future

import pytest

from fixtures.messages import raises
from fixtures.waiting import LONG, PATIENCE, ended, wait_until
from stabzoo.study.execution.pool import ProcessExecutor, WorkerDied

SCRIPT = """
import multiprocessing, time
from stabzoo.study.execution.pool import ProcessExecutor

if __name__ == "__main__":
    executor = ProcessExecutor(1)
    executor.submit(time.sleep, 600)
    while not multiprocessing.active_children():
        time.sleep(0.01)
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(600)
"""


def refuse(reason: str) -> None:
    """A call that raises."""
    raise ValueError(reason)


@pytest.mark.parametrize(
    ("end", "how"),
    [((os.kill, signal.SIGKILL), "SIGKILL"), ((os._exit, 3), "exit code 3")],
    ids=["killed", "exit"],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_dies_costs_the_call_it_was_at(end: tuple[object, int], how: str, workers: int) -> None:
    """That call says how; the others go on, in another process."""
    with ProcessExecutor(workers) as executor:
        first = executor.submit(os.getpid)
        victim = executor.submit(die, end[1]) if end[0] is os.kill else executor.submit(os._exit, end[1])
        others = [executor.submit(abs, -i) for i in range(4)]
        assert first.result() > 0
        with raises(WorkerDied, how):
            victim.result()
        assert [other.result() for other in others] == [0, 1, 2, 3]


def die(number: int) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


def test_processes_are_used_again_and_not_more_than_allowed() -> None:
    """Whoever is free takes the next call."""
    with ProcessExecutor(1) as executor:
        assert len({executor.submit(os.getpid).result() for _ in range(4)}) == 1
    with ProcessExecutor(2) as executor:
        assert len({future.result() for future in [executor.submit(os.getpid) for _ in range(6)]}) <= 2


def test_an_idle_process_that_died_is_replaced() -> None:
    """It costs no call."""
    with ProcessExecutor(1) as executor:
        process = executor.submit(os.getpid).result()
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: all(child.pid != process for child in multiprocessing.active_children()))
        assert executor.submit(os.getpid).result() != process


def test_what_a_call_raises_is_raised() -> None:
    """And the process goes on."""
    with ProcessExecutor(1) as executor:
        with raises(ValueError, "no luck"):
            executor.submit(refuse, "no luck").result()
        assert executor.submit(abs, -1).result() == 1


def test_cancelling_ends_calls_and_processes() -> None:
    """What runs is ended, what waits is cancelled, at once; no process is left."""
    executor = ProcessExecutor(1)
    ready = executor.submit(os.getpid)
    calls: list[Future[None]] = [executor.submit(time.sleep, LONG) for _ in range(3)]
    ready.result()
    started = time.monotonic()
    executor.shutdown(cancel_futures=True)
    assert time.monotonic() - started < PATIENCE  # nobody waited for the calls that sleep
    assert all(call.done() for call in calls)
    assert multiprocessing.active_children() == []


def test_processes_end_with_their_parent() -> None:
    """Also when it is killed, and they are in the middle of a call."""
    parent = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_until(lambda: ended(child))


def test_a_process_knows_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of those that may be seen, and no other."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    with ProcessExecutor(1, gpus=2) as executor:
        assert executor.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == "5"
    with ProcessExecutor(1) as executor:
        assert executor.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == "5,7"
