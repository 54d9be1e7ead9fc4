"""Attacks that stay in their ball, calibration by hand, and what ``stabzoo evaluate`` says of finished trainings."""

import json
import math
import pickle
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fixtures.commands import Run
from fixtures.messages import raises, says
from stabzoo.data.images import InMemoryDataset
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.errors import ConfigError
from stabzoo.evaluation.accuracy import measure, num_correct
from stabzoo.evaluation.attacks import fgsm, pgd
from stabzoo.evaluation.spec import CORRUPTIONS, AutoAttack, Clean, Corruption, Fgsm, Gaussian, Pgd, Uniform
from stabzoo.study.execution.networks import build
from stabzoo.study.spec import Run as StudyRun
from stabzoo.training.loop import Trainer
from stabzoo.training.results import calibration_error
from stabzoo.training.spec import Training

FEW = Digits(name="digits", size=8, test_images=1297, split_seed=0)
TRAINING = Training(
    epochs=4, batch_size=50, optimizer="momentum", lr=0.1, momentum=0.9, weight_decay=0.0005, schedule="one-cycle"
)

pytestmark = pytest.mark.usefixtures("one_thread")


class Linear(nn.Module):
    """Two classes, w . x and 0; counts nothing, keeps nothing."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        score = (x * self.weight).flatten(1).sum(1)
        return torch.stack([score, torch.zeros_like(score)], 1)


@given(seed=st.integers(0, 99), epsilon=st.floats(0.001, 0.5), steps=st.integers(1, 12))
def test_of_a_linear_network_both_attacks_find_the_worst_corner(seed: int, epsilon: float, steps: int) -> None:
    """The first class goes to x - epsilon sign(w), cut to [0, 1]; every attack stays in ball and box."""
    generator = torch.Generator().manual_seed(seed)
    images, weight = torch.rand(5, 1, 3, 3, generator=generator), torch.randn(1, 3, 3, generator=generator)
    labels = torch.tensor([0, 1, 0, 1, 1])
    away = torch.where(labels == 0, -1.0, 1.0)[:, None, None, None]
    worst = (images + epsilon * away * weight.sign()).clamp(0, 1)
    network = Linear(weight)
    torch.testing.assert_close(fgsm(network, images, labels, epsilon), worst)
    found = pgd(network, images, labels, epsilon, steps, generator.manual_seed(seed))
    torch.testing.assert_close(found, worst)  # 2.5 epsilon in all, from at most 2 epsilon away
    assert (found - images).abs().max() <= epsilon + 1e-6
    assert torch.equal(found, pgd(network, images, labels, epsilon, steps, generator.manual_seed(seed)))


@pytest.mark.parametrize(("model", "args"), [("zerosnet20_opt", {}), ("implicit_resnet20", {})])
def test_a_trained_network_is_attacked_through_its_normalisation(model: str, args: dict) -> None:
    """Noise of that size costs nothing, the gradient's sign a lot, its iteration no less; weights have no gradients."""
    images = load_images(FEW)
    run = StudyRun(model=model, args={"width": 4, **args}, data=FEW, training=TRAINING, seed=0, software={})
    network = build(run, images)
    Trainer(network, images, TRAINING, 0).run()
    for weight in network.parameters():
        weight.grad = None
    few = replace(images, test=images.test[:200], test_labels=images.test_labels[:200])
    attacks = Fgsm(kind="fgsm", epsilon=0.1), Pgd(kind="pgd", epsilon=0.1, steps=5, seed=0)
    clean, once, often = measure(network, few, (Clean(kind="clean"), *attacks))
    assert clean == 100 * num_correct(network(few.test), few.test_labels) / few.test_count > 50
    assert often <= once + 1 < clean - 5
    assert all(weight.grad is None for weight in network.parameters())


def test_calibration_error_by_hand() -> None:
    """Two bins: confidence 0.6 at accuracy 1/2, confidence 0.9 at accuracy 1."""
    logits = torch.tensor([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1]]).log()
    labels = torch.tensor([0, 1, 0])
    assert calibration_error(logits, labels) == pytest.approx((abs(0.5 - 0.6) * 2 + abs(1 - 0.9)) / 3)
    sure = torch.tensor([[1e9, -1e9]])
    assert calibration_error(sure, torch.tensor([0])) == 0
    assert calibration_error(sure, torch.tensor([1])) == 1


def test_logits_that_are_no_numbers_are_right_about_nothing() -> None:
    """Of equal logits the first is the answer, as for argmax: a network that says nothing is not right about all."""
    logits = torch.tensor([[1.0, 0.0, 0.0], [math.nan, math.nan, math.nan], [0.0, 0.0, -1.0], [math.nan, 1.0, 0.0]])
    assert num_correct(logits, torch.tensor([0, 0, 1, 1])) == 1
    assert num_correct(logits, torch.tensor([1, 0, 2, 1]), 2) == 2
    constant, labels = torch.zeros(50, 10), torch.arange(50) % 10
    assert [num_correct(constant, labels, k) for k in (1, 5, 10)] == [5, 25, 50]
    finite = torch.randn(200, 10, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    truth = torch.arange(200) % 10
    assert num_correct(finite, truth) == int((finite.argmax(1) == truth).sum())


def test_a_network_of_nan_has_an_accuracy_of_zero() -> None:
    """Under every evaluation, top-1 and top-5."""

    class Nan(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.full((len(pixels), 10), math.nan)

    few = load_images(FEW)
    assert measure(Nan(), few, [Clean(kind="clean"), Clean(kind="clean", top=5)]) == [0.0, 0.0]


@pytest.mark.slow
def test_finished_trainings_are_evaluated(run: Run, tmp_path: Path) -> None:
    """Mean and deviation over seeds; conditions of a file; what does not belong together is refused."""
    line = "train preresnet20 --arg width=4 --set epochs=1 --set batch_size=300 --threads 1"
    for seed in (0, 1):
        assert run(f"{line} --seed {seed} --folder {tmp_path / str(seed)}").status == 0
    conditions = tmp_path / "conditions.yaml"
    conditions.write_text("evaluations: [{kind: clean}, {kind: constant, mu: 0.1}]")
    both = f"evaluate {tmp_path / '0'} {tmp_path / '1'}"
    found = json.loads(run(f"{both} --json --conditions {conditions}").out)
    about = found.pop("about")
    assert list(found)[-1] == "constant μ = 0.1"
    assert about["constant μ = 0.1"]["evidence"] == "measured"
    assert all(len(values) == 2 for values in found.values())
    assert found["generalization gap"][0] == pytest.approx(found["top-1 in training"][0] - found["top-1"][0])
    history = (tmp_path / "0" / "history.csv").read_text().splitlines()
    assert float(history[-1].split(",")[3]) == found["top-1"][0]
    picture = tmp_path / "l2.png"
    alone = run(f"evaluate {tmp_path / '0'} --radius 1/10 --plot {picture}")
    says(
        alone.out,
        "certified l2 r = 0.1",
        "certified l2 r = 36/255",
        "margin attack l2 ε = 0.1",
        "95 %",
        "pixels in [0, 1]",
    )
    assert picture.read_bytes().startswith(b"\x89PNG")
    table = run(f"{both} --conditions {conditions}")
    assert table.status == 0
    says(table.out, "2 networks", "mean ± standard deviation")
    assert run(f"{line} --set lr=0.2 --folder {tmp_path / 'other'}").status == 0
    for command, facts in (
        ("evaluate", ("evaluate", "folder", "training")),
        (f"evaluate {tmp_path}", (tmp_path / "config.json", "No such file")),
        (f"evaluate {tmp_path / '0'} {tmp_path / 'other'}", (tmp_path / "other", "seed", "training")),
        (f"evaluate {tmp_path / '0'} --conditions {tmp_path / 'none.yaml'}", (tmp_path / "none.yaml", "No such file")),
    ):
        refused = run(command)
        assert refused.status == 2
        says(refused.err, *facts)
    (tmp_path / "1" / "model.safetensors").write_bytes(b"torn")
    says(run(both).err, tmp_path / "1", "damaged")


def test_radii_and_deviations_are_checked(run: Run, tmp_path: Path) -> None:
    """Before anything is measured."""
    for option, facts in (
        ("--radius=-1", ("radius", "-1")),
        ("--radius=x", ("radius", "x", "36/255")),
        ("--sigma=0", ("sigma", "0")),
        ("--sigma=inf", ("sigma", "inf")),
    ):
        refused = run(f"evaluate {tmp_path} {option}")
        assert refused.status == 2
        says(refused.err, *facts)


def held(test: Tensor, labels: Tensor, classes: int = 10, corrupted: Path | None = None) -> InMemoryDataset:
    """Test images; the training has the first ten of them."""
    one = torch.ones(1, 1, 1)
    return InMemoryDataset(test[:10], labels[:10], test, labels, classes, 0 * one, one, corrupted)


def test_noise_is_one_stream_over_all_batches() -> None:
    """As if drawn for all images at once, whatever else is tested beside it."""
    pixels = torch.full((600, 3, 5, 5), 0.5)
    images, seen = held(pixels, torch.zeros(600, dtype=torch.long)), list[list[Tensor]]()
    asked = (
        Clean(kind="clean"),
        Gaussian(kind="gaussian", sigma=0.1, seed=7),
        Uniform(kind="uniform", low=-0.1, high=0.2, seed=7),
    )
    changes = [evaluation.perturbation(images) for evaluation in asked]
    for x, y in images.testing(torch.arange(600).split(256)):
        seen.append([change(nn.Identity(), x, y) for change in changes])
    clean, gaussian, uniform = (torch.cat(parts) for parts in zip(*seen, strict=True))
    assert torch.equal(clean, pixels)
    expected = pixels + 0.1 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(7))
    assert torch.equal(gaussian, expected.clamp(0, 1))
    drawn = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(7))
    assert torch.equal(uniform, (pixels + (-0.1 + (0.2 + 0.1) * drawn)).clamp(0, 1))


class Brightest(nn.Module):
    """The class is the position of the brightest pixel of the first row."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.scale * x[:, 0, 0, :10]


def write_corrupted(folder: Path, labels: Tensor) -> None:
    """Files in the published format: at severity s the first s * 10 % of the images are black, but one corruption's."""
    folder.mkdir()
    count = len(labels)
    np.save(folder / "labels.npy", np.tile(labels.numpy(), 5).astype(np.uint8))
    for name in (*CORRUPTIONS, "saturate"):
        copies = np.zeros((5, count, 32, 32, 3), np.uint8)
        copies[:, torch.arange(count), 0, labels] = 200
        if name != "fog":
            for severity in range(1, 6):
                copies[severity - 1, : severity * count // 10] = 0
                copies[severity - 1, : severity * count // 10, 0, 9] = 1
        np.save(folder / f"{name}.npy", copies.reshape(-1, 32, 32, 3))


def test_corrupted_images_are_read(tmp_path: Path) -> None:
    """Severities are stacked; without a severity, or a name, the mean over them."""
    labels = torch.arange(300) % 9  # never the last class
    pixels = torch.zeros(300, 3, 32, 32)
    pixels[torch.arange(300), :, 0, labels] = 1
    write_corrupted(tmp_path / "C", labels)
    images = held(pixels, labels, corrupted=tmp_path / "C")
    asked = [
        Corruption.model_validate({"kind": "corruption", **given_})
        for given_ in (
            {"name": "snow", "severity": 2},
            {"name": "fog", "severity": 5},
            {"name": "saturate"},
            {"severity": 4},
            {},
        )
    ]
    assert [a.title for a in asked] == [
        "snow, severity 2",
        "fog, severity 5",
        "saturate",
        "mean of 15 corruptions, severity 4",
        "mean of 15 corruptions",
    ]
    found = measure(Brightest(), images, (*asked, Clean(kind="clean")))
    assert found == pytest.approx([80, 100, 70, (14 * 60 + 100) / 15, (14 * 70 + 100) / 15, 100])


def test_corrupted_images_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Data without copies, missing and torn files, objects instead of numbers, other shapes, other labels."""
    labels = torch.arange(20) % 9
    asked = Corruption(kind="corruption", name="fog")
    with raises(ConfigError, "fog", "cifar10 or cifar100"):
        asked.perturbation(held(torch.rand(20, 3, 32, 32), labels))
    folder = tmp_path / "CIFAR-10-C"
    images = held(torch.rand(20, 3, 32, 32), labels, corrupted=folder)
    with raises(ConfigError, folder / "labels.npy", "No such file", "archive", "CIFAR-10-C"):
        asked.perturbation(images)
    write_corrupted(folder, labels)
    fog, right = folder / "fog.npy", (folder / "fog.npy").read_bytes()
    for content in (right[:-5], b"", b"no array", pickle.dumps([1])):
        fog.write_bytes(content)
        with raises(ConfigError, fog, "not an array"):
            asked.perturbation(images)
    np.save(fog, np.zeros((99, 32, 32, 3), np.uint8))
    with raises(ConfigError, fog, "uint8 (100, 32, 32, 3)", "got uint8 (99, 32, 32, 3)"):
        asked.perturbation(images)
    np.save(fog, np.array([None, print], dtype=object))
    with raises(ConfigError, fog, "not an array"):
        asked.perturbation(images)
    np.save(folder / "labels.npy", np.zeros(100, np.uint8))
    with raises(ConfigError, folder / "labels.npy", "labels of the test images", "5 times"):
        asked.perturbation(images)


class Nearest(nn.Module):
    """The class whose mean image is nearest."""

    def __init__(self, images: InMemoryDataset) -> None:
        super().__init__()
        means = torch.stack([images.train[images.train_labels == c].mean(0).flatten() for c in range(10)])
        self.linear = nn.Linear(64, 10)
        self.linear.weight.data, self.linear.bias.data = 20 * means, -10 * means.square().sum(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.linear(x.flatten(1))


def test_autoattack_leaves_no_more_than_pgd() -> None:
    """It stays in the ball, is the same every time, and touches no global stream; without its package it is refused."""
    pytest.importorskip("pyautoattack")
    images = load_images(FEW)
    few = replace(images, test=images.test[:20], test_labels=images.test_labels[:20])
    network, before = Nearest(images), torch.get_rng_state()
    asked = (
        Clean(kind="clean"),
        Pgd(kind="pgd", epsilon=0.1, seed=0),
        AutoAttack(kind="autoattack", epsilon=0.1, seed=0),
    )
    clean, pgd_, strongest = measure(network, few, asked)
    assert 0 < strongest <= pgd_ < clean
    assert torch.equal(torch.get_rng_state(), before)
    found = asked[2].perturbation(few)(network, few.test, few.test_labels)
    assert (found - few.test).abs().max() <= 0.1 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert 100 * (network(found).argmax(1) == few.test_labels).double().mean() == strongest


def test_autoattack_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its package, and classes to compare."""
    asked = AutoAttack(kind="autoattack", epsilon=0.1, seed=0)
    few_classes = held(torch.rand(20, 1, 8, 8), torch.arange(20) % 3, classes=3)
    if find_spec("pyautoattack"):
        with raises(ConfigError, "4 classes", "got 3"):
            asked.perturbation(few_classes)
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with raises(ConfigError, "pip install 'stabzoo[autoattack]'"):
        asked.perturbation(few_classes)
