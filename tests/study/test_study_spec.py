"""Study files: what is accepted, what is refused and how, and what a run's key depends on."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures import ROOT
from fixtures.messages import raises
from stabzoo.config import validate
from stabzoo.errors import ConfigError
from stabzoo.study import Study, load_study, shipped_studies
from stabzoo.study.spec import Run

QUICKSTART = ROOT / "stabzoo" / "study" / "studies" / "quickstart.yaml"


def changed(change: dict[str, Any]) -> dict[str, Any]:
    """The quickstart's data with some dotted places replaced."""
    data = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    for place, value in change.items():
        *parents, name = place.split(".")
        node: Any = data
        for parent in parents:
            node = node[int(parent)] if isinstance(node, list) else node[parent]
        if isinstance(node, list):
            node[int(name)] = value
        else:
            node[name] = value
    return data


def keys(study: Study) -> set[str]:
    """Keys of all runs of a study."""
    return {study.run(network, seed).key for network in study.networks for seed in study.seeds}


def test_quickstart_has_two_stable_and_three_unstable_sets_with_three_seeds():
    """The shipped study is the promised one, and its runs have different keys."""
    study = load_study("quickstart")
    assert (study.name, len(study.networks), study.seeds) == ("quickstart", 5, (0, 1, 2))
    assert len(keys(study)) == 15
    assert {network.model for network in study.networks} == {"zerosnet20"}
    assert {evaluation.kind for evaluation in study.evaluations} == {"clean", "gaussian", "uniform", "constant"}
    assert all(set(published.values) == {n.label for n in study.networks} for published in study.published)


def test_every_shipped_study_is_valid():
    """Whatever stands in the package can be loaded by its name."""
    assert "quickstart" in shipped_studies()
    for name in shipped_studies():
        assert load_study(name).name == name


def test_unknown_study_lists_the_shipped_ones():
    """A misspelt name is answered with the names there are."""
    with raises(ConfigError, "no study 'quickstrat'", "quickstart", ".yaml"):
        load_study("quickstrat")


def test_missing_file_is_named():
    """A path that is not there is an error about that path."""
    with raises(ConfigError, "nowhere.yaml", "No such file or directory"):
        load_study("nowhere.yaml")


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"epoch": 3}, ("mine.yaml: epoch: ", "unknown", "training")),
        ({"training.epoch": 3}, ("training.epoch: ", "unknown", "epochs")),
        ({"training.epochs": -1}, ("training.epochs", "0", "got -1")),
        ({"training.lr": "fast"}, ("training.lr", "got 'fast'")),
        ({"training.schedule": "fixed"}, ("training.schedule", "'one-cycle', 'step' or 'cosine'", "got 'fixed'")),
        ({"training.warmup_epochs": 1}, ("training: ", "warmup_epochs", "step or cosine", "schedule: one-cycle")),
        ({"training.schedule": "step"}, ("training: ", "milestones", "got []", "schedule: step")),
        ({"training.milestones": [0.5]}, ("training: ", "milestones", "schedule: step", "schedule: one-cycle")),
        ({"diagnostics": [{"kind": "angles"}, {"kind": "angles"}]}, ("diagnostic 'angles'", "twice")),
        (
            {"evaluations.1": {"kind": "structured", "epsilon": 0.5, "image": 540}},
            ("structured ε = 0.5", "540 test images", "image 540"),
        ),
        ({"data.size": 4}, ("data.digits.size", "8")),
        ({"data.name": "svhn"}, ("data", "'svhn'", "'digits', 'percolation', 'elpv', 'cifar10', 'cifar100', 'mnist'")),
        ({"data.name": "cifar10"}, ("data.cifar10.size", "unknown", "name, verified")),
        ({"data.test_images": 1797}, ("data.digits.test_images", "1787")),
        ({"networks": []}, ("networks", "at least 1")),
        ({"networks.0.args.num_classes": 10}, ("networks.0.args", "num_classes", "data")),
        ({"networks.1.label": "λ = -9/5"}, ("label 'λ = -9/5'", "twice")),
        ({"seeds": [0, 0]}, ("seed 0", "twice")),
        ({"seeds": [-1]}, ("seeds.0", "got -1")),
        ({"evaluations.1.sigma": -1}, ("evaluations.1.gaussian.sigma", "got -1")),
        ({"evaluations.1.mu": 1}, ("evaluations.1.gaussian.mu", "unknown", "kind, sigma, seed")),
        ({"evaluations.1.kind": "gauss"}, ("evaluations.1", "'gauss'")),
        ({"evaluations": [{"kind": "constant", "mu": 0.1}]}, ("mine.yaml: evaluations", "kind: clean")),
        ({"evaluations": [{"kind": "uniform", "low": 1, "high": 0, "seed": 1}]}, ("evaluations.0", "low", "high")),
        ({"training.epochs": 0}, ("training: ", "epochs: 0", "one-cycle", "schedule: cosine")),
        ({"scales": {"full": {}}}, ("scales", "'full'")),
        ({"scales": {"Tiny": {}}}, ("scales.Tiny", "pattern")),
        ({"scales": {"tiny": {"epochs": 1}}}, ("scales.tiny.epochs", "unknown", "networks, args")),
        ({"scales": {"tiny": {"networks": ["x"]}}}, ("scales.tiny.networks", "no network 'x'")),
        ({"scales": {"tiny": {"training": {"lr": -1}}}}, ("scales.tiny: training.lr", "got -1")),
        ({"scales": {"tiny": {"evaluations": []}}}, ("scales.tiny", "evaluations", "kind: clean")),
        ({"published.0.columns": ["clean"]}, ("published.0", "'λ = -9/5'", "5 entries", "expected 1")),
        ({"published.0.values.x": [[1, 1]] * 5}, ("published", "'x'", "no such network")),
    ],
)
def test_mistake_is_refused_with_file_and_place(change: dict[str, Any], facts: tuple[str, ...], tmp_path: Path):
    """Every mistake names the file and the place in it."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(changed(change), sort_keys=False), encoding="utf-8")
    with raises(ConfigError, path, *facts):
        load_study(path)


def test_key_is_the_same_for_ever():
    """A release that changed the key of an unchanged run would throw away everyone's finished runs."""
    run = Run.model_validate(
        {
            "model": "zerosnet20",
            "args": {"lam": "-9/5", "width": 8},
            "data": {"name": "digits", "size": 16, "test_images": 540, "split_seed": 0},
            "training": {
                "epochs": 4,
                "batch_size": 64,
                "optimizer": "momentum",
                "lr": 0.1,
                "momentum": 0.9,
                "weight_decay": 0.0005,
                "schedule": "one-cycle",
            },
            "seed": 0,
            "software": {"torch": "2.15.0"},
        }
    )
    assert run.key == "9eb8357b4aaf92d1"
    still = {**run.model_dump(mode="json"), "training": {**run.training.model_dump(mode="json"), "momentum": 0.0}}
    assert Run.model_validate(still).key == "2b39195ded383cc6"
    still["training"]["optimizer"] = "adamw"
    assert Run.model_validate(still).key == "01c8ad6da69f9098"


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"title": "Another", "limits": []}, 15),
        ({"networks.0.label": "optimal", "published": [], "scales": {}}, 15),
        ({"evaluations": [{"kind": "clean"}]}, 15),
        ({"seeds": [0, 1, 2, 3]}, 15),
        ({"seeds": [2]}, 5),
        ({"networks.0.args.lam": "-2"}, 12),
        ({"training.lr": 0.05}, 0),
        ({"data.split_seed": 1}, 0),
    ],
)
def test_a_change_keeps_the_runs_it_does_not_touch(change: dict[str, Any], kept: int):
    """What is only said of a run is not in its key; what decides its numbers is."""
    before, after = load_study("quickstart"), Study.model_validate({"name": "quickstart", **changed(change)})
    assert len(keys(before) & keys(after)) == kept


def test_a_scale_replaces_what_it_names(tmp_path: Path):
    """Settings of training and networks one by one, the rest whole; published rows go with their networks."""
    small = {
        "networks": ["λ = 10"],
        "args": {"width": 4},
        "training": {"epochs": 1},
        "seeds": [5],
        "limits": ["It is small."],
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(changed({"scales": {"tiny": small}})), encoding="utf-8")
    full, tiny = load_study(path), load_study(path, "tiny")
    assert (full.scale, full.folder_name, tiny.scale, tiny.folder_name) == ("full", "mine", "tiny", "mine-tiny")
    assert [(network.label, network.args) for network in tiny.networks] == [("λ = 10", {"lam": 10, "width": 4})]
    assert tiny.training == full.training.model_copy(update={"epochs": 1})
    assert (tiny.seeds, tiny.evaluations, tiny.data) == ((5,), full.evaluations, full.data)
    assert tiny.limits == (*full.limits, "It is small.")
    assert [list(published.values) for published in tiny.published] == [["λ = 10"]]
    assert full.at("full") is full
    with raises(ConfigError, "study mine", "no scale 'big'", "full, tiny"):
        load_study(path, "big")


def test_a_network_may_be_trained_otherwise():
    """Its settings replace the study's, are in the key of its runs alone, and give way to a scale's."""
    change = {"networks.1.training": {"epochs": 7, "lr": 0.05}, "scales.smoke.training": {"epochs": 1}}
    before, after = load_study("quickstart"), Study.model_validate({"name": "quickstart", **changed(change)})
    first, second = after.networks[:2]
    assert after.training_of(first) is after.training
    assert after.training_of(second) == after.training.model_copy(update={"epochs": 7, "lr": 0.05})
    assert len(keys(before) & keys(after)) == 12
    small = Study.model_validate({"name": "quickstart", **changed(change | {"scales.smoke.networks": [second.label]})})
    smoke = small.at("smoke")
    assert (smoke.training_of(smoke.networks[0]).epochs, smoke.training_of(smoke.networks[0]).lr) == (1, 0.05)
    with raises(ConfigError, "networks.1.training: epochs", "-1"):
        validate(Study, {"name": "quickstart", **changed({"networks.1.training": {"epochs": -1}})}, "mine.yaml")


def test_the_normalization_of_earlier_runs_is_not_in_their_key():
    """Data normalised as before has the key of before; constants are another run."""
    data = [
        {"name": "cifar10"},
        {"name": "cifar10", "normalization": "measured"},
        {"name": "cifar10", "normalization": "mean-image"},
    ]
    studies = [Study.model_validate({"name": "quickstart", **changed({"data": d, "scales": {}})}) for d in data]
    assert keys(studies[0]) == keys(studies[1])
    assert not keys(studies[0]) & keys(studies[2])
    assert studies[0].run(studies[0].networks[0], 0).model_copy(update={"software": {}}).key == "0e50f8d2fefbfa79"


def test_reading_a_study_imports_no_torch():
    """Names, files and mistakes are answered at once."""
    code = (
        "import sys; from stabzoo.study import load_study; load_study('quickstart'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
