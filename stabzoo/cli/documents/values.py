"""Values that several documents have: exact numbers, verdicts, estimates."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from stabzoo.config import Strict

__all__ = ["Estimated", "Exact", "Flag", "Interval", "Owned", "Real", "Verdict"]

Exact: TypeAlias = Annotated[str, Field(pattern=r"^-?[0-9]+(/[0-9]+)?$", description="a rational number: 2, -1/3")]

NotDecided: TypeAlias = Literal["not decided"]

Flag: TypeAlias = bool | NotDecided | None


class Enclosed(Strict):
    """Certified bounds on a real number; ``approximately`` is null where they do not agree to six digits."""

    lower: Exact
    upper: Exact
    approximately: float | None


Real: TypeAlias = Exact | Enclosed | Literal["infinity", "not decided"] | None

Verdict: TypeAlias = Literal["above", "below", "not decided"]


class Interval(Strict):
    """Limits of a confidence interval of that level; ``unknown`` says why there are none."""

    low: float | None
    high: float | None
    level: float
    unknown: str


class Estimated(Interval):
    """A number with its interval, and the side of 0 that the whole interval lies on."""

    value: float | None
    verdict: Verdict


class Owned(Strict):
    """What a plugin provides."""

    name: str
    plugin: str
    distribution: str
