"""The study's numbers and its sentence, from made-up runs whose answer is known."""

import io
import json
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
from stabzoo.study.analysis.phrases import coefficients_text, estimate_text, measured_text, moduli_text, proved_text
from stabzoo.study.analysis.verdicts import answer, deciding_text, method_note, outcome, verdict_text
from stabzoo.study.figures.radius import draw_radii
from stabzoo.study.report.report import Report
from stabzoo.study.store.records import Coefficients, Record
from stabzoo.terminal import numbers


def small_study(evaluations: int = 2, seeds: int = 3) -> Study:
    """A zero-stable, an unstable and a scheme-less network; clean and Gaussian noise."""
    study = load_study("quickstart")
    plain = study.networks[0].model_copy(update={"label": "plain", "model": "resnet18", "args": {}})
    return study.model_copy(
        update={
            "networks": (study.networks[0], study.networks[2], plain),
            "evaluations": study.evaluations[:evaluations],
            "seeds": tuple(range(seeds)),
            "published": (),
        }
    )


Table = tuple[list[list[float]], list[list[float]]]
"""Accuracies under one evaluation: of the zero-stable networks and of the unstable ones, seed by seed."""


def comparisons(*tables: Table, images: int | None = 540) -> list[Comparison]:
    """Comparisons of made-up runs, clean images first."""
    study, records = small_study(len(tables), seeds=5), dict[str, Record]()
    groups = [
        (coefficients, i, n) for i, coefficients in enumerate((STABLE, UNSTABLE)) for n in range(len(tables[0][i]))
    ]
    networks = tuple(
        study.networks[0].model_copy(update={"label": f"{i} {n}", "args": {"width": 4 + 10 * i + n}})
        for _, i, n in groups
    )
    study = study.model_copy(update={"networks": networks})
    for network, (coefficients, i, n) in zip(networks, groups, strict=True):
        for seed in range(len(tables[0][i][n])):
            run = study.run(network, seed)
            values = [table[i][n][seed] for table in tables]
            record = make_record(run, coefficients, *zip(study.evaluations, values, strict=True))
            records[run.key] = record.model_copy(update={"test_images": images})
    rows = rows_of(study, records)
    return [entry for entry in (compare(rows, evaluation) for evaluation in study.evaluations) if entry]


def around(mean: float, spread: float = 0.1) -> list[float]:
    """Three seeds of this mean and sample standard deviation."""
    return [mean - spread, mean, mean + spread]


def test_margin_gap_and_rank_correlation():
    """Of the networks' means over the seeds; the correlation is of the runs, and of the most it can be with their ties."""
    (found,) = comparisons(([around(97), around(95)], [around(80), around(70)]))
    assert (found.gap.value, found.margin.value) == pytest.approx((21, 15))
    assert (found.stable_mean, found.unstable_mean, found.worst_stable, found.best_unstable) == pytest.approx(
        (96, 75, 95, 80)
    )
    assert found.correlation == found.largest_correlation == pytest.approx(math.sqrt(3 * 36 / 143))
    (tied,) = comparisons(([[90.0, 80.0]], [[80.0, 80.0]]))
    assert tied.correlation == tied.largest_correlation == pytest.approx(1 / math.sqrt(3))
    (equal,) = comparisons(([[80.0, 80.0]], [[80.0, 80.0]]))
    assert (equal.correlation, equal.gap.value, equal.gap.verdict) == (0, 0, "not decided")


# With three seeds of deviation 0.1 at 540 images, two networks about 90 % differ when they do by more than 3.3 points: Wilson's
# limits are 2.4 below the higher and 2.25 above the lower one, and Student's 0.25 about each, added in quadrature.
ENOUGH, TOO_LITTLE = 3.5, 3.1


@pytest.mark.parametrize(
    ("stable", "unstable", "images", "expected"),
    [
        ([90 + ENOUGH], [90.0], 540, "each"),
        ([90 + TOO_LITTLE], [90.0], 540, "open"),
        ([90 + TOO_LITTLE], [90.0], 720, "each"),  # a third more images
        ([90.0], [90 + TOO_LITTLE], 540, "open"),
        ([90.0], [90 + ENOUGH], 540, "not"),
        ([96.0, 90.0], [90.0, 60.0], 540, "average"),  # the worst and the best are alike
        ([96.0, 86.0], [93.0, 50.0], 540, "average, not each"),  # the worst is behind the best, but the mean is not
        ([96.0, 83.0], [96.0, 83.0], 540, "not each"),
        ([93.0, 90.0], [92.0, 91.0], 540, "open"),
        ([96.0, 86.0], [93.0, 50.0], 100, "average"),
        ([96.0, 60.0], [93.0, 92.0], 540, "not"),
    ],
)
def test_outcomes_near_their_boundaries(stable: list[float], unstable: list[float], images: int, expected: str):
    """A little more, or a few more images, and it is decided; a little less, and it is not."""
    table = [around(mean) for mean in stable], [around(mean) for mean in unstable]
    (found,) = comparisons(table, images=images)
    assert outcome(found) == expected


@pytest.mark.parametrize(("spread", "expected"), [(1.0, "each"), (1.6, "open")])
def test_the_spread_over_seeds_decides_too(spread: float, expected: str):
    """6 points between networks of three seeds, on ever so many images: Student's 2.48 deviations of each."""
    (found,) = comparisons(([around(96, spread)], [around(90.5, spread)]), images=10**9)
    assert outcome(found) == expected
    low = found.margin.low
    assert low == pytest.approx(5.5 - 4.302653 * spread * math.sqrt(2 / 3), abs=0.01)


@pytest.mark.parametrize(
    ("table", "images", "why"),
    [
        (([[95.5]], [[95.0]]), 200, "one seed"),  # one image of 200
        (([[99.0]], [[10.0]]), 10_000, "one seed"),
        (([[10.0]], [[99.0]]), 10_000, "one seed"),  # two runs: a rank correlation of -1
        (([[99.0] * 3, [99.0]], [[10.0] * 3]), 10_000, "one seed"),
        (([around(99)], [around(10)]), None, "number of test images not recorded"),
    ],
)
def test_what_has_no_interval_is_not_decided(table: Table, images: int | None, why: str):
    """And the sentence says why."""
    compared = comparisons(table, images=images)
    assert outcome(compared[0]) == "open"
    says(answer(compared), "not decided by these runs", why)


SEPARATED: Table = ([around(97), around(95)], [around(80), around(70)])
ON_AVERAGE: Table = ([around(97), around(80.5)], [around(80), around(70)])
ONLY_ON_AVERAGE: Table = ([around(97), around(80)], [around(86), around(50)])
MIXED: Table = ([around(96), around(83)], [around(96), around(83)])
EQUAL: Table = ([around(80), around(80)], [around(80), around(80)])
REVERSED: Table = ([around(70), around(75)], [around(90), around(95)])


@pytest.mark.parametrize(
    ("tables", "verdict"),
    [
        ([SEPARATED], "Zero stability predicted the performance of these networks"),
        ([SEPARATED, SEPARATED], "Zero stability predicted the performance of these networks"),
        (
            [SEPARATED, SEPARATED, EQUAL],
            "Zero stability predicted the performance of these networks on clean images and under 1 of 2 noises",
        ),
        ([SEPARATED, REVERSED], "Zero stability predicted the performance of these networks on clean images"),
        ([EQUAL, SEPARATED], "Zero stability predicted the performance of these networks under 1 of 1 noises"),
        ([ON_AVERAGE], "Zero stability predicted the performance of these networks on average"),
        ([ON_AVERAGE, EQUAL], "Zero stability predicted the performance of these networks on average on clean images"),
        ([ONLY_ON_AVERAGE], "Zero stability predicted the performance of these networks only on average"),
        (
            [EQUAL, EQUAL],
            "Whether zero stability predicted the performance of these networks is not decided by these runs",
        ),
        ([EQUAL, REVERSED], "Zero stability did not predict the performance of these networks under 1 of 1 noises"),
        ([REVERSED, REVERSED], "Zero stability did not predict the performance of these networks"),
        ([MIXED], "Zero stability did not predict the performance of these networks"),
    ],
)
def test_sentence_follows_from_the_runs(tables: list[Table], verdict: str):
    """Each verdict is given exactly when its rule holds, and every evaluation is accounted for once, by its numbers."""
    compared = comparisons(*tables)
    sentence = answer(compared)
    assert sentence.startswith(f"{verdict}: ")
    places = ["on clean images", "under Gaussian σ = 0.2", "under uniform [-0.2, 0]"]
    assert [sentence.count(f"{place} (") for place in places] == [1] * len(compared) + [0] * (3 - len(compared))
    for entry in compared:
        assert estimate_text(entry.margin) in sentence or estimate_text(entry.gap) in sentence
        assert verdict_text(entry).split()[0] in ("predicted", "did", "not")
        assert deciding_text(entry).split()[0] in ("margin", "gap")
    assert sentence.count(". ") == 0


def test_the_sentence_is_read_as_a_whole():
    """Once, as it is read."""
    assert answer(comparisons(ON_AVERAGE, REVERSED, EQUAL)) == (
        "Zero stability predicted the performance of these networks on average on clean images: zero-stable networks were better on average "
        "(each of them: not decided) on clean images (gap +13.8 [+9.2, +18.3]); zero-stable networks were worse on "
        "average under Gaussian σ = 0.2 (gap -20.0 [-24.4, -15.6]); it is not decided by these runs under uniform "
        "[-0.2, 0] (gap +0.0 [-4.8, +4.8])."
    )


def test_nothing_is_said_without_both_kinds():
    """No unstable run, no answer; and no warning on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "cannot be said" in answer([])
        assert "ank correlation" not in method_note([])
        says(method_note([]), "95 %", "seeds", "test images")


def test_numbers_and_verdicts_are_strict_json():
    """With the level, and null where there is no interval."""
    for images in (540, None):
        (found,) = comparisons(SEPARATED, images=images)
        read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert read["margin"]["level"] == 0.95
        assert (read["margin"]["low"] is None, read["margin"]["verdict"]) == (
            (images is None), "not decided" if images is None else "above",
        )  # fmt: skip


def test_status_is_proved_from_the_coefficients_not_read():
    """The row's card comes from the coefficients the run was trained with; without a scheme or a run there is none."""
    study = small_study(1)
    run = study.run(study.networks[0], 0)
    record = make_record(run, UNSTABLE, (study.evaluations[0], 50))
    plain = record.model_copy(update={"run": study.run(study.networks[2], 0), "coefficients": None})
    rows = rows_of(study, {run.key: record, plain.run.key: plain})
    assert [proved_text(row) for row in rows] == ["unstable", "–", "–"]
    assert [measured_text(row, study.evaluations[0]) for row in rows] == ["50.0", "no run", "50.0"]
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
