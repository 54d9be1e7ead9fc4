"""The table of results as a file for other programs: CSV, or Parquet with the extra ``parquet``."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from stabzoo.errors import ConfigError, printable
from stabzoo.files import write_atomically
from stabzoo.metric import ACCURACY
from stabzoo.study.analysis.uncertainty import wilson
from stabzoo.study.store.run_index import RunIndex
from stabzoo.study.store.store import Store

__all__ = ["csv_text", "export"]


def export(holdings: RunIndex, path: Path, study: str | None = None) -> int:
    """Write the view ``results``, or its rows of one study, to a .csv or .parquet, and return how many rows there are.

    Every number of a diagnostic, of each epoch, layer and class, has a row too, its place in ``evaluation``:
    ``angles: history.3.layers.stages.0.within.2.value``, in the units of `stabzoo.study.measures`.  Beside each
    accuracy stands its 95 % interval over test images (Wilson's), ``value_low`` and ``value_high``, and beside each
    noise, corruption, attack or certificate its ``level`` as a number.

    Raises:
        ConfigError: for any other kind of file, nothing to write, a missing pyarrow, or a folder that is not there.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{path}: expected a file called .csv or .parquet, got {path.suffix or 'no extension'!r}")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: no folder {str(path.parent)!r}; make it first")
    columns, rows = _measured(holdings.store) if holdings.store else (["study"], [])
    if study is not None:
        names = [row[columns.index("study")] for row in rows]  # None for a run that no study asks for now
        studies = sorted({name for name in names if name})
        rows = [row for row, name in zip(rows, names, strict=True) if name == study]
        if not rows:
            known = f"it has some of {', '.join(studies)}" if studies else "it has none"
            raise ConfigError(f"{holdings.path}: has no results of a study {study!r}; {known}")
    if not rows:
        raise ConfigError(f"{holdings.path}: has no results yet; do a study first: stabzoo study run NAME")
    columns, rows = _with_intervals(columns, rows)
    columns, rows = [*columns[:-3], *columns[-2:], "level"], [(*row[:-3], *row[-2:], row[-3]) for row in rows]
    write_atomically(path, csv_text(columns, rows).encode() if path.suffix == ".csv" else _parquet(columns, rows))
    return len(rows)


LEVELS = ("sigma", "epsilon", "mu", "radius", "severity")
"""Settings of evaluations of which there is one each, and which is how much is done to the images."""


def _measured(store: Store) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The view ``results`` with the level of each row, and the numbers of diagnostics below it."""
    columns, rows = store.results()
    evaluations = store.evaluations()
    run, title, value = (columns.index(name) for name in ("run", "evaluation", "value"))
    measured: list[tuple[Any, ...]] = [(*row, _level(evaluations[row[run], row[title]])) for row in rows]
    for row in store.diagnosed():
        for place, number in _leaves(json.loads(row[value])):
            name = f"{row[title]}: {place}"
            measured.append((*row[:title], name, *row[title + 1 : value], number, *row[value + 1 :], None))
    return [*columns, "level"], measured


def _level(evaluation: str) -> float | None:
    settings = json.loads(evaluation)
    if settings["kind"] == "uniform":
        return max(abs(settings["low"]), abs(settings["high"]))
    given = next((settings[name] for name in LEVELS if settings.get(name) is not None), None)
    with contextlib.suppress(ValueError, TypeError, ZeroDivisionError):  # a plugin's may be anything
        return None if given is None else float(Fraction(given))
    return None


def _leaves(found: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in JSON with their places, infinite ones among them, which are text there."""
    if isinstance(found, dict | list):
        inside = found.items() if isinstance(found, dict) else enumerate(found)
        for name, part in inside:
            yield from _leaves(part, f"{place}.{name}" if place else str(name))
    elif (isinstance(found, int | float) and not isinstance(found, bool)) or found in ("inf", "-inf", "nan"):
        yield place, float(found)


def _with_intervals(columns: list[str], rows: Sequence[Sequence[Any]]) -> tuple[list[str], list[tuple[Any, ...]]]:
    metric, value, images = (columns.index(name) for name in ("metric", "value", "test_images"))
    limits = [
        wilson(row[value], row[images]) if row[images] and row[metric] == ACCURACY.name else (None, None)
        for row in rows
    ]
    return [*columns, "value_low", "value_high"], [(*row, *pair) for row, pair in zip(rows, limits, strict=True)]


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV.

    Text that a spreadsheet would take for a formula has an apostrophe before it, and what is not seen is written as
    its escape: labels and titles may be a stranger's.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


FORMULA = re.compile(r"\s*[=+\-@]")
NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?")


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    before = "'" if FORMULA.match(value) and not NUMBER.fullmatch(value) else ""
    return before + printable(value).replace("\t", r"\t")


def _parquet(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ConfigError(f"a .parquet: {error}; pip install 'stabzoo[parquet]', or write a .csv") from None
    table = pa.table({name: [row[i] for row in rows] for i, name in enumerate(columns)})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()
