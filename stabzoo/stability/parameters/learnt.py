"""The scheme that a network has learnt: a verdict on each block, and what its blocks do together.

The coefficients of a trained block are rational numbers, those of its floats, so all of this is exact.  It is about the
history alone: f is left out, and a shortcut that brings a past state to another shape counts as the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from stabzoo.methods import Method
from stabzoo.methods.multistep import NOT_DECIDED, LinearMultistep, NotDecided
from stabzoo.stability.enclosure import as_float, real_to_json
from stabzoo.stability.growth import ProductGrowth, growth_curve, product_growth
from stabzoo.stability.properties.effective_depth import EffectiveDepth, effective_depth
from stabzoo.stability.stability_card import StabilityCard, card

__all__ = ["LearntBlock", "LearntScheme", "Sequenced"]


@dataclass(frozen=True)
class LearntBlock:
    """One block.

    Attributes:
        name: Of the block in its network.
        stage: From 0.
        starting: Whether it is one of the first steps, which are not the scheme's.
        method: What it computes now.
        initial: What the scheme makes it compute at the start of a training.
        numbers: The trained numbers that its coefficients follow from; none where these are fixed.
    """

    name: str
    stage: int
    starting: bool
    method: Method
    initial: Method
    numbers: tuple[float, ...] = ()

    @property
    def card(self) -> StabilityCard:
        """What is proved of its method, were it that of all blocks."""
        return _card(self.method)

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe form, coefficients as exact strings."""
        method = self.method.coefficients()
        return {
            "name": self.name,
            "stage": self.stage,
            "starting": self.starting,
            "numbers": list(self.numbers),
            "alpha": [str(a) for a in method.alpha],
            "beta": [str(b) for b in method.beta],
            "status": self.card.status,
            "parasitic_radius": real_to_json(self.card.parasitic_radius),
        }


@lru_cache(maxsize=256)  # blocks that train nothing share a method
def _card(method: Method) -> StabilityCard:
    return card(method)


@dataclass(frozen=True)
class Sequenced:
    """What blocks do one after the other."""

    methods: tuple[Method, ...]

    @cached_property
    def growth(self) -> ProductGrowth:
        """The largest product, max over m <= n of ||C_n ... C_m||_inf."""
        return product_growth(self._linear)

    @cached_property
    def curve(self) -> tuple[Fraction, ...]:
        """The same for every n: along the depth."""
        return growth_curve(self._linear)

    @cached_property
    def depth(self) -> EffectiveDepth | NotDecided:
        """How many branches take part, and how many deep they are composed."""
        return effective_depth(self.methods)

    @property
    def _linear(self) -> list[LinearMultistep]:
        return [method.coefficients() for method in self.methods]

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe form."""
        return {
            "growth": self.growth.to_dict(),
            "along_the_depth": [as_float(size) for size in self.curve],
            "effective_depth": str(NOT_DECIDED) if isinstance(self.depth, NotDecided) else self.depth.to_dict(),
        }


@dataclass(frozen=True)
class LearntScheme:
    """All blocks of a network, in their order.

    >>> from stabzoo.methods.multistep import EULER
    >>> def lm(k):
    ...     return LinearMultistep((k, 1 - k), (1,))
    >>> found = LearntScheme((
    ...     LearntBlock("0", 0, True, EULER, EULER),
    ...     LearntBlock("1", 0, False, lm(Fraction(3, 2)), lm(Fraction(1))),
    ...     LearntBlock("2", 0, False, lm(Fraction(5, 2)), lm(Fraction(1))),
    ... ))
    >>> [block.card.status for block in found.blocks], found.unstable
    (['strong', 'strong', 'unstable'], ('2',))
    >>> str(found.now.growth.norm), str(found.at_start.growth.norm)
    ('4', '1')

    """

    blocks: tuple[LearntBlock, ...]

    @cached_property
    def now(self) -> Sequenced:
        """As trained."""
        return Sequenced(tuple(block.method for block in self.blocks))

    @cached_property
    def at_start(self) -> Sequenced:
        """As the scheme is at initialisation."""
        return Sequenced(tuple(block.initial for block in self.blocks))

    @property
    def trains(self) -> bool:
        """Whether any block has trained coefficients."""
        return any(block.numbers for block in self.blocks)

    @property
    def unstable(self) -> tuple[str, ...]:
        """The names of the blocks that are not zero-stable by themselves."""
        return tuple(block.name for block in self.blocks if block.card.status == "unstable")

    def stages(self) -> list[Sequenced]:
        """The blocks of each stage by themselves."""
        count = 1 + max(block.stage for block in self.blocks)
        return [Sequenced(tuple(b.method for b in self.blocks if b.stage == stage)) for stage in range(count)]

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe form."""
        return {
            "trains": self.trains,
            "blocks": [block.to_dict() for block in self.blocks],
            "now": self.now.to_dict(),
            "at_start": self.at_start.to_dict(),
            "stages": [stage.growth.to_dict() for stage in self.stages()],
        }
