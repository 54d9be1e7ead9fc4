"""The conditions a trained network is tested under, as data: clean images, noise, corruptions, attacks.

Radii are distances of pixels in [0, 1], as a network is given them: after resizing and cropping, before its own
normalisation.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt, model_validator

from stabzoo.config import Seed
from stabzoo.metric import Evaluation, is_right

if TYPE_CHECKING:
    from torch import Tensor

    from stabzoo.metric import Perturbation, TestImages

__all__ = [
    "CORRUPTIONS",
    "RADII",
    "AutoAttack",
    "Clean",
    "Constant",
    "Corruption",
    "Fgsm",
    "Gaussian",
    "Margin",
    "Pgd",
    "Structured",
    "Uniform",
    "radius_text",
]

RADII = tuple(Fraction(level, 255) for level in (36, 72, 108))
"""The l2 radii that the literature reports."""


def radius_text(radius: Fraction | float) -> str:
    """A radius as it is written: in levels of 1/255 where it is a whole number of them, and no short decimal.

    >>> radius_text(Fraction(36, 255)), radius_text(36 / 255), radius_text(0.2), radius_text(1 / 3)
    ('36/255', '36/255', '0.2', '85/255')
    """
    value = float(radius)
    levels, decimal = 255 * value, f"{value:g}"
    is_whole = abs(levels - round(levels)) < 1e-9 and float(decimal) != value
    return f"{round(levels)}/255" if is_whole else decimal


class Clean(Evaluation):
    """The unchanged test images; a prediction is correct if the class is among the ``top`` most likely ones."""

    kind: Literal["clean"]
    top: PositiveInt = 1

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return "clean" if self.top == 1 else f"clean, top {self.top}"

    def score(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Whether the class is among the ``top`` most likely ones."""
        return is_right(logits, labels, self.top)


class Gaussian(Evaluation):
    """Zero-mean Gaussian noise of standard deviation ``sigma`` on pixels in [0, 1], drawn with ``seed``."""

    kind: Literal["gaussian"]
    sigma: PositiveFloat
    seed: Seed

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"Gaussian σ = {self.sigma:g}"

    def perturbation(self, images: TestImages) -> Perturbation:
        """What is done to the images."""
        from stabzoo.evaluation import perturbations

        return perturbations.gaussian(self.sigma, self.seed)


class Uniform(Evaluation):
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

    def perturbation(self, images: TestImages) -> Perturbation:
        """What is done to the images."""
        from stabzoo.evaluation import perturbations

        return perturbations.uniform(self.low, self.high, self.seed)


class Constant(Evaluation):
    """A grey image of value ``mu`` added to pixels in [0, 1]."""

    kind: Literal["constant"]
    mu: FiniteFloat

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"constant μ = {self.mu:g}"

    def perturbation(self, images: TestImages) -> Perturbation:
        """What is done to the images."""
        from stabzoo.evaluation import perturbations

        return perturbations.constant(self.mu)


class Structured(Evaluation):
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

    def perturbation(self, images: TestImages) -> Perturbation:
        """What is done to the images."""
        from stabzoo.evaluation import perturbations

        return perturbations.structured(self.title, self.epsilon, self.image, images)


CORRUPTIONS = (
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "frost",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "shot_noise",
    "snow",
    "zoom_blur",
)
"""The fifteen of the benchmark; its four others, held back for validation, have files too."""

SEVERITIES = 5

CorruptionName: TypeAlias = Literal[
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "frost",
    "gaussian_blur",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "saturate",
    "shot_noise",
    "snow",
    "spatter",
    "speckle_noise",
    "zoom_blur",
]


class Corruption(Evaluation):
    """CIFAR-10-C or CIFAR-100-C: published copies of the test images, corrupted at five severities.

    Without a ``severity``, the mean over all five; without a ``name``, the mean over the fifteen corruptions of the
    benchmark; with neither, 100 minus the benchmark's mean corruption error, which on CIFAR is not divided by that of
    another network.

    Source: Hendrycks & Dietterich, ICLR 2019.
    """

    kind: Literal["corruption"]
    name: CorruptionName | None = None
    severity: Annotated[int, Field(ge=1, le=SEVERITIES)] | None = None

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        name = self.name.replace("_", " ") if self.name else f"mean of {len(CORRUPTIONS)} corruptions"
        return name if self.severity is None else f"{name}, severity {self.severity}"

    def perturbation(self, images: TestImages) -> Perturbation:
        """What is done to the images: corrupted copies in their place."""
        from stabzoo.evaluation.corruptions import CorruptedImages

        names = CORRUPTIONS if self.name is None else (self.name,)
        severities = tuple(range(1, SEVERITIES + 1)) if self.severity is None else (self.severity,)
        return CorruptedImages(self.title, names, severities, SEVERITIES, images)


Norm: TypeAlias = Literal["linf", "l2"]


class Fgsm(Evaluation):
    """The fast gradient sign method: ``epsilon`` times the sign of the loss' gradient, on pixels in [0, 1].

    Source: Goodfellow, Shlens, Szegedy, ICLR 2015.
    """

    kind: Literal["fgsm"]
    epsilon: PositiveFloat

    @property
    def evidence(self) -> str:
        """How the number is known."""
        return "attacked"

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"FGSM ε = {self.epsilon:g}"

    def perturbation(self, images: TestImages) -> Perturbation:
        """What is done to the images."""
        from stabzoo.evaluation import perturbations

        return perturbations.fast_gradient_sign(self.epsilon)


class Pgd(Evaluation):
    """Projected gradient ascent in the ball ||x' - x|| <= ``epsilon`` of a ``norm``, on pixels in [0, 1].

    It starts at a point of the ball drawn with ``seed`` and takes ``steps`` steps of 2.5 epsilon / steps along the sign
    of the gradient, in the l2 norm along the gradient.  The result is an upper bound on the accuracy under stronger
    attacks, not the "robust accuracy".

    Source: Madry, Makelov, Schmidt, Tsipras, Vladu, ICLR 2018.
    """

    kind: Literal["pgd"]
    epsilon: PositiveFloat
    norm: Norm = "linf"
    steps: Annotated[int, Field(ge=1, le=1000)] = 10
    seed: Seed

    @property
    def evidence(self) -> str:
        """How the number is known."""
        return "attacked"

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"PGD-{self.steps} {_ball(self.norm, self.epsilon)}"

    def perturbation(self, images: TestImages) -> Perturbation:
        """What is done to the images."""
        from stabzoo.evaluation import perturbations

        return perturbations.projected_gradient(self.epsilon, self.steps, self.seed, self.norm)


class AutoAttack(Evaluation):
    """The standard version of AutoAttack in the ball ||x' - x|| <= ``epsilon`` of a ``norm``, on pixels in [0, 1].

    The authors' code (``stabzoo[autoattack]``) runs APGD on the cross-entropy, targeted APGD on the ratio of logit
    differences, targeted FAB and 5000 queries of Square, each on the images that are still classified correctly.
    Random draws start from ``seed``.  The result is an upper bound on the robust accuracy as well.

    Source: Croce & Hein, ICML 2020.
    """

    kind: Literal["autoattack"]
    epsilon: PositiveFloat
    norm: Norm = "linf"
    seed: Seed

    @property
    def evidence(self) -> str:
        """How the number is known."""
        return "attacked"

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"AutoAttack {_ball(self.norm, self.epsilon)}"

    def perturbation(self, images: TestImages) -> Perturbation:
        """What is done to the images."""
        from stabzoo.evaluation.autoattack import autoattack

        return autoattack(images.classes, self.epsilon, self.seed, self.norm)


class Margin(Evaluation):
    """An attack along the gradient of the margin, in the ball ||x' - x||_2 <= ``epsilon`` on pixels in [0, 1].

    For each of the (up to nine) most likely other classes j it moves by ``epsilon`` along the gradient of f_j - f_y and
    recomputes the gradient there, ``steps`` times in all; the best of these points is kept.  For a linear network this
    is the shortest way across the boundary, unless the box [0, 1] cuts it off.
    """

    kind: Literal["margin"]
    epsilon: PositiveFloat
    norm: Literal["l2"] = "l2"
    steps: Annotated[int, Field(ge=1, le=1000)] = 5

    @property
    def evidence(self) -> str:
        """How the number is known."""
        return "attacked"

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"margin attack {_ball(self.norm, self.epsilon)}"

    def perturbation(self, images: TestImages) -> Perturbation:
        """What is done to the images."""
        from stabzoo.evaluation import perturbations

        return perturbations.along_margin(self.epsilon, self.steps)


def _ball(norm: Norm, epsilon: float) -> str:
    return f"ε = {epsilon:g}" if norm == "linf" else f"l2 ε = {radius_text(epsilon)}"
