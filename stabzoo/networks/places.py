"""Asking a scheme for its steps: only schemes that ask receive the place of a step."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from stabzoo.discretization import Discretization, Place, Shape

__all__ = ["lone_place", "scheme_block", "scheme_starting_block"]


def scheme_block(scheme: Discretization, f: nn.Module, place: Place) -> nn.Module:
    """Return ``scheme.block(f, place)``, or ``scheme.block(f)`` of a class whose `block` takes ``f`` alone."""
    return _called(scheme.block, f, place)


def scheme_starting_block(scheme: Discretization, f: nn.Module, place: Place, *, returns_slope: bool) -> nn.Module:
    """Return ``scheme.starting_block(f, returns_slope=..., place=place)``, without ``place`` where it takes none."""
    return _called(scheme.starting_block, f, place, returns_slope=returns_slope)


def lone_place(f: nn.Module, channels: int, states: int) -> Place:
    """Where a step stands that is in no network; a further branch is a copy of ``f``."""
    weight = next(f.parameters(), torch.empty(0))
    shape = Shape(channels, 1)
    return Place(
        number=states - 1, count=states, stage=0, number_in_stage=states - 1, here=shape, there=shape, starting=False,
        states=states, device=weight.device, dtype=weight.dtype, branch=lambda cin=None, cout=None: copy.deepcopy(f),
    )  # fmt: skip


def _called(build: Callable[..., nn.Module], f: nn.Module, place: Place, **named: Any) -> nn.Module:
    """Hand ``place`` on by its name, or as a second argument that has no default, whatever it is called."""
    parameters = inspect.signature(build).parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    if "place" in parameters and parameters["place"].kind is not inspect.Parameter.POSITIONAL_ONLY:
        return build(f, place=place, **named)
    required = [
        parameter
        for parameter in parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name not in named
    ]
    if len(required) > 1:
        return build(f, place, **named)
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return build(f, place=place, **named)
    return build(f, **named)
