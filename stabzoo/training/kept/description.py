"""The folder of a training, in the layout of timm's hub: ``config.json`` and ``model.safetensors``.

``timm.create_model("local-dir:FOLDER", pretrained=True)`` and `timm.data.resolve_model_data_config` give the network
and the preprocessing as trained; uploaded as it is, the folder is a repository that ``hf-hub:`` opens.

There is one description, and it is there from a training's first step on: a resumed training compares the job in
it with its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ConfigDict
from safetensors.torch import save
from timm.models._hub import save_config_for_hf

from stabzoo.config import json_text, load_json, validate
from stabzoo.data.images import ImageDataset
from stabzoo.data.spec import ReadFromDisk
from stabzoo.errors import ConfigError
from stabzoo.files import write_atomically
from stabzoo.networks.arguments import plain
from stabzoo.networks.staged import StagedNetwork
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.spec import Job

__all__ = ["CONFIG", "WEIGHTS", "Description", "Trained", "keep", "read_description"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
"""What a training leaves in its folder, that of a study's run too: what it is, and the weights to be used."""


class Trained(BaseModel):
    """What stabzoo knows of a network that was trained, beside what timm's layout has a place for.

    ``scheme`` with its parameters and ``stability``, the card with its certificate, are of the network with the weights
    as they are; None of a network that has no scheme.  ``measured`` is the top-1 in percent, and of how many images.
    """

    job: Job
    scheme: dict[str, Any] | None = None
    stability: dict[str, Any] | None = None
    measured: dict[str, float] | None = None


class Description(BaseModel):
    """``config.json``: the entries of timm's layout, and those of stabzoo under ``stabzoo``."""

    model_config = ConfigDict(protected_namespaces=())  # of older pydantic, which warns of "model_args"

    architecture: str
    num_classes: int
    model_args: dict[str, Any] = {}
    label_names: list[str] | None = None
    pretrained_cfg: dict[str, Any]
    stabzoo: Trained


def keep(
    network: NormalizedModel,
    images: ImageDataset,
    job: Job,
    folder: Path,
    measured: Mapping[str, float] | None = None,
    *,
    weights: bool = True,
) -> None:
    """Write down what a network is, how its images are made ready and, unless told not to, its weights."""
    if weights:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in network.network.state_dict().items()}
        write_atomically(folder / WEIGHTS, save(tensors))
    own = Trained(job=job, measured=dict(measured) if measured else None, **_stability(network))
    described = {
        "label_names": list(images.names) or None,
        "stabzoo": json.loads(json_text(own.model_dump(mode="json"), 0)),
    }
    with TemporaryDirectory() as scratch:  # timm writes no file as a whole or not at all
        path = Path(scratch, CONFIG)
        save_config_for_hf(network.network, str(path), described, data_config=preprocessing(images, job))
        write_atomically(folder / CONFIG, path.read_bytes() + b"\n")


def preprocessing(images: ImageDataset, job: Job) -> dict[str, Any]:
    """How images are made ready, as timm's ``pretrained_cfg`` says it: size, crop, mean and deviation.

    A mean image has no place there: its channels' means are given instead.
    """
    size, crop = images.shape[1], 1.0
    if isinstance(job.data, ReadFromDisk):
        shorter = round(size / job.data.crop)
        exact = size / shorter
        crop = exact if int(size / exact) == shorter else size / (shorter + 0.5)  # timm rounds size / crop down
    return {
        "input_size": images.shape,
        "interpolation": "bilinear",
        "crop_pct": crop,
        "mean": images.mean.flatten(1).mean(1).tolist(),
        "std": images.std.flatten(1).mean(1).tolist(),
    }


def _stability(network: NormalizedModel) -> dict[str, Any]:
    module = network.network
    if not isinstance(module, StagedNetwork):
        return {}
    scheme = module.scheme
    parameters = scheme.model_dump(mode="json") if isinstance(scheme, BaseModel) else {}
    found: dict[str, Any] = {"scheme": {"name": scheme.name, **plain(parameters)}}
    try:
        found["stability"] = module.stability_card().to_dict()
    except ValueError:  # trained parameters give no method
        found["stability"] = None
    return found


def read_description(folder: Path) -> Description:
    """Read what the folder of a training says of itself.

    Raises:
        ConfigError: it is none, or its description is damaged.
    """
    try:
        return validate(Description, load_json(folder / CONFIG), str(folder / CONFIG))
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: cannot be read ({error.strerror or error}); expected the folder of a training that has "
            "finished: of `stabzoo train`, or STORE/work/KEY of a study's run"
        ) from None
