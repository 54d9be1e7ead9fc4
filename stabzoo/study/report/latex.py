"""A study's tables as LaTeX: what is proved and measured, findings, and what is published beside what was measured.

They need the package booktabs, and an engine that reads UTF-8 (every current one).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stabzoo.errors import printable
from stabzoo.study.analysis import phrases, verdicts
from stabzoo.study.report.report import Report

__all__ = ["escaped", "latex"]

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # not the argument of a line's end
    "]": "{]}",
    "-": "{-}",  # two are no dash
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "±": r"\ensuremath{\pm}",
    "→": r"\ensuremath{\rightarrow}",
    "∞": r"\ensuremath{\infty}",
    "≤": r"\ensuremath{\leq}",
    "–": "--",
    "α": r"\ensuremath{\alpha}",
    "β": r"\ensuremath{\beta}",
    "ε": r"\ensuremath{\varepsilon}",
    "λ": r"\ensuremath{\lambda}",
    "μ": r"\ensuremath{\mu}",
    "ρ": r"\ensuremath{\rho}",
    "σ": r"\ensuremath{\sigma}",
}


def escaped(text: str) -> str:
    r"""Text that LaTeX prints as it is: labels and titles may be a stranger's.

    >>> escaped(r"50 % of \input{x}, a_1")
    '50 \\% of \\textbackslash{}input\\{x\\}, a\\_1'
    """
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(printable(text).split()))


def latex(report: Report) -> str:
    """The tables of a report, each a ``table`` with its caption and label."""
    return "\n".join(_tables(report)) + "\n"


def _tables(report: Report) -> Iterator[str]:
    study = report.study
    yield "% \\usepackage{booktabs}"
    seeds = f", mean ± standard deviation over {len(study.seeds)} seeds" if len(study.seeds) > 1 else ""
    body = [
        (row.network.label, phrases.proved_text(row), *(phrases.measured_text(row, e) for e in study.evaluations))
        for row in report.rows
    ]
    verdict = ("verdict", "", *(verdicts.verdict_text(entry) for entry in report.comparisons))
    yield from _table(
        f"{study.title} {phrases.metrics_text(study)}{seeds}.",
        f"{study.folder_name}:measured",
        ("network", "zero stability", *(evaluation.heading for evaluation in study.evaluations)),
        body,
        [verdict] if len(report.comparisons) == len(study.evaluations) else [],
    )
    for number, finding in enumerate(report.findings, start=1):
        yield from _table(f"{finding.title}.", f"{study.folder_name}:finding-{number}", finding.columns, finding.rows)
    for number, published in enumerate(study.published, start=1):
        rows = [row for row in report.rows if row.network.label in published.values]
        cells = [
            tuple(cell.replace("\n", "; here ") for cell in phrases.published_cells(study, row, published))
            for row in rows
        ]
        yield from _table(
            f"Published, {published.setting}: {published.reference}.",
            f"{study.folder_name}:published-{number}",
            ("network", *published.columns),
            [(row.network.label, *found) for row, found in zip(rows, cells, strict=True)],
        )


def _table(
    caption: str,
    label: str,
    head: Sequence[str],
    body: Sequence[Sequence[str]],
    foot: Sequence[Sequence[str]] = (),
) -> Iterator[str]:
    yield ""
    yield r"\begin{table}"
    yield r"\centering"
    yield f"\\caption{{{escaped(caption)}}}"
    yield f"\\label{{tab:{label}}}"
    yield f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}"
    yield r"\toprule"
    yield _row(head)
    yield r"\midrule"
    yield from map(_row, body)
    if foot:
        yield r"\midrule"
        yield from map(_row, foot)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(escaped, cells))} \\\\"
