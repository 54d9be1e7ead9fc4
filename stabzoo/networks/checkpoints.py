"""Checkpoints: read without executing anything, fitted name by name, and those of the reference releases renamed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from torch import Tensor, nn, no_grad, strided

from stabzoo.errors import ConfigError
from stabzoo.files import open_regular
from stabzoo.registry.guard import failure_text

__all__ = ["checkpoint_filter_fn", "fit_weights", "keep_constraints", "read_weights"]

ENTRY = {"x": "0", "l": "1", "ll": "2"}  # the releases' y_n, y_{n-1}, y_{n-2}
PROJECTION = {"0": "norm", "2": "conv"}  # BN-ReLU-conv


def _block_key(prefix: str, rest: str, names: set[str]) -> str | None:
    """Rename a block's parameter; None for one that the release's forward never uses."""
    if match := re.fullmatch(r"(bn|conv)(\d)\.(.+)", rest):
        kind = "norm" if match[1] == "bn" else "conv"
        preact = f"{prefix}.preact.norm.{match[3]}"
        if kind == "norm" and match[2] == "1" and preact in names:
            return preact
        body = f"{prefix}.step.f.body.{kind}{match[2]}.{match[3]}"
        return body if body in names else f"{prefix}.step.f.conv.{match[3]}"
    if match := re.fullmatch(r"(?:downsample_(\w+)\.downsample_|shortcut(?:_(\w+))?)\.0\.weight", rest):
        return f"{prefix}.shortcuts.{ENTRY[match[1] or match[2] or 'x']}.weight"
    if rest in ("coe", "k"):  # start-up steps have no coefficient
        return _coefficient(f"{prefix}.{rest}", f"{prefix}.step", names)
    return f"{prefix}.{rest}"


def _coefficient(key: str, step: str, names: set[str]) -> str | None:
    """Where a release's coefficient belongs; its own name where the step keeps it in a range, so that loading fails."""
    if f"{step}.free" in names:
        return key
    return f"{step}.parameter" if f"{step}.parameter" in names else None


def _rename(key: str, layers: list[int], names: set[str]) -> str | None:
    """The name of a release's parameter in this network; None for one that the release's forward never uses."""

    def block(number: int) -> str:
        for stage, count in enumerate(layers):
            if number < count:
                return f"stages.{stage}.blocks.{number}"
            number -= count
        raise IndexError

    cifar = "norm.norm.weight" in names
    if match := re.fullmatch(r"(conv1|fc)\.(.+)", key):
        return f"{'stem.conv' if match[1] == 'conv1' else 'head.fc'}.{match[2]}"
    if match := re.fullmatch(r"bn1\.(.+)", key):
        return None if cifar else f"stem.norm.{match[1]}"  # in the CIFAR releases made but not used
    if match := re.fullmatch(r"bn\.(.+)", key):
        return f"norm.norm.{match[1]}"
    try:
        if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", key):
            return _block_key(block(int(match[1])), match[2], names)
        if match := re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", key):
            return _block_key(f"stages.{int(match[1]) - 1}.blocks.{match[2]}", match[3], names)
        if match := re.fullmatch(r"ks\.(\d+)", key):  # plain steps have no coefficient
            return _coefficient(key, f"{block(int(match[1]))}.step", names)
    except IndexError:
        return key
    if match := re.fullmatch(r"downsample(1|21|31)\.downsample\.([02])\.(.+)", key):
        name = f"stages.{int(match[1][0]) - 1}.blocks.0.shortcuts.0.{PROJECTION[match[2]]}.{match[3]}"
        return name if name in names else None  # the releases make downsample1 for basic blocks too
    if re.match(r"downsample[23]2\.", key):
        return None
    return key


ORIGINAL = re.compile(
    r"(.+)\.parametrizations\.(\w+)\.original"
)  # torch's name of what a parametrization computes with


def _as_weights(state: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """Call what the parametrizations of the network's constraints compute with by the names of the weights."""
    constrained = getattr(model, "constraints", dict)()

    def name(key: str) -> str:
        found = ORIGINAL.fullmatch(key)
        weight = f"{found[1]}.{found[2]}" if found else key
        return weight if weight in constrained else key

    return {name(key): value for key, value in state.items()}


def checkpoint_filter_fn(state_dict: dict[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """Rename a checkpoint of a reference release (ZeroSNet, LM-ResNet) to this network's parameters.

    Parameters that the releases create but never use (``bn1`` and ``downsample1`` of basic-block networks,
    ``downsample22`` and ``downsample32``, coefficients of the start-up steps) are dropped.  A checkpoint of this
    network is returned unchanged, except that weights trained under a parametrization get their plain names.  Unknown
    names are kept, so that loading reports them.

    Args:
        state_dict: The checkpoint, or a dict that holds it under ``"state_dict"`` or ``"model"``.
        model: The network to load it into.

    Raises:
        ConfigError: a key is not a string.
    """
    for key in ("state_dict", "model"):
        if isinstance(state_dict.get(key), dict):
            state_dict = state_dict[key]
    named = _by_name(state_dict, "checkpoint")
    state_dict = {key.removeprefix("module."): value for key, value in named.items()}
    state_dict = _as_weights(state_dict, model)
    if "stem.conv.weight" in state_dict:
        return state_dict
    names = set(model.state_dict())
    layers = [len(stage.blocks) for stage in model.stages]  # type: ignore[union-attr]  # pyright: ignore
    renamed = ((_rename(key, layers, names), value) for key, value in state_dict.items())
    return {name: value for name, value in renamed if name is not None}


@no_grad()
def keep_constraints(model: nn.Module) -> None:
    """Bring every weight to the nearest one that its constraint allows, where the network has constraints.

    A checkpoint may need it: timm adapts a stem to other channels by sums, and what a parametrization trains is not
    what it computes with.  A weight that the constraint allows stays, to the last bit.
    """
    parameters = dict(model.named_parameters())  # a weight that is parametrized is none, and projected when it is used
    for name, constraint in getattr(model, "constraints", dict)().items():
        if (weight := parameters.get(name)) is not None:
            weight.copy_(constraint.project(weight))


def read_weights(path: Path) -> dict[str, Any]:
    """Read a checkpoint of tensors: .safetensors, or what ``torch.save`` wrote, of which no code is executed.

    Raises:
        ConfigError: the file cannot be read, is damaged, or holds anything but tensors and plain data by name.
    """
    from timm.models import load_state_dict

    expected = f"{path}: expected a checkpoint of tensors only (.safetensors, .pt, .pth)"
    try:
        open_regular(path).close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's, about kinds of pickles
            state = load_state_dict(str(path), device="cpu", weights_only=True)
    except (AttributeError, TypeError):  # timm takes it for a dict of names
        raise ConfigError(f"{expected}; it has no tensors by name") from None
    except Exception as error:  # a damaged or hostile file raises whatever its bytes lead to
        if "weights_only" in str(error) or isinstance(error, UnpicklingError):  # which advise to execute it
            said = "there is more in it, or it is damaged; nothing of it was executed"
            raise ConfigError(f"{expected}; {said}") from None
        reason = str(error).split("\n", 1)[0]
        raise ConfigError(f"{expected}; {type(error).__name__}: {reason}") from None
    return _by_name(state, str(path))


def _by_name(state: dict[Any, Any], source: str) -> dict[str, Any]:
    for key in state:
        if not isinstance(key, str):
            raise ConfigError(f"{source}: expected tensors by name, got {key!r:.40} for a name")
    return state


def fit_weights(model: nn.Module, state: Mapping[str, Any], source: str, name: str) -> None:
    """Load ``state`` into ``model`` if all names and shapes are the model's; else leave the model as it is.

    It may lack the model's ``optional_weights``, where there are any.

    Args:
        model: The network called ``name``.
        state: Its weights.
        source: Where they come from, for the message.
        name: What the message calls the network.

    Raises:
        ConfigError: with the first name, in the order of the network, that does not fit, and both shapes.
    """
    own = model.state_dict()
    lacking = set(getattr(model, "optional_weights", ())) - state.keys()
    wrong = [key for key in own if key not in lacking and _shape(state, key) != _shape(own, key)]
    wrong += [key for key in state if key not in own]
    if wrong:
        key = wrong[0]
        more = f"; {len(wrong)} names differ" if len(wrong) > 1 else ""
        raise ConfigError(
            f"{source}: does not fit {name}: at {key!r} expected {_shape(own, key)}, got {_shape(state, key)}{more}"
        )
    try:
        model.load_state_dict(dict(state))
    except Exception as error:  # numbers that this network's cannot be made of
        raise ConfigError(f"{source}: does not fit {name}: {failure_text(error)}") from None


def _shape(state: Mapping[str, Any], key: str) -> tuple[int, ...] | str:
    if key not in state:
        return "nothing"
    value = state[key]
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.is_nested or value.is_quantized or value.is_meta or value.layout != strided or value.is_complex():
        return f"a tensor of another kind ({'nested' if value.is_nested else value.layout}, {value.dtype})"
    return tuple(value.shape)
