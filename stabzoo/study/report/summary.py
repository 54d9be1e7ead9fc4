"""A study's results to keep beside the code: a page of Markdown, a CSV of every number, and the figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from stabzoo.errors import printable
from stabzoo.files import write_atomically
from stabzoo.stability.enclosure import as_float
from stabzoo.study.analysis import phrases, verdicts
from stabzoo.study.analysis.quantities import measured
from stabzoo.study.report.export import csv_text
from stabzoo.study.report.report import CAPTIONS, Report, environment
from stabzoo.study.spec import Published

__all__ = ["numbers", "summary", "write_summary"]

COLUMNS = ("network", "model", "zero_stability", "parasitic_radius", "seed", "quantity", "value")


def write_summary(report: Report, folder: Path) -> None:
    """Write ``summary.md``, ``results.csv`` and each figure as PNG and PDF into ``folder``, which is made."""
    from stabzoo.plotting.style import saved  # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    figures = report.figures()
    for name, figure in figures.items():
        write_atomically(folder / f"{name}.png", saved(figure, "png", report.study.title))
        write_atomically(folder / f"{name}.pdf", saved(figure, "pdf", report.study.title))
    write_atomically(folder / "results.csv", numbers(report).encode())
    write_atomically(folder / "summary.md", summary(report, list(figures)).encode())


def numbers(report: Report) -> str:
    """Every number of every finished run as CSV, one a line; named by their evaluation, accuracies in percent."""
    return csv_text(COLUMNS, _numbers(report))


def _numbers(report: Report) -> Iterator[tuple[object, ...]]:
    for row in report.rows:
        radius = f"{as_float(row.card.parasitic_radius):.6g}" if row.card else ""
        proved = row.card.status if row.card else ""
        for record in row.records:
            for quantity, sample in measured(report.study, [record]).items():
                for value in sample.values:
                    network = (row.network.label, row.network.model, proved, radius)
                    yield (*network, record.run.seed, quantity, f"{value:.6g}")


def summary(report: Report, figures: Sequence[str] = ()) -> str:
    """The answer, what was measured beside what is published, the figures by their names, limits and environment."""
    return "\n".join(_lines(report, figures)) + "\n"


def _lines(report: Report, figures: Sequence[str]) -> Iterator[str]:
    study = report.study
    yield from (f"# {_text(study.title)}", "", _text(study.description), "", f"**{_text(report.sentence)}**", "")
    yield from ("```", phrases.command_text(study), "```", "")
    yield from ("## Measured", "")
    seeds = f", mean ± standard deviation over {len(study.seeds)} seeds" if len(study.seeds) > 1 else ""
    yield from (f"{_text(phrases.metrics_text(study))}{seeds}.", "")
    if text := phrases.meanings_text(study):
        yield from (_text(text), "")
    yield from _table(
        ("network", "zero stability (proved)", *(evaluation.heading for evaluation in study.evaluations)),
        [
            (row.network.label, phrases.proved_text(row), *(phrases.measured_text(row, e) for e in study.evaluations))
            for row in report.rows
        ],
    )
    yield from _comparisons(report)
    for finding in report.findings:
        yield from (f"## {_text(finding.title)}", "")
        yield from _table(finding.columns, finding.rows)
    for published in study.published:
        yield from _published(report, published)
    for number, name in enumerate(figures, start=1):
        yield from (f"![{name}]({name}.png)", "", f"**Figure {number}.** {CAPTIONS[name]}", "")
    if report.troubles:
        yield from ("## Troubled runs", "", *(f"- {_text(trouble)}" for trouble in report.troubles), "")
    if study.limits:
        yield from ("## Limits", "", *(f"- {_text(limit)}" for limit in study.limits), "")
    yield from ("## Environment", "", *(f"- {name}: {value}" for name, value in environment().items()))


def _comparisons(report: Report) -> Iterator[str]:
    if report.comparisons:
        yield from _table(
            ("zero stability", *(entry.evaluation.title for entry in report.comparisons)),
            [
                *(
                    (
                        name,
                        *(verdicts.number_text(entry, name).removeprefix(f"{name} ") for entry in report.comparisons),
                    )
                    for name in ("gap", "margin")
                ),
                ("verdict", *(verdicts.verdict_text(entry) for entry in report.comparisons)),
            ],
        )
    yield from (verdicts.method_note(report.comparisons), "")


def _published(report: Report, published: Published) -> Iterator[str]:
    yield from ("## Published", "", _text(f"{published.reference}. {published.setting}."), "")
    rows = [row for row in report.rows if row.network.label in published.values]
    cells = [(row.network.label, *phrases.published_cells(report.study, row, published)) for row in rows]
    yield from _table(("network", *published.columns), cells)
    if published.same_experiment:
        yield from ("The second lines are measured here, with the difference.", "")
    if text := verdicts.agreement_text(report.agreements(published)):
        yield from (_text(text), "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield _row(head)
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield _row(row)
    yield ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return "<br>".join(_text(line).replace("|", r"\|") for line in text.split("\n"))


MARKUP = re.compile(r"[\\`*~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|&(?=#?\w+;)")
BEGINNING = re.compile(r"(#+|[-+>=]+|\d+[.)])(?=\s|$)|>")


def _text(text: str) -> str:
    r"""Text that Markdown shows as it is, in one line: labels and titles may be a stranger's.

    >>> _text("[a](javascript:x) <b>\n# *c*")
    '[a\\](javascript:x) &lt;b> # \\*c\\*'
    """
    line = MARKUP.sub(lambda found: f"\\{found[0]}", " ".join(printable(text).split())).replace("<", "&lt;")
    if begins := BEGINNING.match(line):  # a heading, an item, a quotation
        line = f"{line[: begins.end() - 1]}\\{line[begins.end() - 1 :]}"
    return line
