"""The data sets that networks are trained and tested on, as data. Importing this module imports no torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from stabzoo.config import Strict
from stabzoo.study.evaluations import Seed

__all__ = ["DIGITS", "Archived", "Data", "Digits"]


class Digits(Strict):
    """scikit-learn's 1797 handwritten digits, 8x8 scans of 10 classes, resized to ``size`` pixels.

    ``test_images`` of them, stratified by class and drawn with ``split_seed``, are held out; the rest is for training.
    """

    name: Literal["digits"]
    size: Annotated[int, Field(ge=8, le=224)]
    test_images: Annotated[int, Field(ge=10, le=1787)]
    split_seed: Seed


DIGITS = Digits(name="digits", size=16, test_images=540, split_seed=0)
"""The digits that commands take."""


class Archived(Strict):
    """CIFAR-10, CIFAR-100 (32x32 pixels, 50 000 for training) or MNIST (28x28, 60 000), from a copy of the user's.

    The files must be the published ones, unless ``verified`` is false: then whatever is in their place is read.
    """

    name: Literal["cifar10", "cifar100", "mnist"]
    verified: bool = True
    test_images: ClassVar[int] = 10_000


Data = Annotated[Digits | Archived, Field(discriminator="name")]
"""Images for training and for tests."""
