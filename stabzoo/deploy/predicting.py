"""Predictions for a folder of images, and what they are worth where its folders are classes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stabzoo.data.image_files import EXTENSIONS, folders_below
from stabzoo.deploy.opening import Deployed
from stabzoo.errors import ConfigError

__all__ = ["Predictions", "predict"]

BATCH = 64


@dataclass(frozen=True)
class Predictions:
    """Probabilities of images.

    Attributes:
        classes: Names.
        files: Below the folder.
        probabilities: (images, classes), float32.
        labels: Numbers of the classes whose folders the images lie in; None where the folders are no classes.
    """

    classes: tuple[str, ...]
    files: tuple[str, ...]
    probabilities: Tensor
    labels: tuple[int, ...] | None

    @property
    def predicted(self) -> list[int]:
        """The most probable class of each image."""
        return self.probabilities.argmax(1).tolist()

    def correct(self) -> int | None:
        """How many are right; None where it is not known."""
        if self.labels is None:
            return None
        return sum(a == b for a, b in zip(self.predicted, self.labels, strict=True))

    def confusion(self) -> list[list[int]] | None:
        """By the class that images are of (row) and the class they were taken for (column), how many; or None."""
        if self.labels is None:
            return None
        counts = [[0] * len(self.classes) for _ in self.classes]
        for label, predicted in zip(self.labels, self.predicted, strict=True):
            counts[label][predicted] += 1
        return counts

    def csv(self) -> str:
        """A line an image: file, class where it is known, predicted class, and the probability of each class."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        known = [] if self.labels is None else ["class"]
        writer.writerow(["image", *known, "predicted", *(f"p({name})" for name in self.classes)])
        rows = zip(self.files, self.predicted, self.probabilities.tolist(), strict=True)
        for i, (file, predicted, probabilities) in enumerate(rows):
            label = [] if self.labels is None else [self.classes[self.labels[i]]]
            writer.writerow([file, *label, self.classes[predicted], *(f"{p:.6g}" for p in probabilities)])
        return text.getvalue()


def predict(deployed: Deployed, folder: Path, device: torch.device | None = None) -> Predictions:
    """Predict the classes of all images below ``folder``, in the order of their names.

    Raises:
        ConfigError: there are none, one cannot be read, or only some of its folders are classes of the network.
    """
    files = [Path(here, name) for here, names in folders_below(folder, set()) for name in names]
    files = sorted(path for path in files if path.name.lower().endswith(EXTENSIONS))
    if not files:
        raise ConfigError(f"{folder}: expected images ({', '.join(EXTENSIONS)}), found none")
    relative = [path.relative_to(folder) for path in files]
    labels = _labels(relative, deployed.names, folder)
    network = deployed.network.to(device)
    with torch.inference_mode():
        found = [network(batch.to(device)).float().softmax(1).cpu() for batch in _batches(files, deployed)]
    return Predictions(deployed.names, tuple(path.as_posix() for path in relative), torch.cat(found), labels)


def _batches(files: list[Path], deployed: Deployed) -> Iterator[Tensor]:
    prepared = deployed.preprocessing()
    for start in range(0, len(files), BATCH):
        yield torch.stack([prepared(path) for path in files[start : start + BATCH]])


def _labels(files: list[Path], classes: tuple[str, ...], folder: Path) -> tuple[int, ...] | None:
    """The classes that the images' outermost folders are named by."""
    tops = [path.parts[0] if len(path.parts) > 1 else None for path in files]
    numbers = {name: number for number, name in enumerate(classes)}
    known = [name for name in tops if name in numbers]
    if not known:
        return None
    for name, path in zip(tops, files, strict=True):
        if name not in numbers:
            raise ConfigError(
                f"{folder / path}: expected images in folders of the network's classes ({', '.join(classes)}), or in "
                f"none, but {known[0]!r} is one and this image is in none; move it"
            )
    return tuple(numbers[name] for name in tops if name is not None)
