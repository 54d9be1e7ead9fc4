"""The data sets that networks are trained and tested on, as data. Importing this module imports no torch."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt, model_validator

from stabzoo.config import Seed, Strict

__all__ = [
    "DIGITS",
    "FOLDERS",
    "PERCOLATION",
    "SOLAR_CELLS",
    "Archived",
    "Data",
    "Digits",
    "Folder",
    "Percolation",
    "ReadFromDisk",
    "SolarCells",
    "Timm",
    "check_augmentation",
]


class Digits(Strict):
    """scikit-learn's 1797 handwritten digits, 8x8 scans of 10 classes, resized to ``size`` pixels.

    ``test_images`` of them are held out, stratified by class and drawn with ``split_seed``; the rest is for training.
    """

    name: Literal["digits"]
    size: Annotated[int, Field(ge=8, le=1024)]
    test_images: Annotated[int, Field(ge=10, le=1787)]
    split_seed: Seed

    @property
    def title(self) -> str:
        """Its name in messages."""
        return self.name


DIGITS = Digits(name="digits", size=16, test_images=540, split_seed=0)
"""The digits that commands take."""


class Percolation(Strict):
    """Random grids of ``size`` x ``size`` cells with two marked cells: are they connected? Generated, without files.

    A cell is open with probability ``density``; open cells are connected with their four neighbours.  The marked cells
    are connected in half of the images of each part.  ``seed`` and ``version`` determine the images; labels are
    exact.
    """

    name: Literal["percolation"]
    size: Annotated[int, Field(ge=4, le=256)] = 12
    density: Annotated[float, Field(gt=0, lt=1)] = 0.6
    train_images: Annotated[int, Field(ge=10, le=1_000_000)] = 12_000
    test_images: Annotated[int, Field(ge=10, le=1_000_000)] = 2_000
    seed: Seed = 0
    version: Literal[1] = 1

    @property
    def title(self) -> str:
        """Its name in messages."""
        return self.name


PERCOLATION = Percolation(name="percolation")
"""The grids that commands take."""


class SolarCells(Strict):
    """The 2624 solar cells of the package ``elpv-dataset``, electroluminescence scans of 300x300, resized to ``size``.

    Two classes: defective are the cells that experts called so with a probability above 1/2, 31 %.  ``test_images`` of
    them, stratified by class and drawn with ``split_seed``, are held out; the rest is for training.  Cells of one
    module may be on both sides: the images do not say which module they are from.  Needs the extra ``elpv``.

    Source: Deitsch et al., Solar Energy 185 (2019), 455-468; Buerhop-Lutz et al., EU PVSEC 2018; CC BY-NC-SA 4.0.
    """

    name: Literal["elpv"]
    size: Annotated[int, Field(ge=8, le=300)] = 32
    test_images: Annotated[int, Field(ge=10, le=2614)] = 656
    split_seed: Seed = 0

    @property
    def title(self) -> str:
        """Its name in messages."""
        return self.name


SOLAR_CELLS = SolarCells(name="elpv")
"""The solar cells that commands take."""


Channels: TypeAlias = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
Deviations: TypeAlias = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class Constants(Strict):
    """Mean and deviation of red, green and blue on the scale [0, 1], as a release has written them down."""

    mean: Channels
    std: Deviations


FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python", "mnist": "MNIST/raw"}
"""Where the files of published data sets lie, as torchvision puts them."""


class Archived(Strict):
    """CIFAR-10, CIFAR-100 (32x32 pixels, 50 000 for training) or MNIST (28x28, 60 000), read from the user's copy.

    The files must be the published ones, unless ``verified`` is false.  ``normalization``: ``measured`` uses the mean
    and deviation of each channel of the training images; alternatively give the constants of a release; ``mean-image``
    subtracts the mean of the training images, pixel by pixel, and divides by nothing.

    Source of the last: He, Zhang, Ren, Sun, CVPR 2016, section 4.2.
    """

    name: Literal["cifar10", "cifar100", "mnist"]
    verified: bool = True
    normalization: Literal["measured", "mean-image"] | Constants = "measured"
    test_images: ClassVar[int] = 10_000

    @property
    def folder(self) -> str:
        """Where its files lie, below the folder that holds all data sets."""
        return FOLDERS[self.name]

    @model_validator(mode="after")
    def _of_three_channels(self) -> Archived:
        if self.name == "mnist" and isinstance(self.normalization, Constants):
            raise ValueError("normalization: mnist is grey; expected measured or mean-image, got constants of colours")
        return self

    @property
    def title(self) -> str:
        """Its name in messages."""
        return self.name


class ReadFromDisk(Strict):
    """Colour images of any size, read and decoded when they are needed.

    A test image's shorter side is resized to ``size`` / ``crop`` pixels, and ``size`` x ``size`` are cut from its
    middle; so is a training image, unless the training's augmentation is ``resized-crop-flip``.  ``mean`` and ``std``
    normalise red, green and blue on the scale [0, 1]; by default they are ImageNet's.
    """

    size: Annotated[int, Field(ge=8, le=1024)] = 224
    crop: Annotated[float, Field(gt=0, le=1)] = 0.875
    mean: Channels = (0.485, 0.456, 0.406)
    std: Deviations = (0.229, 0.224, 0.225)
    test_images: ClassVar[None] = None  # known when they are looked for


class Folder(ReadFromDisk):
    """ImageNet, or any folder with one folder of images per class: PATH/``train``/CLASS/* and PATH/``test``/CLASS/*.

    ``path`` is relative to the folder of all data sets, unless it is absolute.  With ``test_share`` there is only one
    folder, PATH/``train``/CLASS/*: this share of the images of each class is held out for tests, drawn with
    ``split_seed``.
    """

    name: Literal["folder"]
    path: Annotated[str, Field(min_length=1)]
    train: Annotated[str, Field(min_length=1)] = "train"
    test: Annotated[str, Field(min_length=1)] = "val"
    test_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    split_seed: Seed = 0

    @property
    def title(self) -> str:
        """Its name in messages."""
        return PurePath(self.path).name or self.path


class Timm(ReadFromDisk):
    """A data set of ``timm.data.create_dataset``: ``torch/cifar10``, ``hfds/NAME``, or ``""`` for folders and tars.

    ``path`` is timm's root, relative to the folder of all data sets unless it is absolute; ``train`` and ``test`` are
    the names of its splits, ``classes`` the number of classes if the data set does not state it.  Streams (tfds, wds,
    hfids) cannot return an image by its number and are refused.
    """

    name: Literal["timm"]
    dataset: str
    path: Annotated[str, Field(min_length=1)] = "."
    classes: PositiveInt | None = None
    train: Annotated[str, Field(min_length=1)] = "train"
    test: Annotated[str, Field(min_length=1)] = "validation"

    @property
    def title(self) -> str:
        """Its name in messages."""
        return self.dataset or "a folder of images"


Data = Annotated[Digits | Percolation | SolarCells | Archived | Folder | Timm, Field(discriminator="name")]
"""Images for training and for tests."""


def check_augmentation(data: Digits | Percolation | SolarCells | Archived | Folder | Timm, augmentation: str) -> None:
    """Refuse an augmentation that the data cannot have.

    Raises:
        ValueError: saying which it can.
    """
    if isinstance(data, Percolation | SolarCells):
        expected = ("none", "turn-flip")  # a crop may cut off a marked cell, the path, or a crack at the edge
    elif isinstance(data, ReadFromDisk):
        expected = ("none", "crop", "crop-flip", "resized-crop-flip")
    else:
        expected = ("none", "crop", "crop-flip")
    if augmentation not in expected:
        of = {
            "resized-crop-flip": "of images larger than they are needed, as folder and timm have them",
            "turn-flip": "of percolation and elpv, whose labels do not depend on directions",
        }
        reason = f"{augmentation} is {of.get(augmentation, 'of photographs and scans, and may cut off what matters')}"
        raise ValueError(
            f"training.augmentation: {reason}; expected {', '.join(expected[:-1])} or {expected[-1]} with {data.name}"
        )
