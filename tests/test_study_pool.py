"""Worker processes that are killed, that raise, and that are no longer wanted."""

import multiprocessing
import os
import signal
import time
from contextlib import closing
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

import pytest

from stabzoo.study import pool
from stabzoo.study.evaluations import Clean
from stabzoo.study.pool import ATTEMPTS, Died, run_all
from stabzoo.study.spec import Digits, Run, Training
from stabzoo.study.store import Record
from stabzoo.study.worker import EpochDone, Raised, Wanted, work

CLEAN = (Clean(kind="clean"),)


def make_run(seed: int, epochs: int = 20, **args: Any) -> Run:
    """A run of about half a second."""
    return Run(
        model="zerosnet20",
        args=args or {"lam": "-9/5", "width": 4},
        data=Digits(name="digits", size=8, test_images=1697, split_seed=0),
        training=Training(
            epochs=epochs,
            batch_size=50,
            optimizer="momentum",
            lr=0.1,
            momentum=0.9,
            weight_decay=0.0005,
            schedule="one-cycle",
        ),
        seed=seed,
        software={},
    )


def act(connection: Connection, _: object) -> None:
    """A worker that trains nothing, dies for good where its run says so, and otherwise answers with its process id."""
    while True:
        run = connection.recv()
        connection.send(EpochDone())
        if run.args["act"] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if run.args["act"] == "exit":
            os._exit(3)
        if run.args["act"] == "sleep":
            time.sleep(600)
        connection.send(Raised(str(os.getpid()), ""))


@pytest.mark.parametrize(("way", "reason"), [("die", "was killed by SIGKILL"), ("exit", "ended with exit code 3")])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_whose_processes_always_die_is_given_up(
    way: str, reason: str, workers: int, monkeypatch: pytest.MonkeyPatch
):
    """After a bounded number of attempts; the other runs do not pay for it."""
    monkeypatch.setattr(pool, "work", act)
    runs = [make_run(seed, act="live") for seed in range(4)]
    runs.insert(1, make_run(7, act=way))
    outcomes = [
        (run.seed, event) for run, event in run_all(runs, Wanted(CLEAN), workers) if not isinstance(event, EpochDone)
    ]
    assert [event for seed, event in outcomes if seed == 7] == [Died(reason, n + 1) for n in range(ATTEMPTS)]
    assert sorted(seed for seed, event in outcomes if isinstance(event, Raised)) == [0, 1, 2, 3]


def test_processes_are_used_again_and_not_more_than_needed(monkeypatch: pytest.MonkeyPatch):
    """Four runs in at most two processes; one run in one, however many were allowed."""
    monkeypatch.setattr(pool, "work", act)

    def processes(runs: int, workers: int) -> int:
        events = run_all([make_run(seed, act="live") for seed in range(runs)], Wanted(CLEAN), workers)
        return len({event.reason for _, event in events if isinstance(event, Raised)})

    assert processes(4, 1) == 1
    assert processes(4, 2) <= 2
    assert processes(1, 8) == 1


def test_an_idle_process_that_died_costs_nothing(monkeypatch: pytest.MonkeyPatch):
    """A process that is killed between two runs is replaced."""
    monkeypatch.setattr(pool, "work", act)
    finished: list[int] = []
    for run, event in run_all([make_run(0, act="live"), make_run(1, act="live")], Wanted(CLEAN), workers=1):
        if isinstance(event, Raised):
            finished.append(run.seed)
            os.kill(int(event.reason), signal.SIGKILL)
            multiprocessing.active_children()
    assert finished == [0, 1]


def test_closing_ends_the_processes(monkeypatch: pytest.MonkeyPatch):
    """Whatever stops the loop leaves no process behind."""
    monkeypatch.setattr(pool, "work", act)
    with closing(run_all([make_run(0, act="sleep"), make_run(1, act="sleep")], Wanted(CLEAN), workers=2)) as events:
        assert isinstance(next(events)[1], EpochDone)
    assert multiprocessing.active_children() == []


def test_worker_reports_a_run_that_raises_and_goes_on_with_the_next(monkeypatch: pytest.MonkeyPatch):
    """Then it returns when the pipe closes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the worker sets it; put back after the test
    ours, theirs = multiprocessing.Pipe()
    outcomes: list[object] = []

    def parent() -> None:
        for run in (make_run(0, 1, lam="1/0"), make_run(1, 1)):
            ours.send(run)
            while isinstance(event := ours.recv(), EpochDone):
                outcomes.append(event)
            outcomes.append(event)
        ours.close()

    thread, before = Thread(target=parent), signal.getsignal(signal.SIGINT)
    thread.start()
    try:
        work(theirs, Wanted(CLEAN))
    finally:
        signal.signal(signal.SIGINT, before)
        thread.join()
        theirs.close()
    raised, epoch, record = outcomes
    assert isinstance(raised, Raised)
    assert "Error: " in raised.reason
    assert "1/0" in raised.reason
    assert "Traceback" in raised.traceback
    assert isinstance(epoch, EpochDone)
    assert isinstance(record, Record)
