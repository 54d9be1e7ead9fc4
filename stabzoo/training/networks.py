"""The networks that are trained or measured: created from a seed, or by name with weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import nn

from stabzoo.data.images import ImageDataset
from stabzoo.errors import ConfigError
from stabzoo.implicit.step import ImplicitStep
from stabzoo.networks.checkpoints import checkpoint_filter_fn, fit_weights, read_weights
from stabzoo.networks.staged import StagedNetwork
from stabzoo.registry.catalogue import catalogue, unknown_name
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.process import Process
from stabzoo.training.spec import OF_TIMM, Job, Training

__all__ = [
    "arguments_for",
    "compiled",
    "create",
    "fastest_layout",
    "laid_out",
    "load_model",
    "network_of",
    "own_size",
    "pays_to_compile",
    "tell_of_compiling",
    "weights_sha256",
]


def create(model: str, args: dict[str, Any], seed: int, images: ImageDataset) -> NormalizedModel:
    """An untrained timm model for ``images``; its weights depend on ``seed`` alone."""
    torch.manual_seed(seed)
    return NormalizedModel(timm.create_model(model, **(arguments_for(model, images) | args)), images)


def arguments_for(model: str, images: ImageDataset) -> dict[str, Any]:
    """Arguments of `timm.create_model` for ``images``: channels, classes, and the size where a network has only one."""
    found: dict[str, Any] = {"in_chans": images.channels, "num_classes": images.classes}
    cfg = None if OF_TIMM.match(model) else timm.get_pretrained_cfg(model, allow_unregistered=True)
    if cfg is not None and cfg.fixed_input_size:
        found["img_size"] = images.shape[1:]
    return found


def network_of(job: Job, images: ImageDataset) -> NormalizedModel:
    """The untrained network of ``job``.

    Raises:
        ConfigError: there is no such model, or it cannot be built.
    """
    if not timm.is_model(job.model) and not OF_TIMM.match(job.model):
        raise unknown_name("model", job.model, timm.list_models())
    try:
        return create(job.model, job.args, job.seed, images)
    except Exception as error:  # whatever a model of anyone raises about its arguments
        raise ConfigError(f"{job.model} cannot be built: {error or type(error).__name__}") from error


MANY_CHANNELS, FEW_PIXELS = 128, 6
"""Of the last feature map, more than so many and fewer than so many a side: channels_last trains slower then."""


def fastest_layout(network: nn.Module, pixels: int, device: str, amp: str = "none") -> torch.memory_format:
    """The memory format in which a network is fastest on images of ``pixels`` a side, where that is known; a rule.

    On a CPU channels_last for networks of zero-padded convolutions, a fifth faster, unless their last feature map has
    many channels and few pixels (``benchmarks/speed.md``), or it crashes; a state that an equation is solved for has a
    layout of its own already.  On a GPU channels_last for convolutions in half precision.  Otherwise contiguous.
    """
    info = getattr(network, "feature_info", None)
    if device != "cpu":
        gains = amp != "none"
    elif not torch.backends.mkldnn.is_available() or not isinstance(info, list) or not info:
        gains = False
    else:
        last = info[-1]
        gains = last["num_chs"] <= MANY_CHANNELS or pixels // last["reduction"] >= FEW_PIXELS
    convolutions = [m for m in network.modules() if type(m) is nn.Conv2d]
    kernels = {id(m.weight) for m in convolutions if m.padding_mode == "zeros"}
    plain = all(id(parameter) in kernels for parameter in network.parameters() if parameter.dim() == 4)
    solves = any(isinstance(module, ImplicitStep) for module in network.modules())
    # torch crashes in the gradients of strided 1x1 convolutions of few channels: see benchmarks/speed.md
    safe = not any(m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels % 16 for m in convolutions)
    return torch.channels_last if gains and kernels and plain and safe and not solves else torch.contiguous_format


def laid_out(network: NormalizedModel, images: ImageDataset, training: Training) -> torch.memory_format:
    """Give the network, where it is, the layout that ``training`` says, and return it.

    Convolutions hand on the layout of their kernels, so that images need none.
    """
    device = next(network.parameters()).device.type
    found = torch.contiguous_format
    if training.layout == "fastest":
        found = fastest_layout(network.network, images.shape[-1], device, training.amp)
        network.to(memory_format=found)
    return found


PIXELS_WORTH_COMPILING = 4e8
"""Read by a training in all, from which on compiling takes at most a quarter of the time that it saves."""


def pays_to_compile(network: nn.Module, images: ImageDataset, training: Training, process: Process) -> bool:
    """Whether compiled code saves more of this training's time than compiling takes, where that is known; a rule.

    It saves a sixth on a CPU, of the networks and images that are faster in channels_last (`fastest_layout`).  It takes
    a minute for 20 layers, and as many times that for more layers as their steps take: the pixels decide
    (``benchmarks/speed.md``).  On GPUs, in several processes and with mixed precision it has not been measured.
    """
    pixels = images.shape[1] * images.shape[2]
    return (
        training.epochs * images.train_count * pixels >= PIXELS_WORTH_COMPILING
        and process.world == 1
        and process.device.type == "cpu"
        and training.amp == "none"
        and fastest_layout(network, images.shape[-1], "cpu") == torch.channels_last
        and can_compile()
    )


@cache
def can_compile() -> bool:
    """Whether torch can compile for this machine's CPU: it takes a C++ compiler, and Python's headers."""
    try:
        return bool(torch.compile(lambda x: x + 1)(torch.zeros(1)).item() == 1)
    except Exception:  # of torch's compiler, of the system's, or of finding it
        return False


def compiled(model: nn.Module, device: str) -> nn.Module:
    """The model as compiled code, of which each size of a batch has its own.

    Code for any size would be compiled, and round otherwise, from the second size on: what a training computes would
    depend on the batch that it began or resumed with.

    Raises:
        ConfigError: torch cannot compile here.
    """
    if device == "cpu" and not can_compile():
        raise ConfigError(
            "training.compile: expected a machine on which torch can compile, got one without a working C++ compiler "
            "or without Python's headers; install them (g++ and python3-dev on Debian), or set compile=false"
        )
    return torch.compile(model, dynamic=False)  # type: ignore[return-value]


def tell_of_compiling(error: Exception) -> None:
    """Let pass what compiled code itself raises.

    Raises:
        ConfigError: the error is of compiling.
    """
    from torch._dynamo.exc import TorchDynamoException  # imports much that only compiling needs

    if isinstance(error, TorchDynamoException):
        reason = " ".join(str(error).partition("\n\n")[0].split())
        raise ConfigError(
            f"training.compile: expected torch to compile the network, got: {reason}; set compile=false"
        ) from error


def weights_sha256(network: NormalizedModel) -> str:
    """SHA-256 over the names and the bytes of all parameters and buffers: equal for bit-identical networks."""
    digest = hashlib.sha256()
    for name, value in network.network.state_dict().items():
        digest.update(name.encode() + b"\0" + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class OwnSize(NamedTuple):
    """Pixels a side that a model is made for; whether it is built for them, and another size is an argument."""

    pixels: int
    fixed: bool


def own_size(name: str) -> OwnSize | None:
    """What timm says of the input of a model; None of those of stabzoo, which take any, and of names it has not."""
    if name.partition(".")[0] in catalogue().models or not timm.is_model(name):
        return None
    config = timm.get_pretrained_cfg(name)
    return None if config is None else OwnSize(config.input_size[-1], bool(config.fixed_input_size))


def load_model(
    name: str,
    images: ImageDataset,
    checkpoint: Path | None = None,
    args: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A timm model for ``images``: with their channels and classes, and the weights of ``checkpoint``.

    Without a checkpoint the weights are random, drawn with seed 0, or with ``pretrained`` among the arguments ``args``
    those that timm has for the model.  These keep their own classes where the images have none of such number.

    Raises:
        ConfigError: no such model, it cannot be built, or the checkpoint does not fit it.
    """
    if not timm.is_model(name) and not OF_TIMM.match(name):
        raise unknown_name("model", name, timm.list_models())
    given = dict(args or {})
    of_images = arguments_for(name, images)
    if given.get("pretrained"):
        del of_images["num_classes"]
    torch.manual_seed(0)
    try:
        model = timm.create_model(name, **(of_images | given))
    except Exception as error:  # whatever a model of anyone raises about its arguments
        raise ConfigError(
            f"{name} cannot be built for {images.channels} channels and {images.classes} classes: {error}"
        ) from error
    if checkpoint is not None:
        state = read_weights(checkpoint)
        if isinstance(model, StagedNetwork):
            state = checkpoint_filter_fn(state, model)
        fit_weights(model, state, str(checkpoint), name)
    return model.eval()
