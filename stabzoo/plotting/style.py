"""What all figures have in common: colours, sizes, and files that are the same for the same figure."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stabzoo.errors import ConfigError, printable
from stabzoo.files import write_atomically

__all__ = ["STABLE", "UNSTABLE", "limits", "literal", "new_figure", "plain", "saved", "write_figure"]

BLUE, RED, ORANGE, GREEN, BLACK, GREY = "#1f5fa8", "#c2352b", "#d98200", "#2e8b57", "#222222", "#9a9a9a"
STABLE, UNSTABLE = BLUE, RED
"""What blue and red say in every figure, and nothing else; a marker, a line's style or a label says it as well."""
COLORS = ("#00806a", ORANGE, "#6a4c93", "#b5547f", BLACK, "#8c6d31", "#6b6b6b")
"""What tells series apart that are no verdicts: no blue and no red among them."""
MARKERS = "os^Dvx<>P*"
LINES = ("-", "--", ":", "-.")
PIXELS = "pixels in [0, 1]"
UNDATED: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; without pyplot it neither needs a display nor touches a caller's figures."""
    return Figure(figsize=(width, height), dpi=160, layout="constrained")


def literal(text: str) -> str:
    r"""Foreign text as it is put into a figure: what is not seen as its escape, and no formulas between $ signs.

    >>> literal("5 $ or \x1b")
    '5 \\$ or \\x1b'
    """
    return printable(text).replace("\t", r"\t").replace("$", r"\$")


def saved(figure: Figure, kind: str, title: str | None = None) -> bytes:
    """The figure's file of ``kind`` png, svg or pdf.

    The same figure gives the same bytes, and the text of a PDF can be searched and edited.
    """
    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "stabzoo", "pdf.fonttype": 42}):
        figure.savefig(content, format=kind, metadata=UNDATED[kind] | ({"Title": printable(title)} if title else {}))
    return content.getvalue()


def write_figure(draw: Callable[[], Figure], path: Path, title: str | None = None) -> None:
    """Draw and write a picture; a file at ``path`` is replaced as a whole or left as it was.

    Raises:
        ConfigError: the name ends in none of .png, .svg and .pdf, or the folder cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix[1:] not in UNDATED:
        got = f"the suffix {suffix!r}" if suffix else "no suffix"
        raise ConfigError(f"{path}: expected the name of a .png, .svg or .pdf file, got {got}")
    content = saved(draw(), suffix[1:], title)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror or error}); give a file in a folder that exists"
        ) from None


def limits(values: Iterable[float], bounds: tuple[float, float] = (-math.inf, math.inf)) -> tuple[float, float]:
    """An axis that fits finite values with a little room, and leaves ``bounds`` by no more than that room.

    >>> limits([69, 72]), limits([99, 100], (0, 100)), limits([])
    ((68.76, 72.24), (98.92, 100.08), (0.0, 1.0))
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    room = 0.08 * ((high - low) or abs(high) / 10 or 1.0)
    return max(low - room, bounds[0] - room), min(high + room, bounds[1] + room)


def plain(axis: Axes) -> None:
    """Leave out the frame's upper and right sides, and draw faint horizontal lines."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axis.set_axisbelow(True)
