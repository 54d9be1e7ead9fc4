"""Checks of one step: the module computes what the coefficients say, to the proved order, in the type it is given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.implicit.settings import SolverSettings
from stabzoo.multistep import LinearMultistep
from stabzoo.testing.checks import NotApplicable, Subject

__all__ = ["LOOSE", "LinearField", "Step"]

TIGHT = SolverSettings(rtol=1e-13, max_evaluations=1000, on_failure="raise")
LOOSE = SolverSettings(rtol=1e-2)
"""What bfloat16 can reach."""

SMALL = 1e-6  # of a difference quotient in float64


class LinearField(nn.Module):
    """f(y) = M y of each pixel's channels, for states (B, C, H, W) and M (C, C)."""

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * M y, of that shape."""
        return torch.einsum("ij,bjhw->bihw", self.matrix * scale, y)


@dataclass(frozen=True)
class Step:
    """One step around f(y) = M y, and the exact coefficients that it has."""

    module: nn.Module
    method: LinearMultistep

    @classmethod
    def of(cls, subject: Subject, matrix: Tensor) -> Step:
        """A step of the scheme, whose equation, if there is one, is solved to the last digits."""
        module = subject.solved_to(TIGHT).block(LinearField(matrix)).to(matrix.dtype).eval()
        own: Any = getattr(module, "coefficients", None)  # a trained step starts at random
        return cls(module, own() if own is not None else subject.method)

    def advance(self, past: list[Tensor], slopes: list[Tensor]) -> Tensor:
        """The new state after copies of y_n, y_{n-1}, ... and f_n, f_{n-1}, ..."""
        kept = slopes[1 : 1 + self.method.past_slopes]
        with torch.no_grad():
            return self.module(past[0].clone(), [tensor.clone() for tensor in [*past, *kept]])[0]


def scaled(factor: float, channels: int = 2) -> Tensor:
    """The matrix of f(y) = factor * y."""
    return factor * torch.eye(channels, dtype=torch.float64)


def states(count: int) -> list[Tensor]:
    """States y_n, y_{n-1}, ... between 1 and 2, where a projection onto y >= 0 changes nothing, in float64."""
    generator = torch.Generator().manual_seed(1)
    return [1 + torch.rand(2, 2, 3, 3, generator=generator, dtype=torch.float64) for _ in range(count)]


def combination(weights: tuple[Fraction, ...], tensors: list[Tensor]) -> Tensor:
    """sum_j w_j x_j in float64."""
    total = torch.zeros_like(tensors[0])
    for weight, tensor in zip(weights, tensors, strict=False):
        total = total + float(weight) * tensor
    return total


def check_step_of_zero(subject: Subject) -> None:
    """With f = 0 one step is the sum of alpha_j y_{n-j}, in float64."""
    step = Step.of(subject, scaled(0.0))
    past = states(step.method.steps)
    new = step.advance(past, [torch.zeros_like(y) for y in past])
    _close(new, combination(step.method.alpha, past), 1e-12, f"with f = 0, expected the step {step.method}")


def check_step_of_identity(subject: Subject) -> None:
    """With f a multiple of the identity one step is the exact combination of states and slopes, in float64.

    f(y) = y, of an implicit scheme -y/2, for which the equation has a solution. Of a scheme with a block of its own the
    part that is linear in f is compared, which is what the coefficients say of several stages.
    """
    if subject.has_own_block:
        step = Step.of(subject, scaled(SMALL))
        past = states(step.method.steps)
        slopes = [SMALL * y for y in past]
        expected = combination(step.method.beta, past) + float(step.method.beta_next) * combination(
            step.method.alpha, past
        )
        change = (step.advance(past, slopes) - combination(step.method.alpha, past)) / SMALL
        _close(change, expected, 1e-4, f"for f near 0, expected the step {step.method}")
        return
    factor = 1.0 if subject.method.is_explicit else -0.5
    step = Step.of(subject, scaled(factor))
    past = states(step.method.steps)
    slopes = [factor * y for y in past]
    expected = combination(step.method.alpha, past) + combination(step.method.beta, slopes)
    expected = expected / (1 - factor * float(step.method.beta_next))
    _close(step.advance(past, slopes), expected, 1e-10, f"with f(y) = {factor} y, expected the step {step.method}")


def check_order(subject: Subject) -> None:
    """On y' = A y one step from exact values errs by h^(p+1), p the proved order (of own blocks: at least)."""
    order = subject.method.order
    rotation = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    errors, sizes = [], [0.4 / subject.method.steps / 2**k for k in range(3)]

    def exact(time: float) -> Tensor:
        angle = math.pi / 4 + time
        return torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64).view(1, 2, 1, 1)

    for size in sizes:
        step = Step.of(subject, size * rotation)
        if step.method != subject.method:
            raise NotApplicable("every block draws coefficients of its own, which have an order of their own")
        past = [exact(-j * size) for j in range(step.method.steps)]
        field = LinearField(size * rotation)
        new = step.advance(past, [field(y) for y in past])
        errors.append((new - exact(size)).norm().item())
    expected = 0 if order is None else order + 1
    if expected > 8:
        raise NotApplicable(f"rounding hides an order of {order}")
    measured = [math.log2(coarse / fine) for coarse, fine in pairwise(errors) if fine > 1e-14]
    if not measured:
        raise NotApplicable("the step is exact to rounding on y' = A y")
    low, high = min(measured), max(measured)
    shown = ", ".join(f"{value - 1:.2f}" for value in measured)
    highest = math.inf if subject.has_own_block else expected + 0.4
    assert expected - 0.4 <= low <= high <= highest, f"the proved order is {order}; measured on y' = A y: {shown}"


def check_dtype_and_device(subject: Subject) -> None:
    """A step computes in the type and on the device of the states: float64, float32, bfloat16, meta."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        scheme = subject.solved_to(LOOSE)
        step = scheme.block(LinearField(0.1 * torch.eye(2))).to(dtype).eval()
        for new in step(*_arguments(subject, dtype, "cpu")):
            assert new.dtype == dtype, f"given {dtype}, expected {dtype}, got {new.dtype}"
    step = subject.scheme.block(LinearField(torch.eye(2))).to("meta").eval()
    for new in step(*_arguments(subject, torch.float32, "meta")):
        assert new.device.type == "meta", f"given tensors on meta, expected one there, got {new.device}"


def _arguments(subject: Subject, dtype: torch.dtype, device: str) -> tuple[Tensor, list[Tensor]]:
    count = subject.method.steps + subject.method.past_slopes
    history = [torch.ones(2, 2, 3, 3, dtype=dtype, device=device) for _ in range(count)]
    return history[0].clone(), history


def _close(got: Tensor, expected: Tensor, tolerance: float, text: str) -> None:
    assert got.shape == expected.shape, f"{text}, of shape {tuple(expected.shape)}; got {tuple(got.shape)}"
    error = ((got - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
    assert error <= tolerance, f"{text}; the result is off by {error:.1e} (at most {tolerance:.0e} is rounding)"
