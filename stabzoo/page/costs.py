"""What models cost, read from tables in timm's formats: parameters, multiplications, and speed beside PreResNet's."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from stabzoo.claims import ModelReport
from stabzoo.errors import ConfigError

__all__ = ["read_costs"]

COLUMNS = {
    "parameters": ("param_count",),
    "macs": ("gmacs", "infer_gmacs"),
    "speed": ("infer_samples_per_sec",),
    "size": ("img_size", "infer_img_size"),
}
"""Parameters in millions, multiplications with an addition in 10^9, images a second, pixels a side: names in timm's
tables of results, and in those that its benchmark.py writes."""

Numbers: TypeAlias = dict[str, float]


def read_costs(files: Sequence[Path], models: Sequence[ModelReport]) -> dict[str, Numbers]:
    """The costs of models by their names, as far as they are known; of two files the later one counts.

    ``speed`` is relative to the PreResNet with the same blocks: images a second of both, of one file, at one size.

    Raises:
        ConfigError: a file cannot be read, is no such table, or has something else where a number should be.
    """
    plain = {_shape(model): model.name for model in reversed(models) if _is_plain(model)}
    costs: dict[str, Numbers] = {}
    for file in files:
        table = _read(file)
        for model in models:
            if model.name in table:
                found = dict(table[model.name])
                speed, size = found.pop("speed", None), found.pop("size", None)
                beside = table.get(plain.get(_shape(model), ""), {})
                if speed and beside.get("speed") and beside.get("size") == size:
                    found["speed"] = speed / beside["speed"]
                costs.setdefault(model.name, {}).update(found)
    return costs


def _is_plain(model: ModelReport) -> bool:
    """Whether it is a PreResNet: forward Euler in the usual network."""
    config = model.config
    return config.scheme == "euler" and not (config.parameters or config.options)


def _shape(model: ModelReport) -> tuple[Any, ...]:
    config = model.config
    return config.form, config.block, config.layers, config.width


def _read(file: Path) -> dict[str, Numbers]:
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            columns = rows.fieldnames or ()
            known = [name for key in ("parameters", "macs", "speed") for name in COLUMNS[key]]
            if "model" not in columns or not {*known} & {*columns}:
                raise ConfigError(
                    f"{file}: expected a table of timm's, with a column model and one of {', '.join(known)}; got "
                    f"{', '.join(columns)[:200] or 'nothing'}"
                )
            return {row["model"]: _numbers(row, f"{file}, line {rows.line_num}") for row in rows}
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror or error}); expected a CSV file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file}: not a CSV file in UTF-8 ({error})") from None


def _numbers(row: Mapping[str, str | None], where: str) -> Numbers:
    found: Numbers = {}
    for key, names in COLUMNS.items():
        for name in names:
            if text := row.get(name):
                try:
                    found[key] = float(text.replace(",", ""))  # timm's tables have 1,024.5
                except ValueError:
                    found[key] = math.nan
                if not 0 <= found[key] < math.inf:
                    raise ConfigError(f"{where}: expected a number in the column {name}, got {text!r:.80}")
    return found
