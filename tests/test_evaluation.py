"""Attacks that stay in their ball, calibration by hand, and what ``stabzoo evaluate`` says of finished trainings."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from stabzoo.study.accuracy import accuracies, accuracy, hits
from stabzoo.study.attacks import fgsm, pgd
from stabzoo.study.data import load_images
from stabzoo.study.evaluations import Clean, Fgsm, Pgd
from stabzoo.study.networks import build
from stabzoo.study.spec import Digits, Training
from stabzoo.study.spec import Run as StudyRun
from stabzoo.training.evaluation import calibration_error
from stabzoo.training.loop import Trainer

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
    clean, once, often = accuracies(network, few, (Clean(kind="clean"), *attacks))
    assert clean == accuracy(network, few.test, few.test_labels) > 50
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


def test_hits_of_logits_that_are_no_numbers() -> None:
    """A network that gives NaN is right about nothing; a tie with the label is a hit."""
    logits = torch.tensor([[1.0, 0.0, 0.0], [math.nan, math.nan, math.nan], [0.0, 0.0, -1.0], [math.nan, 1.0, 0.0]])
    assert hits(logits, torch.tensor([0, 0, 1, 1]), 1) == 2
    assert hits(logits, torch.tensor([1, 0, 2, 1]), 2) == 2


def test_finished_trainings_are_evaluated(run: Run, tmp_path: Path) -> None:
    """Mean and deviation over seeds; conditions of a file; what does not belong together is refused."""
    line = "train preresnet20 --arg width=4 --set epochs=1 --set batch_size=300 --threads 1"
    for seed in (0, 1):
        assert run(f"{line} --seed {seed} --folder {tmp_path / str(seed)}").status == 0
    conditions = tmp_path / "conditions.yaml"
    conditions.write_text("evaluations: [{kind: clean}, {kind: constant, mu: 0.1}]")
    both = f"evaluate {tmp_path / '0'} {tmp_path / '1'}"
    found = json.loads(run(f"{both} --json --conditions {conditions}").out)
    assert list(found)[-1] == "constant μ = 0.1"
    assert all(len(values) == 2 for values in found.values())
    assert found["generalization gap"][0] == pytest.approx(found["top-1 in training"][0] - found["top-1"][0])
    history = (tmp_path / "0" / "history.csv").read_text().splitlines()
    assert float(history[-1].split(",")[3]) == found["top-1"][0]
    table = run(f"{both} --conditions {conditions}")
    assert table.status == 0
    assert "2 networks, mean ± standard deviation" in " ".join(table.out.split())
    assert run(f"{line} --set lr=0.2 --folder {tmp_path / 'other'}").status == 0
    for command, message in (
        ("evaluate", "expected the folder of a finished training"),
        (f"evaluate {tmp_path}", "job.json: cannot be read"),
        (f"evaluate {tmp_path / '0'} {tmp_path / 'other'}", "in its seed alone, but its training is another"),
        (f"evaluate {tmp_path / '0'} --conditions {tmp_path / 'none.yaml'}", "none.yaml: cannot be read"),
    ):
        refused = run(command)
        assert refused.status == 2
        assert message in " ".join(refused.err.split())
    (tmp_path / "1" / "weights.safetensors").write_bytes(b"torn")
    assert "a file of this training is damaged" in " ".join(run(both).err.split())
