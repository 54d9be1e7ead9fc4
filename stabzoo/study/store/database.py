"""The SQLite file that holds all results: opened, migrated, and its errors told in a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from stabzoo.errors import ConfigError

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
    "CREATE TABLE imported (path TEXT PRIMARY KEY)",
    """
    CREATE VIEW results AS
    SELECT study, scale, label, model, args, data, epochs, seed, device, title AS evaluation, accuracy, diverged,
           parameters, seconds, recorded, runs.key AS run
    FROM runs JOIN measurements ON measurements.run = runs.key LEFT JOIN requests ON requests.run = runs.key
    ORDER BY study, scale, label, seed, measurements.id
    """,
)

MIGRATIONS: list[tuple[str, ...]] = [TABLES]
"""Statements that make schema version n + 1 of version n; they are only ever added to."""

WAIT = 60  # seconds for another driver's transaction


class Database:
    """The file at ``path``, made or brought to the newest schema when it is opened.

    A transaction is on the disk when it returns (write-ahead log, synchronous=FULL).  The file belongs on a disk of the
    machine that writes it: the log does not work over NFS.

    With ``read_only`` the file must be there; nothing is written, in a folder that may be read-only too, and nobody who
    writes is waited for.

    Raises:
        ConfigError: the file is damaged, of a newer stabzoo, or cannot be read or written, or with ``read_only`` is of
            an older one; so does all that is done with it.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._engine = _connect(path, read_only)
        with self.transaction() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
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
                    connection.exec_driver_sql(statement)
            if version < len(MIGRATIONS):
                connection.exec_driver_sql(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection on which all is written, or nothing."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise ConfigError(f"{self.path}: {_explained(str(error.orig))}") from error


def _connect(path: Path, read_only: bool) -> Engine:
    # no pool: what is not in use is closed, also when a process ends without saying so
    address = _to_read(path) if read_only else URL.create("sqlite", database=str(path))
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": WAIT})
    settings = ("query_only = ON",) if read_only else ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver would begin no transaction for CREATE, PRAGMA or SELECT
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # at once for writing: a transaction that reads first could not wait for another driver's
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _to_read(path: Path) -> URL:
    # To read beside one who writes SQLite makes an index of the log; in a folder that cannot be written it cannot, but
    # where no log is there nobody writes.
    options = {"mode": "rw"}
    if not (os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)):
        options = {"mode": "ro"} if path.with_name(f"{path.name}-wal").exists() else {"mode": "ro", "immutable": "1"}
    return URL.create("sqlite", database=f"file:{quote(str(path))}", query={**options, "uri": "true"})


def _explained(reason: str) -> str:
    if "full" in reason or "disk I/O" in reason:
        return (
            f"cannot be written ({reason}); what was recorded before is kept: make room and run the same command again"
        )
    if "malformed" in reason or "not a database" in reason:
        return (
            f"is damaged ({reason}); move it and its -wal file away, and run the study again, or put a copy in its "
            "place"
        )
    if "locked" in reason:
        return f"another process has been writing for {WAIT} s ({reason}); try again when it has ended"
    return f"cannot be used ({reason})"
