"""The SQLite file that holds all results: opened, migrated, and its errors told in a sentence."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from stabzoo.errors import ConfigError
from stabzoo.files import open_regular

__all__ = ["MIGRATIONS", "Database"]

TABLES = (
    """
    CREATE TABLE runs (
        key TEXT PRIMARY KEY,
        spec TEXT NOT NULL,
        model TEXT NOT NULL,
        args TEXT NOT NULL,
        data TEXT NOT NULL,
        epochs INTEGER NOT NULL,
        seed INTEGER NOT NULL,
        device TEXT NOT NULL,
        parameters INTEGER NOT NULL,
        coefficients TEXT,
        losses TEXT NOT NULL,
        diverged INTEGER NOT NULL,
        weights_sha256 TEXT NOT NULL,
        seconds REAL NOT NULL,
        cpu TEXT NOT NULL,
        recorded TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE measurements (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
        evaluation TEXT NOT NULL,
        kind TEXT NOT NULL,
        title TEXT NOT NULL,
        accuracy REAL NOT NULL,
        UNIQUE (run, evaluation)
    )
    """,
    """
    CREATE TABLE diagnoses (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
        diagnostic TEXT NOT NULL,
        kind TEXT NOT NULL,
        result TEXT NOT NULL,
        UNIQUE (run, diagnostic)
    )
    """,
    """
    CREATE TABLE requests (
        study TEXT NOT NULL,
        scale TEXT NOT NULL,
        label TEXT NOT NULL,
        run TEXT NOT NULL,
        PRIMARY KEY (study, scale, label, run)
    )
    """,
    """
    CREATE VIEW results AS
    SELECT study, scale, label, model, args, data, epochs, seed, device, title AS evaluation, accuracy, diverged,
           parameters, seconds, recorded, runs.key AS run
    FROM runs JOIN measurements ON measurements.run = runs.key LEFT JOIN requests ON requests.run = runs.key
    ORDER BY study, scale, label, seed, measurements.id
    """,
)

TEST_IMAGES = (
    "ALTER TABLE runs ADD COLUMN test_images INTEGER",
    "UPDATE runs SET test_images = json_extract(spec, '$.data.test_images')",  # of digits; no other data has it there
    "UPDATE runs SET test_images = 10000 WHERE data IN ('cifar10', 'cifar100', 'mnist')",
    "DROP VIEW results",
    """
    CREATE VIEW results AS
    SELECT study, scale, label, model, args, data, epochs, seed, device, title AS evaluation, accuracy, test_images,
           diverged, parameters, seconds, recorded, runs.key AS run
    FROM runs JOIN measurements ON measurements.run = runs.key LEFT JOIN requests ON requests.run = runs.key
    ORDER BY study, scale, label, seed, measurements.id
    """,
)
"""The number of images that accuracies were counted on; of folders it is not known afterwards."""

WARNINGS = ("ALTER TABLE runs ADD COLUMN warnings TEXT NOT NULL DEFAULT '[]'",)
"""What was wrong with the network while it was trained; nobody looked before."""

METRICS = (
    "DROP VIEW results",
    "ALTER TABLE measurements RENAME COLUMN accuracy TO value",
    """ALTER TABLE measurements ADD COLUMN metric TEXT NOT NULL DEFAULT
    '{"name":"accuracy","unit":"%","higher_is_better":true}'""",
    "ALTER TABLE runs ADD COLUMN unmeasured TEXT NOT NULL DEFAULT '[]'",
    """
    CREATE VIEW results AS
    SELECT study, scale, label, model, args, data, epochs, seed, device, title AS evaluation,
           json_extract(metric, '$.name') AS metric, json_extract(metric, '$.unit') AS unit, value, test_images,
           diverged, parameters, seconds, recorded, runs.key AS run
    FROM runs JOIN measurements ON measurements.run = runs.key LEFT JOIN requests ON requests.run = runs.key
    ORDER BY study, scale, label, seed, measurements.id
    """,
)
"""Numbers other than accuracies, and evaluations of plugins that failed."""

MIGRATIONS: list[tuple[str, ...]] = [TABLES, TEST_IMAGES, WARNINGS, METRICS]
"""Statements that make schema version n + 1 of version n; they are only ever added to."""

APPLICATION_ID = int.from_bytes(b"szoo", "big")
"""What a database of stabzoo has in its header, so that no other is written to."""

WAIT = 60  # seconds for another driver's transaction

READING = ("query_only = ON",)
WRITING = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")


class Database:
    """The file at ``path``, made or brought to the newest schema when it is opened.

    A transaction is on the disk when it returns (write-ahead log, synchronous=FULL).  The file belongs on a disk of the
    machine that writes it: the log does not work over NFS.

    With ``read_only`` the file must be there; nothing is written, in a folder that may be read-only too, and nobody who
    writes is waited for.

    Raises:
        ConfigError: the file is damaged, another program's, of a newer stabzoo, or cannot be read or written, or with
            ``read_only`` is of an older one; so does all that is done with it.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._file = path.absolute()  # the process may go to another folder between two transactions
        self._read_only = read_only
        if not read_only:
            self._examine()
        with self.transaction() as connection:
            if read_only:
                self._recognise(connection)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise ConfigError(
                    f"{path}: has schema {version}, which a newer stabzoo has written; this one knows up to "
                    f"{len(MIGRATIONS)}; update stabzoo, or use another --folder"
                )
            if read_only and version < len(MIGRATIONS):
                raise ConfigError(
                    f"{path}: has schema {version}, of an older stabzoo, and this one reads {len(MIGRATIONS)}; "
                    "`stabzoo study run NAME` with its folder brings it up to date"
                )
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    connection.execute(statement)
            if version < len(MIGRATIONS):
                connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            if not read_only:
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _examine(self) -> None:
        """Make sure, before anything is written, that a file that is there is whole and a database of stabzoo."""
        try:
            with open_regular(self._file) as file:
                empty = not file.read(1)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{self.path}: unable to open ({error.strerror or error})") from None
        if empty:
            return
        try:
            with closing(sqlite3.connect(_to_look(self._file), timeout=WAIT, uri=True)) as connection:
                self._recognise(connection)
                (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path}: {_explained(str(error))}") from error
        if found != "ok":
            raise ConfigError(f"{self.path}: {_damaged(' '.join(found.split()))}")

    def _recognise(self, connection: sqlite3.Connection) -> None:
        """Refuse a database of another program; one without a name is taken if it is new, or has the tables of a store.

        Raises:
            ConfigError: with what to do.
        """
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if application != APPLICATION_ID and (application or (tables and not tables >= {"runs", "measurements"})):
            raise ConfigError(
                f"{self.path}: is a database of another program (application_id {application}, tables "
                f"{', '.join(sorted(tables))[:200] or 'none'}), and left as it is; use another --folder"
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection on which all is written, or nothing if anything is raised; it gives rows by name and position.

        It is closed at the end, so that none is left open by a process that ends without saying so.
        """
        try:
            with closing(self._connect()) as connection:
                for setting in READING if self._read_only else WRITING:
                    connection.execute(f"PRAGMA {setting}")
                # at once for writing: a transaction that reads first could not wait for another driver's
                connection.execute("BEGIN" if self._read_only else "BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    connection.rollback()  # to close it is too little as long as a traceback holds an unread cursor
                    raise
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path}: {_explained(str(error))}") from error

    def _connect(self) -> sqlite3.Connection:
        address, uri = (_to_read(self._file), True) if self._read_only else (self._file, False)
        # no isolation level: the module would begin transactions itself, and none for CREATE, PRAGMA or SELECT
        connection = sqlite3.connect(address, timeout=WAIT, isolation_level=None, uri=uri)
        connection.row_factory = sqlite3.Row
        return connection


def _to_read(path: Path) -> str:
    # To read beside one who writes SQLite makes an index of the log; in a folder that cannot be written it cannot, but
    # where no log is there nobody writes.
    options = "mode=rw"
    if not (os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)):
        options = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    return f"{path.as_uri()}?{options}"


def _to_look(path: Path) -> str:
    # nothing is written, not even an index of the log: where there is no log nobody writes
    return f"{path.as_uri()}?mode=ro{'' if path.with_name(f'{path.name}-wal').exists() else '&immutable=1'}"


def _damaged(reason: str) -> str:
    return (
        f"is damaged ({reason}); restore it from a copy, or remove it with its -wal file and do the studies again: "
        "trainings that have finished are kept beside it"
    )


def _explained(reason: str) -> str:
    if "full" in reason or "disk I/O" in reason:
        return (
            f"cannot be written ({reason}); what was recorded before is kept: make room and run the same command again"
        )
    if any(word in reason for word in ("malformed", "not a database", "decode", "no such table", "no such column")):
        return _damaged(reason)
    if "locked" in reason:
        return f"another process has been writing for {WAIT} s ({reason}); try again when it has ended"
    return f"cannot be used ({reason})"
