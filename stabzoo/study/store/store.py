"""The finished runs of all studies below a folder, in one SQLite file that nothing leaves half written."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from stabzoo.errors import ConfigError
from stabzoo.evaluation.kinds import RECORDED, evaluation_adapter, recorded
from stabzoo.metric import Evaluation, Metric
from stabzoo.study.measures import Diagnostic
from stabzoo.study.spec import Run
from stabzoo.study.store.database import Database
from stabzoo.study.store.records import Coefficients, DamagedRecordError, Record
from stabzoo.study.store.run_folder import KEY

__all__ = ["DATABASE", "Store"]

DATABASE = "results.sqlite"
"""The file of a store, in its folder."""


class Store:
    """Finished runs of all studies below ``folder``, in ``folder``/results.sqlite.

    A run that several studies ask for is one run.  Only the processes that do a study write here, not their workers,
    and each a whole record in one transaction, so that several may do so at the same time.  A ``read_only`` store
    writes nothing, and must be there.

    Raises:
        ConfigError: the database cannot be used (see `Database`); so do all methods.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / DATABASE
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True)
        self._database = Database(self.path, read_only=read_only)

    def load(self, run: Run) -> Record | None:
        """The record of ``run``, or None when it has not finished.

        Raises:
            DamagedRecordError: it cannot be read, or is another run's.
        """
        return _whole(self.load_all([run]).get(run.key))

    def load_all(self, runs: Iterable[Run]) -> dict[str, Record | DamagedRecordError]:
        """The records of those of ``runs`` that have finished, by their keys in this order, or why one cannot be read.

        It is one connection and one look at each table, whatever the number of runs.
        """
        with self._database.transaction() as connection:
            return self._read(connection, runs)

    def save(self, record: Record) -> Record:
        """Write ``record`` to the disk, for good, and return it with what was measured of the same weights before.

        Where all of it was recorded before, that stays, and is returned.
        """
        with self._database.transaction() as connection:
            earlier = self._read(connection, [record.run]).get(record.run.key)
            if isinstance(earlier, Record) and earlier.weights_sha256 == record.weights_sha256:
                if earlier.holds(record.evaluations, tuple(entry.diagnostic for entry in record.diagnosed)):
                    return earlier  # another driver was first
                again = {(entry.evaluation.kind, entry.evaluation.title) for entry in record.measured}
                besides = tuple(
                    entry
                    for entry in earlier.measured
                    if (entry.evaluation.kind, entry.evaluation.title) not in again
                    or (not entry.evaluation.plugin and entry.evaluation not in record.evaluations)
                )
                diagnosed = [entry.diagnostic for entry in record.diagnosed]
                further = tuple(entry for entry in earlier.diagnosed if entry.diagnostic not in diagnosed)
                record = record.model_copy(
                    update={"measured": record.measured + besides, "diagnosed": record.diagnosed + further}
                )
            _write(connection, record)
        return record

    def ask(self, study: str, scale: str, runs: Iterable[tuple[str, Run]]) -> None:
        """Note which runs, by the labels of their networks, a study has now at a scale; what it had is replaced."""
        rows = {(study, scale, label, run.key) for label, run in runs}
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM requests WHERE study = ? AND scale = ?", (study, scale))
            connection.executemany("INSERT INTO requests VALUES (?, ?, ?, ?)", sorted(rows))

    def asked(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """Labels and keys of the runs of each study that was done here, by its name and scale; finished or not."""
        found: dict[tuple[str, str], list[tuple[str, str]]] = {}
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT study, scale, label, run FROM requests ORDER BY rowid")
            for row in rows:
                study, scale, label, key = row
                if not all(isinstance(entry, str) for entry in row) or not KEY.fullmatch(key):
                    raise ConfigError(
                        f"{self.path}: is damaged (requests has the run {key!r:.80}, which is no key); restore it from "
                        "a copy, or remove it"
                    )
                found.setdefault((study, scale), []).append((label, key))
        return found

    def seeds(self) -> dict[str, int | None]:
        """The seeds of all finished runs, by their keys; None where it cannot be read."""
        with self._database.transaction() as connection:
            found = connection.execute("SELECT key, seed FROM runs").fetchall()
            return {key: seed if isinstance(seed, int) else None for key, seed in found}

    def runs(self, keys: Iterable[str]) -> list[Run]:
        """What is finished of the runs with these keys, those aside whose specification cannot be read."""
        found: list[Run] = []
        with self._database.transaction() as connection:
            for row in connection.execute(
                "SELECT spec FROM runs WHERE key IN (SELECT value FROM json_each(?))", [json.dumps(sorted(keys))]
            ):
                with contextlib.suppress(ValueError, TypeError):  # pydantic's errors are ValueErrors
                    found.append(Run.model_validate_json(row["spec"]))
        return found

    def results(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows of the view ``results``, one row for each study, run and evaluation."""
        with self._database.transaction() as connection:
            found = connection.execute("SELECT * FROM results")
            return [column[0] for column in found.description], [tuple(row) for row in found]

    def evaluations(self) -> dict[tuple[str, str], str]:
        """The evaluations of all finished runs as JSON, by the run's key and their title."""
        with self._database.transaction() as connection:
            found = connection.execute("SELECT run, title, evaluation FROM measurements")
            return {(run, title): evaluation for run, title, evaluation in found}

    def diagnosed(self) -> list[tuple[Any, ...]]:
        """Rows as those of `results`, one for each study, run and diagnostic.

        Its kind is in the place of the evaluation and of the metric, and what was found, JSON, in that of the value.
        """
        with self._database.transaction() as connection:
            found = connection.execute(
                "SELECT study, scale, label, model, args, data, epochs, seed, device, kind AS evaluation, "
                "kind AS metric, '' AS unit, result AS value, test_images, diverged, parameters, seconds, recorded, "
                "runs.key AS run "
                "FROM runs JOIN diagnoses ON diagnoses.run = runs.key LEFT JOIN requests ON requests.run = runs.key "
                "ORDER BY study, scale, label, seed, diagnoses.id"
            )
            return [tuple(row) for row in found]

    def _read(self, connection: sqlite3.Connection, runs: Iterable[Run]) -> dict[str, Record | DamagedRecordError]:
        asked = {run.key: run for run in runs}
        read = cache(_evaluation)  # no longer: the code of a plugin may be another next time
        keys = json.dumps(list(asked))
        measured: dict[str, list[Any]] = {}
        for key, *entry in connection.execute(
            _SELECT.format("run, evaluation, title, metric, value", "measurements"), [keys]
        ):
            measured.setdefault(key, []).append((read, *entry))
        diagnosed: dict[str, list[Any]] = {}
        for key, entry, found in connection.execute(_SELECT.format("run, diagnostic, result", "diagnoses"), [keys]):
            diagnosed.setdefault(key, []).append((entry, found))
        found = connection.execute("SELECT * FROM runs WHERE key IN (SELECT value FROM json_each(?))", [keys])
        rows = {row["key"]: row for row in found}
        return {
            key: self._record(run, rows[key], measured.get(key, []), diagnosed.get(key, []))
            for key, run in asked.items()
            if key in rows
        }

    def _record(
        self, run: Run, row: sqlite3.Row, measured: list[Any], diagnosed: list[Any]
    ) -> Record | DamagedRecordError:
        try:
            content = {
                "run": run if row["spec"] == run.model_dump_json() else Run.model_validate_json(row["spec"]),
                "coefficients": row["coefficients"] and _coefficients(row["coefficients"]),
                "losses": json.loads(row["losses"]),
                "diverged": bool(row["diverged"]),
                "warnings": json.loads(row["warnings"]),
                "measured": [_measured(*entry) for entry in measured],
                "unmeasured": [
                    {"evaluation": _evaluation(json.dumps(entry["evaluation"])), "reason": entry["reason"]}
                    for entry in json.loads(row["unmeasured"])
                ],
                "diagnosed": [{"diagnostic": _diagnostic(e), "result": json.loads(found)} for e, found in diagnosed],
                **{name: row[name] for name in ("parameters", "weights_sha256", "test_images", "seconds", "cpu")},
            }
            record = Record.model_validate(content)
        except (ValueError, TypeError, RecursionError):  # pydantic's and JSON's errors are ValueErrors
            return DamagedRecordError(f"run {run.key} in {self.path} is damaged")
        return record if record.run == run else DamagedRecordError(f"run {run.key} in {self.path} holds another run")


# what many runs have in common is read once
_coefficients = lru_cache(1024)(Coefficients.model_validate_json)
_metric = lru_cache(1024)(Metric.model_validate_json)
_diagnostic: Callable[[str], Diagnostic] = lru_cache(1024)(TypeAdapter(Diagnostic).validate_json)


def _evaluation(text: str) -> Evaluation:
    return evaluation_adapter.validate_json(text, context=RECORDED)


def _measured(read: Callable[[str], Evaluation], text: str, title: str, metric: str, value: Any) -> dict[str, Any]:
    kind = _metric(metric)
    return {"evaluation": recorded(read(text), title, kind), "metric": kind, "value": value}


_SELECT = "SELECT {} FROM {} WHERE run IN (SELECT value FROM json_each(?)) ORDER BY id"


def _whole(found: Record | DamagedRecordError | None) -> Record | None:
    if isinstance(found, DamagedRecordError):
        raise found
    return found


def _write(connection: sqlite3.Connection, record: Record) -> None:
    """Put ``record`` in the place of all that is known of its run."""
    run, key, content = record.run, record.run.key, json.loads(record.model_dump_json())
    columns = {
        "key": key,
        "spec": _compact(content["run"]),
        "model": run.model,
        "args": _compact(content["run"]["args"]),
        "data": run.data.name,
        "epochs": run.training.epochs,
        "seed": run.seed,
        "device": run.device,
        "parameters": record.parameters,
        "coefficients": content["coefficients"] and _compact(content["coefficients"]),
        "losses": _compact(content["losses"]),
        "diverged": int(record.diverged),
        "warnings": _compact(content["warnings"]),
        "unmeasured": _compact(content["unmeasured"]),
        "weights_sha256": record.weights_sha256,
        "test_images": record.test_images,
        "seconds": record.seconds,
        "cpu": record.cpu,
        "recorded": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    connection.execute("DELETE FROM runs WHERE key = ?", (key,))  # and what was measured of it
    connection.execute(
        f"INSERT INTO runs ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", tuple(columns.values())
    )
    for entry, of in zip(content["measured"], record.evaluations, strict=True):
        connection.execute(
            "INSERT INTO measurements (run, evaluation, kind, title, metric, value) VALUES (?, ?, ?, ?, ?, ?)",
            (key, _compact(entry["evaluation"]), of.kind, of.title, _compact(entry["metric"]), entry["value"]),
        )
    for entry in content["diagnosed"]:
        connection.execute(
            "INSERT INTO diagnoses (run, diagnostic, kind, result) VALUES (?, ?, ?, ?)",
            (key, _compact(entry["diagnostic"]), entry["diagnostic"]["kind"], json.dumps(entry["result"])),
        )


def _compact(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)
