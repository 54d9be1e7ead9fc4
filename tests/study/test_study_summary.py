"""The results kept beside the code: a page, a CSV and figures that say what the report says."""

import csv
import statistics
from pathlib import Path

import pytest

from fixtures.messages import says
from fixtures.records import STABLE, UNSTABLE, finished, make_record
from stabzoo.study import load_study
from stabzoo.study.analysis.comparison import Agreement
from stabzoo.study.analysis.phrases import agreement_text, ranking
from stabzoo.study.report.report import Report
from stabzoo.study.report.summary import numbers, write_summary
from stabzoo.study.store.records import Record


def test_summary_and_numbers(tmp_path: Path) -> None:
    """Each run is in the CSV, each table and figure on the page, and the page's means are those of the CSV."""
    study = load_study("quickstart", "smoke").model_copy(update={"seeds": (0, 1)})
    report = Report.of(study, finished(study), ())
    write_summary(report, tmp_path / "a" / "folder")
    page = (tmp_path / "a" / "folder" / "summary.md").read_text()
    assert f"**{report.sentence}**" in page
    assert "stabzoo study quickstart --scale smoke" in page
    for limit in study.limits:
        assert f"- {limit}" in page
    assert {path.name for path in (tmp_path / "a" / "folder").iterdir()} == {
        "summary.md", "results.csv", "plot.png", "plot.pdf", "curves.png", "curves.pdf",
    }  # fmt: skip
    assert all(f"![{name}]({name}.png)" in page for name in ("plot", "curves"))
    lines = list(csv.DictReader((tmp_path / "a" / "folder" / "results.csv").read_text().splitlines()))
    assert len(lines) == len(study.networks) * len(study.seeds) * len(study.evaluations)
    assert {(line["network"], line["zero_stability"], line["parasitic_radius"]) for line in lines} == {
        (study.networks[0].label, "strong", "0.333333"),
        (study.networks[1].label, "unstable", "1.83929"),
    }
    clean = [
        float(line["value"])
        for line in lines
        if line["quantity"] == "clean" and line["network"] == study.networks[0].label
    ]
    assert (
        f"| {study.networks[0].label} | stable | {statistics.fmean(clean):.1f}±{statistics.stdev(clean):.1f} |" in page
    )
    assert "\\| 1)" in page  # of (1, 1, 1 | 1), which would end a cell


def test_measured_numbers_stand_under_the_published_ones(tmp_path: Path) -> None:
    """With the difference where the experiment is the paper's; the diagnostics' numbers are in the CSV too."""
    study = load_study("forward-stability-table-3")
    report = Report.of(study, finished(study), ())
    write_summary(report, tmp_path)
    page = (tmp_path / "summary.md").read_text()
    mean = statistics.fmean([50.0, 80.0, 90.0])
    assert f"| ResNet-D 18 | 88.81<br>{mean:.2f} ({mean - 88.81:+.2f}) |" in page
    says(next(line for line in page.splitlines() if "published order" in line), "mean of last epochs 0 of 28")
    assert f"ResNet-D 18,stable_resnet_d18,strong,0.333333,0,mean of last epochs,{mean:.6g}" in numbers(report)


@pytest.mark.parametrize(
    ("gaps", "facts"),
    [
        (((20, 15),), ("better", "as published")),
        (((20, 15), (1, 2)), ("better", "every column", "as published")),
        (((20, 15), (-1, -2)), ("published sign", "every column")),
        (((20, 15), (-1, 2), (0, 3)), ("another sign", "b and c")),
        (((None, None), (None, None)), ("published order",)),
    ],
)
def test_what_held_is_said(gaps: tuple[tuple[float | None, float | None], ...], facts: tuple[str, ...]) -> None:
    """The signs of the gaps, each gap, and how many pairs are in order."""
    columns = "abc"[: len(gaps)]
    entries = [Agreement(name, 6, 3, there, here) for name, (here, there) in zip(columns, gaps, strict=True)]
    found = agreement_text(load_study("quickstart").published[0], entries)
    says(found, *facts, *(f"{name} 3 of 6" for name in columns))
    for name, (here, there) in zip(columns, gaps, strict=True):
        if here is not None:
            says(found, f"{name} {here:+.1f} (published {there:+.1f})")
    assert ("every column" in found) == ("every column" in facts)
    assert ("another sign" in found) == ("another sign" in facts)
    assert agreement_text(load_study("quickstart").published[0], []) == ""


def test_what_held_is_read_as_a_whole() -> None:
    """Once, as it stands on the page."""
    entries = [Agreement("a", 6, 3, 15, 20), Agreement("b", 6, 2, 2, -1)]
    assert agreement_text(load_study("quickstart").published[0], entries) == (
        "Zero-stable minus unstable networks has another sign than published in b: a +20.0 (published +15.0), b -1.0 "
        "(published +2.0). Pairs of networks that come in the published order: a 3 of 6, b 2 of 6."
    )


def test_networks_that_are_alike_are_ranked() -> None:
    """Where all are zero-stable the answer is which is best; where one is not, it is about zero stability."""
    study = load_study("forward-stability-table-4", "smoke")
    records: dict[str, Record] = {}
    for network, accuracies in zip(study.networks, ((90.0, 30.0), (80.0, 40.0)), strict=True):
        run = study.run(network, 0)
        records[run.key] = make_record(run, STABLE, *zip(study.evaluations, accuracies, strict=True))
    report = Report.of(study, records, ())
    assert (
        report.sentence
        == ranking(report.rows, study.evaluations)
        == (
            "On clean images ResNet-D 18 is best (90.0 %) and ResNet-S 11 worst (80.0 %); "
            "under Gaussian σ = 0.05 ResNet-S 11 is best (40.0 %) and ResNet-D 18 worst (30.0 %)."
        )
    )
    key = next(reversed(records))
    report = Report.of(study, records | {key: records[key].model_copy(update={"coefficients": UNSTABLE})}, ())
    says(report.sentence, "Zero stability", "clean images only")
    assert "cannot be said" in Report.of(study, {}, ()).sentence
