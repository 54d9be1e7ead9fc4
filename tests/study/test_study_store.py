"""The store: a run is either there, whole, or not there."""

import csv
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fixtures import ROOT
from fixtures.messages import raises
from fixtures.records import edit, whole_record
from stabzoo.data.spec import Archived, Folder
from stabzoo.errors import ConfigError
from stabzoo.evaluation.spec import Constant
from stabzoo.files import write_atomically
from stabzoo.study.analysis.uncertainty import wilson
from stabzoo.study.report.export import export
from stabzoo.study.store import database
from stabzoo.study.store.database import MIGRATIONS, TABLES, Database
from stabzoo.study.store.records import DamagedRecordError, Measured, Record
from stabzoo.study.store.run_index import RunIndex
from stabzoo.study.store.store import DATABASE, Store


def test_the_store_imports_nothing_slow():
    """Workers and every command of studies import it."""
    heavy = {"torch", "timm", "matplotlib", "sklearn", "scipy", "numpy"}
    code = f"import sys, stabzoo.study.store.store; sys.exit(', '.join({heavy} & {{*sys.modules}}) or 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


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
    noisy = Measured(evaluation=Constant(kind="constant", mu=0.1), value=50)
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
    with raises(DamagedRecordError, f"run {record.run.key}", store.path, "damaged"):
        store.load(record.run)
    assert store.load(other.run) == other
    assert store.save(record) == record
    assert store.load(record.run) == record


def test_record_under_another_runs_key_is_detected(tmp_path: Path):
    """What stands under a key is compared with the run that is asked for."""
    store, record, other = Store(tmp_path), whole_record(), whole_record(seed=1)
    store.save(record)
    edit(tmp_path, "UPDATE runs SET spec = ?", other.run.model_dump_json())
    with raises(DamagedRecordError, "another run"):
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
    assert {(row["run"], row["value"], row["seed"]) for row in found} == {(record.run.key, 97.5, 0)}
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT * FROM results").fetchall() == rows
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt])
def test_what_is_raised_in_a_transaction_takes_all_of_it_back(raised: type[BaseException], tmp_path: Path):
    """And frees the file, even for as long as the exception is kept with a cursor that was not read to its end."""
    store, record = Store(tmp_path), whole_record()
    store.save(record)
    before = store.results()

    def fail() -> None:
        with Database(store.path).transaction() as connection:
            connection.execute("DELETE FROM runs")
            connection.executemany("INSERT INTO requests VALUES (?, '', '', '')", [("a",), ("b",)])
            cursor = connection.execute("SELECT study FROM requests")
            assert cursor.fetchone()["study"] == "a"
            raise raised

    with pytest.raises(raised) as kept:
        fail()
    with closing(sqlite3.connect(store.path, timeout=0)) as other, other:
        other.execute("BEGIN IMMEDIATE")
    assert "cursor" in kept.traceback[-1].frame.f_locals
    assert (store.load(record.run), store.asked(), store.results()) == (record, {}, before)


def test_a_transaction_that_cannot_be_committed_is_refused_whole(tmp_path: Path):
    """What is wrong only at its end is told as any other error of the file is."""
    store, record = Store(tmp_path), whole_record()
    store.save(record)

    def fail() -> None:
        with Database(store.path).transaction() as connection:
            connection.execute("PRAGMA defer_foreign_keys = ON")
            connection.execute("UPDATE runs SET seed = 99")
            connection.execute("INSERT INTO diagnoses (run, diagnostic, kind, result) VALUES ('no run', '', '', '')")

    with pytest.raises(ConfigError, match=r"results\.sqlite: .*FOREIGN KEY"):
        fail()
    assert store.load(record.run) == record
    assert store.seeds() == {record.run.key: record.run.seed}


def test_another_writer_is_waited_for_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Reading does not wait."""
    monkeypatch.setattr(database, "WAIT", 0.05)
    store, record = Store(tmp_path), whole_record()
    store.save(record)
    reader = Store(tmp_path, read_only=True)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM runs")
        with pytest.raises(ConfigError, match=r"results\.sqlite: another process .* 0\.05 s"):
            store.save(whole_record(seed=1))
        assert reader.load(record.run) == record
        other.execute("ROLLBACK")
    store.save(whole_record(seed=1))
    assert set(reader.seeds().values()) == {0, 1}


def test_every_transaction_has_the_settings(tmp_path: Path):
    """Not only the first; and no connection outlives one."""
    names = ("journal_mode", "synchronous", "foreign_keys", "query_only")
    Store(tmp_path)
    for read_only, expected in ((False, ["wal", 2, 1, 0]), (True, ["wal", 2, 0, 1])):
        file = Database(tmp_path / DATABASE, read_only=read_only)
        for _ in range(2):
            with file.transaction() as connection:
                assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names] == expected
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                connection.execute("SELECT 1")
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE]


def test_reading_writes_nothing(tmp_path: Path):
    """Neither a file that is missing nor into one that is there."""
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match=rf"{folder / DATABASE}: .*unable to open"):
            Store(folder, read_only=True)
    assert list(tmp_path.iterdir()) == []
    Store(tmp_path)
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(ConfigError, match=r"results\.sqlite: .*readonly"):
        Store(tmp_path, read_only=True).save(whole_record())
    assert (tmp_path / DATABASE).read_bytes() == before


@pytest.mark.parametrize("missing", ["missing", "file"])
def test_a_folder_that_is_not_there_is_an_error_of_the_file(missing: str, tmp_path: Path):
    """Also where a file is in its place; it is not made."""
    (tmp_path / "file").touch()
    path = tmp_path / missing / DATABASE
    for read_only in (False, True):
        with pytest.raises(ConfigError, match=rf"{path}: .*unable to open"):
            Database(path, read_only=read_only)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("name", ["a b", "a?mode=memory", "a#b", "100%25", "file:a", ":memory:", "ü", "a'b\"c", "a\\b"])
def test_a_folder_may_have_any_name(name: str, writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is no address with options; nor does it matter where the process goes afterwards."""
    record = whole_record()
    monkeypatch.chdir(tmp_path)
    Store(Path(name)).save(record)
    monkeypatch.setattr(os, "access", lambda *_: writable)
    stores = [Store(Path(name), read_only=True), Store(tmp_path / name, read_only=True), Store(Path(name))]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [store.load(record.run) for store in stores] == [record] * 3
    assert stores[2].path == Path(name) / DATABASE
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == sorted(
        [Path(name), Path(name) / DATABASE, Path("elsewhere")]
    )


def test_a_database_with_the_table_of_imported_files_works(tmp_path: Path):
    """Schema 1 has had one more table; nothing reads it, and what is in it stays."""
    record = whole_record()
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        for statement in (*TABLES, "CREATE TABLE imported (path TEXT PRIMARY KEY)", "PRAGMA user_version = 1"):
            connection.execute(statement)
        connection.execute("INSERT INTO imported VALUES ('runs/a.json')")
    with raises(ConfigError, tmp_path / DATABASE, "schema 1, of an older stabzoo", "study run"):
        Store(tmp_path, read_only=True)
    store = Store(tmp_path)
    assert Store(tmp_path, read_only=True).load(record.run) is None
    store.save(record)
    store.ask("a", "full", [("first", record.run)])
    reader = Store(tmp_path, read_only=True)
    assert (reader.load(record.run), len(reader.results()[1])) == (record, 1)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        assert connection.execute("SELECT * FROM imported").fetchall() == [("runs/a.json",)]


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


def test_test_images_are_counted_in_a_store_from_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the data tell their number: of digits and CIFAR, not of a folder, whose accuracies then have no interval."""
    digits = whole_record()
    data = [Archived(name="cifar10"), Folder(name="folder", path="here")]
    others = [digits.model_copy(update={"run": digits.run.model_copy(update={"data": each})}) for each in data]
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", [TABLES])
        Database(tmp_path / DATABASE)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        for record in (digits, *others):
            spec = record.run.model_dump_json()
            connection.execute(
                "INSERT INTO runs VALUES (?, ?, '', '', ?, 1, 0, 'cpu', 1, NULL, '[]', 0, '', 0, '', '')",
                (record.run.key, spec, record.run.data.name),
            )
            connection.execute(
                "INSERT INTO measurements (run, evaluation, kind, title, accuracy) VALUES (?, ?, 'clean', 'clean', 90)",
                (record.run.key, '{"kind": "clean"}'),
            )
    store = Store(tmp_path)
    found = [store.load(record.run) for record in (digits, *others)]
    assert [record and record.test_images for record in found] == [540, 10_000, None]
    columns, rows = store.results()
    assert sorted(str(row[columns.index("test_images")]) for row in rows) == ["10000", "540", "None"]
    assert export(RunIndex(tmp_path, needed=True), tmp_path / "all.csv") == 3
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        limits = {row["test_images"]: row["value_low"] for row in csv.DictReader(file)}
    assert (limits[""], limits["540"]) == ("", str(wilson(90, 540)[0]))


def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path):
    """And left as it is."""
    (tmp_path / "results.sqlite").write_bytes(b"no database at all " * 100)
    with raises(ConfigError, tmp_path / "results.sqlite", "damaged", "restore", "remove"):
        Store(tmp_path)
    assert (tmp_path / "results.sqlite").read_bytes().startswith(b"no database")


@pytest.mark.parametrize("table", ["runs", "measurements", "diagnoses", "requests"])
def test_a_damaged_page_is_said_and_nothing_is_written(table: str, tmp_path: Path):
    """Of whatever table: whoever reads it says so, and a driver begins nothing that it could not record."""
    store = Store(tmp_path)
    for seed in range(3):
        store.save(whole_record(seed))
    store.ask("a", "full", [("first", whole_record(seed).run) for seed in range(3)])
    with closing(sqlite3.connect(store.path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(store.path.read_bytes())
    content[(page - 1) * size : (page - 1) * size + 200] = b"\xff" * 200
    store.path.write_bytes(content)
    with raises(ConfigError, store.path, "damaged", "restore", "remove"):
        Store(tmp_path)
    if table == "diagnoses":  # of which there are none: nobody reads that page
        return
    reader = Store(tmp_path, read_only=True)
    look = reader.asked if table == "requests" else lambda: reader.load(whole_record().run)
    with raises(ConfigError, store.path, "damaged", "restore", "remove"):
        look()
    assert store.path.read_bytes() == content


@pytest.mark.parametrize("wal", [False, True])
@pytest.mark.parametrize(
    ("statements", "facts"),
    [
        (("CREATE TABLE songs (name TEXT)",), ("songs",)),
        (("PRAGMA application_id = 252006675", "CREATE TABLE runs (key TEXT)", "CREATE TABLE measurements (run TEXT)"), ("252006675",)),
        (("CREATE TABLE runs (key TEXT)", "PRAGMA user_version = 7"), ("runs",)),
        (("PRAGMA application_id = 1",), ("application_id 1",)),
    ],
)  # fmt: skip
def test_another_programs_database_is_left_as_it_is(
    statements: tuple[str, ...], facts: tuple[str, ...], wal: bool, tmp_path: Path
):
    """Not a byte of it changes, and no file appears beside it."""
    path = tmp_path / DATABASE
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
        for statement in statements:
            connection.execute(statement)
    before = path.read_bytes()
    for read_only in (False, True):
        with raises(ConfigError, path, "another program", *facts):
            Database(path, read_only=read_only)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [DATABASE]


def test_a_database_has_our_name(tmp_path: Path):
    """Also one that an earlier stabzoo made, and an empty file."""
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        for statement in (*TABLES, "PRAGMA user_version = 1"):
            connection.execute(statement)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / DATABASE).touch()
    for folder in (tmp_path, tmp_path / "empty", tmp_path / "new"):
        Store(folder)
        assert (folder / DATABASE).read_bytes()[68:72] == b"szoo"
        Store(folder)


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_what_is_no_file_is_not_opened_as_a_database(kind: str, tmp_path: Path):
    """SQLite would wait for a FIFO."""
    path = tmp_path / DATABASE
    {"fifo": lambda: os.mkfifo(path), "folder": path.mkdir, "device": lambda: path.symlink_to("/dev/zero")}[kind]()
    with raises(ConfigError, path, "open"):
        Store(tmp_path)


@pytest.mark.parametrize("runs", [1, 40])
def test_many_runs_are_read_at_one_look(runs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One connection and a query a table, whatever their number; what is damaged is among them."""
    store, records = Store(tmp_path), [whole_record(seed) for seed in range(runs)]
    for record in records:
        store.save(record)
    edit(tmp_path, "UPDATE runs SET losses = 'x' WHERE seed = 0")
    asked: list[str] = []
    connections: list[object] = []
    connect = sqlite3.connect

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connections.append(connection)
        connection.set_trace_callback(asked.append)
        return connection

    reader = Store(tmp_path, read_only=True)
    monkeypatch.setattr(sqlite3, "connect", watched)
    found = reader.load_all([record.run for record in records])
    assert len(connections) == 1
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 3
    assert isinstance(found.pop(records[0].run.key), DamagedRecordError)
    assert list(found.values()) == records[1:]
    assert all(isinstance(record, Record) for record in found.values())


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
