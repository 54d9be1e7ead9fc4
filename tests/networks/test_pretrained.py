"""The weights that come with stabzoo are what they say, and are found by timm's means."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import timm
import torch
from timm.data import resolve_model_data_config

import stabzoo
from fixtures.messages import raises, says
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS
from stabzoo.errors import ConfigError, PluginWarning
from stabzoo.zoo import OWN_WEIGHTS, PRETRAINED

TAGGED = ["preresnet20.digits", "stable_resnet_s11_cert.digits", "zerosnet20_opt.digits"]


def test_they_are_listed() -> None:
    """By timm, all that there are; a few megabytes."""
    assert timm.list_models(module="stabzoo", pretrained=True) == TAGGED
    assert sorted(path.name for path in PRETRAINED.iterdir()) == TAGGED
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*") if path.is_file()) < 4e6


@pytest.mark.parametrize("name", TAGGED)
def test_their_accuracy(name: str) -> None:
    """On the digits that were not trained on, with timm's mean and deviation: that of their description."""
    described = json.loads((PRETRAINED / name / "config.json").read_text())
    model = timm.create_model(name, pretrained=True).eval()
    config = resolve_model_data_config(model)
    mean, std = (torch.tensor(config[key]).view(-1, 1, 1) for key in ("mean", "std"))
    images = load_images(DIGITS)
    with torch.inference_mode():
        right = (model((images.test - mean) / std).argmax(1) == images.test_labels).sum()
    top1 = 100 * int(right) / images.test_count
    assert top1 == pytest.approx(described["stabzoo"]["measured"]["top1"], abs=0.4)  # two images, of other roundings
    assert top1 > 95
    assert described["label_names"] == list(model.pretrained_cfg["label_names"])
    job = described["stabzoo"]["job"]
    assert (job["model"], job["args"], job["data"]["name"]) == (name.removesuffix(".digits"), {}, "digits")


def test_a_certified_network_keeps_its_constraints() -> None:
    """As stored, every weight is one that its constraint allows."""
    model = timm.create_model("stable_resnet_s11_cert.digits", pretrained=True)
    for name, constraint in model.constraints().items():
        weight = model.get_parameter(name)
        assert torch.equal(constraint.project(weight), weight)


def test_other_classes_and_channels() -> None:
    """As of any weights of timm."""
    model = timm.create_model("zerosnet20_opt.digits", pretrained=True, num_classes=3, in_chans=3).eval()
    trained = timm.create_model("zerosnet20_opt.digits", pretrained=True).eval()
    grey = torch.rand(2, 1, 16, 16)
    with torch.inference_mode():
        features = model.forward_features(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(features, trained.forward_features(grey), rtol=1e-3, atol=1e-4)
        assert model(grey.expand(-1, 3, -1, -1)).shape == (2, 3)


def test_a_name_without_a_tag_is_untrained() -> None:
    """Its configuration is that of any model of CIFAR's form, with the deviation of CIFAR-10's pixels."""
    model = timm.create_model("zerosnet20_opt")
    assert model.pretrained_cfg["input_size"] == (3, 32, 32)
    assert model.pretrained_cfg["std"] == (0.2470, 0.2435, 0.2616)
    with pytest.raises(RuntimeError, match="No pretrained weights"):
        timm.create_model("zerosnet20_opt", pretrained=True)


def test_slots_wait_for_weights() -> None:
    """Of every model by its form; they are no pretrained models, and say how they become some."""
    tagged = set(timm.list_models(module="stabzoo", include_tags=True))
    tags = ("c10", "c100", "in1k")
    slots = {name: [tag for tag in tags if f"{name}.{tag}" in tagged] for name in stabzoo.list_models()}
    assert slots["zerosnet20_opt"] == slots["stable_resnet_s11"] == ["c10", "c100"]
    assert slots["zerosnet18_opt"] == ["in1k"]
    assert all(slots.values())
    for name, train in (("zerosnet20_opt.c100", "--data cifar100"), ("zerosnet18_opt.in1k", "--data IMAGENET")):
        assert not timm.is_model_pretrained(name)
        with raises(ConfigError, name, "stabzoo train", train, "stabzoo publish", OWN_WEIGHTS):
            timm.create_model(name, pretrained=True)
    untrained = timm.create_model("zerosnet20_opt.c100")
    assert (untrained.num_classes, untrained.pretrained_cfg["tag"]) == (100, "c100")


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Register the models of a plugin again, with the weights in a folder; as they were, afterwards."""

    def register(folder: Path | None) -> None:
        with monkeypatch.context() as patch:
            patch.setenv("STABZOO_PLUGINS", "euler")
            stabzoo.refresh()
        if folder:
            monkeypatch.setenv(OWN_WEIGHTS, str(folder))
        stabzoo.refresh()

    yield register
    monkeypatch.delenv(OWN_WEIGHTS, raising=False)
    register(None)


def test_whoever_trains_them_fills_the_slots(anew: Callable[[Path], None], tmp_path: Path) -> None:
    """With what was published; what is of another model, with arguments, or damaged is left out and named."""
    ours = PRETRAINED / "zerosnet20_opt.digits"
    for name in ("zerosnet20_opt.c10", "zerosnet20_opt.own", "zerosnet56_opt.c10"):
        shutil.copytree(ours, tmp_path / name)
    (tmp_path / "zerosnet32_opt.c10").mkdir()
    with pytest.warns(PluginWarning) as told:
        anew(tmp_path)
    messages = " ".join(str(warning.message) for warning in told)
    says(messages, tmp_path / "zerosnet56_opt.c10", "'zerosnet20_opt'", tmp_path / "zerosnet32_opt.c10")
    listed = timm.list_models(module="stabzoo", pretrained=True)
    assert set(listed) == {*TAGGED, "zerosnet20_opt.c10", "zerosnet20_opt.own"}
    grey = torch.rand(2, 1, 16, 16)
    with torch.inference_mode():
        found, expected = (
            timm.create_model(f"zerosnet20_opt.{t}", pretrained=True).eval()(grey) for t in ("c10", "digits")
        )
    assert torch.equal(found, expected)


def test_they_go_with_their_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that is gone takes its weights with it, and brings them again."""
    with monkeypatch.context() as patch:
        patch.setenv("STABZOO_PLUGINS", "euler")
        stabzoo.refresh()
        assert timm.list_models(module="stabzoo", pretrained=True) == ["preresnet20.digits"]
        assert timm.get_pretrained_cfg("zerosnet20_opt.digits", allow_unregistered=True) is None
    stabzoo.refresh()
    assert timm.list_models(module="stabzoo", pretrained=True) == TAGGED


def test_they_are_made_by_one_command() -> None:
    """The script names just these."""
    script = (Path(__file__).parents[2] / "benchmarks" / "pretrained.py").read_text()
    assert all(f'"{name.removesuffix(".digits")}"' in script for name in TAGGED)
