"""Evaluations and studies of plugins: in the registry, in a study, when they fail, and when their plugin is gone."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import stabzoo
from fixtures.commands import Run
from fixtures.messages import raises, says
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.errors import ConfigError, PluginError, PluginWarning
from stabzoo.evaluation.accuracy import measure
from stabzoo.evaluation.kinds import CLASSES, RECORDED, Absent, evaluation_adapter
from stabzoo.metric import SHIPPED
from stabzoo.registry.catalogue import catalogue
from stabzoo.study.spec import load_study

Install = Callable[..., Path]
PLUGIN = "plugin 'tests' (stabzoo-tests 9.0)"

CODE = """
    from typing import ClassVar, Literal

    import stabzoo
    from stabzoo import Evaluation, Metric
    from stabzoo.config import Seed


    class Dropped(Evaluation):
        kind: Literal["dropped-pixels"]
        share: float
        seed: Seed = 0

        def perturbation(self, images):
            import torch

            generator = torch.Generator().manual_seed(self.seed)

            def drop(network, pixels, labels):
                return pixels * (torch.rand(pixels.shape, generator=generator) >= self.share)

            return drop


    class Loss(Evaluation):
        metric: ClassVar[Metric] = Metric(name="loss", unit="nat", higher_is_better=False)
        kind: Literal["loss"]

        def score(self, logits, labels):
            from torch.nn import functional

            return functional.cross_entropy(logits, labels, reduction="none")


    class Size(Evaluation):
        metric: ClassVar[Metric] = Metric(name="weights", higher_is_better=False)
        kind: Literal["size"]
        fails: str = ""

        def measure(self, network, images):
            for weight in network.parameters():
                weight.data.fill_(float("nan"))  # its own copy's
            if self.fails:
                raise RuntimeError(self.fails)
            return sum(weight.numel() for weight in network.parameters())


    @stabzoo.hookimpl
    def stabzoo_evaluations():
        return [Dropped, Loss, Size]
"""
REGISTRY = "tests: {evaluations: [dropped-pixels, loss, size]}"
STUDY = """
title: A study of a plugin
description: Of networks that are not trained.
networks:
  - {label: stable, model: zerosnet20_opt, args: {width: 4}}
  - {label: unstable, model: zerosnet20, args: {alpha: [1, 1, 1], beta: [1], width: 4}}
data: {name: digits, size: 8, test_images: 60, split_seed: 0}
training: {epochs: 0, batch_size: 64, optimizer: momentum, lr: 0.1, momentum: 0.9, weight_decay: 0, schedule: cosine}
seeds: [0]
evaluations:
  - {kind: clean}
  - {kind: dropped-pixels, share: 0.5}
  - {kind: loss}
  - {kind: size}
"""
IMAGES = load_images(Digits(name="digits", size=8, test_images=1500, split_seed=0))


def read(**settings: Any) -> stabzoo.Evaluation:
    """One evaluation, as a study reads it."""
    return evaluation_adapter.validate_python(settings)


def linear() -> nn.Module:
    """A network that does something, as of seed 0."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()


def install_tests(
    install: Install, code: str = CODE, registry: str = REGISTRY, *, refresh: bool = True, **studies: str
) -> Path:
    """The plugin ``tests`` with studies of these names."""
    folder = install("tests", code, registry)
    (folder / "studies").mkdir(exist_ok=True)
    for name, text in studies.items():
        (folder / "studies" / f"{name}.yaml").write_text(text)
    if refresh:
        stabzoo.refresh()
    return folder


# the registry of kinds


def test_the_kinds_of_ours_are_those_that_plugins_may_not_take() -> None:
    """By the classes that have them."""
    assert set(SHIPPED) == set(CLASSES)


def test_a_foreign_evaluation_is_read_like_one_of_ours(install: Install) -> None:
    """By its kind; with its distribution; mistakes have their place and the accepted names."""
    install_tests(install)
    assert "stabzoo_tests" not in sys.modules, "listing imports nothing"
    assert catalogue().evaluations["loss"].name == "tests"
    found = read(kind="dropped-pixels", share=0.25, seed=3)
    assert (found.title, found.plugin) == ("dropped-pixels share = 0.25", "stabzoo-tests 9.0")
    written = evaluation_adapter.dump_python(found)
    assert written == {"kind": "dropped-pixels", "plugin": "stabzoo-tests 9.0", "share": 0.25, "seed": 3}
    assert evaluation_adapter.validate_python(written) == found
    assert read(kind="loss").heading == "loss (nat, lower is better)"
    assert "plugin" not in evaluation_adapter.dump_python(read(kind="clean"))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{kind: dropped_pixels, share: 0.5}", ["unknown evaluation 'dropped_pixels'", "dropped-pixels", PLUGIN]),
        ("{kind: gausian}", ["unknown evaluation 'gausian'", "gaussian"]),
        ("{kind: dropped-pixels, shar: 0.5}", ["evaluations.1.dropped-pixels.shar", "accepted here", "share"]),
        ("{kind: dropped-pixels, share: x}", ["evaluations.1.dropped-pixels.share", "'x'"]),
        ("{kind: gaussian, sigm: 1, seed: 1}", ["evaluations.1.gaussian.sigm", "accepted here", "sigma"]),
        ("{kind: loss, plugin: stabzoo-tests 8.0}", ["stabzoo-tests 8.0", "stabzoo-tests 9.0 is installed"]),
        ("{share: 1}", ["evaluations.1", "kind", "clean"]),
        ("5", ["evaluations.1"]),
    ],
)
def test_a_mistake_is_told(install: Install, tmp_path: Path, entry: str, words: list[str]) -> None:
    """Where it is, what would be right, and whose kind it is."""
    install_tests(install)
    path = tmp_path / "own.yaml"
    path.write_text(STUDY.replace("{kind: dropped-pixels, share: 0.5}", entry))
    with raises(ConfigError, *words):
        load_study(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[dropped-pixels, loss, size]", "[dropped-pixels, loss]", ["does not list size"]),
        ("[dropped-pixels, loss, size]", "[dropped-pixels, loss, size, more]", ["lists more"]),
        ('kind: Literal["loss"]', "more: int = 0", ["Loss", "Literal"]),
        ("class Loss(Evaluation)", "class Loss", ["stabzoo.Evaluation"]),
        ("class Loss(Evaluation)", "raise OSError('x')", ["OSError: x"]),
    ],
)
def test_a_plugin_that_is_not_what_it_lists(install: Install, old: str, new: str, words: list[str]) -> None:
    """It is named."""
    code = CODE.replace(old, new)
    if new.startswith("raise"):
        code = f"{CODE}\n    {new}\n"
    install_tests(install, code, REGISTRY.replace(old, new))
    with raises(PluginError, PLUGIN, *words):
        read(kind="loss")
    assert read(kind="clean").title == "clean"


def test_a_kind_has_one_owner(install: Install) -> None:
    """Ours, or the first plugin's."""
    install_tests(install, registry="tests: {evaluations: [clean, loss]}", refresh=False)
    install("zmore", CODE, "zmore: {evaluations: [loss, size]}")
    with pytest.warns(PluginWarning) as told:
        catalogue()
    first, second = (str(warning.message) for warning in told)
    says(first, PLUGIN, "'clean'", "stabzoo itself")
    says(second, "plugin 'zmore'", "'loss'", PLUGIN)
    assert [catalogue().evaluations[kind].name for kind in ("loss", "size")] == ["tests", "zmore"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two plugins of ours are examined beside the guest."""
    monkeypatch.setenv("STABZOO_PLUGINS", "euler,zerosnet,tests")


@pytest.mark.usefixtures("few")
def test_what_a_plugin_brings_is_shown(install: Install, run: Run) -> None:
    """By list, with what is measured and titles; by check and doctor, how many there are."""
    install_tests(install, mine=STUDY)
    listed = json.loads(run("list --json").out)
    about = {entry["name"]: (entry["plugin"], entry["about"]) for entry in listed["evaluations"]}
    assert about == {
        "dropped-pixels": ("tests", "accuracy (%)"),
        "loss": ("tests", "loss (nat), lower is better"),
        "size": ("tests", "weights, lower is better"),
    }
    assert [(entry["name"], entry["about"]) for entry in listed["studies"]] == [("mine", "A study of a plugin")]
    says(run("list").out, "loss (nat), lower is better", "A study of a plugin", "stabzoo-tests 9.0")
    only = run("list size").out
    says(only, "weights, lower is better")
    assert "euler" not in only
    says(run("list nothing").err, "scheme, model, branch, evaluation or study", "nothing")
    entry = json.loads(run("doctor --json").out)["plugins"][-1]
    assert (entry["name"], entry["state"], entry["evaluations"], entry["studies"]) == ("tests", "ok", 3, 1)
    checked = run("check")
    assert checked.status == 0
    says(checked.out, "evaluations of plugins read: 3", "studies of plugins read: 1", "all true")


@pytest.mark.parametrize(
    ("code", "study", "words"),
    [
        (CODE.replace("class Loss(Evaluation)", "class Loss"), STUDY, ["Loss", "stabzoo.Evaluation"]),
        (CODE, STUDY.replace("{kind: loss}", "{kind: los}"), ["mine.yaml", "unknown evaluation 'los'"]),
        (CODE, f"{STUDY}scales: {{tiny: {{training: {{epochs: -1}}}}}}", ["mine.yaml", "epochs"]),
    ],
    ids=["an evaluation", "a study", "a scale of a study"],
)
@pytest.mark.usefixtures("few")
def test_what_is_broken_is_named(install: Install, run: Run, code: str, study: str, words: list[str]) -> None:
    """By list, check and doctor, with the plugin; all else is shown."""
    install_tests(install, code, mine=study)
    listed = json.loads(run("list --json").out)
    errors = [entry["error"] for entry in (*listed["evaluations"], *listed["studies"]) if entry["error"]]
    says(errors[0], PLUGIN, *words)
    says(run("list").out, PLUGIN, *words, "euler")
    for command in ("check", "doctor"):
        found = run(f"{command} --json")
        assert found.status == 1
        says(" ".join(json.loads(found.out)["problems"]), PLUGIN, *words)


def test_trained_networks_are_evaluated(install: Install, run: Run, tmp_path: Path) -> None:
    """By ``stabzoo evaluate``: a noise, a mean and a whole number, with their units; a failure costs its number."""
    folder = install_tests(install)
    place, asked = tmp_path / "run", tmp_path / "asked.yaml"
    line = "train preresnet20 --size 8 --set epochs=0 --set schedule=cosine --set batch_size=64 --arg width=4"
    trained = run(f"{line} --folder {place}")
    assert trained.status == 0, trained.err
    asked.write_text("evaluations: [{kind: dropped-pixels, share: 0.5}, {kind: loss}, {kind: size}]")
    found = run(f"evaluate {place} --conditions {asked} --json")
    assert found.status == 0, found.err
    numbers = json.loads(found.out)
    assert numbers["loss (nat, lower is better)"] == pytest.approx(numbers["negative log-likelihood"], rel=1e-4)
    assert 0 <= numbers["dropped-pixels share = 0.5"][0] <= 100
    assert numbers["size (lower is better)"][0] > 1000
    asked.write_text("evaluations: [{kind: loss}, {kind: size, fails: out of order}]")
    failed = run(f"evaluate {place} --conditions {asked}")
    assert failed.status == 1
    says(failed.out, "loss (nat, lower is better)", PLUGIN, "RuntimeError: out of order")
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "stabzoo_tests-9.0.dist-info")
    stabzoo.refresh()
    says(run(f"evaluate {place} --conditions {asked}").err, asked, "unknown evaluation 'loss'")


# measuring


def test_measured_together(install: Install) -> None:
    """A noise, a mean over images and a whole number; the same numbers whatever else is measured."""
    install_tests(install)
    asked = [read(kind="size"), read(kind="clean"), read(kind="loss"), read(kind="dropped-pixels", share=0.5)]
    network = linear()
    size, clean, loss, dropped = measure(network, IMAGES, asked)
    with torch.no_grad():
        logits = network(IMAGES.test)
    generator = torch.Generator().manual_seed(0)
    kept = torch.cat([torch.rand(part.shape, generator=generator) >= 0.5 for part in IMAGES.test.split(256)])
    expected = 100 * (network(IMAGES.test * kept).argmax(1) == IMAGES.test_labels).double().mean()
    assert size == 650
    assert clean == pytest.approx(100 * (logits.argmax(1) == IMAGES.test_labels).double().mean().item())
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, IMAGES.test_labels).item(), rel=1e-6)
    assert dropped == pytest.approx(expected.item())
    assert measure(network, IMAGES, asked[3:]) == [dropped]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("return functional", "raise ValueError('no')  #", ["ValueError: no"]),
        ("return functional", "raise SystemExit(3)  #", ["SystemExit"]),
        ("return functional", "return 1.0  #", ["one number per image", "1.0"]),
        ("return functional", "return labels * float('nan')  #", ["finite"]),
        ("return pixels *", "return pixels[:, :, 1:]  #", ["images of shape"]),
        ("return pixels *", "return None  #", ["NoneType"]),
        ("return sum(", "return 'many'  # (", ["finite number", "many"]),
    ],
)
def test_a_failure_costs_that_number(install: Install, old: str, new: str, words: list[str]) -> None:
    """With the name of the plugin and of the evaluation; the others are what they are."""
    install_tests(install, CODE.replace(old, new))
    asked = [read(kind="clean"), read(kind="dropped-pixels", share=0.5), read(kind="loss"), read(kind="size")]
    found = measure(linear(), IMAGES, asked)
    (failed,) = [value for value in found if isinstance(value, PluginError)]
    evaluation = asked[found.index(failed)]
    for word in (PLUGIN, repr(evaluation.title), *words):
        assert word in str(failed)
    assert found[0] == measure(linear(), IMAGES, asked[:1])[0]


# studies


def test_a_study_of_a_plugin(install: Install, run: Run, tmp_path: Path) -> None:
    """Listed with its owner, shown, run, reported, exported, resumed; reported when the plugin is gone."""
    folder = install_tests(install, mine=STUDY)
    listed = json.loads(run(f"study list --json --folder {made(tmp_path)}").out)["studies"]
    assert {entry["name"]: entry["plugin"] for entry in listed}["mine"] == "tests"
    says(run("study show mine").out, PLUGIN, "loss (nat, lower is better)")
    place = tmp_path / "runs"
    line = f"study run mine --workers 1 --folder {place}"
    first = run(line)
    assert first.status == 0, first.err
    says(first.out, "loss (nat), lower is better", "in loss", "under dropped-pixels share = 0.5")
    results = json.loads((place / "results.json").read_text())
    by_kind = {entry["evaluation"]["kind"]: entry for entry in results["networks"][0]["measured"]}
    assert by_kind["loss"]["metric"] == {"name": "loss", "unit": "nat", "higher_is_better": False}
    assert by_kind["loss"]["evaluation"]["plugin"] == "stabzoo-tests 9.0"
    assert by_kind["size"]["mean"] > 1000
    says(run(line).out, "nothing to train")
    assert run(f"study export {tmp_path / 'all.csv'} --folder {place}").status == 0
    assert "loss,nat" in (tmp_path / "all.csv").read_text()

    study = tmp_path / "mine.yaml"
    study.write_text(STUDY)
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "stabzoo_tests-9.0.dist-info")
    stabzoo.refresh()
    refused = run(f"study run {study} --folder {place}")
    assert refused.status != 0
    says(refused.err, study, "unknown evaluation 'dropped-pixels'")
    reported = run(f"study report {study} --folder {place}")
    assert reported.status == 0, reported.err
    says(reported.out, "loss (nat), lower is better", "in loss", "under dropped-pixels share = 0.5")
    again = json.loads((place / "results.json").read_text())
    assert [e["mean"] for e in again["networks"][0]["measured"]] == [
        e["mean"] for e in results["networks"][0]["measured"]
    ]
    assert run(f"study status {study} --folder {place}").status == 0


def made(path: Path) -> Path:
    """A folder with an empty store."""
    from stabzoo.study.store.store import Store

    Store(path / "empty")
    return path / "empty"


def test_a_failure_in_a_study_is_tried_again(install: Install, run: Run, tmp_path: Path) -> None:
    """The run is kept with its other numbers, the failure is told, and a mended plugin is asked again."""
    failing = "{kind: size, fails: out of order}"
    folder = install_tests(install, mine=STUDY.replace("{kind: size}", failing))
    place = tmp_path / "runs"
    line = f"study run mine --workers 1 --folder {place}"
    first = run(line)
    assert first.status == 1
    says(first.out, "failed: stable, seed 0", PLUGIN, "RuntimeError: out of order")
    results = json.loads((place / "results.json").read_text())
    assert [entry["evaluation"]["kind"] for entry in results["networks"][0]["measured"]] == [
        "clean",
        "dropped-pixels",
        "loss",
    ]
    says(run(f"study status mine --folder {place}").out, "failed", "out of order")
    says(run(f"study report mine --folder {place}").out, "failed: stable, seed 0", "out of order")
    code = folder / "__init__.py"
    code.write_text(code.read_text().replace("if self.fails", "if False"))
    stabzoo.refresh()
    assert run(line).status == 0
    with sqlite3.connect(place / "results.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM measurements").fetchone() == (8,)


def test_another_version_measures_again(install: Install) -> None:
    """What the one has found is not taken for the other's."""
    install_tests(install)
    old = evaluation_adapter.validate_python({"kind": "loss", "plugin": "stabzoo-tests 8.0"}, context=RECORDED)
    assert isinstance(old, Absent)
    assert old != read(kind="loss")


def test_names_of_studies(install: Install) -> None:
    """One of ours stays ours, one of another plugin's that one's; both are named."""
    install_tests(install, refresh=False, quickstart=STUDY, mine=STUDY)
    folder = install("zmore", "", "zmore: {}")
    (folder / "studies").mkdir()
    (folder / "studies" / "mine.yaml").write_text(STUDY)
    with pytest.warns(PluginWarning) as told:
        catalogue()
    first, second = (str(warning.message) for warning in told)
    says(first, PLUGIN, "'quickstart'", "stabzoo itself")
    says(second, "plugin 'zmore'", "'mine'", PLUGIN)
    assert {name: plugin.name for name, (plugin, _) in catalogue().studies.items()} == {"mine": "tests"}


def test_a_bad_study_of_a_plugin_costs_itself(install: Install, run: Run, tmp_path: Path) -> None:
    """The list has the others, and says what is wrong."""
    install_tests(install, mine="title: 1", good=STUDY)
    found = run(f"study list --json --folder {made(tmp_path)}")
    assert found.status == 0
    listed = json.loads(found.out)
    assert "good" in [study["name"] for study in listed["studies"]]
    says(" ".join(listed["problems"]), PLUGIN, "mine.yaml")


def zipped(folder: Path, archive: Path, below: str = "") -> None:
    """The plugin ``tests`` from ``folder``, in an archive."""
    info = next(folder.parent.glob("stabzoo_tests-*.dist-info"))
    with zipfile.ZipFile(archive, "w") as file:
        for top in (folder, info):
            for path in top.rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    file.write(path, f"{below}{path.relative_to(folder.parent).as_posix()}")


@pytest.mark.parametrize("below", ["", "lib/"])
def test_from_an_archive(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str) -> None:
    """Evaluations and studies, from a folder of it too; and the code anew when the archive is another."""
    folder = install_tests(install, mine=STUDY)
    archive = tmp_path / "made.zip"
    zipped(folder, archive, below)
    changed = folder.parent / "changed" / folder.name
    shutil.copytree(folder.parent / folder.name, changed)
    shutil.copytree(tmp_path / "stabzoo_tests-9.0.dist-info", changed.parent / "stabzoo_tests-9.0.dist-info")
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "stabzoo_tests-9.0.dist-info")
    monkeypatch.syspath_prepend(str(archive / below) if below else str(archive))
    stabzoo.refresh()
    assert load_study("mine").evaluations[2].heading == "loss (nat, lower is better)"
    code = changed / "__init__.py"
    code.write_text(code.read_text().replace('unit="nat"', 'unit="bit or so"'))
    zipped(changed, archive, below)
    stabzoo.refresh()
    assert load_study("mine").evaluations[2].heading == "loss (bit or so, lower is better)"
