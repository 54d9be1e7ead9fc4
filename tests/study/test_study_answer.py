"""The study's numbers and its sentence, from made-up runs whose answer is known."""

import io
import math
import warnings
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

import stabzoo
from fixtures.messages import says
from fixtures.records import STABLE, UNSTABLE, make_record
from stabzoo.plotting.style import saved
from stabzoo.study import Study, load_study
from stabzoo.study.analysis.comparison import Comparison, compare, rows_of
from stabzoo.study.analysis.phrases import (
    accuracy_text,
    answer,
    coefficients_text,
    correlation_note,
    moduli_text,
    proved_text,
)
from stabzoo.study.figures.radius import draw_radii
from stabzoo.study.report.report import Report
from stabzoo.study.store.records import Coefficients, Record
from stabzoo.terminal import numbers


def small_study(evaluations: int = 2) -> Study:
    """A zero-stable, an unstable and a scheme-less network; clean and Gaussian noise."""
    study = load_study("quickstart")
    plain = study.networks[0].model_copy(update={"label": "plain", "model": "resnet18", "args": {}})
    return study.model_copy(
        update={
            "networks": (study.networks[0], study.networks[2], plain),
            "evaluations": study.evaluations[:evaluations],
            "seeds": (0, 1),
            "published": (),
        }
    )


def comparisons(*accuracies: tuple[list[float], list[float]]) -> list[Comparison]:
    """Comparisons of made-up runs: for each evaluation, clean first, the stable and the unstable network's accuracies."""
    study = small_study(len(accuracies))
    records: dict[str, Record] = {}
    for network, coefficients, group in ((study.networks[0], STABLE, 0), (study.networks[1], UNSTABLE, 1)):
        for position, seed in enumerate(study.seeds):
            run = study.run(network, seed)
            values = [pair[group][position] for pair in accuracies]
            records[run.key] = make_record(run, coefficients, *zip(study.evaluations, values, strict=True))
    rows = rows_of(study, records)
    return [entry for entry in (compare(rows, evaluation) for evaluation in study.evaluations) if entry]


SEPARATED = ([97.0, 95.0], [80.0, 70.0])
ON_AVERAGE = ([90.0, 60.0], [70.0, 20.0])
EQUAL = ([80.0, 80.0], [80.0, 80.0])
REVERSED = ([70.0, 80.0], [90.0, 95.0])


def test_margin_and_rank_correlation():
    """Margin of the worst against the best; four ranks in two groups correlate by at most 2 / sqrt 5."""
    separated, average, equal, reverse = comparisons(SEPARATED, ON_AVERAGE, EQUAL, REVERSED)
    assert (separated.margin, average.margin, equal.margin, reverse.margin) == (15, -10, 0, -25)
    assert separated.correlation == pytest.approx(2 / math.sqrt(5)) == separated.largest_correlation
    assert average.correlation == pytest.approx(1 / math.sqrt(5))
    assert equal.correlation == 0
    assert reverse.correlation == pytest.approx(-2 / math.sqrt(5))


RESTRICTIONS = {"not", "only", "clean", "noise", "noises", "average"}
"""Words of a verdict that restrict it."""


@pytest.mark.parametrize(
    ("accuracies", "restrictions"),
    [
        ([SEPARATED], set()),
        ([SEPARATED, SEPARATED], set()),
        ([SEPARATED, SEPARATED, EQUAL], {"clean", "noises"}),
        ([SEPARATED, REVERSED], {"clean", "only"}),
        ([EQUAL, SEPARATED], {"noise", "only"}),
        ([EQUAL, EQUAL], {"not"}),
        ([REVERSED, REVERSED], {"not"}),
    ],
)
def test_sentence_follows_from_the_runs(accuracies: list[tuple[list[float], list[float]]], restrictions: set[str]):
    """Each verdict is given exactly when its rule holds, and every evaluation is accounted for once."""
    compared = comparisons(*accuracies)
    sentence = answer(compared)
    verdict = sentence.partition(": ")[0]
    says(verdict, "Zero stability", *(["1 of 2"] if len(accuracies) == 3 else []))
    assert set(verdict.split()) & RESTRICTIONS == restrictions
    places = ["on clean images", "under Gaussian σ = 0.2", "under uniform [-0.2, 0]"]
    assert [sentence.count(f"{place} (") for place in places] == [1] * len(compared) + [0] * (3 - len(compared))
    for entry in compared:
        spelled, short = f"(margin {entry.margin:+.1f} points, rank correlation", f"({entry.margin:+.1f}, "
        assert spelled in sentence or short in sentence
    assert sentence.count("rank correlation") == 1
    assert sentence.count(". ") == 0


def test_on_average_is_said_as_such():
    """A rank correlation without separation is neither hidden nor called a prediction of every run."""
    mixed = ([90.0, 60.0], [59.0, 61.0])
    compared = comparisons(mixed, REVERSED)
    compared[0] = Comparison(**{**vars(compared[0]), "correlation": 0.6})
    sentence = answer(compared)
    assert sentence == (  # the whole sentence once, as it is read
        "Zero stability predicted performance only on average: zero-stable runs were better on average, but not one by "
        "one, on clean images (margin -1.0 points, rank correlation 0.60); zero-stable runs were not clearly better under "
        "Gaussian σ = 0.2 (-25.0, -0.89)."
    )


def test_nothing_is_said_without_both_kinds():
    """No unstable run, no answer; and no warning on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "cannot be said" in answer([])
        assert "at most" not in correlation_note([])


def test_status_is_proved_from_the_coefficients_not_read():
    """The row's card comes from the coefficients the run was trained with; without a scheme or a run there is none."""
    study = small_study(1)
    run = study.run(study.networks[0], 0)
    record = make_record(run, UNSTABLE, (study.evaluations[0], 50))
    plain = record.model_copy(update={"run": study.run(study.networks[2], 0), "coefficients": None})
    rows = rows_of(study, {run.key: record, plain.run.key: plain})
    assert [proved_text(row) for row in rows] == ["unstable", "–", "–"]
    assert [accuracy_text(row, study.evaluations[0]) for row in rows] == ["50.0", "no run", "50.0"]
    assert rows[0].card is not None
    assert coefficients_text(rows[0].card) == "(1, 1, 1 | 1)"
    assert moduli_text(rows[0].card) == "1.84, 0.74, 0.74"


@pytest.mark.parametrize(
    ("coefficients", "text"),
    [
        ({"alpha": ["1/3", "5/9", "1/9"], "beta": ["16/9"], "beta_next": 0}, "(1/3, 5/9, 1/9 | 16/9)"),
        ({"alpha": ["33/40", "-0.1", "0.275"], "beta": ["1.45"], "beta_next": 0}, "(0.825, -0.1, 0.275 | 1.45)"),
        ({"alpha": [100], "beta": ["1/2"], "beta_next": "1/2"}, "(100 | 0.5; 0.5)"),
        ({"alpha": [0, 1], "beta": [0, 2], "beta_next": 0}, "(0, 1 | 0, 2)"),
    ],
)
def test_coefficients_are_written_exactly(coefficients: dict[str, object], text: str):
    """Decimals only where they are exact."""
    study = small_study(1)
    run = study.run(study.networks[0], 0)
    record = make_record(run, Coefficients.model_validate(coefficients), (study.evaluations[0], 50))
    card = rows_of(study, {run.key: record})[0].card
    assert card is not None
    assert coefficients_text(card) == text


def test_many_radii_are_a_curve(tmp_path: Path) -> None:
    """The root scan's schemes have the radii that it names, and its figure is drawn; fewer schemes have none."""
    study = load_study("root-scan").model_copy(update={"seeds": (0, 1)})
    records: dict[str, Record] = {}
    for position, network in enumerate(study.networks):
        scheme = stabzoo.get_scheme("zerosnet", **{k: v for k, v in network.args.items() if k != "width"})
        method = scheme.coefficients()
        coefficients = Coefficients(alpha=method.alpha, beta=method.beta, beta_next=method.beta_next)
        for seed in study.seeds:
            run = study.run(network, seed)
            values = [(evaluation, 90.0 - 5 * position - seed) for evaluation in study.evaluations]
            records[run.key] = make_record(run, coefficients, *values)
    rows = rows_of(study, records)
    radii = [row.card.parasitic_radius for row in rows if row.card]
    assert [f"r = {radius}" for radius in radii] == [network.label for network in study.networks]
    figure = draw_radii(study, rows)
    assert figure is not None
    assert draw_radii(study, rows[:4]) is None
    Report.of(study, records, ()).write(tmp_path)
    assert (tmp_path / "radius.png").read_bytes() == saved(figure, "png", study.title)
    assert (tmp_path / "radius.pdf").read_bytes() == saved(figure, "pdf", study.title)
    assert (tmp_path / "radius.pdf").read_bytes().startswith(b"%PDF")
    assert "against the parasitic radius" in (tmp_path / "report.html").read_text()


def test_many_evaluations_are_printed_in_tables_that_fit() -> None:
    """Each begins with the networks; nothing is cut off, and nothing left out."""
    networks = {
        "network": [Text("56: (0.825, -0.1, 0.275 | 1.45)"), Text("short")],
        "zero\nstability": [Text("stable")] * 2,
    }
    columns = {f"Gaussian σ = 0.{i}": [f"{i}0.0±1.5", "no run"] for i in range(1, 10)}
    console = Console(width=80, file=io.StringIO())
    tables = list(numbers("A title", networks, columns, 80))
    for table in tables:
        console.print(table)
    printed = console.file.getvalue()  # type: ignore[attr-defined]  # pyright: ignore
    assert len(tables) == 3
    assert printed.count("56: (0.825, -0.1, 0.275 | 1.45)") == 3
    assert "…" not in printed
    assert all(f"{i}0.0±1.5" in printed for i in range(1, 10))
    assert [len(table.columns) for table in numbers("", networks, columns, 10)] == [3] * 9
    assert len(list(numbers("", networks, columns, 1000))) == 1
