"""Opening a trained network for use, without the data that it was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor, nn

from stabzoo.data.image_files import decode
from stabzoo.data.spec import Archived
from stabzoo.diagnostics.bounds.pixels import Normalization
from stabzoo.errors import ConfigError
from stabzoo.files import open_regular
from stabzoo.networks.checkpoints import fit_weights, read_weights
from stabzoo.training.kept.description import WEIGHTS, Description, read_description

__all__ = ["Deployed", "open_deployed"]


@dataclass(frozen=True)
class Deployed:
    """A trained network: its description, and the network in evaluation mode, of normalised images."""

    folder: Path
    description: Description
    network: nn.Module

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W) of what it was trained on."""
        channels, height, width = self.description.pretrained_cfg["input_size"]
        return channels, height, width

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes; their numbers where they have none."""
        names = self.description.label_names
        return tuple(names) if names else tuple(str(i) for i in range(self.description.num_classes))

    def of_pixels(self) -> nn.Module:
        """The network of pixels in [0, 1], which it normalises first."""
        mean, std = (torch.tensor(self.description.pretrained_cfg[key]).view(-1, 1, 1) for key in ("mean", "std"))
        return nn.Sequential(Normalization(mean, std), self.network).eval()

    def preprocessing(self) -> Callable[[Path], Tensor]:
        """What makes (C, H, W) of an image file, as timm does: resized, cut out, normalised as in the training.

        It raises a `ConfigError` that names a file that is not a readable image.
        """
        config = {key: self.description.pretrained_cfg[key] for key in ("mean", "std", "crop_pct", "interpolation")}
        transform: Any = create_transform(self.input_size, crop_mode="center", **config)
        mode = "L" if self.input_size[0] == 1 else "RGB"

        def prepared(path: Path) -> Tensor:
            try:
                with open_regular(path) as file:
                    image: Image.Image = decode(file)
                return transform(image.convert(mode))
            except Exception as error:  # a damaged file raises whatever its bytes lead to
                raise ConfigError(
                    f"{path}: not an image that can be read ({error or type(error).__name__}); "
                    "get it again, or remove it"
                ) from None

        return prepared


def open_deployed(folder: Path) -> Deployed:
    """Open what a training has left in ``folder``, or what was published of it; data are not needed.

    Raises:
        ConfigError: it is no such folder, it is damaged, the network cannot be built, or the images of its training
            were made ready in a way that is not written down: a mean image was subtracted.
    """
    description = read_description(folder)
    data = description.stabzoo.job.data
    if isinstance(data, Archived) and data.normalization == "mean-image":
        raise ConfigError(
            f"{folder}: this network was trained with the mean image of {data.name} subtracted, which its description "
            "cannot store; train with normalization: measured, or use `stabzoo evaluate`, which reads the data"
        )
    if description.pretrained_cfg["input_size"][0] not in (1, 3):
        raise ConfigError(f"{folder}: expected a network of grey or colour images")
    try:
        network = timm.create_model(description.architecture, **description.model_args)
    except Exception as error:  # whatever a model of anyone raises about its arguments
        raise ConfigError(f"{folder}: {description.architecture} cannot be built: {error}") from error
    fit_weights(network, read_weights(folder / WEIGHTS), str(folder / WEIGHTS), description.architecture)
    return Deployed(folder, description, network.eval())
