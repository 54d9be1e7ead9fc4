"""The store: a run is either there, whole, or not there."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fixtures import ROOT
from fixtures.messages import raises
from fixtures.records import edit, whole_record
from stabzoo.errors import ConfigError
from stabzoo.evaluation.spec import Constant
from stabzoo.files import write_atomically
from stabzoo.study.store import database
from stabzoo.study.store.database import MIGRATIONS
from stabzoo.study.store.records import Measured
from stabzoo.study.store.store import Store


def test_record_comes_back_as_it_was_saved(tmp_path: Path):
    """Exact coefficients included; another run is not found."""
    store, record = Store(tmp_path), whole_record()
    assert store.load(record.run) is None
    assert store.save(record) == record
    assert Store(tmp_path).load(record.run) == record
    assert store.load(whole_record(seed=1).run) is None


def test_other_evaluations_of_the_same_weights_are_kept(tmp_path: Path):
    """Asking for another evaluation does not throw away what was measured; other weights do."""
    store, record = Store(tmp_path), whole_record()
    noisy = Measured(evaluation=Constant(kind="constant", mu=0.1), accuracy=50)
    store.save(record)
    both = store.save(record.model_copy(update={"measured": (noisy,)}))
    assert both.measured == (noisy, *record.measured)
    assert store.load(record.run) == both
    other = record.model_copy(update={"measured": (noisy,), "weights_sha256": "1" * 64})
    assert store.save(other) == other
    assert store.load(record.run) == other


@pytest.mark.parametrize("column", ["spec", "coefficients", "losses", "weights_sha256"])
def test_a_damaged_run_is_detected_and_replaced(column: str, tmp_path: Path):
    """Whatever does not read as what was written, and only that run."""
    store, record, other = Store(tmp_path), whole_record(), whole_record(seed=1)
    store.save(record)
    store.save(other)
    edit(tmp_path, f"UPDATE runs SET {column} = x'ff00' WHERE key = ?", record.run.key)
    with raises(ValueError, f"run {record.run.key}", store.path, "damaged"):
        store.load(record.run)
    assert store.load(other.run) == other
    assert store.save(record) == record
    assert store.load(record.run) == record


def test_record_under_another_runs_key_is_detected(tmp_path: Path):
    """What stands under a key is compared with the run that is asked for."""
    store, record, other = Store(tmp_path), whole_record(), whole_record(seed=1)
    store.save(record)
    edit(tmp_path, "UPDATE runs SET spec = ?", other.run.model_dump_json())
    with raises(ValueError, "another run"):
        store.load(record.run)


def test_the_results_are_read_in_one_line(tmp_path: Path):
    """A row for each study, run and evaluation; a run of two studies is one run; a study is what it was asked last."""
    store, record = Store(tmp_path), whole_record()
    store.save(record)
    store.ask("old", "full", [("gone", whole_record(seed=1).run)])
    for study, label in (("a", "first"), ("a", "renamed"), ("b", "other")):
        store.ask(study, "full", [(label, record.run)])
    columns, rows = store.results()
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [(row["study"], row["label"], row["evaluation"]) for row in found] == [
        ("a", "renamed", "clean"),
        ("b", "other", "clean"),
    ]
    assert {(row["run"], row["accuracy"], row["seed"]) for row in found} == {(record.run.key, 97.5, 0)}
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT * FROM results").fetchall() == rows
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_files_of_the_first_form_are_taken_over_once(tmp_path: Path):
    """From both places they were in; a torn one is named and stays; what the database has is not overwritten."""
    records = [whole_record(seed) for seed in range(3)]
    for record, folder in zip(records, ("quickstart/runs", "runs", "quickstart/runs"), strict=True):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        content = record.model_dump_json(indent=1)
        (tmp_path / folder / f"{record.run.key}.json").write_text(content if record.run.seed < 2 else content[:300])
    store = Store(tmp_path)
    assert [store.load(record.run) for record in records] == [*records[:2], None]
    assert store.damaged == [tmp_path / "quickstart" / "runs" / f"{records[2].run.key}.json"]
    better = records[0].model_copy(update={"weights_sha256": "2" * 64})
    store.save(better)
    assert Store(tmp_path).load(records[0].run) == better


def test_an_older_schema_is_migrated_whole_and_a_newer_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A migration that fails half way leaves the file as it was."""
    record = whole_record()
    Store(tmp_path).save(record)
    now = len(MIGRATIONS)
    step = "ALTER TABLE runs ADD COLUMN note TEXT"
    monkeypatch.setattr(database, "MIGRATIONS", [*MIGRATIONS, (step, "CREATE nonsense")])
    with raises(ConfigError, tmp_path / "results.sqlite", "cannot be used", "nonsense"):
        Store(tmp_path)
    monkeypatch.setattr(database, "MIGRATIONS", [*MIGRATIONS, (step,)])
    assert Store(tmp_path).load(record.run) == record
    monkeypatch.undo()
    with raises(ConfigError, tmp_path / "results.sqlite", f"schema {now + 1}", "newer"):
        Store(tmp_path)


def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path):
    """And left as it is."""
    (tmp_path / "results.sqlite").write_bytes(b"no database at all " * 100)
    with raises(ConfigError, tmp_path / "results.sqlite", "damaged", "move it"):
        Store(tmp_path)
    assert (tmp_path / "results.sqlite").read_bytes().startswith(b"no database")


def test_a_full_disk_loses_nothing(tmp_path: Path):
    """A file system of one mebibyte fills up; what was recorded is there, and room makes it go on."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        store = Store(tmp_path)
        store.save(whole_record(0))
        (tmp_path / "ballast").write_bytes(bytes(600_000))
        saved: list[int] = []

        def fill() -> None:
            for seed in range(1, 1000):
                store.save(whole_record(seed, losses=2000))
                saved.append(seed)

        with raises(ConfigError, tmp_path / "results.sqlite", "full", "room") as refused:
            fill()
        assert "\n" not in str(refused.value)
        last = len(saved) + 1
        (tmp_path / "ballast").unlink()
        assert all(Store(tmp_path).load(whole_record(seed).run) for seed in range(last))
        store.save(whole_record(last, losses=2000))
        assert store.load(whole_record(last).run)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("writers", [2])
def test_killed_writers_lose_nothing_they_acknowledged(writers: int, tmp_path: Path):
    """Two processes write at the same time, until kill -9."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from fixtures.records import whole_record\n"
        "from stabzoo.study.store.store import Store\n"
        "store = Store(Path(sys.argv[2]))\n"
        "for seed in range(int(sys.argv[3]), 100000, 2):\n"
        "    store.save(whole_record(seed)); print(seed, flush=True)\n"
    )
    command = [sys.executable, "-c", script, ROOT / "tests", tmp_path]
    processes = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for i in range(writers)
    ]
    acknowledged: list[int] = []
    for process in processes:
        assert process.stdout
        acknowledged += [int(process.stdout.readline()) for _ in range(20)]
    for process in processes:
        process.kill()
        told, errors = process.communicate()
        assert errors == ""
        acknowledged += [int(line) for line in told.split()]
    store = Store(tmp_path)
    assert all(store.load(whole_record(seed).run) == whole_record(seed) for seed in acknowledged)


def test_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither half a file nor a temporary one is left."""
    path = tmp_path / "results.json"
    write_atomically(path, b"old")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
