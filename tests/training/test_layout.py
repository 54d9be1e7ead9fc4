"""The layout of a training: by a rule, said, kept when it goes on, and no part of what earlier ones are compared by."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import stabzoo  # noqa: F401
from fixtures.commands import Run
from fixtures.messages import refuses, says
from stabzoo.study import load_study
from stabzoo.training.networks import fastest_layout

SHORT = "--size 8 --set epochs=1 --set batch_size=600 --threads 1"


def training_in(folder: Path) -> dict[str, object]:
    """The settings that a folder says."""
    return json.loads((folder / "config.json").read_text())["stabzoo"]["job"]["training"]


@pytest.mark.parametrize(
    ("model", "args", "pixels", "expected"),
    [
        ("zerosnet20_opt", {}, 32, torch.channels_last),
        ("preresnet20", {}, 8, torch.channels_last),
        ("zerosnet18_opt", {}, 224, torch.channels_last),
        ("zerosnet18_opt", {}, 32, torch.contiguous_format),  # 512 channels, one pixel
        ("zerosnet20_opt", {"width": 8}, 32, torch.contiguous_format),  # its projections crash in the other
        ("stable_resnet_s11", {}, 32, torch.contiguous_format),  # periodic padding hands on no layout
        ("implicit_resnet20", {}, 32, torch.contiguous_format),  # a solve has a layout of its own
        ("cpl_resnet11", {}, 32, torch.contiguous_format),
    ],
)
def test_the_rule(model: str, args: dict[str, Any], pixels: int, expected: torch.memory_format) -> None:
    """By what was measured on a CPU; on a GPU in half precision only."""
    network = timm.create_model(model, device="meta", **args)
    if not torch.backends.mkldnn.is_available():
        expected = torch.contiguous_format
    assert fastest_layout(network, pixels, "cpu") == expected
    assert fastest_layout(network, pixels, "cuda") == torch.contiguous_format
    safe = "width" not in args and expected == torch.channels_last
    assert fastest_layout(network, pixels, "cuda", "bfloat16") == torch.channels_last or not safe


@pytest.mark.parametrize("model", ["zerosnet20_opt", "lmresnet20_shared", "zerosnet18_opt"])
def test_every_layer_hands_the_layout_on(model: str) -> None:
    """Blocks, shortcuts and stages, in training too: nothing is copied to another layout on the way."""
    network = timm.create_model(model, width=16).to(memory_format=torch.channels_last)
    left = []

    def look(name: str, result: object) -> None:
        if isinstance(result, Tensor) and result.dim() == 4 and min(result.shape[1:]) > 1:
            left.extend([] if result.is_contiguous(memory_format=torch.channels_last) else [name])

    for name, module in network.named_modules():
        module.register_forward_hook(lambda m, args, result, name=name: look(name, result))
    network(torch.randn(2, 3, 64, 64)).sum().backward()
    assert not left
    kernels = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
    grads = [kernel.grad for kernel in kernels if kernel.grad is not None]
    assert grads
    assert all(grad.stride() == kernel.stride() for grad, kernel in zip(grads, kernels, strict=True))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="the rule is of oneDNN's convolutions")
def test_a_new_training_is_in_the_fastest_and_goes_on_in_it(run: Run, tmp_path: Path) -> None:
    """Said where it begins; a folder from before there was a choice goes on as it began."""
    line = f"train zerosnet20_opt {SHORT} --folder {tmp_path / 'new'}"
    says(run(line).out, "channels_last")
    assert training_in(tmp_path / "new")["layout"] == training_in(tmp_path / "new")["compile"] == "fastest"
    assert run(line).status == 0
    refuses(run(f"{line} --set layout=contiguous"), "layout", "contiguous", "fastest", "--folder")

    old = f"train zerosnet20_opt {SHORT} --folder {tmp_path / 'old'}"
    begun = run(f"{old} --set layout=contiguous")
    assert begun.status == 0
    assert "channels_last" not in begun.out
    path = tmp_path / "old" / "config.json"
    description = json.loads(path.read_text())
    for choice in ("layout", "compile"):
        del description["stabzoo"]["job"]["training"][choice]
    path.write_text(json.dumps(description))
    weights = (tmp_path / "old" / "model.safetensors").read_bytes()
    assert run(old).status == 0
    assert training_in(tmp_path / "old")["layout"] == "contiguous"
    assert training_in(tmp_path / "old")["compile"] is False
    assert (tmp_path / "old" / "model.safetensors").read_bytes() == weights
    assert (tmp_path / "new" / "model.safetensors").read_bytes() != weights  # sums are rounded differently


def test_the_keys_of_runs_from_before_are_theirs_still() -> None:
    """A study that does not say its layout is contiguous, by the same key as when there was none."""
    study = load_study("quickstart")
    run = study.run(study.networks[0], 0)
    assert "layout" not in run.settings
    fastest = run.model_copy(update={"training": run.training.model_copy(update={"layout": "fastest"})})
    assert "layout" in fastest.settings
    assert fastest.key != run.key
