"""What the commands print with: colours only on a terminal, nothing wrapped in a pipe, numbers as exact as fits."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stabzoo.config import json_text
from stabzoo.errors import PluginError, printable
from stabzoo.methods import NOT_DECIDED, NotDecided
from stabzoo.registry.catalogue import is_strict
from stabzoo.stability.enclosure import Enclosure, Real, as_float
from stabzoo.stability.root_condition import rational_text
from stabzoo.terminal import new_console

__all__ = [
    "STYLES",
    "TRACEBACK",
    "brief",
    "complain",
    "decimal",
    "full",
    "output",
    "print_json",
    "show_traceback",
    "status_text",
    "table",
]

Cell: TypeAlias = str | Text

SHORT, LONG = 12, 80  # characters that an exact number may have in a table, and by itself
PIPE_WIDTH = 100_000  # a pipe has no width: one record, one line
TRACEBACK: ContextVar[bool] = ContextVar("traceback", default=False)
"""Whether the command was given ``--traceback``."""

CALLERS = {"stabzoo", "importlib", "pluggy", "pydantic"}
"""What lies between a command and the code of a plugin."""

STYLES = {
    "strong": "green",
    "weak": "yellow",
    "second-order stable": "cyan",
    "unstable": "red",
    "not decided": "yellow",
    "broken": "bold red",
}


def output() -> Console:
    """A console on standard output that takes text as it is: ``y[n]`` is no markup and ``:smile:`` no emoji."""
    return new_console(None if sys.stdout.isatty() else PIPE_WIDTH)


def complain(message: str) -> None:
    """Write one message to standard error."""
    sys.stderr.write(f"stabzoo: {printable(message)}\n")


def show_traceback(error: PluginError) -> None:
    """With ``--traceback``, or under STABZOO_STRICT, write to standard error where in its code a plugin has failed."""
    if not (TRACEBACK.get() or is_strict()):
        return
    cause = error.__cause__ or error
    place = cause.__traceback__
    while place and place.tb_next and place.tb_frame.f_globals.get("__name__", "").partition(".")[0] in CALLERS:
        place = place.tb_next
    sys.stderr.write(printable("".join(traceback.format_exception(type(cause), cause, place))))


def print_json(data: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json_text(data, indent=2) + "\n")


def table(
    console: Console,
    columns: Mapping[str, Sequence[Cell]],
    expendable: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Print columns side by side; where they do not fit, those of ``expendable`` are left out, in this order.

    Columns that still do not fit are wrapped, but for those that are ``whole``.
    """
    hidden: list[str] = []
    while (
        (grid := _grid(columns, hidden, whole))
        and len(hidden) < len(expendable)
        and console.width < PIPE_WIDTH  # measuring takes as long as printing
        and _width(console, grid) > console.width
    ):
        hidden.append(expendable[len(hidden)])
    console.print(grid)
    if hidden:
        console.print(f"not shown in {console.width} columns, see --json: {', '.join(hidden)}", style="dim")


def _grid(columns: Mapping[str, Sequence[Cell]], hidden: Sequence[str], whole: Sequence[str]) -> Table:
    grid = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0), pad_edge=False)
    shown = {header: cells for header, cells in columns.items() if header not in hidden}
    for header in shown:
        grid.add_column(header.replace(" ", "\n"), overflow="fold", vertical="top", no_wrap=header in whole)
    for row in zip(*shown.values(), strict=True):
        grid.add_row(*row)
    return grid


def _width(console: Console, grid: Table) -> int:
    return grid.__rich_measure__(console, console.options.update(width=PIPE_WIDTH)).maximum


def status_text(status: str, mark: str = "") -> Text:
    """A stability status, or "broken", in its colour."""
    return Text(status + mark, style=STYLES.get(status, ""))


def brief(value: Real | NotDecided | None) -> str:
    """A number in a table: ``1/3``, ``~0.70711`` where it is longer or irrational, ``-`` where there is none."""
    if isinstance(value, Fraction) and len(text := rational_text(value)) <= SHORT:
        return text
    if isinstance(value, Fraction | Enclosure):
        return f"~{decimal(value, 5)}"
    if value is NOT_DECIDED:
        return str(value)
    return "-" if value is None else "infinite"


def full(value: Real | NotDecided | None) -> str:
    """A number by itself: ``1/3 (0.333333)``, or the certain digits of an irrational one."""
    if isinstance(value, Enclosure):
        if value.upper - value.lower < abs(value.midpoint) * Fraction(1, 10**12):
            return f"{decimal(value, 12)} (certified)"
        return f"between {decimal(value.lower, 12)} and {decimal(value.upper, 12)}"
    if isinstance(value, Fraction):
        text = rational_text(value)
        if len(text) > LONG:
            return f"~{decimal(value, 12)} (exact with --json, {len(text)} characters)"
        return text if value.denominator == 1 else f"{text} ({decimal(value, 6)})"
    if value is NOT_DECIDED:
        return str(value)
    return "-" if value is None else "infinite"


def decimal(value: Fraction | Enclosure, digits: int) -> str:
    """A decimal that does not hide on which side of a whole number the value is: ``0.333333``, ``1 + 1e-30``."""
    exact = value.midpoint if isinstance(value, Enclosure) else value
    number = as_float(exact)
    if math.isinf(number) or (number == 0 and exact != 0):  # beyond the range of floats
        quotient = Context(prec=digits).divide(Decimal(exact.numerator), Decimal(exact.denominator))
        return f"{quotient.normalize():e}"
    text, whole = f"{number:.{digits}g}", round(exact)
    if text == str(whole) and exact != whole and whole != 0:
        return f"{whole} {'+' if exact > whole else '-'} {as_float(abs(exact - whole)):.0e}"
    return text


Status: TypeAlias = Literal["strong", "weak", "second-order stable", "unstable", "not decided", "broken"]
