"""An image on its way through a network, and what the network answers as the image is perturbed more and more.

Source: Zhang and Schaeffer, Forward stability of ResNet and its variants, JMIV 2020, Figures 5 and 6 (features along
the depth, and the probabilities at their end), 9 and 10 (probabilities under noise).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.data.labelled import LabelledImages
from stabzoo.diagnostics.capture import feature_layers, in_parts, outputs, run_hooked

__all__ = ["Answer", "FeatureMaps", "Steadiness", "answers", "feature_maps", "steadiness"]


@dataclass(frozen=True)
class FeatureMaps:
    """What one layer makes of one image.

    Attributes:
        name: Of the layer.
        maps: (k, H, W) the channels with the largest norm, the largest first; empty of features without a grid.
        channels: How many channels there are, and ``alive`` how many of them are not zero.
        norm: Of all channels together.
        moved: The relative change of all channels under the noise.
    """

    name: str
    maps: Tensor
    channels: int
    alive: int
    norm: float
    moved: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; without the maps."""
        return {k: getattr(self, k) for k in ("name", "channels", "alive", "norm", "moved")}


@dataclass(frozen=True)
class Answer:
    """The probabilities of the classes for one image under one perturbation.

    Attributes:
        image: Its number.
        label: Its class.
        noise: What was done to it; empty: nothing.
        pixels: (C, H, W) in [0, 1], as it was given.
        probabilities: (classes,), softmax of the logits.
    """

    image: int
    label: int
    noise: str
    pixels: Tensor
    probabilities: Tensor

    @property
    def first(self) -> int:
        """The class that the network answers."""
        return int(self.probabilities.argmax())

    @property
    def second(self) -> int:
        """The next most probable class."""
        return int(self.probabilities.argsort(descending=True, stable=True)[1])

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; without the pixels."""
        return {
            "image": self.image,
            "label": self.label,
            "noise": self.noise,
            "probabilities": [round(p, 6) for p in self.probabilities.tolist()],
        }


@dataclass(frozen=True)
class Steadiness:
    """Of ``images`` test images: how many answers are right, are so under noise, and are the same under it.

    ``right`` and ``right_under_noise`` are None where the network's classes are not those of the images.
    """

    images: int
    same: int
    right: int | None
    right_under_noise: int | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {k: getattr(self, k) for k in ("images", "same", "right", "right_under_noise")}


def steadiness(model: nn.Module, data: LabelledImages, noise: Tensor) -> Steadiness:
    """Answer all images, with and without ``noise`` of the images' shape, in evaluation mode."""
    answered: list[Tensor] = []
    same_classes = False
    for clean, other in zip(in_parts(data.images), in_parts(data.images + noise), strict=True):
        ((_, logits),) = outputs(model, torch.cat([clean, other]), [""])
        same_classes = logits.flatten(1).shape[1] == data.classes
        answered.append(torch.stack(logits.flatten(1).argmax(1).chunk(2)))
    first, second = torch.cat(answered, 1)
    right = [int((given == data.labels).sum()) if same_classes else None for given in (first, second)]
    return Steadiness(len(first), int((first == second).sum()), *right)


def feature_maps(
    model: nn.Module, image: Tensor, noise: Tensor, layers: Sequence[str] | None = None, maps: int = 6
) -> list[FeatureMaps]:
    """Features of one image along the depth, in evaluation mode.

    Args:
        model: Any model; it stays as it is.
        image: (1, C, H, W), as the model takes it.
        noise: Of the same shape; what `FeatureMaps.moved` is measured with.
        layers: Names of modules; by default the last before each downsampling, and what the classifier reads.
        maps: Channels that are kept of each.
    """
    if layers is None:
        layers = feature_layers(model, image)
    found = []
    for (name, clean), (_, other) in zip(
        outputs(model, image, layers), outputs(model, image + noise, layers), strict=True
    ):
        channels = clean[0].double()
        sizes = channels.flatten(1).norm(dim=1) if channels.ndim == 3 else channels.abs()
        order = sizes.argsort(descending=True, stable=True)[:maps]
        kept = channels[order] if channels.ndim == 3 and min(channels.shape[1:]) > 1 else channels.new_zeros(0, 0, 0)
        norm = float(channels.norm())
        moved = float((other[0].double() - channels).norm()) / norm if norm else 0.0
        found.append(FeatureMaps(name, kept, len(sizes), int((sizes > 0).sum()), norm, moved))
    return found


def answers(model: nn.Module, data: LabelledImages, sigma: float, images: int = 3, seed: int = 0) -> list[Answer]:
    """Probabilities of the first ``images`` of different classes, clean and perturbed, in evaluation mode.

    The perturbations are the paper's: x + N(0, s^2) with s = ``sigma`` and 2 ``sigma``, and x + ``sigma`` x0 and x + 2
    ``sigma`` x0 with x0 the last image of ``data``; pixels on the scale [0, 1], cut to it.

    Raises:
        ValueError: the network's classes are not those of the images.
    """
    chosen = list({int(label): i for i, label in reversed(list(enumerate(data.labels)))}.values())
    chosen = sorted(chosen)[:images]
    generator = torch.Generator().manual_seed(seed)
    pixels = data.pixels[chosen]
    noise = torch.randn(pixels.shape, generator=generator).to(pixels.device)
    fixed = data.pixels[-1]
    kinds = {"": pixels}
    for level in (sigma, 2 * sigma):
        kinds[f"noise, σ = {level:g}"] = (pixels + level * noise).clamp(0, 1)
    for level in (sigma, 2 * sigma):
        kinds[f"ε = {level:g} of an image"] = (pixels + level * fixed).clamp(0, 1)
    logits: list[Tensor] = []
    given = torch.cat([data.normalise(entry) for entry in kinds.values()])
    run_hooked(model, given, [model.register_forward_hook(lambda _m, _a, result: logits.append(result.detach()))])
    if logits[0].shape[1:] != (data.classes,):
        raise ValueError(
            f"expected the {data.classes} classes of {data.name}, and the network has {tuple(logits[0].shape[1:])}"
        )
    found = logits[0].double().softmax(1).view(len(kinds), len(chosen), -1)
    return [
        Answer(image, int(data.labels[image]), noise, entry[j], found[i, j])
        for j, image in enumerate(chosen)
        for i, (noise, entry) in enumerate(kinds.items())
    ]
