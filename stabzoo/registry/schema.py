"""What a ``registry.yaml`` may say: the schemes that a plugin provides, its claims about them, branches, and models.

leapfrog:                                            # the plugin's name
  schemes:
    leapfrog: {order: 2, stability: weak}            # claims; `stabzoo check` recomputes them
  models:
    leapfrog20: {scheme: leapfrog, depth: 20}
  families:                                          # one model a depth
    leapfrog{depth}: {scheme: leapfrog, cifar: {basic: [32, 44, 56]}}
  branches:                                          # kinds of residual branches
    halved: {summary: half of the usual branch}
  evaluations: [dropped-pixels]                      # kinds of evaluations
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator, model_validator

from stabzoo.config import Strict
from stabzoo.registry.conditions import SeveralParametersError, parse_condition

__all__ = ["BranchEntry", "ModelConfig", "Registry", "SchemeClaim"]

IMAGENET_LAYERS = {
    ("basic", 18): (2, 2, 2, 2),
    ("basic", 34): (3, 4, 6, 3),
    ("bottleneck", 50): (3, 4, 6, 3),
    ("bottleneck", 101): (3, 4, 23, 3),
    ("bottleneck", 152): (3, 8, 36, 3),
}

MAX_WIDTH = 2**16
"""Channels of a network's first stage."""

Depth: TypeAlias = Annotated[int, Field(ge=1, le=10_000)]
Width: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=MAX_WIDTH)]
Stages: TypeAlias = Annotated[tuple[Depth, ...], Field(min_length=1, max_length=100)]


Options: TypeAlias = dict[Annotated[str, Field(max_length=100)], Any]
OPTIONS = "what the network is made of: norm, act, branch, or other options of the scheme's network"
TRAINING = "settings of a recipe that these networks need: `stabzoo train` puts them over those of the data's recipe"


class BranchEntry(Strict):
    """A kind of residual branch that a plugin provides."""

    summary: str = Field(default="", max_length=300, description="what f computes, in a line")
    reference: str = ""


class SchemeClaim(Strict):
    """What a plugin claims about a scheme with its default parameters."""

    order: int | Literal["not decided"] | None = Field(
        description="order of accuracy; null: the scheme is not consistent; 'not decided': of a step of its own"
    )
    stability: Literal["strong", "weak", "second-order stable", "unstable", "not decided"] = Field(
        description="zero stability; second-order stable: of a method for y'' = f, whose rho has the double root 1"
    )
    condition: str | None = Field(default=None, description="zero-stable exactly when, e.g. 'lam <= -1 or lam > 1/3'")
    a_stable: bool | str | None = Field(
        default=None, description="whether it is A-stable, or exactly when, e.g. 'theta >= 1/2'; null: no claim"
    )
    l_stable: bool | str | None = Field(default=None, description="the same of L-stability, e.g. 'theta == 1'")
    symplectic: bool | None = Field(default=None, description="whether it keeps symplectic forms; null: no claim")
    symmetric: bool | None = Field(default=None, description="whether a step with -h undoes one with h; null: no claim")
    family: str = Field(default="", max_length=60, description="the kind of method, by which `stabzoo list` groups")
    reference: str = ""
    certified: dict[Literal["growth", "sensitivity"], str] = Field(
        default_factory=dict, description="what is certified of a network with weights, and under which condition"
    )
    corrections: tuple[str, ...] = Field(default=(), description="what the literature gets wrong about this scheme")

    @field_validator("condition", "a_stable", "l_stable")
    @classmethod
    def _condition_parses(cls, value: bool | str | None) -> bool | str | None:
        if isinstance(value, str):
            with contextlib.suppress(SeveralParametersError):  # costs the claim, which `stabzoo check` says
                parse_condition(value)
        return value


class ModelConfig(Strict):
    """One model: a scheme with parameters, in a network of a given depth."""

    scheme: str
    depth: Depth
    form: Literal["cifar", "imagenet"] = "cifar"
    stages: Stages | None = Field(
        default=None, description="blocks per stage, of a scheme with a network of its own; else the depth says it"
    )
    block: Literal["basic", "bottleneck"] = "basic"
    width: Width | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    options: Options = Field(default_factory=dict, description=OPTIONS)
    training: Options = Field(default_factory=dict, description=TRAINING)

    @field_validator("block", mode="after")
    @classmethod
    def _depth_exists(cls, block: str, info: ValidationInfo) -> str:
        depth, form = info.data.get("depth"), info.data.get("form")
        if depth is None or form is None or info.data.get("stages"):  # the former are reported by their own fields
            return block
        if form == "imagenet":
            depths = [d for b, d in IMAGENET_LAYERS if b == block]
            if depth not in depths:
                raise ValueError(
                    f"an ImageNet network of {block} blocks has a depth of {', '.join(map(str, depths))}; got {depth}"
                )
        else:
            per_stage = 6 if block == "basic" else 9
            if depth < per_stage + 2 or (depth - 2) % per_stage:
                n = max(1, round((depth - 2) / per_stage))
                raise ValueError(
                    f"a CIFAR network of {block} blocks has a depth of {per_stage}n+2 "
                    f"({per_stage * n + 2}, {per_stage * (n + 1) + 2}, ...); got {depth}"
                )
        return block

    @property
    def branch(self) -> str | None:
        """The name of the branch that the options fix; None where they leave the usual one."""
        branch = self.options.get("branch")
        branch = branch.get("name") if isinstance(branch, dict) else branch
        return branch if isinstance(branch, str) else None

    @property
    def layers(self) -> tuple[int, ...]:
        """Blocks per stage."""
        if self.stages is not None:
            return self.stages
        if self.form == "imagenet":
            return IMAGENET_LAYERS[self.block, self.depth]
        return ((self.depth - 2) // (6 if self.block == "basic" else 9),) * 3


class Depths(Strict):
    """Depths of a family, by the kind of block."""

    basic: tuple[Depth, ...] = ()
    bottleneck: tuple[Depth, ...] = ()


class Family(Strict):
    """A model for each of several depths; its name has ``{depth}`` in it."""

    scheme: str
    cifar: Depths = Depths()
    imagenet: Depths = Depths()
    stages: dict[Depth, Stages] = Field(
        default_factory=dict, description="blocks per stage by depth, of a scheme with a network of its own"
    )
    width: Width | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    options: Options = Field(default_factory=dict, description=OPTIONS)
    training: Options = Field(default_factory=dict, description=TRAINING)

    @model_validator(mode="after")
    def _configs_are_valid(self) -> Family:
        if not list(self.members()):
            raise ValueError("a family needs depths, e.g. cifar: {basic: [20, 56]}")
        return self

    def members(self) -> Iterator[ModelConfig]:
        """The models of the family."""
        alike = {name: getattr(self, name) for name in ("scheme", "width", "parameters", "options", "training")}
        for depth, stages in self.stages.items():
            yield ModelConfig(depth=depth, stages=stages, **alike)
        for form in ("cifar", "imagenet"):
            for block in ("basic", "bottleneck"):
                for depth in getattr(getattr(self, form), block):
                    yield ModelConfig(depth=depth, form=form, block=block, **alike)


NAME = re.compile(r"[a-z][a-z0-9_]*")
KIND = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


class Registry(Strict):
    """What one plugin provides."""

    schemes: dict[str, SchemeClaim] = Field(default_factory=dict)
    models: dict[str, ModelConfig] = Field(default_factory=dict)
    families: dict[str, Family] = Field(default_factory=dict)
    branches: dict[str, BranchEntry] = Field(default_factory=dict)
    evaluations: tuple[str, ...] = Field(default=(), description="the kinds that stabzoo_evaluations() returns")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is listed: a plugin of studies alone."""
        return not (self.schemes or self.models or self.families or self.branches or self.evaluations)

    @model_validator(mode="after")
    def _names_are_consistent(self) -> Registry:
        for kind in self.evaluations:
            if not KIND.fullmatch(kind):
                raise ValueError(
                    f"evaluations: {kind!r} is not a kind: lower-case letters, digits and hyphens, a letter first"
                )
            if self.evaluations.count(kind) > 1:
                raise ValueError(f"evaluations: {kind!r} is written twice")
        for family in self.families:
            if family.count("{depth}") != 1:
                raise ValueError(
                    f"families: the name {family!r} needs '{{depth}}' in it once, e.g. 'leapfrog{{depth}}'"
                )
        names = [name for name, _ in self._members()]
        for name in [*self.schemes, *self.branches, *names]:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a name: lower-case letters, digits and underscores, a letter first")
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the model {', '.join(repeated)} is defined twice")
        return self

    def _members(self) -> Iterator[tuple[str, ModelConfig]]:
        yield from self.models.items()
        for name, family in self.families.items():
            for config in family.members():
                yield name.format(depth=config.depth), config

    def expanded_models(self) -> dict[str, ModelConfig]:
        """Every model by name, families expanded."""
        return dict(self._members())
