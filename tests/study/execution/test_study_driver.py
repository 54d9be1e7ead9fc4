"""Whole studies: what they write, that they repeat, resume and lose nothing, and what they say when all is not well."""

import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

import pytest
import yaml
from rich.console import Console

from fixtures.messages import raises, says
from fixtures.waiting import PATIENCE, wait_until
from stabzoo.errors import ConfigError
from stabzoo.study import StudyResult, load_study, run_study
from stabzoo.study.execution import driver
from stabzoo.study.execution.driver import ATTEMPTS
from stabzoo.study.execution.pool import ProcessExecutor, WorkerDied
from stabzoo.study.execution.progress import RunProgress
from stabzoo.study.execution.worker import RunFailed, RunLocked
from stabzoo.study.store.records import Record
from stabzoo.study.store.run_folder import RunFolder

TINY: dict[str, Any] = {
    "title": "A tiny study",
    "description": "Seconds, not minutes.",
    "networks": [
        {"label": "λ = -9/5", "model": "zerosnet20", "args": {"lam": "-9/5", "width": 4}},
        {"label": "(1, 1, 1 | 1)", "model": "zerosnet20", "args": {"alpha": [1, 1, 1], "beta": [1], "width": 4}},
        {"label": "plain <b>", "model": "test_resnet"},
    ],
    "data": {"name": "digits", "size": 8, "test_images": 1697, "split_seed": 0},
    "training": {
        "epochs": 8,
        "batch_size": 50,
        "optimizer": "momentum",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "schedule": "one-cycle",
    },
    "seeds": [0, 1],
    "evaluations": [{"kind": "clean"}, {"kind": "constant", "mu": 0.25}],
    "published": [
        {
            "reference": "Paper, Table 1",
            "setting": "CIFAR-10",
            "columns": ["clean"],
            "values": {"λ = -9/5": [[94, 0.1]]},
        }
    ],
    "limits": ["Too small to mean anything."],
}
SCRIPT = """
import signal, sys
from pathlib import Path
from stabzoo.study import load_study, run_study
signal.signal(signal.SIGINT, signal.default_int_handler)  # as on a terminal; what a shell starts behind it ignores it
try:
    run_study(load_study(sys.argv[1]), Path(sys.argv[2]), workers=1)
except KeyboardInterrupt:
    sys.exit(130)
sys.exit(42 if "torch" in sys.modules else 0)
"""


def write_study(folder: Path, **changes: Any) -> Path:
    """The tiny study with some keys replaced, as a file."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}), encoding="utf-8")
    return path


def run(study: Path, folder: Path, workers: int = 1) -> tuple[StudyResult, str]:
    """Do a study and catch what it prints."""
    console = Console(file=io.StringIO(), width=100)
    result = run_study(load_study(study), folder, workers, console)
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue()


def results(folder: Path) -> dict[str, Any]:
    """results.json without the only thing that differs from one execution to the next."""
    data = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for network in data["networks"]:
        for entry in network["runs"]:
            assert entry.pop("seconds") > 0
    return data


def recorded(folder: Path) -> dict[str, float]:
    """The seconds that each recorded run took, which nothing gives twice."""
    if not (folder / "results.sqlite").exists():
        return {}
    with closing(sqlite3.connect(folder / "results.sqlite", timeout=10)) as connection:
        try:
            return dict(connection.execute("SELECT key, seconds FROM runs"))
        except sqlite3.OperationalError:  # the file is there and its tables are not yet
            return {}


Done: TypeAlias = tuple[Path, Path, StudyResult, str]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The tiny study, done without disturbance: its file, its folder, its result, what it printed."""
    place = tmp_path_factory.mktemp("done")
    study = write_study(place)
    return study, place / "runs", *run(study, place / "runs", workers=2)


class Replayed(Executor):
    """Gives what was trained before, except for the runs whose positions ``outcomes`` has: those, one a call."""

    def __init__(self, done: Done, outcomes: dict[int, list[Record | RunFailed | RunLocked | WorkerDied]]) -> None:
        self.records = {record.run.key: record for row in done[2].report.rows for record in row.records}
        self.outcomes = {position: iter(events) for position, events in outcomes.items()}
        self.positions: dict[str, int] = {}

    def submit(self, fn: Any, run: Any, /, *args: Any) -> Any:  # type: ignore[override]  # pyright: ignore
        """Answer at once."""
        position = self.positions.setdefault(run.key, len(self.positions))
        outcome = next(self.outcomes[position]) if position in self.outcomes else self.records[run.key]
        future: Future[Any] = Future()
        if isinstance(outcome, WorkerDied):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        return future


def replay(monkeypatch: pytest.MonkeyPatch, done: Done, outcomes: dict[int, list[Any]]) -> None:
    """Let the executor give what was trained before, except for some runs."""

    @contextmanager
    def open_executor(*_: object, **__: object) -> Iterator[Executor]:
        yield Replayed(done, outcomes)

    monkeypatch.setattr(driver, "open_executor", open_executor)


def test_folder_holds_results_plot_and_page(done: Done):
    """Everything that was measured and proved is in results.json, and nothing is fetched by the page."""
    _, folder, result, _ = done
    assert result.ok
    assert {path.name for path in folder.iterdir()} == {
        "results.sqlite", "work", "results.json", "report.html", "plot.png", "plot.pdf", "curves.png", "curves.pdf",
    }  # fmt: skip
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    data = results(folder)
    assert data["sentence"] == result.report.sentence
    assert [network["label"] for network in data["networks"]] == ["λ = -9/5", "(1, 1, 1 | 1)", "plain <b>"]
    stable, unstable, plain = data["networks"]
    assert (stable["proved"]["status"], unstable["proved"]["status"], plain["proved"]) == ("strong", "unstable", None)
    assert "certificate" in stable["proved"]
    for network in data["networks"]:
        assert [entry["run"]["seed"] for entry in network["runs"]] == [0, 1]
        for entry in network["runs"]:
            assert len(entry["measured"]) == 2
            assert len(entry["losses"]) == 8
            assert entry["run"]["threads"] == 1
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?!data:)|https?://|<script|@import|url\(", page)
    assert "plain &lt;b&gt;" in page
    assert "plain <b>" not in page
    assert result.report.sentence.replace("<", "&lt;") in page
    for text in ("94.00±0.10", "Paper, Table 1", "Too small to mean anything.", "tiny.yaml"):
        assert text in page


def test_terminal_shows_runs_table_sentence_and_limits(done: Done):
    """Without a terminal: a line a finished run, then the tables, and no control characters."""
    _, _, result, printed = done
    assert len(re.findall(r"^\[\d/6\] .+, seed [01]: clean \d+\.\d, constant μ = 0\.25 \d+\.\d$", printed, re.M)) == 6
    assert "\x1b" not in printed
    for text in ("unstable", "94.00±0.10", "Paper, Table 1", "- Too small to mean anything.", "report.html"):
        assert text in printed
    assert result.report.sentence in printed


def test_doing_it_again_trains_nothing_and_imports_no_torch(done: Done):
    """The rewritten report is the same, certificates and all."""
    study, folder, _, _ = done
    before = (folder / "results.json").read_bytes()
    again = subprocess.run([sys.executable, "-c", SCRIPT, study, folder], capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (0, "")
    assert "All 6 runs are in" in again.stdout
    assert (folder / "results.json").read_bytes() == before


@pytest.fixture
def started(done: Done, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The study in a process of its own, stopped by no one yet, with its first run just finished."""
    command = [sys.executable, "-c", SCRIPT, done[0], tmp_path / "runs"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: recorded(tmp_path / "runs"), lambda: process.poll() is None)
    yield process
    process.kill()
    process.communicate()


def wait_for_end_of_group(group: int) -> None:
    """Wait until no process of the group is left."""

    def is_empty() -> bool:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(is_empty)


@pytest.mark.slow
def test_killed_study_goes_on_where_it_was(
    started: subprocess.Popen[str], done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Finished runs survive kill -9 of the study; the rest comes out the same to the last bit.

    And this although the study that goes on has another number of workers, and one of them is killed in mid training.
    """
    started.kill()
    started.communicate()
    wait_for_end_of_group(started.pid)
    kept = recorded(tmp_path / "runs")
    assert 1 <= len(kept) < 6
    submit, killed = ProcessExecutor.submit, list[int]()

    def submit_and_kill(executor: ProcessExecutor, fn: Any, run: Any, *arguments: Any) -> Any:
        future = submit(executor, fn, run, *arguments)
        if not killed:
            folder = RunFolder(tmp_path / "runs" / "work", run.key)
            while not folder.locked():
                time.sleep(0.001)
            killed.extend(child.pid for child in multiprocessing.active_children() if child.pid)
            os.kill(killed[0], signal.SIGKILL)
        return future

    monkeypatch.setattr(ProcessExecutor, "submit", submit_and_kill)
    _, printed = run(done[0], tmp_path / "runs")
    assert f"{6 - len(kept)} of 6 runs to train" in printed
    (told,) = (line for line in printed.splitlines() if "SIGKILL" in line)
    says(told, "started again")
    assert results(tmp_path / "runs") == results(done[1])
    assert kept.items() <= recorded(tmp_path / "runs").items()


@pytest.mark.slow
def test_ctrl_c_says_what_is_kept_and_leaves_no_process(started: subprocess.Popen[str], tmp_path: Path):
    """As a terminal does it: SIGINT to the whole group. No traceback of any process."""
    os.killpg(started.pid, signal.SIGINT)
    printed, errors = started.communicate(timeout=PATIENCE)
    assert (started.returncode, errors) == (130, "")
    says(printed, "Interrupted", "same command")
    assert re.search(r"\b[1-5] of 6 runs", printed)
    wait_for_end_of_group(started.pid)
    assert not (tmp_path / "runs" / "results.json").exists()


SHARED = """
import sys
from pathlib import Path
from stabzoo.study import load_study, run_study
sys.exit(not run_study(load_study(sys.argv[1]), Path(sys.argv[2]), workers=1, store=Path(sys.argv[3])).ok)
"""


@pytest.mark.slow
def test_two_drivers_train_each_run_once(done: Done, tmp_path: Path):
    """They share the work, and both end with all of it."""
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, done[0], tmp_path / name, tmp_path / "store"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    for process in drivers:
        printed, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")
        assert printed.count(", seed 0: ") == printed.count(", seed 1: ") == 3
    seconds = recorded(tmp_path / "store")
    assert len(seconds) == 6
    for name in ("one", "other"):
        data = json.loads((tmp_path / name / "results.json").read_text(encoding="utf-8"))
        assert {entry["key"]: entry["seconds"] for network in data["networks"] for entry in network["runs"]} == seconds
        assert results(tmp_path / name) == results(done[1])


def test_a_run_of_another_driver_is_waited_for(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the other leaves it, it is done here."""
    record = done[2].report.rows[0].records[0]
    replay(monkeypatch, done, {0: [RunLocked(), RunLocked(), record]})
    result, printed = run(done[0], tmp_path)
    assert result.ok
    assert printed.count("λ = -9/5, seed 0: clean") == 1


def test_only_what_changed_is_trained(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A label or a limit retrains nothing, another network only its own runs; a damaged run is announced and redone."""
    _, folder, _, _ = done
    shutil.copy(folder / "results.sqlite", tmp_path)
    renamed = {**TINY["networks"][0], "label": "optimal"}
    _, printed = run(write_study(tmp_path, networks=[renamed], published=[], limits=[]), tmp_path)
    assert "nothing to train" in printed
    torn = min(recorded(tmp_path))
    with closing(sqlite3.connect(tmp_path / "results.sqlite")) as connection, connection:
        connection.execute("UPDATE runs SET losses = '[1.5, 0.' WHERE key = ?", (torn,))
    added = {"label": "λ = 10", "model": "zerosnet20", "args": {"lam": 10, "width": 4}}
    replay(monkeypatch, done, {1: [RunFailed("new", "")], 2: [RunFailed("new", "")]})
    result, printed = run(write_study(tmp_path, networks=[*TINY["networks"], added]), tmp_path)
    says(printed, f"run {torn}", tmp_path / "results.sqlite", "damaged", "again")
    assert "3 of 8 runs to train" in printed
    assert [(failure.label, failure.seed) for failure in result.report.failures] == [("λ = 10", 0), ("λ = 10", 1)]
    assert results(tmp_path)["networks"][:3] == results(folder)["networks"]


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        (
            {"networks": [{"label": "x", "model": "no_such_net"}], "published": []},
            ("networks.0", "(x)", "no_such_net"),
        ),
        (
            {"networks": [TINY["networks"][0], {"label": "y", "model": "zerosnet20", "args": {"lam": "1/0"}}]},
            ("networks.1", "(y)", "zerosnet20", "1/0"),
        ),
        (
            {"networks": [{"label": "z", "model": "zerosnet20", "args": {"lam": 1, "widht": 8}}], "published": []},
            ("networks.0", "(z)", "zerosnet20", "widht"),
        ),
        ({"training": {**TINY["training"], "optimizer": "sdg"}}, ("training.optimizer", "'sdg'")),
    ],
)
def test_wrong_network_is_refused_before_anything_is_trained(
    changes: dict[str, Any], facts: tuple[str, ...], tmp_path: Path
):
    """The entry is named, the folder stays empty."""
    with raises(ConfigError, *facts):
        run(write_study(tmp_path, **changes), tmp_path / "runs")
    assert recorded(tmp_path / "runs") == {}


def test_failed_runs_are_reported_and_the_rest_is_kept(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One run raises, one is given up: both are named with the reason, the table stands, the result is not ok."""
    died = [WorkerDied("was killed by SIGKILL")] * ATTEMPTS
    replay(monkeypatch, done, {0: [RunFailed("RuntimeError: no luck", "Traceback ...")], 2: died})
    result, printed = run(done[0], tmp_path)
    assert not result.ok
    lines = printed.splitlines()
    says(next(line for line in lines if "SIGKILL" in line), "(1, 1, 1 | 1), seed 0", "started again")
    raised, given_up = sorted(
        (line for line in lines if line.startswith("failed: ")), key=lambda line: "SIGKILL" in line
    )
    says(raised, "λ = -9/5, seed 0", "RuntimeError: no luck")
    says(given_up, "(1, 1, 1 | 1), seed 0", "SIGKILL", "3 times")
    assert "Traceback" not in printed
    assert [failure["seed"] for failure in results(tmp_path)["failures"]] == [0, 0]
    assert "no luck" in (tmp_path / "report.html").read_text(encoding="utf-8")
    replay(monkeypatch, done, {})
    result, printed = run(done[0], tmp_path)
    assert result.ok
    assert "2 of 6 runs to train" in printed
    assert results(tmp_path) == results(done[1])


def test_study_without_a_finished_run_still_reports(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every run fails: no table cell, no answer, no crash."""
    replay(monkeypatch, done, {position: [RunFailed("RuntimeError: no luck", "")] for position in range(6)})
    result, printed = run(done[0], tmp_path)
    assert not result.ok
    assert "no run" in printed
    assert "cannot be said" in printed
    assert len(result.report.failures) == 6


def test_diverged_run_is_a_flagged_result(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An overflow is reported with its accuracy, not as a failure."""
    record = done[2].report.rows[1].records[0].model_copy(update={"diverged": True, "losses": ()})
    replay(monkeypatch, done, {2: [record]})
    result, printed = run(done[0], tmp_path)
    assert result.ok
    assert printed.count("(diverged)") == 1
    assert "diverged" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_progress_bar_on_a_terminal(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a terminal the bar counts runs and stands in for the lines."""
    replay(monkeypatch, done, {})
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    run_study(load_study(done[0]), tmp_path, 2, console)
    assert isinstance(console.file, io.StringIO)
    assert "6/6 runs" in console.file.getvalue()
    assert "[1/6]" not in console.file.getvalue()


def test_folder_that_cannot_be_written_is_an_error_with_its_name(done: Done, tmp_path: Path):
    """No traceback of the operating system's error."""
    (tmp_path / "file").write_text("")
    with raises(ConfigError, tmp_path / "file", "Not a directory"):
        run(done[0], tmp_path / "file" / "runs")


def test_workers_must_be_positive(done: Done, tmp_path: Path):
    """Zero processes would wait for ever."""
    with raises(ConfigError, "workers", "at least 1", "got 0"):
        run(done[0], tmp_path, workers=0)


def test_closed_output_is_not_taken_for_an_unusable_folder(done: Done):
    """`stabzoo study ... | head` is the caller's to handle."""

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises((BrokenPipeError, SystemExit)):
        run_study(load_study(done[0]), done[1], 1, Console(file=Closed()))


@pytest.mark.parametrize("seeds", [30, 90])
def test_a_look_at_the_runs_is_as_long_for_many(seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """So many files are read and databases opened, whatever waits; those are looked at that are executed first."""
    monkeypatch.setattr(driver, "LOOKS", 10)
    looks: list[str] = []
    monkeypatch.setattr(RunFolder, "progress", lambda folder: looks.append(folder.path.name))
    study = load_study("quickstart", "smoke").model_copy(update={"seeds": tuple(range(seeds))})
    runs = {
        run.key: (network, run) for network in study.networks for run in (study.run(network, s) for s in study.seeds)
    }
    executor = SimpleNamespace(submit=lambda *_: Future())
    owner: Any = SimpleNamespace(study=study, data=tmp_path, work=tmp_path)
    training = driver._Training(owner, cast(Executor, executor), cast(RunProgress, None), runs)
    for key in runs:
        training.submit(key)
    training.look()
    assert looks == list(runs)[:10]
    for future in list(training.pending)[:5]:
        training.elsewhere[training.pending.pop(future)] = None
    locked: list[str] = []
    monkeypatch.setattr(RunFolder, "locked", lambda folder: locked.append(folder.path.name) or True)
    training.look()
    assert locked == list(runs)[:5]
    assert len(looks) == 10 + 15
