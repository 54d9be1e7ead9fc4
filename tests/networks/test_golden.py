"""The reference releases' logits, reproduced from their own state dicts (`tests/networks/golden`)."""

import json
import zlib
from math import prod
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

import stabzoo

GOLDEN = Path(__file__).parent / "golden"
MODELS = {
    "zerosnet20_opt": "zerosnet20_opt",
    "zerosnet20_tra": "zerosnet20_tra",
    "zerosnet164_opt": "zerosnet164_opt",
    "lm_resnet20": "lmresnet20",
    "preresnet20_lu": "preresnet20",
    "pre_act_resnet18_in": "preresnet18",
    "zerosnet18_in": "zerosnet18_opt",
    "zerosnet50_in": "zerosnet50_opt",
}
SCALE = {"gain": (1.0, 0.1), "bias": (0.0, 0.1), "mean": (0.0, 0.1), "var": (1.0, 0.2)}


def fill(key: str, shape: list[int], kind: str, value: list[float] | None = None) -> Tensor:
    """The entry ``key`` of a golden state dict, filled by its rule (float32)."""
    if value is not None:
        return torch.tensor(value, dtype=torch.float32).reshape(shape)
    h = (
        np.arange(prod(shape), dtype=np.uint64) * np.uint64(2654435761) + np.uint64(zlib.crc32(key.encode()))
    ) % np.uint64(2**32)
    for _ in range(2):
        h ^= h >> np.uint64(16)
        h = (h * np.uint64(0x45D9F3B)) % np.uint64(2**32)
    h ^= h >> np.uint64(16)
    x = h.astype(np.float64) / 2**31 - 1
    if kind in SCALE:
        offset, factor = SCALE[kind]
        x = offset + factor * x
    elif kind == "conv":
        x = 0.5 * np.sqrt(3 / prod(shape[1:])) * x
    else:
        assert kind == "linear"
        x = np.sqrt(3 / shape[1]) * x
    return torch.from_numpy(x.astype(np.float32)).reshape(shape)


def read_golden(name: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """(state dict of the release, input, logits)."""
    data = json.loads((GOLDEN / f"{name}.json").read_text())
    size = 224 if data["num_classes"] == 1000 else 32
    image = torch.sin(0.3 * torch.arange(2 * 3 * size * size, dtype=torch.float64)).reshape(2, 3, size, size)
    state = {entry[0]: fill(*entry) for entry in data["entries"]}
    return state, image, torch.tensor(data["logits"], dtype=torch.float64)


@pytest.mark.parametrize("name", MODELS)
def test_the_release_and_the_zoo_compute_the_same_logits(name: str) -> None:
    """Every golden file, float64, eval mode, to 1e-9 relative."""
    state, image, logits = read_golden(name)
    model = timm.create_model(MODELS[name])
    model.load_state_dict(stabzoo.checkpoint_filter_fn(state, model))
    with torch.no_grad():
        ours = model.double().eval()(image)
    torch.testing.assert_close(ours, logits, rtol=1e-9, atol=1e-12)


def test_every_golden_file_is_tested() -> None:
    """No file is forgotten."""
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(MODELS)


def test_the_filter_keeps_a_native_state_dict_and_unwraps_a_training_checkpoint() -> None:
    """Idempotent; ``module.`` prefixes and a surrounding checkpoint are removed."""
    model = timm.create_model("zerosnet20_tra")
    native = model.state_dict()
    assert stabzoo.checkpoint_filter_fn(native, model).keys() == native.keys()
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in native.items()}}
    assert stabzoo.checkpoint_filter_fn(wrapped, model).keys() == native.keys()


def test_an_unknown_parameter_is_reported_by_name() -> None:
    """The filter drops only what the releases are known not to use."""
    state, _, _ = read_golden("zerosnet20_opt")
    model = timm.create_model("zerosnet20_opt")
    state["blocks.0.attention.weight"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*attention"):
        model.load_state_dict(stabzoo.checkpoint_filter_fn(state, model))


def test_the_wrong_release_is_reported_by_name() -> None:
    """A checkpoint with more blocks than the network does not load in part."""
    state, _, _ = read_golden("zerosnet164_opt")
    model = timm.create_model("zerosnet20_opt")
    with pytest.raises(RuntimeError, match="blocks"):
        model.load_state_dict(stabzoo.checkpoint_filter_fn(state, model))
