"""The terminal: lines, progress bars, and tables that fit its width; nothing foreign is obeyed by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from stabzoo.errors import printable

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Bar", "new_console", "numbers", "print_table", "say", "titled_table"]


def new_console(width: int | None = None, stream: TextIO | None = None) -> Console:
    """A console on standard output or ``stream`` that takes text as it is: ``y[n]`` is no markup, ESC no command."""
    console = Console(file=stream, width=width, markup=False, emoji=False, highlight=False)
    console.push_render_hook(_Disarm())
    return console


class _Disarm(RenderHook):
    """Makes everything that is printed `printable`, but for rich's own controls and styles."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Disarmed(renderable) for renderable in renderables]


class _Disarmed:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def say(console: Console, text: str, style: str = "") -> None:
    """Print ``text`` as it is: never read as markup, never broken when it goes to a file."""
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


class Bar:
    """A bar with a text on either side of it, elapsed time and time left; nothing unless ``enabled`` on a terminal."""

    def __init__(self, console: Console, before: str, after: str, *, enabled: bool = True) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn(before),
            BarColumn(bar_width=None),
            TextColumn(after),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not (enabled and console.is_terminal),
            expand=True,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # older rich ends a bar with an empty line, also one that it has not shown
            self._bar.stop()


def numbers(
    title: str, heads: Mapping[str, Sequence[Text]], columns: Mapping[str, Sequence[str]], width: int
) -> Iterator[Table]:
    """Tables that begin with ``heads``, each with as many of the ``columns`` as fit in ``width``, one at least.

    The kind of noise stands above its level, so that five of them fit in 80 characters.
    """
    headers = {header: header.replace(" ", "\n", 1) for header in columns}
    wide = {header: _width([headers[header], *cells]) for header, cells in columns.items()}
    left = sum(_width([header, *(cell.plain for cell in cells)]) for header, cells in heads.items())
    waiting = list(columns)
    while waiting:
        count, used = 1, left + wide[waiting[0]]
        while count < len(waiting) and used + wide[waiting[count]] <= width:
            used += wide[waiting[count]]
            count += 1
        table = titled_table(title)
        for header in heads:
            table.add_column(header, no_wrap=header != "network")
        for header in waiting[:count]:
            table.add_column(Text(headers[header]), justify="right", no_wrap=True)
        for cells in zip(*heads.values(), *(columns[header] for header in waiting[:count]), strict=True):
            table.add_row(*cells)
        yield table
        waiting = waiting[count:]


def _width(cells: Sequence[str]) -> int:
    """Of a column, with the two spaces after it."""
    return max(len(line) for cell in cells for line in cell.split("\n")) + 2


def print_table(console: Console, table: Table) -> None:
    """Print a table, its title and caption over the terminal's width: they may be longer than its rows."""
    title, caption = table.title, table.caption
    table.title = table.caption = None
    for text in (title, table, caption):
        if text is not None:
            console.print(text)
    table.title, table.caption = title, caption


def titled_table(title: str) -> Table:
    """An empty table without a frame, its title on the left."""
    return Table(
        title=Text(title, style="bold"),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
        show_edge=False,
    )
