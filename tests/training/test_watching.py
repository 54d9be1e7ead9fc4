"""What is wrong with a network is told after the epoch in which it went wrong, with the place and the cause."""

import csv
import warnings
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import stabzoo  # noqa: F401
from fixtures.commands import Run
from fixtures.messages import says
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.diagnostics.failure import failure_of, stall_of
from stabzoo.diagnostics.wellposed import well_posedness
from stabzoo.study.execution.worker import EvaluationRequest, execute
from stabzoo.study.spec import Run as StudyRun
from stabzoo.study.store.records import Record
from stabzoo.training.loop import Trainer
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.session import Session
from stabzoo.training.spec import Training, software

DIGITS = Digits(name="digits", size=8, test_images=1697, split_seed=0)
BASIS: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 33,
    "optimizer": "momentum",
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "schedule": "cosine",
}
KILLING = {"lr": 0.5, "logit_scale": 100.0}

pytestmark = pytest.mark.usefixtures("one_thread")


def session(folder: Path, training: dict[str, Any], model: str, **args: Any) -> Session:
    """A small training, the same weights every time."""
    images = load_images(DIGITS)
    torch.manual_seed(0)
    network = timm.create_model(model, in_chans=1, num_classes=10, **{"width": 4, **args})
    return Session(Trainer(NormalizedModel(network, images), images, Training(**{**BASIS, **training}), seed=5), folder)


def after_training(folder: Path, training: dict[str, Any], model: str, **args: Any) -> tuple[Session, list[str]]:
    """Train; what is wrong then."""
    trained = session(folder, training, model, **args)
    trained.run()
    return trained, trained.troubles()


# networks of known failures


def tiny() -> nn.Sequential:
    """Two convolutions, a relu, a classifier."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.Flatten(),
        nn.Linear(144, 10),
    ).eval()


def kill_relu(model: nn.Sequential) -> None:
    """Nothing reaches the relu that is positive."""
    nn.init.constant_(model[1].bias, -1e3)  # type: ignore[arg-type]


def kill_weights(model: nn.Sequential) -> None:
    """A convolution of zeros."""
    nn.init.zeros_(model[3].weight)  # type: ignore[arg-type]
    nn.init.zeros_(model[3].bias)  # type: ignore[arg-type]


def break_weight(model: nn.Sequential) -> None:
    """A weight that is not a number."""
    with torch.no_grad():
        model[0].bias[2] = torch.nan  # type: ignore[index,union-attr]  # pyright: ignore


def overflow(model: nn.Sequential) -> None:
    """Finite weights whose outputs are not."""
    nn.init.constant_(model[3].weight, 1e38)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("break_", "kind", "module", "cause"),
    [
        (kill_relu, "constant", "2", "relu"),
        (kill_weights, "constant", "3", "weights are zero"),
        (break_weight, "not finite", "0.bias", "1 of the 4"),
        (overflow, "not finite", "3", "overflows"),
    ],
)
def test_the_place_is_found(break_: Any, kind: str, module: str, cause: str) -> None:
    """The first module whose output is the same for all images, or is not finite, and none of a healthy network."""
    model, images = tiny(), torch.rand(6, 1, 8, 8)
    assert failure_of(model, images) is None
    break_(model)
    found = failure_of(model, images)
    assert found is not None
    assert (found.kind, found.module) == (kind, module)
    says(found.cause, module, cause)


def test_statistics_that_lag_are_no_death() -> None:
    """A batch norm whose running mean is far from the images' kills what evaluation sees, not what is trained."""
    model, images = tiny(), torch.rand(6, 1, 8, 8)
    model[1].running_mean.fill_(1e3)  # type: ignore[union-attr,operator]  # pyright: ignore
    found = failure_of(model, images)
    assert found is not None
    assert (found.kind, found.module) == ("statistics", "2")
    assert float(model[1].running_mean.max()) == 1e3  # type: ignore[union-attr,operator,arg-type]  # pyright: ignore


def test_a_constant_branch_is_no_death() -> None:
    """Zero branches of a residual network are the identity, and a relu that is dead in one of them is no harm."""
    torch.manual_seed(0)
    model = timm.create_model("preresnet20", in_chans=1, width=4).eval()
    for name, parameter in model.named_parameters():
        if name.startswith("stages.0") and "conv" in name:
            nn.init.zeros_(parameter)
    assert failure_of(model, torch.rand(6, 1, 8, 8)) is None


def test_a_vanishing_gradient_is_found() -> None:
    """Where it vanishes, if it does; a network that gets one, and large logits, has no such failure."""
    model, images, labels = tiny(), torch.rand(6, 1, 8, 8), torch.arange(6)
    with torch.no_grad():
        model[5].weight *= 30  # type: ignore[union-attr,operator]  # pyright: ignore
    assert stall_of(model, images, labels, scale=1.0, lr=0.1) is None
    model[2] = nn.Sigmoid()
    with torch.no_grad():
        model[0].weight *= 1e3  # type: ignore[union-attr,operator]  # pyright: ignore
    found = stall_of(model, images, labels, scale=1.0, lr=1e-4)
    assert found is not None
    assert (found.kind, found.module) == ("no gradient", "0.weight")
    small = stall_of(tiny(), images, labels, scale=1e-3, lr=0.1)
    assert small is not None
    assert small.kind == "small"


# training


def test_a_network_that_dies_is_noticed(tmp_path: Path) -> None:
    """Too large steps end all relus of a network without batch norm; the first dead block is named."""
    trained, texts = after_training(tmp_path, KILLING, "stable_resnet_s11_cert", img_size=8)
    (text,) = texts
    assert trained.failure is not None
    assert trained.failure.kind == "constant"
    says(text, "dead", trained.failure.module, "zero")
    assert trained.troubles() == []  # told once


def test_a_loss_that_stays_at_chance_is_noticed(tmp_path: Path) -> None:
    """Logits that a cap keeps small for the loss: the network is alive, and learns nothing."""
    trained, texts = after_training(tmp_path, {"lr": 0.01}, "stable_resnet_s11_cert", img_size=8)
    (text,) = texts
    assert trained.failure is not None
    assert trained.failure.kind == "small"
    says(text, "ln(10)", "2.3026", "logit_scale")


@pytest.mark.parametrize("model", ["preresnet20", "zerosnet20_opt", "resnet18"])
def test_learning_slowly_is_no_trouble(tmp_path: Path, model: str) -> None:
    """Nor is an epoch in which next to nothing is learned."""
    args = {"width": 4} if model != "resnet18" else {}
    images = load_images(DIGITS)
    torch.manual_seed(0)
    network = timm.create_model(model, in_chans=1, num_classes=10, **args)
    training = Training(**{**BASIS, "lr": 1e-4, "batch_size": 50})
    slow = Session(Trainer(NormalizedModel(network, images), images, training, seed=5), tmp_path)
    slow.run()
    assert slow.troubles() == []


def test_divergence_has_a_cause(tmp_path: Path) -> None:
    """The weight or the block that is not finite."""
    diverging = session(tmp_path, {"lr": 1e18, "epochs": 2}, "preresnet20", norm="none")
    assert diverging.run().diverged
    (text,) = diverging.troubles()
    says(text, "not finite")
    assert diverging.failure is None or diverging.failure.module


def test_watching_changes_nothing(tmp_path: Path) -> None:
    """Weights, statistics, flags and the reports of solves are those without it."""
    watched = session(tmp_path, {}, "implicit_resnet20", theta="1/2")
    network = watched.trainer.network
    network.train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = {name: value.clone() for name, value in network.state_dict().items()}
        solves = [report.to_dict() for report in watched.reports]
        watched.trainer.progress.losses.append(2.3026)
        watched.troubles(watched.equations())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [report.to_dict() for report in watched.reports] == solves
    assert all(module.training for module in network.modules())


# equations of implicit steps


def test_an_eigenvalue_past_one_is_found() -> None:
    """Below 1 where the block is a contraction, the true one of a linear slope, and past 1 where it is larger."""
    torch.manual_seed(0)
    model = timm.create_model("implicit_resnet20_be", in_chans=1, width=4).eval()
    images = torch.randn(2, 1, 8, 8)
    assert {step.abscissa for step in well_posedness(model, (1, 8, 8), images)} == {None}  # proved
    step = model.get_submodule("stages.0.blocks.0.step")
    matrix = torch.tensor([[0.9, -2.0, 0, 0], [2.0, 0.9, 0, 0], [0, 0, -5.0, 0], [0, 0, 0, 0.3]])
    step.f = nn.Conv2d(4, 4, 1, bias=False)  # type: ignore[assignment]
    for factor in (1.0, 2.0):
        with torch.no_grad():
            step.f.weight.copy_(factor * matrix[..., None, None])  # type: ignore[union-attr,operator]  # pyright: ignore
        found = well_posedness(model, (1, 8, 8), images)[0]
        assert found.proof is None
        assert found.abscissa is not None
        assert found.abscissa.value == pytest.approx(0.9 * factor, rel=2e-2)


def test_the_end_of_well_posedness_is_told(tmp_path: Path) -> None:
    """A proof that is lost and an eigenvalue that passes 1 name their blocks, once."""
    watched = session(tmp_path, {}, "implicit_resnet20_be", solver={"max_evaluations": 5})
    watched.trainer.progress.losses.append(1.0)
    assert watched.troubles(watched.equations()) == []
    assert len(watched.proved) == 7
    block = "stages.1.blocks.1.step"
    conv = watched.trainer.network.network.get_submodule(f"{block}.f.conv")
    with torch.no_grad():
        conv.weight.mul_(100)  # type: ignore[operator,union-attr]  # pyright: ignore
    texts = watched.troubles(watched.equations())
    assert len(texts) == 2
    says(texts[0], "passed 1", block)
    says(texts[1], "no longer proved", block)
    assert "stages.0" not in " ".join(texts)
    assert watched.troubles(watched.equations()) == []


# the commands


def test_the_command_warns(run: Run, tmp_path: Path) -> None:
    """In the epoch's lines, and the weights are kept all the same."""
    line = (
        "train stable_resnet_s11_cert --arg width=4 --arg img_size=16 --set epochs=2 --set lr=1 --set logit_scale=100"
    )
    result = run(f"{line} --set batch_size=300 --threads 1 --folder {tmp_path}")
    assert (result.status, result.err) == (0, "")
    says(result.out, "warning: epoch", "dead", "stages.", "relu", "lower lr or logit_scale")
    assert result.out.count("warning") == 1
    assert (tmp_path / "model.safetensors").exists()


def test_the_command_tells_what_is_proved(run: Run, tmp_path: Path) -> None:
    """How many equations, and how near the others are to the end, in the line and in the history."""
    line = "train implicit_resnet20 --arg width=4 --set epochs=1 --set batch_size=600 --set lr=0.01 --threads 1"
    result = run(f"{line} --folder {tmp_path}")
    says(result.out, "of 7 equations proved")
    (row,) = csv.DictReader((tmp_path / "history.csv").read_text().splitlines())
    assert 0 <= int(row["proved"]) <= int(row["equations"]) == 7
    assert (row["largest_real_part"] == "") == (row["proved"] == "7")


def test_a_study_keeps_the_warnings(tmp_path: Path) -> None:
    """Of a dead run in its record."""
    run = StudyRun(
        model="stable_resnet_s11_cert",
        args={"width": 4, "img_size": 8},
        data=DIGITS,
        training=Training(**{**BASIS, **KILLING}),
        seed=0,
        software=software(),
    )
    record = execute(run, EvaluationRequest(()), tmp_path)
    assert isinstance(record, Record)
    (text,) = record.warnings
    says(text, "epoch 1", "dead", "stages.0.blocks.0", "relu")
    assert not record.diverged
