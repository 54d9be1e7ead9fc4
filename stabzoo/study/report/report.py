"""What a study leaves in its folder: results.json, plot.png and report.html, each replaced whole."""

from __future__ import annotations

import base64
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stabzoo.config import json_text
from stabzoo.files import write_atomically
from stabzoo.study.analysis import phrases, verdicts
from stabzoo.study.analysis.comparison import Agreement, Comparison, Row, agreements, compare, rows_of
from stabzoo.study.analysis.findings import Finding, findings_of
from stabzoo.study.analysis.uncertainty import contrast
from stabzoo.study.spec import Published, Study
from stabzoo.study.store.records import Record
from stabzoo.training.spec import software

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CAPTIONS", "REPORT_FILES", "Failure", "Report", "failures_of"]

DIVERGED = "diverged: the loss overflowed, and training stopped there"
REPORT_FILES = ("report.html", "plot.png", "results.json")
"""What `Report.write` leaves in a study's folder."""

CAPTIONS = {
    "plot": "Every run, a panel for each evaluation, on an axis of its own. Long marks are means and lines below them "
    "their intervals; zero-stable networks are blue circles, unstable ones red squares.",
    "radius": "Test accuracy against the parasitic radius of the scheme, its largest root but 1: a mark for each "
    "network, with its standard deviation over the seeds. Zero-stable ones are filled.",
    "noise": "Test accuracy against the level of noise, corruption or attack, with the standard deviation over the "
    "seeds. Level 0 are the clean images.",
    "robustness": "Test accuracy against the l2 distance by which pixels may be changed: certified from below, "
    "attacked from above.",
    "curves": "Training loss and, where it was measured, test accuracy by epoch: means over the seeds, shaded from "
    "the least to the most.",
    "angles": "Median principal angles within and between classes in the last feature map, by epoch.",
    "angles-by-layer": "Median principal angles within and between classes in every layer, after the last epoch.",
}
"""What stands below each figure, by the name of its file."""


@dataclass(frozen=True)
class Failure:
    """A run that did not finish, after every attempt it was given; ``traceback`` is empty when its process died."""

    label: str
    seed: int
    reason: str
    traceback: str


def failures_of(label: str, seed: int, record: Record) -> list[Failure]:
    """What failed of a finished run: evaluations of plugins."""
    return [Failure(label, seed, entry.reason, "") for entry in record.unmeasured]


@dataclass(frozen=True)
class Report:
    """A study with the runs it has, and all that follows from them."""

    study: Study
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]  # one an evaluation; empty unless both zero-stable and unstable runs exist
    findings: tuple[Finding, ...]  # one a diagnostic
    failures: tuple[Failure, ...]

    @classmethod
    def of(cls, study: Study, records: dict[str, Record], failures: Sequence[Failure]) -> Report:
        """Prove and compare; ``records`` are the finished runs by their keys."""
        rows = rows_of(study, records)
        compared = [compare(rows, evaluation) for evaluation in study.evaluations]
        comparisons = tuple(entry for entry in compared if entry)
        return cls(study, tuple(rows), comparisons, findings_of(study, rows), tuple(failures))

    @property
    def sentence(self) -> str:
        """The study's answer: what its diagnostics say, and whether zero stability predicted performance.

        Where all networks are alike in that, it is which of them is best.
        """
        answers = [finding.sentence for finding in self.findings]
        finished = len(self.rows) > 1 and all(row.records for row in self.rows)
        if not self.comparisons and not answers and finished:
            answers.append(verdicts.ranking(self.rows, self.study.evaluations))
        elif self.comparisons or not answers:
            answers.append(verdicts.answer(self.comparisons))
        return " ".join(answers)

    def agreements(self, published: Published) -> list[Agreement]:
        """What was measured beside a published table, column by column."""
        return agreements(self.study, self.rows, published)

    @property
    def troubles(self) -> list[str]:
        """Label and seed of the runs that diverged, died or lost a proof while training, and which of these."""
        return [
            f"{row.network.label}, seed {record.run.seed}: {text}"
            for row in self.rows
            for record in row.records
            for text in (*record.warnings, *([DIVERGED] if record.diverged else []))
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-safe values; the same for the same runs."""
        return {
            "format": 3,
            "sentence": self.sentence,
            "study": self.study.model_dump(mode="json", exclude={"scales"}),
            "networks": [self._network(row) for row in self.rows],
            "comparisons": [entry.to_dict() for entry in self.comparisons],
            "findings": [asdict(finding) for finding in self.findings],
            "published": [
                {
                    "reference": published.reference,
                    "setting": published.setting,
                    "columns": [entry.to_dict() for entry in self.agreements(published)],
                }
                for published in self.study.published
            ],
            "failures": [asdict(failure) for failure in self.failures],
            "environment": environment(),
        }

    def _network(self, row: Row) -> dict[str, Any]:
        return {
            "label": row.network.label,
            "proved": row.card.to_dict() if row.card else None,
            "measured": [
                {
                    "evaluation": evaluation.model_dump(mode="json"),
                    "metric": evaluation.metric.model_dump(mode="json"),
                    "evidence": evaluation.evidence,
                    "mean": sample.mean,
                    "std": sample.deviation,
                    "interval": contrast([sample]).interval(),
                }
                for evaluation in self.study.evaluations
                if (sample := row.sample(evaluation)).values
            ],
            "runs": [{"key": record.run.key, **record.model_dump(mode="json")} for record in row.records],
        }

    def figures(self) -> dict[str, Figure]:
        """The figures that the study has the data for, by the name of their files."""
        # matplotlib is slow to import, and every worker process would pay for it
        from stabzoo.study.figures.angles import draw_angles, draw_angles_by_layer
        from stabzoo.study.figures.curves import draw_curves
        from stabzoo.study.figures.noise import draw_noise
        from stabzoo.study.figures.overview import draw
        from stabzoo.study.figures.radius import draw_radii
        from stabzoo.study.figures.robustness import draw_l2

        drawn = {
            "plot": draw(self.study, self.rows, self.comparisons),
            "radius": draw_radii(self.study, self.rows),
            "noise": draw_noise(self.study, self.rows),
            "robustness": draw_l2(self.study, self.rows),
            "curves": draw_curves(self.study, self.rows),
            "angles": draw_angles(self.study, self.rows),
            "angles-by-layer": draw_angles_by_layer(self.study, self.rows),
        }
        return {name: figure for name, figure in drawn.items() if figure}

    def write(self, folder: Path) -> None:
        """Write ``REPORT_FILES``, and every figure as NAME.png and NAME.pdf."""
        from stabzoo.plotting.style import saved

        figures = self.figures()
        pictures = {name: saved(figure, "png", self.study.title) for name, figure in figures.items()}
        results = json_text(self.to_dict(), indent=1) + "\n"
        page = self._page(pictures).encode()
        for name, content in zip(REPORT_FILES, (page, pictures["plot"], results.encode()), strict=True):
            write_atomically(folder / name, content)
        for name, figure in figures.items():
            write_atomically(folder / f"{name}.png", pictures[name])
            write_atomically(folder / f"{name}.pdf", saved(figure, "pdf", self.study.title))

    def _page(self, pictures: dict[str, bytes]) -> str:
        from stabzoo.plotting.page import render_page

        return render_page(
            "stabzoo.study.report",
            "report.html.j2",
            self.study.title,
            report=self,
            study=self.study,
            phrases=phrases,
            verdicts=verdicts,
            pictures={name: base64.b64encode(picture).decode() for name, picture in pictures.items()},
            captions=CAPTIONS,
            environment=environment(),
        )


def environment() -> dict[str, str]:
    """Versions, machine and threads; what decides a run's numbers stands in the run itself as well."""
    return {
        **software(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": "1 for each run",
    }
