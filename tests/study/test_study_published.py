"""The published numbers in the studies: printed values typed a second time, and what the papers' text says of them."""

import statistics
from typing import Any

import pytest
import timm

import stabzoo  # noqa: F401
from stabzoo.study import load_study, shipped_studies
from stabzoo.study.analysis.comparison import mean_of
from stabzoo.study.spec import Published


def table(name: str) -> Published:
    """The study's published table, the first where there are others."""
    return load_study(name).published[0]


def means(name: str, column: str) -> dict[str, float]:
    """One column of it, without deviations."""
    published = table(name)
    position = published.columns.index(column)
    return {label: mean_of(value) for label, row in published.values.items() if (value := row[position]) is not None}


@pytest.mark.parametrize(
    ("name", "label", "row"),
    [
        ("zerosnet-table-1", "α = 1.5", ((87.07, 0.14),)),
        ("zerosnet-table-2", "k = -1.5", ((81.43, 0.19),)),
        ("zerosnet-table-3", "44: (-0.75, 2, -0.25 | 2.5)", ((83.08, 0.58),)),
        ("zerosnet-table-3", "32: (1, 0.3, -0.4 | 1)", ((93.27, 0.04),)),
        ("zerosnet-table-4-cifar10", "ZeroSNet-Tra-110", ((94.30, 0.02),)),
        ("zerosnet-table-4-cifar100", "LM-ResNet-110", (74.13,)),
        ("zerosnet-table-5-34layers", "ZeroSNet-Opt-34", (72.69, 90.83)),
        ("zerosnet-table-7", "ZeroSNet-164, λ = -9/5", (99.92, 78.15, 21.77)),
        ("zerosnet-table-9", "ZeroSNet-20", (1662, 829, 928, 151, 143, 220)),
        ("forward-stability-table-3", "ResNet-D 54", (92.13,)),
        ("forward-stability-table-3-cifar100", "ResNet-S 20", (61.79,)),
        ("forward-stability-table-4", "ResNet-D 72", (91.79, 86.95, 61.73, 86.95, 40.25)),
        ("forward-stability-table-4-cifar100", "ResNet-S 29", (61.20, 54.72, 31.66, 58.15, 35.63)),
    ],
)
def test_printed_rows(name: str, label: str, row: tuple[Any, ...]) -> None:
    """One row of each table, from the paper."""
    assert table(name).values[label] == row


def test_the_preprint_s_tables() -> None:
    """Its means (Table 5.3) are within a point of the clean accuracies of the last step, and of Table 3 where that has them."""
    for name in ("forward-stability-table-4", "forward-stability-table-4-cifar100"):
        last, mean, steps = load_study(name).published
        assert (last.reference[-1], mean.reference[-3:], steps.reference[-3:]) == ("4", "5.3", "5.1")
        for label, (value,) in mean.values.items():
            clean = last.values[label][0]
            assert isinstance(value, float)
            assert isinstance(clean, float)
            assert value == pytest.approx(clean, abs=0.3)
    third = means("forward-stability-table-3", "mean of last epochs")
    _, mean, _ = load_study("forward-stability-table-4").published
    same = {label for label, (value,) in mean.values.items() if value == pytest.approx(third[label], abs=0.01)}
    assert same == {label for label in third if label.startswith("ResNet-S")}


def test_noise_costs_what_the_text_says() -> None:
    """Uniform noise takes 12.38 points from unstable networks and 6.40 from zero-stable ones, on average."""
    clean, noisy = (means("zerosnet-table-6", column) for column in ("clean", "uniform [-0.08, 0]"))
    lost = [clean[label] - noisy[label] for label in clean]
    assert (len(lost), statistics.fmean(lost[:4])) == (10, pytest.approx(12.38, abs=0.005))
    assert statistics.fmean(lost[4:]) == pytest.approx(6.40, abs=0.0051)


def test_tables_agree_with_one_another() -> None:
    """Noise-free accuracies of Table 6 are those of Table 3, the optimal networks of Table 4 too."""
    third, sixth = means("zerosnet-table-3", "clean"), means("zerosnet-table-6", "clean")
    assert sixth == {label: third[label] for label in sixth}
    fourth = means("zerosnet-table-4-cifar10", "clean")
    assert [fourth[f"ZeroSNet-Opt-{depth}"] for depth in (32, 44, 56)] == [
        third[f"{depth}: (1/3, 5/9, 1/9 | 16/9)"] for depth in (32, 44, 56)
    ]
    quickstart = load_study("quickstart").published[0].values
    assert [row[0] for row in quickstart.values()] == [
        value for position in (9, 7, 0, 2, 1) for value in list(table("zerosnet-table-6").values.values())[position][:1]
    ]


def test_gaps_are_training_minus_test() -> None:
    """As the caption of Table 7 defines them."""
    for label, (training, test, gap) in table("zerosnet-table-7").values.items():
        assert isinstance(training, float)
        assert isinstance(test, float)
        assert gap == pytest.approx(training - test, abs=1e-9), label


def test_forward_stable_networks_have_the_printed_parameters() -> None:
    """Table 2, but for the count that it misprints; 5760 more with 100 classes."""
    printed = means("forward-stability-table-2", "parameters (M)")
    for network in load_study("forward-stability-table-2").networks:
        counts = [
            sum(weight.numel() for weight in timm.create_model(network.model, num_classes=classes).parameters())
            for classes in (10, 100)
        ]
        assert counts[1] - counts[0] == 5760
        expected = 1.096 if network.label == "ResNet-D 72" else printed[network.label]
        assert round(counts[0] / 1e6, 3) == expected


@pytest.mark.parametrize("name", shipped_studies())
def test_tables_are_of_the_study_s_networks(name: str) -> None:
    """Every network of a published experiment has a row, and at every scale only those that are kept there."""
    study = load_study(name)
    for scale in ("full", *study.scales):
        at = load_study(name, scale)
        labels = [network.label for network in at.networks]
        assert len(at.published) == len(study.published)
        for published, whole in zip(at.published, study.published, strict=True):
            assert set(published.values) <= set(labels)
            assert published.same_experiment == (scale == "full" and whole.same_experiment)
    if study.published and study.published[0].same_experiment:
        assert set(study.published[0].values) == {network.label for network in study.networks}
