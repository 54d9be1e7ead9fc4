"""The figures of studies, from made-up runs: what is drawn, when nothing is, and that the files are vector and pixels."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fixtures.records import LAYERS, STABLE, UNSTABLE, finished, make_record
from stabzoo.evaluation.spec import Corruption, Evaluation, Gaussian, Pgd, Uniform
from stabzoo.plotting.style import literal, saved
from stabzoo.study import Study, load_study
from stabzoo.study.analysis.comparison import Row, rows_of
from stabzoo.study.analysis.uncertainty import contrast
from stabzoo.study.analysis.verdicts import deciding_text
from stabzoo.study.figures.across import draw_across
from stabzoo.study.figures.angles import draw_angles, draw_angles_by_layer
from stabzoo.study.figures.curves import draw_curves
from stabzoo.study.figures.noise import draw_noise, level_of
from stabzoo.study.figures.radius import draw_radii
from stabzoo.study.figures.style import styles
from stabzoo.study.report.report import Report


def rows(study: Study, **options: Any) -> list[Row]:
    """Their rows."""
    return rows_of(study, finished(study, **options))


def panels(figure: Figure | None) -> list[Axes]:
    """Those that are seen."""
    assert figure is not None
    return [axis for axis in figure.axes if axis.get_visible()]


def heights(line: Line2D) -> list[float]:
    """Of its points."""
    return np.asarray(line.get_ydata()).tolist()


@pytest.mark.parametrize(
    ("evaluation", "expected"),
    [
        (Gaussian(kind="gaussian", sigma=0.1, seed=1), ("Gaussian noise", 0.1)),
        (Uniform(kind="uniform", low=-0.2, high=0, seed=1), ("uniform noise in [-s, 0]", 0.2)),
        (Uniform(kind="uniform", low=0, high=0.3, seed=1), ("uniform noise in [0, s]", 0.3)),
        (Uniform(kind="uniform", low=-0.1, high=0.1, seed=1), ("uniform noise in [-s, s]", 0.1)),
        (Uniform(kind="uniform", low=-0.1, high=0.3, seed=1), None),
        (Pgd(kind="pgd", epsilon=0.02, steps=40, seed=1), ("PGD-40", 0.02)),
        (Corruption(kind="corruption", name="shot_noise", severity=3), ("shot noise", 3)),
        (Corruption(kind="corruption", severity=3), ("mean of all corruptions", 3)),
        (Corruption(kind="corruption", name="fog"), None),
    ],
)
def test_levels(evaluation: Evaluation, expected: tuple[str, float] | None) -> None:
    """Levels of one kind share an axis; what is no level of anything is left out."""
    found = level_of(evaluation)
    assert (found and (found[0], found[2])) == expected


def test_the_overview_draws_intervals_and_verdicts() -> None:
    """A line of each network's mean with its interval, and the number that decides; the margin where it is above 0."""
    study = load_study("quickstart", "smoke").model_copy(update={"seeds": (0, 1, 2)})
    stable, unstable = study.networks
    records = {
        (run := study.run(network, seed)).key: make_record(
            run,
            coefficients,
            *((evaluation, mean + 0.1 * seed) for evaluation, mean in zip(study.evaluations, means, strict=True)),
        )
        for network, coefficients, means in (
            (stable, STABLE, [95.0, *[91.0] * (len(study.evaluations) - 1)]),
            (unstable, UNSTABLE, [80.0, *[90.0] * (len(study.evaluations) - 1)]),
        )
        for seed in study.seeds
    }
    report = Report.of(study, records, ())
    axes = panels(report.figures()["plot"])
    for axis, entry, words in zip(axes, report.comparisons, ("predicted", "not decided"), strict=False):
        assert axis.get_title().split("\n") == [entry.evaluation.title, words, deciding_text(entry)]
        drawn = [np.asarray(line.get_xdata()).tolist() for line in axis.lines]
        for row in report.rows:
            mean = contrast([row.sample(entry.evaluation)])
            assert [mean.low, mean.high] in drawn
    assert [len(axis.patches) for axis in axes[:2]] == [1, 0]
    single = Report.of(study.model_copy(update={"seeds": (0,)}), records, ()).figures()["plot"]
    assert "one seed" in panels(single)[0].get_title()
    assert not any("interval" in text.get_text() for text in single.legends[0].get_texts())


def test_noise_curves() -> None:
    """From clean images on, in the order of the levels; kinds with a single level have no curve."""
    study = load_study("zerosnet-table-6")
    axes = panels(draw_noise(study, rows(study)))
    assert [axis.get_title() for axis in axes] == [network.label for network in study.networks]  # ten have a panel each
    lines = [axis.containers[0].lines[0] for axis in axes]  # type: ignore[attr-defined]  # pyright: ignore
    levels = [np.asarray(line.get_xdata()).tolist() for line in lines]
    assert levels == [[0, 0.01, 0.02, 0.04]] * 10
    few = rows(study)[:8]
    (axis,) = panels(draw_noise(study, few))
    assert len(axis.containers) == 8
    low, high = axis.get_ylim()
    assert low > 20  # the axis is that of the data
    assert 90 < high < 97
    first = study.networks[0]
    expected = [
        sum(90 - 10 * i - seed for seed in study.seeds) / 3
        for i, entry in enumerate(study.evaluations)
        if entry.kind in ("clean", "gaussian")
    ]
    assert heights(lines[0]) == pytest.approx(expected), first.label
    quickstart = load_study("quickstart")
    assert draw_noise(quickstart, rows(quickstart)) is None
    assert draw_noise(study, rows_of(study, {})) is None


def test_training_curves() -> None:
    """Loss always, accuracy where it is measured; one epoch, none, or no run at all are no curve."""
    study = load_study("quickstart")
    (loss,) = panels(draw_curves(study, rows(study)))
    assert heights(loss.lines[0]) == [2, 1, 0.5]
    study = load_study("forward-stability-table-3", "laptop")
    loss, accuracy = panels(draw_curves(study, rows(study)))
    assert heights(accuracy.lines[0]) == [50.5, 80, 90]  # the mean of two seeds
    assert len(loss.lines) == 5
    assert draw_curves(study, rows(study, losses=(1.0,))) is None
    assert draw_curves(study, rows(study, losses=())) is None
    assert draw_curves(study, rows_of(study, {})) is None


def test_curves_of_many_networks() -> None:
    """A panel each from nine on, with all of them behind; one panel for all where there are too many."""
    study = load_study("zerosnet-table-3")
    some = rows(study)[:9]
    alone = panels(draw_curves(study, some))[:9]  # the losses; below are the accuracies
    assert [axis.get_title() for axis in alone] == [literal(row.network.label) for row in some]
    assert all(len(axis.collections[0].get_paths()) == 9 for axis in alone)
    every = load_study("predicts", "digits")
    assert len(panels(draw_curves(every, rows(every)))[0].lines) == len(every.networks) == 73


def test_principal_angles() -> None:
    """By epoch in the last feature map, and in every layer after the last epoch."""
    study = load_study("dynamical-system-figure-2")
    by_epoch, by_layer = (panels(draw(study, rows(study))) for draw in (draw_angles, draw_angles_by_layer))
    assert len(by_epoch) == len(by_layer) == 3
    between, within = (heights(line) for line in by_epoch[0].lines)
    assert within == pytest.approx([1, 11, 21, 31])
    assert between == pytest.approx([2, 22, 42, 62])
    assert heights(by_layer[0].lines[1]) == pytest.approx([31] * 3)
    assert [text.get_text() for text in by_layer[0].get_xticklabels()] == list(LAYERS)
    quickstart = load_study("quickstart")
    assert draw_angles(quickstart, rows(quickstart)) is None
    assert draw_angles_by_layer(quickstart, rows(quickstart)) is None


def test_networks_are_told_apart() -> None:
    """Thirty networks have thirty styles; zero-stable ones are shades of blue, unstable ones of red."""
    study = load_study("zerosnet-table-3")
    found = styles(rows(study))
    assert len({(style.color, style.marker, style.linestyle) for style in found.values()}) == 30
    blue, red = (found[study.networks[position].label].color for position in (0, 1))
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    figure = draw_curves(study, rows(study))
    assert figure is not None
    assert saved(figure, "png", study.title).startswith(b"\x89PNG")


def test_every_figure_is_kept_as_pixels_and_as_lines(tmp_path: Any) -> None:
    """Beside the page, which shows them; drawn again they are the same files."""
    study = load_study("dynamical-system-figure-2")
    written: list[dict[str, bytes]] = []
    for _ in range(2):
        Report.of(study, finished(study), ()).write(tmp_path)
        files = {path.name: path.read_bytes() for path in tmp_path.glob("*.p*")}
        assert set(files) == {
            f"{n}.{k}" for n in ("plot", "curves", "angles", "angles-by-layer") for k in ("png", "pdf")
        }
        assert all(
            content.startswith({"png": b"\x89PNG", "pdf": b"%PDF"}[name[-3:]]) for name, content in files.items()
        )
        assert (tmp_path / "report.html").read_text().count("data:image/png") == 4
        written.append(files)
    assert written[0] == written[1]
    assert draw_radii(study, rows(study)) is None


def test_studies_beside_what_is_published() -> None:
    """A panel a study, with the mean of each network and each published number; none where nobody has the quantity."""
    table, other = load_study("zerosnet-table-1"), load_study("root-scan")
    figure = draw_across([(table, rows(table)), (other, rows_of(other, {})), (table, rows_of(table, {}))], "clean")
    both, paper = panels(figure)
    drawn = {round(float(x), 6) for line in both.lines for x in np.ravel(line.get_xdata())}
    for row in rows(table):
        assert round(contrast([row.sample(table.evaluations[0])]).value, 6) in drawn
    for axis in (both, paper):
        assert len(axis.containers) == len(table.published[0].values)
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "published"
    assert draw_across([(other, rows(other))], "no such number") is None
