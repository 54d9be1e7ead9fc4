"""Checkpoints that are damaged, hostile or of another network: refused with the file and the first name at fault."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import stabzoo
from fixtures.messages import raises
from stabzoo.errors import ConfigError
from stabzoo.networks.checkpoints import fit_weights, read_weights

EXPECTED = ("tensors only", ".safetensors, .pt, .pth")


def network(**arguments: Any) -> nn.Module:
    """The same weights every time."""
    torch.manual_seed(0)
    return timm.create_model("preresnet20", width=4, **arguments)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Those of `network`."""
    return network().state_dict()


def test_both_formats_are_read(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    """Alone, and inside the checkpoint of a training."""
    save_file(weights, tmp_path / "a.safetensors")
    torch.save(weights, tmp_path / "a.pt")
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "a.pth")
    for path in sorted(tmp_path.iterdir()):
        model = network()
        nn.init.zeros_(model.get_parameter("head.fc.weight"))
        fit_weights(model, read_weights(path), str(path), "preresnet20")
        assert torch.equal(model.state_dict()["head.fc.weight"], weights["head.fc.weight"])


class Code:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("save", [torch.save, lambda data, path: path.write_bytes(pickle.dumps(data))])
def test_code_in_a_pickle_is_not_executed(save: Callable[..., Any], tmp_path: Path, weights: dict[str, Tensor]) -> None:
    """Also beside good weights."""
    path, trace = tmp_path / "hostile.pt", tmp_path / "executed"
    save({"state_dict": weights, "extra": Code(trace)}, path)
    with raises(ConfigError, path, *EXPECTED, "more in it", "nothing", "executed"):
        read_weights(path)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["torn.pt", "torn.safetensors"])
@pytest.mark.parametrize("left", [0, 7, 100, 5000, -1])
def test_a_file_that_is_cut_off(name: str, left: int, tmp_path: Path, weights: dict[str, Tensor]) -> None:
    """Anywhere, from nothing left to the last byte missing."""
    path = tmp_path / name
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:left])
    with raises(ConfigError, path, *EXPECTED) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {0: torch.zeros(3)}, None, 7])
def test_what_is_no_checkpoint(content: Any, tmp_path: Path) -> None:
    """Plain data without names."""
    torch.save(content, tmp_path / "a.pt")
    with raises(ConfigError, tmp_path / "a.pt", *EXPECTED, "by name"):
        read_weights(tmp_path / "a.pt")


def test_the_first_name_that_does_not_fit(weights: dict[str, Tensor]) -> None:
    """With the shape that is expected and the one that is there; the network is left as it was."""
    key = "stages.0.blocks.0.step.f.conv.weight"
    shape = tuple(weights[key].shape)
    without = {name: value for name, value in weights.items() if name not in (key, "head.fc.bias")}
    for state, facts in (
        ({**weights, key: torch.zeros(1, 2)}, (f"'{key}'", f"expected {shape}", "got (1, 2)")),
        ({**weights, key: "text"}, (f"'{key}'", f"expected {shape}", "got a str")),
        (without, (f"'{key}'", f"expected {shape}", "got nothing", "2 names")),
        ({**weights, "more": torch.zeros(3)}, ("'more'", "expected nothing", "got (3,)")),
        ({}, ("'stem.conv.weight'", "expected (4, 3, 3, 3)", "got nothing", f"{len(weights)} names")),
    ):
        model = network()
        nn.init.ones_(model.get_parameter("head.fc.weight"))
        with raises(ConfigError, "a.pt", "preresnet20", *facts):
            fit_weights(model, state, "a.pt", "preresnet20")
        assert model.get_parameter("head.fc.weight").eq(1).all()


def test_names_of_a_checkpoint_are_strings() -> None:
    """Also below ``model``, where they are first looked at when they are renamed."""
    with raises(ConfigError, "checkpoint", "name", "got 3"):
        stabzoo.checkpoint_filter_fn({"model": {3: torch.zeros(1)}}, network())


def test_weights_of_a_release_that_are_cut_off_are_not_loaded_in_part(weights: dict[str, Tensor]) -> None:
    """A name that no release has stays, so that it is reported."""
    model = network()
    state = stabzoo.checkpoint_filter_fn(
        {"conv1.weight": weights["stem.conv.weight"], "odd.thing": weights["head.fc.bias"]}, model
    )
    with raises(ConfigError, "release.pt", "preresnet20", "stages.0.blocks.0"):
        fit_weights(model, state, "release.pt", "preresnet20")
    assert "odd.thing" in state
