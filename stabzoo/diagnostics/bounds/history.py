"""Lipschitz constants of explicit multistep networks: how far each state moves when the image does.

Within a stage, y_{n+1} = sum_j alpha_j y_{n-j} + sum_j beta_j f(y_{n-j}) is linear in the states and the slopes: every
state is a combination of *sources* (the stem's output, what a shortcut's convolution gave, each f(y_k)), whose
coefficients are entries of products of companion matrices. A source's constant is known when it arises:
Lip(f_k) Lip(y_k). So

    Lip(y_n) <= sum over sources of |coefficient| Lip(source),

in which the signs within the products cancel as they do in the network: never more than the recursion
e_{n+1} <= sum_j |alpha_j| e_{n-j} + sum_j |beta_j| Lip(f) e_{n-j}, and bounded in depth for small f where that one
grows like (sum_j |alpha_j|)^n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from torch import nn

from stabzoo.diagnostics.bounds.genuine import altered
from stabzoo.diagnostics.bounds.parts import preactivated_chain, refuse_drawing
from stabzoo.diagnostics.bounds.step_bound import HasBound, StepBound, rounded_up
from stabzoo.networks.branch import Branch
from stabzoo.networks.resnet import Block, Unread
from stabzoo.networks.steps import LearnableStep, MultistepStep

__all__ = ["branch_constant", "history_bounds"]

Grid = tuple[int, int]


@dataclass
class _Entry:
    """A state or slope: coefficients of the sources, and the grid it lives on."""

    sources: dict[int, Fraction]
    grid: Grid


class _History:
    def __init__(self, grid: Grid) -> None:
        self.constants = [1.0]  # of the sources; 0 is the first state
        self.entries = [_Entry({0: Fraction(1)}, grid)]

    def constant(self, entry: _Entry) -> float:
        return rounded_up(sum(float(abs(c)) * self.constants[s] for s, c in entry.sources.items()))

    def source(self, constant: float, grid: Grid) -> _Entry:
        self.constants.append(constant)
        return _Entry({len(self.constants) - 1: Fraction(1)}, grid)


def history_bounds(named_blocks: list[tuple[str, nn.Module]], grid: Grid) -> Iterator[StepBound]:
    """Yield for each block how much it adds: Lip(y_{n+1}) / Lip(y_n), both with respect to the first state.

    Their product is the constant of the last state; a single ratio bounds nothing by itself, for a block acts on the
    whole history.
    """
    history = _History(grid)
    before = 1.0
    for name, block in named_blocks:
        try:
            if type(block) is not Block:
                raise ValueError(f"{type(block).__name__}: nothing is known about what it computes")
            lipschitz = _advance(block, history)
        except ValueError as error:
            yield StepBound("none", math.inf, None, refused=(str(error),), name=name)
            return
        after = history.constant(history.entries[0])
        ratio = rounded_up(after / before) if before else (0.0 if after == 0 else math.inf)
        text = f"companion product, Lip(f) <= {lipschitz:.4g}"
        yield StepBound(text, ratio, history.entries[0].grid, name=name)
        before = after


def _advance(block: Block, history: _History) -> float:
    """Take one step as `Block.forward` does; return Lip(f)."""
    if reason := altered(block):
        raise ValueError(reason)
    entries = history.entries[: block.found_entries]
    shared = _members(block.preact)
    if type(block.shortcuts) is not nn.ModuleList:
        raise ValueError(f"{type(block.shortcuts).__name__}: nothing is known about what it lists")
    used = [_shortcut(s, shared if i == 0 else [], entries[i], history) for i, s in enumerate(block.shortcuts)]

    step = block.step
    if type(step) not in (MultistepStep, LearnableStep):
        raise ValueError(f"{type(step).__name__}: nothing is known about the step")
    assert isinstance(step, MultistepStep | LearnableStep)
    lipschitz, out = branch_constant(step.f, entries[0].grid, shared)
    slope = history.source(rounded_up(lipschitz * history.constant(entries[0])), out)

    alpha, beta = _coefficients(step)
    terms = [(beta[0], slope)]
    terms += list(zip(alpha, used[: len(alpha)], strict=True))
    terms += list(zip(beta[1:], used[len(alpha) : len(alpha) + step.slopes], strict=True))
    if any(entry.grid != out for _, entry in terms):
        raise ValueError("the history has another number of pixels than the new state: choose an even input size")
    new = [_combination(terms, out)] + ([slope] if not isinstance(step, LearnableStep) or step.slopes else [])
    new = new if isinstance(step, LearnableStep) or step.returns_slope else new[:1]
    handed = entries if block.hands_on_raw else used + entries[len(used) :]
    states, slopes = handed[: block.found_states], handed[block.found_states :]
    history.entries = (new[:1] + states)[: block.states] + (new[1:] + slopes)[: block.slopes]
    return lipschitz


def _coefficients(step: MultistepStep | LearnableStep) -> tuple[list[Fraction], list[Fraction]]:
    """The numbers that the step multiplies with, exactly."""
    if isinstance(step, MultistepStep):
        return [Fraction(a) for a in step.alpha], [Fraction(b) for b in step.beta]
    method = step.coefficients()
    return list(method.alpha), list(method.beta[: step.slopes + 1])


def branch_constant(f: nn.Module, grid: Grid, before: Sequence[nn.Module] = ()) -> tuple[float, Grid]:
    """Return the Lipschitz constant of a residual branch after the norm and activation ``before``, and its grid.

    That of the usual branch follows from its layers, that of another from the `StepBound` that it knows.

    Raises:
        ValueError: Nothing is known about it.
    """
    if type(f) is Branch:
        return preactivated_chain([*before, *_branch_modules(f)], grid)
    if reason := altered(f):
        raise ValueError(reason)
    if not isinstance(f, HasBound) or "bound" not in vars(type(f)):  # one that it inherits is of another class
        raise ValueError(f"{type(f).__name__}: nothing is known about the residual branch")
    first, _ = preactivated_chain(before, grid)
    bound = f.bound(grid)
    if bound.grid is None or not math.isfinite(bound.sensitivity):
        raise ValueError("; ".join(bound.refused) or f"{type(f).__name__}: it knows no finite bound")
    return rounded_up(first * bound.sensitivity), bound.grid


def _branch_modules(branch: nn.Module) -> list[nn.Module]:
    """The modules of a residual branch in the order in which they act; a relu after them changes no constant.

    Raises:
        ValueError: It is of another class, or one of its parts may compute anything.
    """
    if type(branch) is not Branch:
        raise ValueError(f"{type(branch).__name__}: nothing is known about the residual branch")
    if reason := altered(branch):
        raise ValueError(reason)
    refuse_drawing(branch.drop_path)
    if type(branch.conv) is not nn.Conv2d or type(branch.act) not in (nn.ReLU, nn.Identity):
        kinds = f"{type(branch.conv).__name__} and {type(branch.act).__name__}"
        raise ValueError(f"{kinds}: nothing is known about how the residual branch ends")
    return [*_members(branch.body), branch.conv]


def _members(module: nn.Module) -> list[nn.Module]:
    if type(module) is nn.Identity:
        return []
    return list(cast(nn.Sequential, module)) if type(module) is nn.Sequential else [module]


def _combination(terms: list[tuple[Fraction, _Entry]], grid: Grid) -> _Entry:
    total: dict[int, Fraction] = {}
    for factor, entry in terms:
        for source, coefficient in entry.sources.items():
            total[source] = total.get(source, Fraction(0)) + factor * coefficient
    return _Entry(total, grid)


def _shortcut(shortcut: nn.Module, shared: list[nn.Module], entry: _Entry, history: _History) -> _Entry:
    if type(shortcut) is nn.Identity and not shared:
        return entry
    if type(shortcut) is Unread:
        height, width = entry.grid
        return _Entry({}, (-(-height // shortcut.stride), -(-width // shortcut.stride)))
    modules = [*shared, *_members(shortcut)]
    if any(type(m) not in (nn.BatchNorm2d, nn.ReLU, nn.Conv2d) for m in modules):
        raise ValueError(f"{type(shortcut).__name__}: nothing is known about the shortcut")
    norm, grid = preactivated_chain(modules, entry.grid)
    return history.source(rounded_up(norm * history.constant(entry)), grid)
