"""The conditions a trained network is tested under, as data: clean images, four kinds of noise, two attacks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, PositiveFloat, model_validator

from stabzoo.config import Strict

__all__ = ["Clean", "Constant", "Evaluation", "Fgsm", "Gaussian", "Pgd", "Seed", "Structured", "Uniform"]

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Clean(Strict):
    """The test images as they are."""

    kind: Literal["clean"]

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return "clean"


class Gaussian(Strict):
    """Zero-mean Gaussian noise of standard deviation ``sigma`` on pixels in [0, 1], drawn with ``seed``."""

    kind: Literal["gaussian"]
    sigma: PositiveFloat
    seed: Seed

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"Gaussian σ = {self.sigma:g}"


class Uniform(Strict):
    """Noise uniform in [``low``, ``high``] on pixels in [0, 1], drawn with ``seed``."""

    kind: Literal["uniform"]
    low: FiniteFloat
    high: FiniteFloat
    seed: Seed

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got low {self.low:g} and high {self.high:g}")
        return self

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"uniform [{self.low:g}, {self.high:g}]"


class Constant(Strict):
    """A grey image of value ``mu`` added to pixels in [0, 1]."""

    kind: Literal["constant"]
    mu: FiniteFloat

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"constant μ = {self.mu:g}"


class Structured(Strict):
    """``epsilon`` times a fixed test image x_0, the one numbered ``image``, added to every image.

    Source: Zhang & Schaeffer, JMIV 2020, eq. (28b).
    """

    kind: Literal["structured"]
    epsilon: PositiveFloat
    image: Annotated[int, Field(ge=0)]

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"structured ε = {self.epsilon:g}"


class Fgsm(Strict):
    """The fast gradient sign method: ``epsilon`` times the sign of the loss' gradient, on pixels in [0, 1].

    Source: Goodfellow, Shlens, Szegedy, ICLR 2015.
    """

    kind: Literal["fgsm"]
    epsilon: PositiveFloat

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"FGSM ε = {self.epsilon:g}"


class Pgd(Strict):
    """Projected gradient ascent in the ball ||x' - x||_inf <= ``epsilon`` on pixels in [0, 1].

    From a point of the ball drawn with ``seed``, ``steps`` steps of 2.5 epsilon / steps along the gradient's sign.  An
    upper bound of the accuracy that stronger attacks leave, no "robust accuracy".

    Source: Madry, Makelov, Schmidt, Tsipras, Vladu, ICLR 2018.
    """

    kind: Literal["pgd"]
    epsilon: PositiveFloat
    steps: Annotated[int, Field(ge=1, le=1000)] = 10
    seed: Seed

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"PGD-{self.steps} ε = {self.epsilon:g}"


Evaluation = Annotated[Clean | Gaussian | Uniform | Constant | Structured | Fgsm | Pgd, Field(discriminator="kind")]
"""What a trained network is tested under; the perturbed pixels are clipped to [0, 1] before they are normalised."""
