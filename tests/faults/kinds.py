"""The faults: each kind disturbs something at random moments, lets it go on, and compares what comes of it.

What is counted, of every kind: the faults that met a process; what was lost (a finished run or a checkpoint that was
there before a fault and is not there after it, or a command that does not finish when it is let alone); results that
differ from those without a fault; processes that hang; and ends that are no sentence, but a traceback.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import mounts
import yaml
from processes import Command, ended, limit, run_here

__all__ = ["KINDS", "Place", "Tally"]

TRAIN = [
    "train",
    "zerosnet20_tra",
    "--size",
    "8",
    "--arg",
    "width=4",
    "--arg",
    "drop_path_rate=0.1",
    "--set",
    "epochs=3",
    "--set",
    "batch_size=160",
    "--threads",
    "1",
    "--checkpoint-steps",
    "1",
    "--folder",
]
EPOCHS = 4
STUDY: dict[str, Any] = {
    "title": "A study that is disturbed",
    "description": "Seconds, not minutes.",
    "networks": [
        {"label": "stable", "model": "zerosnet20", "args": {"lam": "-9/5", "width": 4}},
        {"label": "unstable", "model": "zerosnet20", "args": {"alpha": [1, 1, 1], "beta": [1], "width": 4}},
    ],
    "data": {"name": "digits", "size": 8, "test_images": 540, "split_seed": 0},
    "training": {
        "epochs": EPOCHS, "batch_size": 160, "optimizer": "momentum", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005, "schedule": "cosine",
    },
    "seeds": [0],
    "evaluations": [{"kind": "clean"}, {"kind": "constant", "mu": 0.25}],
}  # fmt: skip
ENDING = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WHOLE = "model.safetensors", "history.csv"


@dataclass
class Tally:
    """What was counted; ``notes`` say what was not as it should be."""

    faults: int = 0
    lost: int = 0
    differing: int = 0
    hung: int = 0
    untold: int = 0
    notes: list[str] = field(default_factory=list)

    def count(self, what: str, text: str) -> None:
        """One more that is not as it should be."""
        setattr(self, what, getattr(self, what) + 1)
        self.notes.append(f"{what}: {text}")

    def add(self, other: Tally) -> None:
        """Put both together."""
        for name in ("faults", "lost", "differing", "hung", "untold"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.notes += other.notes

    @property
    def well(self) -> bool:
        """Whether nothing was lost, other, hung or untold."""
        return not self.notes


class Place:
    """A folder, with what comes of the training and of the study when nothing disturbs them, and how long they take."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0
        (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
        self.seconds: dict[str, float] = {}
        self.trained, self.studied = folder / "trained", folder / "studied"
        self.start(["--version"]).wait()  # the server of processes has imported all then
        for name, line in (("train", [*TRAIN, self.trained]), ("study", self.study(self.studied))):
            command = self.start(line)
            status = command.wait()
            if status:
                raise RuntimeError(f"{name}, undisturbed: {status}\n{command.errors}")
            self.seconds[name] = time.monotonic() - command.started

    def new(self) -> Path:
        """A folder that is not there yet."""
        self.number += 1
        return self.folder / f"case-{self.number}"

    def study(self, folder: Path, *more: object) -> list[object]:
        """The command that does the study."""
        return ["study", "run", self.folder / "study.yaml", "--folder", folder, "--workers", "1", *more]

    def start(
        self, line: list[Any], prepare: Callable[[], None] | None = None, variables: dict[str, str] | None = None
    ) -> Command:
        """Begin a command."""
        self.number += 1
        return Command(line, self.folder / f"output-{self.number}", variables, prepare)

    def settle(self, command: Command, tally: Tally, *statuses: int) -> int | None:
        """Wait for the end of a command; its status, and whether it is one of these, where there are some."""
        status = command.wait()
        if status is None:
            tally.count("hung", command.errors[-300:])
        if "Traceback (most recent" in command.errors:
            tally.count("untold", command.errors[-1500:])
        elif statuses and status is not None and status not in statuses:
            tally.count("lost", f"status {status}, expected {statuses}: {command.errors[-300:]}")
        return status

    def finish_training(self, folder: Path, tally: Tally, prepare: Callable[[], None] | None = None) -> None:
        """Let the training go on alone, and compare."""
        self.settle(self.start([*TRAIN, folder], prepare), tally, 0)
        self.compare_training(folder, tally)

    def compare_training(self, folder: Path, tally: Tally) -> None:
        """Whether weights and history are those without a fault."""
        for name in WHOLE:
            if not (folder / name).exists() or (folder / name).read_bytes() != (self.trained / name).read_bytes():
                tally.count("differing", f"{folder / name}")

    def finish_study(self, folder: Path, tally: Tally) -> None:
        """Let the study go on alone, and compare."""
        self.settle(self.start(self.study(folder)), tally, 0)
        self.compare_study(folder, tally)

    def compare_study(self, folder: Path, tally: Tally) -> None:
        """Whether all that was measured, and the weights, are those without a fault."""
        if results(folder) != results(self.studied):
            tally.count("differing", f"{folder / 'results.json'}")


def results(folder: Path) -> Any:
    """results.json without what no two executions have in common."""
    try:
        found = json.loads((folder / "results.json").read_text())
    except (OSError, ValueError) as error:
        return str(error)
    for network in found["networks"]:
        for run in network["runs"]:
            del run["seconds"]
    return found


def recorded(folder: Path) -> set[str]:
    """The keys of the runs that are on the disk."""
    path = folder / "results.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        try:
            return {key for (key,) in connection.execute("SELECT key FROM runs")}
        except sqlite3.OperationalError:  # no tables yet
            return set()


def newest(folder: Path) -> int:
    """The step of the newest checkpoint in a folder."""
    return max((int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*")), default=-1)


def pause(chance: random.Random, seconds: float, *commands: Command) -> None:
    """Wait until a random moment within so many seconds, or the end of one of the commands."""
    until = time.monotonic() + chance.uniform(0, seconds)
    while time.monotonic() < until and all(command.alive for command in commands):
        time.sleep(0.005)


# signals


def training(place: Place, chance: random.Random) -> Tally:
    """`stabzoo train`, ended again and again; a checkpoint is written after every step."""
    tally, folder, steps = Tally(), place.new(), -1
    for _ in range(8):
        command = place.start([*TRAIN, folder])
        pause(chance, place.seconds["train"], command)
        if not command.disturb(chance.choice(ENDING)):
            break
        tally.faults += 1
        place.settle(command, tally)
        if newest(folder) < steps:
            tally.count("lost", f"the checkpoint of step {steps} in {folder}")
        steps = newest(folder)
    place.finish_training(folder, tally)
    return tally


def study(place: Place, chance: random.Random) -> Tally:
    """`stabzoo study run`, all of its processes, as Ctrl-C or the end of a session meets them."""
    tally, folder = Tally(), place.new()
    before: set[str] = set()
    for _ in range(2):
        command = place.start(place.study(folder))
        pause(chance, place.seconds["study"], command)
        if command.disturb(chance.choice(ENDING), group=True):
            tally.faults += 1
            place.settle(command, tally)
        before = kept(folder, before, tally)
    place.finish_study(folder, tally)
    return tally


def kept(folder: Path, before: set[str], tally: Tally) -> set[str]:
    """What is recorded now, which has all that was recorded before."""
    now = recorded(folder)
    if before - now:
        tally.count("lost", f"{before - now} in {folder}")
    return now


def worker(place: Place, chance: random.Random) -> Tally:
    """A process in which runs are trained; the study does not end with it."""
    return _workers(place, chance, place.new())


def dask_worker(place: Place, chance: random.Random) -> Tally:
    """The same, of a Dask cluster that is started here."""
    return _workers(place, chance, place.new(), "--engine", "dask")


def _workers(place: Place, chance: random.Random, folder: Path, *engine: str) -> Tally:
    tally = Tally()
    command = place.start(place.study(folder, *engine))
    killed: set[int] = set()
    for _ in range(2):  # the third death at one run is its end
        while command.alive and not [each for each in command.workers() if each.pid not in killed]:
            time.sleep(0.02)
        pause(chance, 0.6 * place.seconds["study"], command)
        for each in command.workers()[:1]:
            killed.add(each.pid)
            if ended([each.pid], 0) is False:  # which kills it
                tally.faults += 1
    if place.settle(command, tally, 0, 2) == 2:  # it ended with the process, which was about to start, and said so
        place.settle(place.start(place.study(folder, *engine)), tally, 0)
    place.compare_study(folder, tally)
    return tally


def driver(place: Place, chance: random.Random) -> Tally:
    """The process that a study was started as; its workers end with it."""
    return _driver(place, chance, place.new())


def dask_driver(place: Place, chance: random.Random) -> Tally:
    """The same, with workers of Dask."""
    return _driver(place, chance, place.new(), "--engine", "dask")


def _driver(place: Place, chance: random.Random, folder: Path, *engine: str) -> Tally:
    tally = Tally()
    command = place.start(place.study(folder, *engine))
    pause(chance, 0.9 * place.seconds["study"], command)
    if command.disturb(signal.SIGKILL):
        tally.faults += 1
        place.settle(command, tally)
    kept(folder, recorded(folder), tally)
    place.finish_study(folder, tally)
    return tally


def scheduler(place: Place, chance: random.Random) -> Tally:
    """The scheduler of an existing Dask cluster: the driver says so, and the study finishes without it."""
    tally, folder, log = Tally(), place.new(), place.folder / "scheduler.log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    line = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard"]
    with log.open("w") as file, subprocess.Popen(line, stderr=file) as one:
        line = [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            address,
            "--nthreads",
            "1",
            "--no-dashboard",
            "--no-nanny",
            "--death-timeout",
            "60",
        ]
        with subprocess.Popen(line, stderr=file) as two:
            command = place.start(place.study(folder, "--engine", "dask", "--scheduler", address))
            while command.alive and not (folder / "work").exists():
                time.sleep(0.02)
            pause(chance, place.seconds["study"], command)
            if command.alive:
                one.kill()
                tally.faults += 1
                if place.settle(command, tally) not in (0, 2):
                    tally.count("lost", command.errors[-300:])
            else:
                place.settle(command, tally, 0)
            one.kill()
            two.kill()
    place.finish_study(folder, tally)
    return tally


def two_processes(place: Place, chance: random.Random) -> Tally:
    """One of two processes (gloo) that share a training; the other is ended then, as `torchrun` ends it."""
    tally, folder = Tally(), place.new()
    reference = place.folder / "together"
    if not reference.exists():
        place.seconds["together"] = _pair(place, reference, tally)
    for _ in range(2):
        _pair(place, folder, tally, chance)
    _pair(place, folder, tally)
    for name in WHOLE:
        if not (folder / name).exists() or (folder / name).read_bytes() != (reference / name).read_bytes():
            tally.count("differing", f"{folder / name}")
    return tally


def _pair(place: Place, folder: Path, tally: Tally, chance: random.Random | None = None) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    together = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    pair = [
        place.start([*TRAIN, folder], variables={**together, "RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")
    ]
    if chance is not None:
        pause(chance, place.seconds["together"], *pair)
        one, other = chance.sample(pair, 2)
        if one.disturb(signal.SIGKILL):
            tally.faults += 1
            one.wait()
            ended([other.pid], 5)  # which may wait for the first; torchrun ends it, as this does
            return 0.0
    for each in pair:
        place.settle(each, tally, 0)
    return time.monotonic() - pair[0].started


def two_drivers(place: Place, chance: random.Random) -> Tally:
    """Two drivers at one store, one of which is ended at a random moment; the other does all that is left."""
    tally, store = Tally(), place.new()
    one = place.start(place.study(store))
    pause(chance, place.seconds["study"] / 2, one)
    other = place.start(place.study(store))
    pause(chance, place.seconds["study"], other)
    if one.disturb(chance.choice((signal.SIGKILL, signal.SIGTERM))):
        tally.faults += 1
        place.settle(one, tally)
    place.settle(other, tally, 0)
    place.compare_study(store, tally)
    return tally


# files and file systems


def full_disk(place: Place, chance: random.Random) -> Tally:
    """No space left, at any of the files that a training or a study writes; then there is room, and it continues."""
    tally = Tally()
    for line, finish, compare, most in (
        ([*TRAIN, "{}"], place.trained, place.compare_training, 700),
        (place.study(Path("{}")), place.studied, place.compare_study, 900),
    ):
        folder, copy = place.new(), place.new()
        folder.mkdir()
        words = [str(word).replace("{}", str(folder)) for word in line]
        size = 4096 * chance.randrange(1, most // 4)
        command = place.start(words, partial(_on_a_small_disk, words, folder, size, copy))
        place.settle(command, tally, 0)
        tally.faults += (copy / "full").exists()
        assert finish.exists()
        compare(copy, tally)
    return tally


def _on_a_small_disk(words: list[str], folder: Path, size: int, copy: Path) -> None:
    mounts.private()
    mounts.mount(folder, size)
    first = _forked(words)
    mounts.remount(folder, 2**27)
    if first not in (0, 1, 2):  # 1: the run of a study has failed, of which the report says why
        sys.stderr.write(f"Traceback (most recent: status {first} on a full disk of {size} bytes\n")
    status = run_here(words)
    shutil.copytree(folder, copy)
    if first:
        (copy / "full").touch()
    sys.stdout.flush()
    os._exit(status)


def _forked(words: list[str]) -> int:
    child = os.fork()
    if not child:
        status = run_here(words)
        sys.stdout.flush()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def read_only(place: Place, chance: random.Random) -> Tally:
    """A disk that cannot be written to: what only reads does so, what writes says that it cannot."""
    tally, folder, copy = Tally(), place.new(), place.new()
    folder.mkdir()
    line = ["study", "status", str(place.folder / "study.yaml"), "--folder", str(folder / "study")]
    command = place.start(line, partial(_on_a_read_only_disk, place, folder, copy))
    place.settle(command, tally, 0)
    for path in sorted(copy.glob("*.json")):
        tally.faults += 1
        status, expected, errors = json.loads(path.read_text())
        if status != expected or (status == 2 and (not errors.strip() or "Traceback" in errors)):
            tally.count("untold", f"{path.name}: status {status}, expected {expected}: {errors[-1500:]}")
    return tally


def _on_a_read_only_disk(place: Place, folder: Path, copy: Path) -> None:
    mounts.private()
    mounts.mount(folder, 2**27)
    study_, trained, copy_ = folder / "study", folder / "trained", copy
    shutil.copytree(place.studied, study_)
    shutil.copytree(place.trained, trained)
    mounts.remount(folder, 2**27, read_only=True)
    copy_.mkdir()
    file = place.folder / "study.yaml"
    lines: dict[str, tuple[list[object], int]] = {
        "status": (["study", "status", file, "--folder", study_], 0),
        "evaluate": (["evaluate", trained, "--workers", 0], 0),
        "run": (place.study(study_), 2),
        "report": (["study", "report", file, "--folder", study_], 2),
        "export": (["study", "export", study_ / "all.csv", "--folder", study_], 2),
        "train": ([*TRAIN, trained], 2),
        "train anew": ([*TRAIN, folder / "new"], 2),
    }
    for name, (words, expected) in lines.items():
        errors = copy / f"{name}.err"
        child = os.fork()
        if not child:
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT, 0o600), 2)
            status = run_here([str(word) for word in words])
            sys.stdout.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (copy / f"{name}.json").write_text(json.dumps([status, expected, errors.read_text()]))


def clock(place: Place, chance: random.Random) -> Tally:
    """The clock is set back or forth while it trains, stops and resumes; files have times in the future."""
    tally, folder = Tally(), place.new()
    for _ in range(3):
        shift = chance.choice((-1, 1)) * chance.uniform(60, 10**7)
        command = place.start([*TRAIN, folder], partial(_set_clock, shift))
        pause(chance, place.seconds["train"], command)
        tally.faults += 1
        command.disturb(signal.SIGKILL)
        place.settle(command, tally)
        for path in folder.glob("*"):
            moment = time.time() + chance.uniform(-(10**7), 10**7)
            os.utime(path, (moment, moment))
    place.finish_training(folder, tally, partial(_set_clock, -(10**7)))
    return tally


def _set_clock(shift: float) -> None:
    """From the next second on, the time of this process is another, and another again every second."""
    now, begun = time.time, time.time()
    time.time = lambda: now() + (shift if int(now() - begun) % 2 else 0.0)


def limits(place: Place, chance: random.Random) -> Tally:
    """The size of a file, the number of open files, and memory are limited: the command says so, and continues once the limits are gone."""
    tally = Tally()
    for kind, most in (("file size", 60_000), ("open files", 40), ("memory", 2**27)):
        folder = place.new()
        command = place.start([*TRAIN, folder], partial(limit, kind, chance.randrange(most // 8, most)))
        status = place.settle(command, tally)
        tally.faults += status != 0
        place.finish_training(folder, tally)
    return tally


KINDS: dict[str, Callable[[Place, random.Random], Tally]] = {
    kind.__name__: kind
    for kind in (
        training, study, worker, driver, dask_worker, dask_driver, scheduler, two_processes, two_drivers, full_disk, read_only, clock, limits,
    )
}  # fmt: skip
"""By name."""

MOUNTED = {"full_disk", "read_only"}
"""Those that need a file system of their own."""
