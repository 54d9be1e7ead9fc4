"""The table of results as a file for other programs: CSV, or Parquet with the extra ``parquet``."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stabzoo.errors import ConfigError, printable
from stabzoo.files import write_atomically
from stabzoo.metric import ACCURACY
from stabzoo.study.analysis.uncertainty import wilson
from stabzoo.study.store.run_index import RunIndex

__all__ = ["csv_text", "export"]


def export(holdings: RunIndex, path: Path, study: str | None = None) -> int:
    """Write the view ``results``, or its rows of one study, to a .csv or .parquet, and return how many rows there are.

    Beside each accuracy stands its 95 % interval over test images (Wilson's), ``value_low`` and ``value_high``.

    Raises:
        ConfigError: for any other kind of file, nothing to write, a missing pyarrow, or a folder that is not there.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{path}: expected a file called .csv or .parquet, got {path.suffix or 'no extension'!r}")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {str(path.parent)!r}; make it first")
    columns, rows = holdings.store.results() if holdings.store else (["study"], [])
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
    write_atomically(path, csv_text(columns, rows).encode() if path.suffix == ".csv" else _parquet(columns, rows))
    return len(rows)


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
