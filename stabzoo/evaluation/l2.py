"""Accuracy that is certified within l2 distances, as data: by a Lipschitz bound, and of the smoothed network.

Radii are distances of pixels in [0, 1], as a network is given them: after resizing and cropping, before its own
normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from stabzoo.config import Rational, Seed
from stabzoo.evaluation.spec import AutoAttack, Margin, Pgd, radius_text
from stabzoo.metric import Evaluation, Metric

if TYPE_CHECKING:
    from torch import Tensor, nn

    from stabzoo.metric import TestImages

__all__ = ["Abstentions", "Certificate", "Certified", "Smoothed", "l2_level", "meanings"]


def _nonnegative(radius: Fraction) -> Fraction:
    if radius < 0:
        raise ValueError(f"expected a distance of pixels in [0, 1], 0 or more; got {radius}")
    return radius


Radius = Annotated[Rational, AfterValidator(_nonnegative)]


class Certificate(Evaluation):
    """A share of images whose answer is right and proved not to change within an l2 distance.

    What differs in ``radius`` alone is decided by the same `radii`, which are found once.
    """

    def family(self) -> tuple[Any, ...]:
        """Equal for those whose `radii` are the same."""
        return type(self), *((name, value) for name, value in self if name != "radius")

    def radii(self, network: nn.Module, images: TestImages) -> Tensor:
        """A certified radius for each image counted, (N,): 0 of a wrong answer, negative of an abstention."""
        raise NotImplementedError

    def share(self, radii: Tensor) -> float:
        """The number, in percent, that follows from `radii`."""
        raise NotImplementedError


class Certified(Certificate):
    """Certified l2 accuracy: a Lipschitz bound proves that no change up to ``radius`` makes a prediction wrong.

    The margin f_y - f_j at x' is at least that at x minus L ||w_y - w_j|| ||x' - x||, with L the certified bound of the
    features that the classifier w reads.  This is a proof for all of R^n, with numbers rounded outward.  Ties are not
    certified, and without a known bound nothing is.

    Source: Tsuzuku, Sato, Sugiyama, NeurIPS 2018, with the pairwise norms of the classifier's rows.
    """

    kind: Literal["certified"]
    radius: Radius
    norm: Literal["l2"] = "l2"

    @property
    def evidence(self) -> str:
        """How the number is known."""
        return "certified"

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"certified l2 r = {radius_text(self.radius)}"

    def radii(self, network: nn.Module, images: TestImages) -> Tensor:
        """The certified radius of each test image."""
        from stabzoo.evaluation.certified import certified_radii

        return certified_radii(self.title, network, images)

    def share(self, radii: Tensor) -> float:
        """The images that are certified at the radius."""
        return _share(radii, self.radius)


class Smoothing(Certificate):
    """What `Smoothed` and `Abstentions` have in common: the smoothed classifier and its certificate."""

    sigma: PositiveFloat
    n0: PositiveInt = 100
    n: PositiveInt = 10_000
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.001
    images: PositiveInt | None = None
    seed: Seed

    @property
    def classifier(self) -> str:
        """The smoothed classifier and its certificate in a few words, without settings that are as by default."""
        fields = type(self).model_fields
        named = ("n0", "n", "alpha", "images")
        others = [f"{x} = {getattr(self, x):g}" for x in named if getattr(self, x) != fields[x].default]
        return ", ".join([f"smoothed σ = {self.sigma:g}", *others])

    def family(self) -> tuple[Any, ...]:
        """The settings of the smoothing."""
        return Smoothing, self.sigma, self.n0, self.n, self.alpha, self.images, self.seed

    def counted(self, count: int) -> int:
        """``images``, where there are as many."""
        return min(count, self.images or count)

    def radii(self, network: nn.Module, images: TestImages) -> Tensor:
        """The certified radius of each image counted."""
        from stabzoo.evaluation.smoothing import smoothed_radii

        return smoothed_radii(
            network, images, self.counted(images.test_count), sigma=self.sigma, n0=self.n0, n=self.n, alpha=self.alpha,
            seed=self.seed,
        )  # fmt: skip


class Smoothed(Smoothing):
    """Certified l2 accuracy of any network smoothed by Gaussian noise of deviation ``sigma``.

    The smoothed network answers with the class that the network predicts most often for x + noise.  ``n0`` samples
    guess the class; ``n`` others bound its probability p from below (Clopper-Pearson), and the radius is
    sigma Phi^-1(p).  The certificate of an image is wrong with probability at most ``alpha``; if p may be below 1/2,
    the network abstains.  ``images`` is the number of test images, evenly spaced; by default all.

    Noise and pixels are integer multiples of 1/65280, and the noise follows the normal distribution rounded to them,
    so rounding does not weaken the proof (`stabzoo.evaluation.smoothing`).

    Sources: Cohen, Rosenfeld, Kolter, ICML 2019; Voracek & Hein, ICLR 2023.
    """

    kind: Literal["smoothed"]
    radius: Radius
    norm: Literal["l2"] = "l2"

    @property
    def evidence(self) -> str:
        """How the number is known."""
        return f"certified with probability {1 - self.alpha:g} an image"

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"{self.classifier}, l2 r = {radius_text(self.radius)}"

    def share(self, radii: Tensor) -> float:
        """The images that are certified at the radius."""
        return _share(radii, self.radius)


class Abstentions(Smoothing):
    """How often the certificate of `Smoothed` abstains."""

    metric: ClassVar[Metric] = Metric(name="abstentions", unit="%", higher_is_better=False)

    kind: Literal["abstentions"]

    @property
    def title(self) -> str:
        """Short name in tables and plots."""
        return f"{self.classifier}, abstained"

    def share(self, radii: Tensor) -> float:
        """The images for which there is no answer."""
        return 100 * int((radii < 0).sum()) / len(radii)


def _share(radii: Tensor, radius: Fraction) -> float:
    """The percentage of radii that are at least ``radius``, and above 0."""
    least = float(radius)
    if Fraction(least) < radius:
        least = math.nextafter(least, math.inf)
    return 100 * int(((radii >= least) & (radii > 0)).sum()) / len(radii)


def l2_level(evaluation: Evaluation) -> tuple[str, bool, float] | None:
    """What an evaluation at an l2 radius is called without it, whether it is certified, and the radius.

    None of other evaluations.
    """
    match evaluation:
        case Certified(radius=radius):
            return "certified", True, float(radius)
        case Smoothed(radius=radius):
            return f"{evaluation.classifier}, {evaluation.evidence}", True, float(radius)
        case Pgd(norm="l2", epsilon=epsilon, steps=steps):
            return f"attacked, PGD-{steps}", False, epsilon
        case AutoAttack(norm="l2", epsilon=epsilon):
            return "attacked, AutoAttack", False, epsilon
        case Margin(epsilon=epsilon):
            return "attacked, margin", False, epsilon
        case _:
            return None


def meanings(evaluations: Iterable[Evaluation], shape: Sequence[int] = ()) -> list[str]:
    """What the numbers of certificates and l2 attacks say, a sentence a kind; nothing about others.

    ``shape``, (channels, height, width), is that of the images that the network gets, where it is known.
    """
    texts: dict[str, None] = {}
    for evaluation in evaluations:
        if (place := l2_level(evaluation)) is None:
            continue
        if isinstance(evaluation, Smoothed):
            text = (
                f"Smoothed: certified of the network under noise of σ = {evaluation.sigma:g}, by {evaluation.n} "
                f"samples of an image; each image's certificate is wrong with probability at most {evaluation.alpha:g}."
            )
        elif place[1]:
            text = "Certified: no change of the pixels up to the radius takes these answers away, which is proved."
        else:
            text = "Attacked within an l2 radius: an upper bound of what the worst change leaves."
        texts[text] = None
    size = f" of {shape[1]}x{shape[2]} pixels" if shape else ""
    where = (
        f"l2 radii are distances of images{size} in [0, 1] as the network gets them, not normalised: after resizing "
        "and cropping, so they are no radii of the original images."
    )
    return [*texts, where] if texts else []
