"""Training: one loop for everything, checkpoints that are whole or absent, and going on to the last bit."""

import copy
import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import Any, cast

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.optim import get_optimizer_info, list_optimizers
from torch import Tensor

import stabzoo
from fixtures.commands import Run
from fixtures.messages import raises, refuses, says
from fixtures.processes import KILLED
from stabzoo.config import validate
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.errors import ConfigError
from stabzoo.evaluation.accuracy import accuracy
from stabzoo.training.checkpoint import Checkpoints, pack, unpack
from stabzoo.training.loop import Trainer, optimizer_of
from stabzoo.training.networks import create, load_model, weights_sha256
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.session import Session
from stabzoo.training.spec import RECIPES, WITH_MOMENTUM, Training, recipe, settings_of

DIGITS = Digits(name="digits", size=8, test_images=1697, split_seed=0)
BASIS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 33,
    "optimizer": "momentum",
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "schedule": "one-cycle",
}

pytestmark = pytest.mark.usefixtures("one_thread")


def trainer(training: dict[str, Any], model: str = "zerosnet20_tra", **args: Any) -> Trainer:
    """A small network, the same weights every time."""
    images = load_images(DIGITS)
    torch.manual_seed(0)
    network = timm.create_model(model, in_chans=1, num_classes=10, **{"width": 4, **args})
    return Trainer(NormalizedModel(network, images), images, Training(**{**BASIS, **training}), seed=5)


# the loss and the settings that a model brings


def test_a_margin_is_taken_from_the_logit_of_the_class() -> None:
    """Before the logits are scaled; what is counted as right does not depend on it."""
    images = load_images(DIGITS)
    ((pixels, labels),) = images.testing([torch.arange(20)])
    plain, asked = (trainer({"logit_scale": 3.0, "margin": margin}) for margin in (0.0, 0.5))
    for each in (plain, asked):
        each.network.eval()
    loss, _, hits = asked.losses(pixels, labels)
    logits = asked.network(pixels)
    logits[torch.arange(20), labels] -= 0.5
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(3 * logits, labels))
    assert loss > plain.losses(pixels, labels)[0]
    assert hits == plain.losses(pixels, labels)[2]


def test_a_model_that_does_not_exist(tmp_path: Path, run: Run) -> None:
    """Is told with the names that were meant."""
    refuses(
        run(f"train zerosnet20_optt --folder {tmp_path / 'x'}"), "zerosnet20_optt", "did you mean", "zerosnet20_opt"
    )


def test_what_models_bring_is_a_recipe_of_any_data() -> None:
    """Every model's settings go with every shipped recipe, and a user's settings go over them."""
    shipped = [path.stem for path in RECIPES.glob("*.yaml")]
    bringing = {name for name in stabzoo.list_models() if settings_of(name)}
    assert {"stable_resnet_s11_cert", "cpl_resnet11", "sandwich_net20"} <= bringing
    assert settings_of("resnet18") == {}
    for name in shipped:
        for model in ("stable_resnet_s11_cert", "cpl_resnet11"):
            assert recipe(name, settings_of(model)).margin == 0.25
            assert recipe(name, settings_of(model) | {"margin": 1}).margin == 1
    assert all(recipe("digits", settings_of(model)) for model in bringing)


def test_momentum_goes_with_the_optimizers_that_have_it() -> None:
    """By timm's own list; it is required there, and is neither set nor shown of others."""
    for name in list_optimizers():
        assert (name in WITH_MOMENTUM.split()) == get_optimizer_info(name).has_momentum, name
    without = {key: value for key, value in BASIS.items() if key != "momentum"}
    for name in ("momentum", "SGD", "lookahead_sgd"):
        assert Training(**{**BASIS, "optimizer": name}).model_dump(mode="json")["momentum"] == 0.9
        with raises(ValueError, "momentum", name):
            Training(**{**without, "optimizer": name})
    assert Training(**{**BASIS, "momentum": 0}).model_dump(mode="json", exclude_defaults=True)["momentum"] == 0
    for settings in (without, BASIS):  # older files gave one to all
        training = Training(**{**settings, "optimizer": "adamw"})
        assert "momentum" not in training.model_dump(mode="json")
    with raises(ConfigError, "momentum", "adamw"):
        recipe("digits-stable", {"momentum": 0.8})
    assert recipe("digits-stable", {"momentum": 0.8, "optimizer": "sgd"}).momentum == 0.8


def test_a_model_is_trained_by_what_it_brings(run: Run, tmp_path: Path) -> None:
    """For images of the data's size; not where a recipe is chosen."""
    line = "train cpl_resnet11 --arg width=2 --size 8 --set epochs=1 --set batch_size=600 --threads 1 --folder"
    assert run(f"{line} {tmp_path / 'own'}").status == 0
    assert run(f"{line} {tmp_path / 'chosen'} --recipe digits").status == 0
    own, chosen = (
        json.loads((tmp_path / name / "config.json").read_text())["stabzoo"]["job"]["training"]
        for name in ("own", "chosen")
    )
    assert (own["optimizer"], own["margin"], own["logit_scale"]) == ("adamw", 0.25, 10)
    assert (chosen["optimizer"], chosen["margin"], chosen["logit_scale"]) == ("momentum", 0, 1)


def test_networks_of_one_size_are_built_for_the_images() -> None:
    """Where the model's configuration says so, and no img_size is given."""
    images = load_images(DIGITS)
    assert create("stable_resnet_s11_cert", {"width": 2}, 0, images).network.grids[0] == (8, 8)
    assert create("stable_resnet_s11_cert", {"width": 2, "img_size": 16}, 0, images).network.grids[0] == (16, 16)
    assert create("stable_resnet_s11", {"width": 2}, 0, images).network.grids[0] == (32, 32)
    assert load_model("cpl_resnet11", images, None)(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


# checkpoints

LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5)
TENSORS = st.lists(st.floats(-1e3, 1e3), max_size=3).map(torch.tensor)
TREES = st.recursive(
    LEAVES | TENSORS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Whether two trees are equal, tensors bit by bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(tree=TREES)
def test_what_is_packed_is_unpacked(tree: Any) -> None:
    """Keys keep their types and order; names that contain the separator are no trouble."""
    assert same(unpack(*pack(tree)), tree)


def test_only_data_are_packed() -> None:
    """Nothing that would have to be pickled."""
    with raises(TypeError, "a.1", "checkpoint", "got function"):
        pack({"a": [1, same]})


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """Truncated, changed or empty: the one before is used, and the damaged one named; two are kept."""
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() == (None, [])
    for step in (1, 2, 3):
        checkpoints.save(step, {"step": step, "x": torch.full((3,), step)})
    second = checkpoints.files()[1]
    assert [path.name.split("-")[1] for path in checkpoints.files()] == ["000000003", "000000002"]
    newest = checkpoints.files()[0]
    whole = newest.read_bytes()
    for torn in (whole[:-1], whole[:10], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        newest.write_bytes(torn)
        state, damaged = checkpoints.newest()
        assert (state["step"], damaged) == (2, [newest])
    newest.unlink()
    stranger = b"[" * 100_000
    name = f"checkpoint-000000003-{hashlib.sha256(stranger).hexdigest()[:16]}.safetensors"
    for odd in (Path.mkdir, os.mkfifo, lambda path: path.symlink_to(second), lambda path: path.write_bytes(stranger)):
        newest = tmp_path / name
        odd(newest)
        state, damaged = checkpoints.newest()  # what cannot be opened is not waited for
        assert (state["step"], damaged) == (2, [newest])
        newest.rmdir() if newest.is_dir() else newest.unlink()
    newest.mkdir()
    checkpoints.save(4, {"step": 4})
    assert checkpoints.newest()[0]["step"] == 4
    for file in checkpoints.files():
        file.write_bytes(b"") if file.is_file() else file.rmdir()
    assert checkpoints.newest()[0] is None


def test_what_a_training_has_left_behind_is_no_checkpoint_of_the_next(tmp_path: Path) -> None:
    """Later ones, whole or damaged, do not crowd out those of a training that began anew."""
    checkpoints = Checkpoints(tmp_path)
    for step in (8, 9):
        checkpoints.save(step, {"step": step, "of": "the one before"})
    for step in (0, 1, 2):
        checkpoints.save(step, {"step": step})
        assert checkpoints.newest()[0] == {"step": step}
        assert len(checkpoints.files()) <= 2
    checkpoints.save(2, {"step": 2, "again": True})
    assert checkpoints.newest()[0] == {"step": 2, "again": True}
    assert len(checkpoints.files()) == 2


# going on


class StopError(Exception):
    """Ends a training between two steps."""


@pytest.mark.parametrize(
    ("training", "model", "args"),
    [
        ({}, "zerosnet20_tra", {"drop_rate": 0.2, "drop_path_rate": 0.2}),
        ({"schedule": "step", "milestones": [0.4], "augmentation": "crop", "ema": 0.9}, "preresnet20", {}),
        ({"schedule": "cosine", "warmup_epochs": 1, "optimizer": "adamw", "accumulation": 2}, "lmresnet20", {}),
        ({"regularization": 1e-3}, "stable_resnet_s11_cert", {"img_size": 8, "head_cap": 50}),
        ({"perturbation": {"weight": 0.1, "sigma": 0.1}}, "preresnet20", {}),
        ({"selection": "best-epoch", "decay": "all", "clip_norm": 0.5, "lr": 1}, "zerosnet20_tra", {}),
        ({"layout": "fastest", "optimizer": "adamw", "ema": 0.9, "clip_norm": 0.5}, "zerosnet20_opt", {}),
    ],
)
def test_what_is_resumed_repeats_to_the_last_bit(
    training: dict[str, Any], model: str, args: dict[str, Any], tmp_path: Path
) -> None:
    """Stopped after any step, through the file, in another trainer: weights, averages and losses are the same."""
    whole = trainer(training, model, **args)
    expected = whole.run()
    steps = whole.progress.steps
    assert steps == 3 * len(whole.batches(0))
    for stop in range(1, steps, 2):
        begun = trainer(training, model, **args)

        def after_step(begun: Trainer = begun, stop: int = stop) -> None:
            if begun.progress.steps == stop:
                raise StopError

        with pytest.raises(StopError):
            begun.run(after_step=after_step)
        checkpoints = Checkpoints(tmp_path / str(stop))
        checkpoints.save(stop, begun.state())
        resumed = trainer(training, model, **args)
        resumed.load(checkpoints.newest()[0])
        assert resumed.run() == expected
        assert weights_sha256(resumed.network) == weights_sha256(whole.network)
        assert same(resumed.state()["average"], whole.state()["average"])
        assert resumed.progress.accuracies == whole.progress.accuracies


def test_parts_of_a_batch_add_up() -> None:
    """The gradient is the whole batch's: without batch norms the losses are the same up to rounding."""
    whole = trainer({"epochs": 1}, "preresnet20", norm="none").run()
    parts = trainer({"epochs": 1, "accumulation": 3}, "preresnet20", norm="none").run()
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)
    assert parts.losses != whole.losses
    with raises(ConfigError, "batch_size", "at least 40", "2 images", "20 parts"):
        trainer({"accumulation": 20})


def test_averages_are_what_they_say() -> None:
    """After one epoch of three steps: decay^3 of the start and the rest of what came."""
    training = trainer({"epochs": 1, "ema": 0.5}, "preresnet20")
    network, seen = cast(Any, training.network.network), list[Tensor]()

    def look() -> None:
        seen.append(network.head.fc.bias.detach().clone())

    look()
    training.run(after_step=look)
    expected = seen[0]
    for value in seen[1:]:
        expected = 0.5 * expected + 0.5 * value
    torch.testing.assert_close(cast(Any, training.averaged).network.head.fc.bias, expected)


@pytest.mark.parametrize("averaging", [{}, {"ema": 0.5}])
def test_the_best_epoch_is_selected(averaging: dict[str, Any]) -> None:
    """The weights left are the first that put the most test images in their class; training is not disturbed by it."""
    settings = {"epochs": 5, "lr": 1.0, "schedule": "cosine", **averaging}
    seen: list[tuple[float, str]] = []
    last = trainer(settings, "preresnet20")

    def look(epoch: int) -> None:
        network = last.averaged
        seen.append((accuracy(network, last.images), weights_sha256(network)))
        network.train()

    trained = last.run(look)
    best = trainer(settings | {"selection": "best-epoch"}, "preresnet20")
    assert best.run() == trained
    found, weights = max(seen[1:], key=lambda entry: entry[0])
    assert found > seen[-1][0]  # or nothing is seen here
    assert weights_sha256(best.averaged) == weights
    assert accuracy(best.averaged, best.images) == found
    assert weights_sha256(last.averaged) == seen[-1][1]


def test_what_is_decayed() -> None:
    """Kernels and the classifier's weights, or all, coefficients of the scheme included."""
    network = trainer({}).network
    for decay, kept in (("kernels", lambda p: p.ndim > 1), ("all", lambda p: True)):
        groups = optimizer_of(network, Training(**{**BASIS, "decay": decay})).param_groups
        decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
        assert decayed == {id(p) for p in network.parameters() if kept(p)}


def test_gradients_are_clipped() -> None:
    """All parameters' gradients together have at most that norm; without momentum a step moves by the rate times it."""
    settings = {"epochs": 1, "momentum": 0.0, "weight_decay": 0.0, "lr": 1e-3, "schedule": "cosine", "batch_size": 100}
    moved: dict[float | None, float] = {}
    for clip in (None, 0.125, 1e6):
        training = trainer(settings | {"clip_norm": clip}, "preresnet20")
        before = [p.detach().clone() for p in training.network.parameters()]
        training.run()
        after = training.network.parameters()
        moved[clip] = sum(float((p.detach() - old).square().sum()) for p, old in zip(after, before, strict=True)) ** 0.5
    assert moved[0.125] == pytest.approx(0.125e-3, rel=1e-3)
    assert moved[None] == moved[1e6] > 2 * moved[0.125]


def test_the_running_accuracy_is_of_the_network_that_learns() -> None:
    """Of one batch per epoch: what the weights before it make of it in training mode."""
    training = trainer({"epochs": 2, "batch_size": 100}, "preresnet20")
    found: list[float] = []
    images = training.images

    def look(epoch: int) -> None:
        if epoch < 2:
            network = copy.deepcopy(training.network).train()
            ((pixels, labels),) = images.training([torch.arange(images.train_count)])
            found.append(100 * float((network(pixels).argmax(1) == labels).float().mean()))

    training.run(look)
    assert training.progress.accuracies == pytest.approx(found)


@pytest.mark.parametrize(
    ("training", "facts"),
    [
        ({"crop_area": [0.5, 0.1]}, ("crop_area", "0.5", "0.1")),
        ({"crop_area": [0.1, 1.5]}, ("crop_area.1", "1.5")),
        ({"selection": "best"}, ("selection", "best-epoch")),
        ({"decay": "timm"}, ("decay", "kernels", "all")),
        ({"clip_norm": 0}, ("clip_norm", "0")),
    ],
)
def test_settings_that_are_refused(training: dict[str, Any], facts: tuple[str, ...]) -> None:
    """By their names."""
    with raises(ConfigError, *facts):
        validate(Training, BASIS | training, "mine.yaml")


def test_half_precision_trains() -> None:
    """Under autocast: the loss falls, the weights stay in single precision."""
    training = trainer({"amp": "bfloat16", "epochs": 4}, "preresnet20")
    losses = training.run().losses
    assert losses[-1] < losses[0]
    assert all(weight.dtype == torch.float32 for weight in training.network.parameters())


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda state: state.pop("scheme"), "scheme"),
        (lambda state: state["progress"].update(epoch="x"), "progress.epoch"),
        (lambda state: state["schedule"]["own"].update(step=1), "schedule.own"),
        (lambda state: state["optimizer"]["param_groups"][0].update(lr="x"), "param_groups.0.lr"),
        (
            lambda state: state["optimizer"]["state"][0].update(momentum_buffer=torch.ones(7)),
            "optimizer.0.momentum_buffer",
        ),
        (lambda state: state["network"].update({"stem.conv.weight": torch.ones(1)}), "stem.conv.weight"),
    ],
)
def test_a_whole_checkpoint_of_another_training_is_refused(
    change: Callable[[dict[str, Any]], object], fact: str, tmp_path: Path
) -> None:
    """It is named, with what is not of this one and what to do."""
    begun = trainer({"epochs": 1})
    begun.run()
    state = copy.deepcopy(begun.state())
    change(state)
    path = Checkpoints(tmp_path).save(1, state)
    with raises(ConfigError, path, fact, "remove"):
        Session(trainer({"epochs": 1}), tmp_path).resume()


# the command

COMMAND = "train zerosnet20_tra --arg width=4 --set epochs=2 --set batch_size=400 --threads 1 --folder {folder}"


def test_a_training_from_the_command_line(run: Run, tmp_path: Path) -> None:
    """A line per epoch, the history with every trained coefficient, weights that timm and the diagnosis load."""
    folder = tmp_path / "run"
    result = run(COMMAND.format(folder=folder))
    assert (result.status, result.err) == (0, "")
    says(result.out, "zerosnet20_tra", "digits", "2 epochs", "seed 0", "cpu", "epoch 2/2", "loss")
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    coefficients = [name for name in rows[0] if name.endswith("step.parameter")]
    assert len(coefficients) == 7  # the first two of nine blocks are Euler steps
    assert rows[0][coefficients[0]] != rows[1][coefficients[0]]
    model = timm.create_model("zerosnet20_tra", width=4, in_chans=1, checkpoint_path=str(folder / "model.safetensors"))
    assert float(model.get_parameter(coefficients[0]).detach()) == float(rows[1][coefficients[0]])
    before = (folder / "history.csv").read_bytes()
    again = run(COMMAND.format(folder=folder))
    assert again.status == 0
    assert "from step" in again.out
    assert (folder / "history.csv").read_bytes() == before


def test_an_implicit_network_tells_its_solves(run: Run, tmp_path: Path) -> None:
    """Evaluations a solve and failures, in the lines and in the history."""
    line = "train implicit_resnet20 --arg width=4 --set epochs=1 --set batch_size=600 --set lr=0.01 --threads 1"
    result = run(f"{line} --folder {tmp_path}")
    assert result.status == 0
    assert "evaluations per solve" in result.out
    (row,) = csv.DictReader((tmp_path / "history.csv").read_text().splitlines())
    assert float(row["evaluations_a_solve"]) >= 1
    assert int(row["not_solved"]) >= 0


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ("--recipe nothing", ("no recipe 'nothing'", "cifar, digits, digits-stable, imagenet, mnist")),
        ("--set lr=0", ("digits.yaml: lr", "0", "got 0")),
        ("--set speed=9", ("digits.yaml: speed", "unknown")),
        ("--device cuda:99", ("device", "cuda:99")),
        ("--device abacus", ("device", "cpu, cuda or cuda:N", "'abacus'")),
        ("--checkpoint-steps 0", ("checkpoint-steps", "at least 1", "got 0")),
        ("--arg lam=x", ("zerosnet20_tra", "lam")),
        ("--data mnist --root nowhere", ("nowhere/MNIST/raw", "No such file")),
    ],
)
def test_what_the_command_refuses(run: Run, tmp_path: Path, options: str, facts: tuple[str, ...]) -> None:
    """One line that says what was expected, and nothing is trained."""
    result = run(f"{COMMAND.format(folder=tmp_path / 'run')} {options}")
    assert result.status == 2
    says(result.err, *facts)
    assert not list(tmp_path.rglob("weights*"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("could not create a primitive"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_too_little_memory_is_said(error: Exception, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says it, and however; another error of torch is none of ours."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, "run", fail)
    result = run(COMMAND.format(folder=tmp_path / "run"))
    assert result.status == 2
    says(result.err, "out of memory", "batch_size", "same command")
    error = RuntimeError("shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="shapes"):
        run(COMMAND.format(folder=tmp_path / "run"))


LOCKED = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_another_training_is_not_continued(run: Run, tmp_path: Path) -> None:
    """The setting that differs is named; a folder in use, and a damaged one, are refused."""
    line = COMMAND.format(folder=tmp_path)
    assert run(line).status == 0
    other = run(f"{line} --seed 1")
    assert other.status == 2
    says(other.err, tmp_path, "another training", "seed is 0 there and 1 here", "--folder")
    several = run(f"{line} --seed 1 --arg drop_rate=0.1 --set lr=0.5 --set weight_decay=0 --set ema=0.9").err
    says(several, "args.drop_rate is null there and 0.1 here", "training.lr is", "and 1 more")
    assert "epochs" not in several
    with subprocess.Popen([sys.executable, "-c", LOCKED, tmp_path / ".lock"], stdin=PIPE, stdout=PIPE) as other_driver:
        assert other_driver.stdout
        assert other_driver.stdout.readline() == b"locked\n"
        says(run(line).err, tmp_path, "another training", "using it")
        other_driver.communicate(b"end")
    (tmp_path / "config.json").write_text("{")
    says(run(line).err, tmp_path / "config.json", "damaged")


@pytest.mark.slow
def test_killed_twenty_times(run: Run, tmp_path: Path) -> None:
    """At random moments, saves among them, for a checkpoint is written after every step: the same weights as without."""
    line = "train zerosnet20_tra --arg width=4 --arg drop_path_rate=0.1 --set epochs=14 --set batch_size=60 --threads 1"
    line += " --checkpoint-steps 1 --folder"
    assert run(f"{line} {tmp_path / 'whole'}").status == 0
    arguments = [*line.split(), str(tmp_path / "killed")]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "20", *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    kills = int(done.stdout.split("kills ")[1].split()[0])
    assert kills >= 3, kills  # a fast machine may be done before the twentieth
    for name in ("model.safetensors", "history.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert not list((tmp_path / "killed").glob(".*safetensors*"))


TOGETHER = (
    "train preresnet20 --arg width=4 --arg norm=none --set epochs=2 --set batch_size=100 --set lr=0.01 --threads 1"
)


def losses(folder: Path) -> list[float]:
    """Of every epoch."""
    return [float(row["loss"]) for row in csv.DictReader((folder / "history.csv").read_text().splitlines())]


def in_two_processes(folder: Path) -> None:
    """Train by two processes on this machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "stabzoo"]
    command = [*launcher, *TOGETHER.split(), "--folder", str(folder), "--checkpoint-steps", "5"]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_processes_train_as_one(run: Run, tmp_path: Path) -> None:
    """At equal batches the losses are the same up to rounding, and a killed pair goes on to the last bit."""
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(f"{TOGETHER} --folder {one}").status == 0
    in_two_processes(two)
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    whole = (two / "model.safetensors").read_bytes()
    newest, earlier = Checkpoints(two).files()
    assert earlier.name.split("-")[1] < newest.name.split("-")[1]
    newest.unlink()  # as if both had been killed before the last save
    (two / "model.safetensors").unlink()
    in_two_processes(two)
    assert (two / "model.safetensors").read_bytes() == whole


def test_an_evaluation_says_what_diverged(run: Run, tmp_path: Path) -> None:
    """And its status is 1; its JSON has null for what is no number, and the other trainings their numbers."""
    settings = "--size 8 --arg width=4 --set batch_size=512 --set schedule=cosine --threads 1"
    for name, lr, status in (("good", 0.01, 0), ("bad", 1e30, 1)):
        line = f"train zerosnet20_opt {settings} --set epochs=2 --set lr={lr} --folder {tmp_path / name}"
        assert run(line).status == status
    found = run(f"evaluate {tmp_path / 'good'} --json")
    assert (found.status, json.loads(found.out, parse_constant=pytest.fail)["diverged"]) == (0, [False])
    found = run(f"evaluate {tmp_path / 'bad'}")
    assert found.status == 1
    says(found.out, tmp_path / "bad", "diverged")
    found = run(f"evaluate {tmp_path / 'bad'} --json")
    told = json.loads(found.out, parse_constant=pytest.fail)
    assert (found.status, told["diverged"]) == (1, [True])
    Checkpoints(tmp_path / "good").save(10**8, {"progress": None})
    found = run(f"evaluate {tmp_path / 'good'}")
    assert found.status == 2
    says(found.err, tmp_path / "good", "checkpoint", "train it again")
