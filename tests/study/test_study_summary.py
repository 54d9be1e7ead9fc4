"""The results kept beside the code: a page, a CSV and figures that say what the report says."""

import csv
import statistics
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from fixtures.messages import says
from fixtures.records import STABLE, UNSTABLE, finished, make_record
from stabzoo.study import load_study
from stabzoo.study.analysis.comparison import Agreement
from stabzoo.study.analysis.uncertainty import Estimate
from stabzoo.study.analysis.verdicts import agreement_text, ranking
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
    shown = MarkdownIt("commonmark").enable("table").parse(page)
    assert sum(token.type == "tr_open" for token in shown) == sum(
        line.startswith("|") and not line.startswith("| ---") for line in page.splitlines()
    )


def test_measured_numbers_stand_under_the_published_ones(tmp_path: Path) -> None:
    """With the difference where the experiment is the paper's; the diagnostics' numbers are in the CSV too."""
    study = load_study("forward-stability-table-3")
    report = Report.of(study, finished(study), ())
    write_summary(report, tmp_path)
    page = (tmp_path / "summary.md").read_text()
    mean = statistics.fmean([50.0, 80.0, 90.0])
    assert f"| ResNet-D 18 | 88.81<br>{mean:.2f} ({mean - 88.81:+.2f}) |" in page
    says(
        next(line for line in page.splitlines() if "published order" in line),
        "mean of last epochs 0 of 28",
        "0 in it, 0 against",
    )
    assert f"ResNet-D 18,stable_resnet_d18,strong,0.333333,0,mean of last epochs,{mean:.6g}" in numbers(report)


Limits = tuple[float, float, float]

UP: Limits = (2.0, 0.1, 3.9)  # all but across 0
DOWN: Limits = (-2.0, -3.9, -0.1)
OPEN: Limits = (2.0, -0.1, 4.1)


@pytest.mark.parametrize(
    ("gaps", "facts"),
    [
        (((UP, 15),), ("are better", "as published")),
        (((UP, 15), (UP, 2)), ("are better", "every column", "as published")),
        (((UP, 15), (DOWN, -2)), ("has the published sign", "every column")),
        (((UP, 15), (DOWN, 2), (UP, -3)), ("published sign in a", "another sign than published in b and c")),
        (((OPEN, 15),), ("not decided by these runs in a",)),
        (
            ((OPEN, -15), (UP, 15), (DOWN, 3)),
            ("published sign in b", "another sign than published in c", "not decided by these runs in a"),
        ),
        (((UP, 0),), ("not decided by these runs in a",)),
        (((None, None), (None, None)), ("published order",)),
    ],
)
def test_what_held_is_said(gaps: tuple[tuple[Limits | None, float | None], ...], facts: tuple[str, ...]) -> None:
    """The signs of the gaps as their intervals decide them, each gap, and how many pairs are in order."""
    columns = "abc"[: len(gaps)]
    entries = [
        Agreement(name, 6, 3, 2, 1, there, here and Estimate(*here))
        for name, (here, there) in zip(columns, gaps, strict=True)
    ]
    found = agreement_text(entries)
    says(found, *facts, *(f"{name} 3 of 6 (decided: 2 in it, 1 against it)" for name in columns))
    for name, (here, there) in zip(columns, gaps, strict=True):
        if here is not None:
            says(found, f"{name} {here[0]:+.1f} [{here[1]:+.1f}, {here[2]:+.1f}] (published {there:+.1f})")
    for words in ("every column", "another sign", "not decided", "are better"):
        assert (words in found) == any(words in fact for fact in facts)
    assert agreement_text([]) == ""


def test_what_held_is_read_as_a_whole() -> None:
    """Once, as it stands on the page."""
    entries = [
        Agreement("a", 6, 3, 1, 0, 15, Estimate(20, 12, 28)),
        Agreement("b", 6, 2, 0, 1, 2, Estimate(-1, unknown="one seed")),
    ]
    assert agreement_text(entries) == (
        "Zero-stable minus unstable networks has the published sign in a and has a sign that is not decided by these runs "
        "in b: a +20.0 [+12.0, +28.0] (published +15.0), b -1.0 (no interval: one seed) (published +2.0). Pairs of "
        "networks in the published order by their means: a 3 of 6 (decided: 1 in it, 0 against it), b 2 of 6 (decided: 0 "
        "in it, 1 against it)."
    )


def test_pairs_and_gaps_are_decided_by_their_intervals() -> None:
    """Of three networks with published accuracies: one pair in order beyond its interval, one against it, one open."""
    study = load_study("zerosnet-table-1").model_copy(update={"seeds": (0, 1, 2), "diagnostics": ()})
    records: dict[str, Record] = {}
    for label, mean in (("α = 1.5", 95.0), ("α = 0.7", 96.0), ("α = 1", 94.0), ("α = 2", 40.0)):
        (network,) = (network for network in study.networks if network.label == label)
        for seed in study.seeds:
            run = study.run(network, seed)
            coefficients = STABLE if label in ("α = 0.7", "α = 1") else UNSTABLE
            records[run.key] = make_record(run, coefficients, (study.evaluations[0], mean + 0.1 * seed)).model_copy(
                update={"test_images": 2000}
            )
    (found,) = Report.of(study, records, ()).agreements(study.published[0])
    # published: 79.13 (2), 87.07 (1.5), 93.16 (0.7), 93.19 (1); here 40, 95, 96, 94
    assert (found.pairs, found.same_order, found.confirmed, found.contradicted) == (6, 4, 3, 1)
    assert found.gap is not None
    assert (found.sign, found.gap.verdict, found.gap.value) == ("above", "above", pytest.approx(27.5))


def test_networks_that_are_alike_are_ranked() -> None:
    """Where all are zero-stable the answer is which is best; where one is not, it is about zero stability."""
    study = load_study("forward-stability-table-4", "smoke").model_copy(update={"seeds": (0, 1, 2)})
    records: dict[str, Record] = {}
    for network, accuracies in zip(study.networks, ((90.0, 32.0), (80.0, 31.0)), strict=True):
        for seed in study.seeds:
            run = study.run(network, seed)
            values = [accuracy + 0.1 * seed for accuracy in accuracies]
            records[run.key] = make_record(run, STABLE, *zip(study.evaluations, values, strict=True))
    report = Report.of(study, records, ())
    assert (
        report.sentence
        == ranking(report.rows, study.evaluations)
        == (
            "On clean images ResNet-D 18 is best (90.1 %, +10.0 [+5.8, +14.2] from the next) and ResNet-S 11 is worst "
            "(80.1 %, +10.0 [+5.8, +14.2] from the next); under Gaussian σ = 0.05 ResNet-D 18 comes first (32.1 %, +1.0 "
            "[-4.5, +6.5] from the next: whether it is best is not decided by these runs) and ResNet-S 11 comes last "
            "(31.1 %, +1.0 [-4.5, +6.5] from the next: whether it is worst is not decided by these runs)."
        )
    )
    first = study.networks[0]
    unstable = {
        key: record.model_copy(update={"coefficients": UNSTABLE}) if record.run.model == first.model else record
        for key, record in records.items()
    }
    says(
        Report.of(study, unstable, ()).sentence,
        "Zero stability did not predict the performance of these networks on clean images",
    )
    assert "cannot be said" in Report.of(study, {}, ()).sentence
