"""Everything a study shows while it runs and when it is done: the only module of the study that prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stabzoo.study.analysis import phrases, verdicts
from stabzoo.study.analysis.findings import Finding
from stabzoo.study.report.report import Report
from stabzoo.study.spec import Published
from stabzoo.terminal import numbers, print_table, say, titled_table

__all__ = ["show"]


def show(console: Console, report: Report) -> None:
    """Print the tables, the study's sentence, its limits, and the runs that failed."""
    tables = [
        *_measured(report, console.width),
        *(_found(finding) for finding in report.findings),
        *(table for published in report.study.published for table in _published(report, published, console.width)),
    ]
    for table in tables:
        console.print()
        print_table(console, table)
    console.print()
    say(console, report.sentence, style="bold")
    say(console, verdicts.method_note(report.comparisons), style="dim")
    if text := phrases.meanings_text(report.study):
        say(console, text, style="dim")
    for published in report.study.published:
        if text := verdicts.agreement_text(report.agreements(published)):
            say(console, text)
    for trouble in report.troubles:
        say(console, trouble, style="yellow")
    if report.study.limits:
        say(console, "\nLimits")
        for limit in report.study.limits:
            say(console, f"- {limit}")
    for failure in report.failures:
        say(console, f"failed: {failure.label}, seed {failure.seed}: {failure.reason}", style="red")


def _measured(report: Report, width: int) -> Iterator[Table]:
    seeds = len(report.study.seeds)
    spread = f", mean ± standard deviation over {seeds} seeds" if seeds > 1 else ""
    title = f"Proved zero stability and measured {_lowered(phrases.metrics_text(report.study))}{spread}"
    networks, proved = [Text(row.network.label) for row in report.rows], list[Text]()
    for row in report.rows:
        style = "" if row.card is None else "blue" if row.card.is_zero_stable else "red"
        proved.append(Text(phrases.proved_text(row), style=style))
    columns = {
        evaluation.heading: [phrases.measured_text(row, evaluation) for row in report.rows]
        for evaluation in report.study.evaluations
    }
    yield from numbers(title, {"network": networks, "zero\nstability": proved}, columns, width)


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _found(finding: Finding) -> Table:
    table = titled_table(finding.title)
    for column in finding.columns:
        table.add_column(Text(column), overflow="fold")
    for row in finding.rows:
        table.add_row(*map(Text, row))
    return table


def _published(report: Report, published: Published, width: int) -> Iterator[Table]:
    rows = [row for row in report.rows if row.network.label in published.values]
    cells = [phrases.published_cells(report.study, row, published) for row in rows]
    columns = {column: [row[i] for row in cells] for i, column in enumerate(published.columns)}
    networks = {"network": [Text(row.network.label) for row in rows]}
    for table in numbers(f"Published: {published.setting}", networks, columns, width):
        table.caption = Text(published.reference)
        yield table
