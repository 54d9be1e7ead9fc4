"""Compiled trainings: where a rule says that it pays, the same as eager ones but for rounding, resumed to the last bit."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import timm
import torch
from torch import nn

import stabzoo  # noqa: F401
from fixtures.commands import Run
from fixtures.messages import refuses
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.training.checkpoint import Checkpoints
from stabzoo.training.loop import Trainer
from stabzoo.training.networks import can_compile, pays_to_compile, weights_sha256
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.process import ALONE, Process
from stabzoo.training.spec import Training, recipe

IMAGES = load_images(Digits(name="digits", size=8, test_images=1697, split_seed=0))
"""100 to train on: batches of 32, 32, 32 and 4."""


def training(**settings: Any) -> Training:
    """Two epochs of digits."""
    return recipe("digits", {"epochs": 2, "batch_size": 32, **settings})


def trainer(network: nn.Module, **settings: Any) -> Trainer:
    """Of a network, in this process."""
    return Trainer(NormalizedModel(network, IMAGES), IMAGES, training(**settings), seed=3)


def resnet() -> nn.Module:
    """The same weights every time."""
    torch.manual_seed(0)
    return timm.create_model("zerosnet20_opt", width=4, in_chans=1, num_classes=10)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="the rule is of oneDNN's convolutions")
@pytest.mark.parametrize(
    ("model", "args", "pixels", "epochs", "process", "pays"),
    [
        ("zerosnet20_opt", {}, 32, 40, ALONE, True),
        ("preresnet20", {}, 32, 40, ALONE, True),
        ("zerosnet20_opt", {}, 32, 1, ALONE, False),  # compiling takes longer
        ("zerosnet20_opt", {}, 8, 40, ALONE, False),
        ("zerosnet18_opt", {}, 32, 40, ALONE, False),  # no faster
        ("implicit_resnet20", {}, 32, 40, ALONE, False),  # compiled solves are not judged
        ("stable_resnet_s11", {}, 32, 40, ALONE, False),
        ("zerosnet20_opt", {}, 32, 40, Process(torch.device("cpu"), 0, 2), False),
        ("zerosnet20_opt", {}, 32, 40, Process(torch.device("cuda")), False),
    ],
)
def test_the_rule(
    model: str,
    args: dict[str, Any],
    pixels: int,
    epochs: int,
    process: Process,
    pays: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By what was measured: a machine with a compiler, one process, CIFAR's images for tens of epochs."""
    monkeypatch.setattr("stabzoo.training.networks.can_compile", lambda: True)
    network = timm.create_model(model, device="meta", **args)
    images = cast(Any, SimpleNamespace(shape=(3, pixels, pixels), train_count=50_000))
    asked = training(epochs=epochs, compile="fastest")
    assert pays_to_compile(network, images, asked, process) == pays
    monkeypatch.setattr("stabzoo.training.networks.can_compile", lambda: False)
    assert not pays_to_compile(network, images, asked, process)


@pytest.fixture
def compiler() -> None:
    """A machine with what compiling takes."""
    if not can_compile():
        pytest.skip("torch cannot compile here: no C++ compiler, or no headers of Python")


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_without_a_compiler(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was asked for fails by name, in a line, and what is fastest does without."""
    torch.compiler.reset()
    can_compile.cache_clear()
    line = f"train zerosnet20_opt --arg width=4 --size 8 --set epochs=1 --threads 1 --folder {tmp_path / 'folder'}"
    with torch._inductor.config.patch({"cpp.cxx": (None, "false")}):
        assert not can_compile()
        capsys.readouterr()  # what torch has to say of CUDA
        refuses(run(f"{line} --set compile=true"), "training.compile", "C++ compiler", "python3-dev", "compile=false")
    can_compile.cache_clear()


class StopError(Exception):
    """A training is stopped."""


def train_compiled(layout: str, folder: str, stop: str) -> None:
    """Resume from the folder; stop after so many steps, or write the digest of the weights at the end."""
    begun, checkpoints = trainer(resnet(), compile=True, layout=layout), Checkpoints(Path(folder))
    if (state := checkpoints.newest()[0]) is not None:
        begun.load(state)

    def after_step() -> None:
        if begun.progress.steps == int(stop):
            checkpoints.save(int(stop), begun.state())
            raise StopError

    with suppress(StopError):
        begun.run(after_step=after_step)
        sys.stdout.write(" ".join(map(str, (weights_sha256(begun.network), *begun.progress.losses))))


def in_its_own_process(layout: str, folder: Path, stop: int = 0) -> list[str]:
    """What `train_compiled` writes: torch remembers in a process which sizes it has compiled for, and what varied."""
    code = "import sys; from training.test_compiled import train_compiled; train_compiled(*sys.argv[1:])"
    line = [sys.executable, "-c", code, layout, str(folder), str(stop)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(line, capture_output=True, text=True, env=environment, check=True).stdout.split()


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("layout", ["contiguous", "fastest"])
def test_what_is_resumed_repeats_to_the_last_bit(layout: str, tmp_path: Path) -> None:
    """Also before the one batch of another size, after which code for any size would be compiled."""
    assert [len(batch) for batch in trainer(resnet()).batches(0)] == [32, 32, 32, 4]
    whole = in_its_own_process(layout, tmp_path / "whole")
    assert in_its_own_process(layout, tmp_path / "stopped", stop=3) == []
    assert in_its_own_process(layout, tmp_path / "stopped") == whole
    eager = trainer(resnet(), layout=layout)
    eager.run()
    assert weights_sha256(eager.network) != whole[0]  # rounded otherwise: it was compiled
    assert eager.progress.losses == pytest.approx([float(loss) for loss in whole[1:]], rel=1e-3)
