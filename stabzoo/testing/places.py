"""Steps of a scheme that stand in no network, built as a network builds those at a place of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from stabzoo.discretization import Discretization, Place, Shape, memory_of
from stabzoo.methods import method_of
from stabzoo.networks.places import lone_place, scheme_block, scheme_starting_block

__all__ = ["block_at", "channels_of", "kept_states", "place_of", "places", "starting_block_at"]

COUNT = 24  # steps of the networks that the places are in
SEVERAL = (1, 2, 12)  # numbers of states that a step of unbounded memory is tried with


def kept_states(scheme: Discretization) -> int:
    """How many states a step finds: the scheme's memory, or, where that has no bound, what its coefficients need."""
    return memory_of(scheme) or scheme.coefficients().steps


def channels_of(scheme: Discretization) -> int:
    """How many channels the states have that a step is tried with: two in each part."""
    return 2 * method_of(scheme).parts


def place_of(
    f: nn.Module, scheme: Discretization, channels: int = 0, out: int = 0, stride: int = 1, **at: Any
) -> Place:
    """Where a step around ``f`` stands, from ``channels`` to ``out`` channels; ``at`` replaces what `Place` has."""
    channels, out = channels or channels_of(scheme), out or channels_of(scheme)
    usual = lone_place(f, channels, kept_states(scheme))

    def branch(cin: int | None = None, cout: int | None = None) -> nn.Module:
        return type(f)(cin or channels, cout or out, stride) if hasattr(f, "stride") else copy.deepcopy(f)

    shapes = {"here": Shape(channels, 1), "there": Shape(out, stride)}
    return replace(usual, count=max(COUNT, usual.count), branch=branch, **{**shapes, **at})


def places(scheme: Discretization) -> Iterator[dict[str, Any]]:
    """Where in a network a step may be another: its number and stage, and, of unbounded memory, how much it finds."""
    states = kept_states(scheme)
    yield {}
    if memory_of(scheme) is None:
        for count in SEVERAL:
            yield {"states": count, "number": count - 1, "number_in_stage": count - 1}
    yield {"number": 12, "stage": 1, "number_in_stage": 4}
    yield {"number": COUNT - 1, "stage": 2, "number_in_stage": 7, "states": states}


def block_at(scheme: Discretization, f: nn.Module, place: Place | None = None) -> nn.Module:
    """Return a step of the scheme around ``f``, whose parameters and states are float64's or float32's."""
    return scheme_block(scheme, f, place or place_of(f, scheme))


def starting_block_at(scheme: Discretization, f: nn.Module, place: Place, *, returns_slope: bool) -> nn.Module:
    """Return one of its first steps, which finds one state."""
    return scheme_starting_block(
        scheme, f, replace(place, number=0, states=1, starting=True), returns_slope=returns_slope
    )
