"""What is asked of a scheme: steps, order, which slopes it takes, signs, an objective, and bounds on the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from stabzoo.config import Rational, Seed, Strict
from stabzoo.designing.objectives import find

__all__ = ["MOST_STEPS", "Kind", "Problem", "Sign"]

MOST_STEPS = 12
"""Steps of a scheme that is designed: beyond, float64 no longer tells the best roots from others."""

Kind: TypeAlias = Literal["explicit", "single-beta", "implicit", "bdf-like"]

_COEFFICIENT = re.compile(r"alpha_([0-9]{1,2})|beta_([0-9]{1,2}|next)")

Sign: TypeAlias = Literal["+", "-", "0"]


class Problem(Strict):
    """A scheme that is looked for.

        y_{n+1} = sum_i alpha_i y_{n-i} + h ( beta_next f_{n+1} + sum_i beta_i f_{n-i} ),   i = 0 .. steps-1

    It always has at least this order, and is zero-stable.

    Attributes:
        steps: d, how far back it looks.
        order: p, of accuracy.
        kind: ``"explicit"``: beta_next = 0; ``"single-beta"``: beta_0 alone, one f per step and none kept;
            ``"implicit"``: all of them; ``"bdf-like"``: beta_next alone.
        objective: Weights of what is optimised, by name (see ``stabzoo.designing.objectives``); the sum of weight times
            value is minimised, with a minus where more is better.  A name alone has the weight 1.
        bounds: No worse than this: at most of what is minimised, at least of what is maximised.
        signs: ``"+"``, ``"-"`` or ``"0"`` of coefficients, by ``alpha_0``, ``beta_2``, ``beta_next``; ``alpha`` and
            ``beta`` stand for all of them.  ``"+"`` and ``"-"`` allow 0.
        depth: How many blocks growth and effective depth are taken over.
        starts: Of the search; a seed makes it repeatable.

    >>> Problem(steps=3, order=2, kind="single-beta", objective="real_interval").coefficients
    ('alpha_0', 'alpha_1', 'alpha_2', 'beta_0')
    """

    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    order: Annotated[int, Field(ge=1, le=2 * MOST_STEPS)]
    kind: Kind = "explicit"
    objective: dict[str, Rational] = Field(default_factory=lambda: {"parasitic_radius": Fraction(1)}, min_length=1)
    bounds: dict[str, Rational] = Field(default_factory=dict)
    signs: dict[str, Sign] = Field(default_factory=dict)
    depth: Annotated[int, Field(ge=1, le=10_000)] | None = None
    starts: Annotated[int, Field(ge=1, le=1000)] = 24
    seed: Seed = 0

    @field_validator("objective", mode="before")
    @classmethod
    def _one_name_is_enough(cls, value: Any) -> Any:
        return {value: 1} if isinstance(value, str) else value

    @field_validator("objective", "bounds")
    @classmethod
    def _objectives_exist(cls, value: dict[str, Fraction]) -> dict[str, Fraction]:
        for name in value:
            find(name)
        return value

    @field_validator("objective")
    @classmethod
    def _weights_are_positive(cls, value: dict[str, Fraction]) -> dict[str, Fraction]:
        for name, weight in value.items():
            if weight <= 0:
                raise ValueError(f"{name}: expected a weight > 0, got {weight}; leave it out, or bound it")
        return value

    @field_validator("signs")
    @classmethod
    def _coefficients_exist(cls, value: dict[str, Sign], info: Any) -> dict[str, Sign]:
        steps = info.data.get("steps", MOST_STEPS)
        for name in value:
            if name not in ("alpha", "beta") and name not in _names(steps):
                raise ValueError(
                    f"expected signs of alpha, beta, alpha_0 .. alpha_{steps - 1}, beta_0 .. beta_{steps - 1} or "
                    f"beta_next; got {name!r:.40}"
                )
        return value

    @model_validator(mode="after")
    def _what_is_of_a_network_has_a_depth(self) -> Problem:
        of_networks = {"growth", "effective_depth"} & {*self.objective, *self.bounds}
        if self.depth is None and of_networks:
            raise ValueError(
                f"{' and '.join(sorted(of_networks))}: describes a network: give its depth, a number of blocks"
            )
        if "effective_depth" in of_networks and self.kind in ("implicit", "bdf-like"):
            raise ValueError(f"effective_depth: is decided only for explicit schemes; got {self.kind} ones")
        return self

    @property
    def coefficients(self) -> tuple[str, ...]:
        """The coefficients that may be other than 0, alphas first."""
        slopes = {
            "explicit": [f"beta_{j}" for j in range(self.steps)],
            "single-beta": ["beta_0"],
            "implicit": ["beta_next", *(f"beta_{j}" for j in range(self.steps))],
            "bdf-like": ["beta_next"],
        }[self.kind]
        names = [*(f"alpha_{j}" for j in range(self.steps)), *slopes]
        return tuple(name for name in names if self.sign(name) != "0")

    def sign(self, name: str) -> Sign | None:
        """What is asked of the sign of a coefficient."""
        return self.signs.get(name) or self.signs.get(name.partition("_")[0])

    @property
    def about(self) -> str:
        """In words: ``single-beta schemes of 3 steps and order 2``."""
        signs = "".join(f", {name} {SIGNS[sign]}" for name, sign in self.signs.items())
        return f"{self.kind} schemes of {self.steps} step{'s' if self.steps > 1 else ''} and order {self.order}{signs}"


SIGNS: Mapping[Sign, str] = {"+": ">= 0", "-": "<= 0", "0": "= 0"}


def _names(steps: int) -> list[str]:
    return [*(f"alpha_{j}" for j in range(steps)), *(f"beta_{j}" for j in range(steps)), "beta_next"]
