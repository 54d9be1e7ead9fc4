"""The contract of an evaluation: what is done to test images, and what is measured of a network on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from stabzoo.config import Strict

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Perturbation: TypeAlias = Callable[[nn.Module, Tensor, Tensor], Tensor | Iterator[Tensor]]

__all__ = ["ACCURACY", "SHIPPED", "Evaluation", "Metric", "TestImages"]

SHIPPED = (
    "abstentions", "autoattack", "certified", "clean", "constant", "corruption", "fgsm", "gaussian", "margin", "pgd",
    "smoothed", "structured", "uniform",
)  # fmt: skip
"""The kinds that come with stabzoo (`stabzoo.evaluation.spec`): a plugin's must be called otherwise."""


class Metric(Strict):
    """Describes a number: its name, its unit (none for a pure number), and whether higher is better.

    >>> Metric(name="calibration error", unit="%", higher_is_better=False).label
    'calibration error (%)'
    """

    name: str = Field(min_length=1, max_length=100)
    unit: str = Field(default="", max_length=20)
    higher_is_better: bool = True

    @property
    def label(self) -> str:
        """Name and unit, as an axis has them."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


ACCURACY = Metric(name="accuracy", unit="%")


class TestImages(Protocol):
    """The test images, as an evaluation may read them."""

    __test__ = False  # no test of pytest's

    @property
    def test_count(self) -> int:
        """How many there are."""
        ...

    @property
    def classes(self) -> int:
        """How many classes they have."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        ...

    def testing(self, parts: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pixels (B, C, H, W) in [0, 1] and labels (B,) of the images numbered in each of ``parts``."""
        ...


class Evaluation(Strict):
    """A noise, an attack or a metric to test a trained network with: a pydantic model of its settings.

    A class declares its ``kind``, ``kind: Literal["dropped-pixels"]``, and its settings as fields.  It overrides one of
    three methods:

    * `perturbation`, for a noise or an attack: how the images are changed before the network sees them.
    * `score`, for a mean over images, such as the accuracy.
    * `measure`, for any other number: it receives the network and the images.

    ``metric`` names the number, by default the accuracy, and `evidence` says how it is known.  ``plugin`` is the
    distribution that provides the kind, filled in on reading: a measurement with another version counts as another
    measurement.
    """

    metric: ClassVar[Metric] = ACCURACY

    kind: Any  # a Literal in each class, which a type checker takes for an override of Any alone
    plugin: str = Field(default="", repr=False)

    @property
    def title(self) -> str:
        """Short name in tables and plots, unique in a study: by default the kind and its settings but the seed.

        >>> class Dropped(Evaluation):
        ...     share: float
        >>> Dropped(kind="dropped-pixels", share=0.25).title
        'dropped-pixels share = 0.25'
        """
        settings = {
            name: value for name, value in self if name not in ("kind", "plugin", "seed") and value not in (None, "")
        }
        texts = (
            f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in settings.items()
        )
        return " ".join((self.kind, ", ".join(texts))).strip()

    @property
    def evidence(self) -> str:
        """How the number is known: measured, attacked (an upper bound), or certified (a lower one)."""
        return "measured"

    @property
    def heading(self) -> str:
        """The title with the unit and the good direction, where these are not those of an accuracy."""
        if self.metric == ACCURACY:
            return self.title
        parts = [self.metric.unit, *([] if self.metric.higher_is_better else ["lower is better"])]
        return f"{self.title} ({', '.join(filter(None, parts))})" if any(parts) else self.title

    def counted(self, count: int) -> int:
        """How many of ``count`` test images the number is counted on: by default all."""
        return count

    def perturbation(self, images: TestImages) -> Perturbation:
        """What is done to images: a function of the network, pixels (B, C, H, W) in [0, 1] and labels (B,).

        It returns the pixels to be tested on, or an iterator of several copies, which are clipped to [0, 1].  It is
        called with all test images in their order, once each: a noise is one stream over all of them, from a generator
        made here, so that every network meets the same.  The network takes pixels, and is in evaluation mode.
        """
        return lambda network, pixels, labels: pixels

    def score(self, logits: Tensor, labels: Tensor) -> Tensor:
        """One number per image, (B,), of its logits (B, classes): their mean is the result.

        Of booleans it is the share that is true, in percent, as here: whether the network puts the image in its class.
        """
        return is_right(logits, labels)

    def measure(self, network: nn.Module, images: TestImages) -> float | None:
        """The result as a whole, instead of by `perturbation` and `score`; None, as here, is by these two."""
        return None

    @model_serializer(mode="wrap")
    def _without_owner(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found = handler(self)
        if not self.plugin:
            found.pop("plugin", None)
        return found


def is_right(logits: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    """Which rows of ``logits`` (N, classes) have the entry of their label (N,) among the k largest.

    Of equal entries the first comes first, as for `torch.argmax`.  NaN is never right, and never behind.
    """
    own = logits.gather(1, labels[:, None])
    before = labels.new_ones(logits.shape).cumsum(1) <= labels[:, None]  # the columns left of the label's
    ahead = (logits > own) | ((logits == own) & before) | logits.isnan()
    return (ahead.sum(1) < k) & ~own[:, 0].isnan()
