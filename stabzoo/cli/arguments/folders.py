"""What a folder of images asks of a training: looked at before anything is chosen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from stabzoo.data.image_files import files_of_classes, pixels_of
from stabzoo.data.spec import Folder
from stabzoo.errors import ConfigError
from stabzoo.files import open_regular
from stabzoo.training.spec import Training, recipe

__all__ = ["Looked", "look"]

MOST = 200
"""Images whose sizes are read, at equal distances."""

SMALL = 64
"""Pixels a side up to which images are trained as CIFAR's are: padded and cropped, not cut out of larger ones."""

LARGEST, STEP = 224, 8
UPDATES = 3000
"""Of the weights, at least as many as which a training on few images takes, where the recipe's epochs allow it."""

BATCHES, LEAST = 32, 16
"""In an epoch at least, unless they would be of fewer images than the second, which batch norms need."""


@dataclass(frozen=True)
class Looked:
    """A folder of images: how many for training, how many in all, of which sizes, and the settings that they ask for.

    ``data`` are the data with size and crop chosen, ``recipe`` is the name of a shipped one, and ``settings`` are what
    is changed of it.
    """

    data: Folder
    images: int
    classes: int
    sizes: str
    recipe: str
    settings: dict[str, Any]

    def chosen(self, training: Training, name: str) -> str:
        """What was found and chosen, in words; ``training`` by the recipe ``name`` is the result."""
        held = "" if self.data.test_share is None else f", {self.data.test_share:.0%} of them held out for tests"
        values = {key: getattr(training, key) for key in self.settings}
        settings = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())
        return (
            f"{self.data.title}: {self.images} images in {self.classes} classes, {self.sizes}{held}. "
            f"Trained at size={self.data.size}, crop={self.data.crop:g}, by the recipe {name} with {settings}; "
            "--size, --recipe and --set change it"
        )


def look(data: Folder, root: Path, device: str, *, sized: bool) -> Looked:
    """Look at the images for training: their number, and the sizes of some.

    Unless ``sized``, the size is that of the images where all are squares of one size, up to 224, and then nothing is
    cropped; otherwise their shorter side, in the middle, down to a multiple of 8.  Batch and epochs are those of the
    recipe, or as many as make 32 batches of at least 16 images per epoch, and 3000 updates; the learning rate is in
    proportion to the batch.

    Raises:
        ConfigError: there is no image, or one cannot be read.
    """
    place = root / data.path / data.train
    try:
        classes = sorted(entry.name for entry in place.iterdir() if entry.is_dir())
    except OSError as error:
        raise ConfigError(f"{place}: cannot be read ({error.strerror or error})") from None
    files = [path for path, _ in files_of_classes(place, classes)]
    if not files:
        raise ConfigError(f"{place}: expected one folder of images per class, found no image")
    pixels = [_pixels(Path(path)) for path in files[:: max(1, -(-len(files) // MOST))]]
    (width, height), _ = Counter(pixels).most_common(1)[0]
    same = len(set(pixels)) == 1
    if not sized and same and width == height and STEP <= width <= LARGEST:
        data = data.model_copy(update={"size": width, "crop": 1.0})
    elif not sized:
        shorter = int(median(min(size) for size in pixels))
        data = data.model_copy(update={"size": max(STEP, min(LARGEST, shorter // STEP * STEP))})
    elif same and width == height == data.size:
        data = data.model_copy(update={"crop": 1.0})
    sizes = f"{width} x {height} pixels" if same else f"{_range(pixels, 0)} x {_range(pixels, 1)} pixels"
    trained = len(files) if data.test_share is None else round(len(files) * (1 - data.test_share))
    name = "cifar" if data.size <= SMALL else "imagenet"
    return Looked(data, len(files), len(classes), sizes, name, _settings(name, trained, device))


def _pixels(path: Path) -> tuple[int, int]:
    try:
        with open_regular(path) as file:
            return pixels_of(file)
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        raise ConfigError(
            f"{path}: not an image that can be read ({error or type(error).__name__}); get it again, or remove it"
        ) from None


def _range(pixels: list[tuple[int, int]], axis: int) -> str:
    found = [size[axis] for size in pixels]
    return f"{min(found)} to {max(found)}"


def _settings(name: str, images: int, device: str) -> dict[str, Any]:
    usual = recipe(name, {})
    batch = max(2, min(usual.batch_size, images, max(LEAST, 2 ** (max(images // BATCHES, 1).bit_length() - 1))))
    epochs = min(usual.epochs, max(1, -(-UPDATES * batch // images)))
    settings: dict[str, Any] = {"batch_size": batch, "epochs": epochs, "lr": usual.lr * batch / usual.batch_size}
    if usual.warmup_epochs >= epochs:
        settings["warmup_epochs"] = 0.0
    if device == "cpu":
        settings["amp"] = "none"
    return settings
