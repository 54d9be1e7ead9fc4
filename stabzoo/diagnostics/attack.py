"""Lower bounds of a Lipschitz constant, by search: the largest ||f(x) - f(y)|| / ||x - y|| that gradients find.

Two searches alternate, for many starts at once, in float64:

- power iteration on the Jacobian J at x, v <- J' J v / ||J' J v||, finds the direction in which f moves most near x;
  J v is a difference quotient, for what a network is made of need not have second derivatives or forward mode;
- ascent of log ||f(x + d) - f(x)|| - log ||d|| over x and d moves both to where f moves more, across the kinks of relu.

What is reported is a quotient of two evaluations of f, rounded down by what their rounding may amount to: a true lower
bound of the constant, whatever the searches did.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stabzoo.diagnostics.measurement import Measurement

__all__ = ["SensitivityAttack", "sensitivity_attack"]

_RELATIVE = 1e-3  # length of the pairs' difference after power iteration, relative to x
_QUOTIENT = 1e-2  # length of the difference that a difference quotient is taken over, relative to that


@dataclass(frozen=True)
class SensitivityAttack:
    """The largest quotient found.

    Attributes:
        sensitivity: ||f(x) - f(y)|| / ||x - y||, kind ``certified_lower``.
        x, y: The pair that attains it, float64.
        evaluations: Images at which f was evaluated: a forward pass counts one for each image of the batch, so does a
            product with J or with J'.
        largest: The largest quotient of each start.
    """

    sensitivity: Measurement
    x: Tensor
    y: Tensor
    evaluations: int
    largest: Tensor


def sensitivity_attack(
    model: nn.Module,
    inputs: Tensor,
    *,
    of: str = "logits",
    rounds: int = 3,
    power: int = 10,
    ascent: int = 20,
    seed: int = 0,
    seconds: float = math.inf,
) -> SensitivityAttack:
    """Search for the pair of images that a network in evaluation mode drives furthest apart.

    Args:
        model: The network; it is copied, its weights and flags stay as they are.
        inputs: (B, ...) starts, on the scale that the network takes; each is followed on its own.
        of: "logits", or "features" for `forward_features` (of networks that have it).
        rounds: How often power iteration and ascent alternate.
        power: Iterations of each power method.
        ascent: Steps of each ascent (Adam, step size relative to the start's largest pixel).
        seed: Of the random directions.
        seconds: The search ends at the first step after so long a time, with what it has found.

    Raises:
        ValueError: No inputs, inputs that are not finite, or another `of`.
    """
    if of not in ("logits", "features"):
        raise ValueError(f"of: expected 'logits' or 'features', got {of!r}")
    if inputs.ndim < 2 or not len(inputs) or not inputs.isfinite().all():
        raise ValueError(f"expected a batch of finite inputs, got shape {tuple(inputs.shape)}")
    exact = copy.deepcopy(model).to(torch.float64).eval().requires_grad_(False)
    function: Callable[[Tensor], Tensor] = exact if of == "logits" else exact.forward_features  # type: ignore[assignment]
    search = _Search(lambda z: function(z).flatten(1), inputs.detach().to(torch.float64), seed, seconds)
    for _ in range(rounds):
        search.power(power)
        search.ascend(ascent)
    search.power(power)
    best = int(search.best.argmax())
    note = f"{len(inputs)} starts, {search.evaluations} evaluations{', ended by its time' if search.late else ''}"
    sensitivity = Measurement(float(search.best[best]), "certified_lower", note)
    return SensitivityAttack(sensitivity, search.pairs[0][best], search.pairs[1][best], search.evaluations, search.best)


class _Search:
    def __init__(self, f: Callable[[Tensor], Tensor], starts: Tensor, seed: int, seconds: float) -> None:
        self.f, self.x, self.evaluations = f, starts.clone(), 0
        self.end = time.perf_counter() + seconds
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(starts.shape, generator=generator, dtype=starts.dtype).to(starts.device)
        size = _norm(starts)
        self.length = _RELATIVE * torch.where(size > 0, size, torch.ones_like(size))
        self.d = _scaled(noise, self.length)
        self.best = torch.zeros(len(starts), dtype=starts.dtype, device=starts.device)
        self.pairs = (self.x.clone(), self.x + self.d)

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return time.perf_counter() > self.end

    def power(self, steps: int) -> None:
        """Turn d to the direction in which f moves most near x."""
        direction = _scaled(self.d, torch.ones_like(self.length))
        for _ in range(steps):
            if self.late:
                break
            back = self._round(direction)
            size = _norm(back)
            alive = (size > 0).view(-1, *[1] * (back.ndim - 1))
            direction = torch.where(alive, _scaled(back, torch.ones_like(size)), direction)
        for length in (self.length, 1e-2 * self.length):
            self._record(self.x, self.x + _scaled(direction, length))
        self.d = _scaled(direction, self.length)

    def _round(self, direction: Tensor) -> Tensor:
        """Return J' J direction."""
        x = self.x.detach().requires_grad_()
        value = self.f(x)
        if not value.requires_grad:  # constant
            return torch.zeros_like(x)
        length = _QUOTIENT * self.length
        with torch.no_grad():
            moved = (self.f(self.x + _scaled(direction, length)) - value) / length.view(-1, 1)
        (back,) = torch.autograd.grad(value, x, moved, materialize_grads=True)
        self.evaluations += 3 * len(value)
        return back

    def ascend(self, steps: int) -> None:
        """Move x and d uphill; relu's kinks lie between x and x + d, so that d grows and shrinks freely."""
        x, d = self.x.clone().requires_grad_(), self.d.clone().requires_grad_()
        scale = self.x.abs().flatten(1).amax(1).clamp(min=1e-2).view(-1, *[1] * (self.x.ndim - 1))
        first = [torch.zeros_like(x), torch.zeros_like(d)]
        second = [torch.zeros_like(x), torch.zeros_like(d)]
        for step in range(1, steps + 1):
            if self.late:
                break
            moved = _norm(self.f(x + d) - self.f(x))
            self.evaluations += 4 * len(moved)
            objective = moved.clamp(min=1e-280).log().sum() - _norm(d).log().sum()
            gradients = torch.autograd.grad(objective, (x, d))
            with torch.no_grad():
                for i, (variable, gradient) in enumerate(zip((x, d), gradients, strict=True)):
                    gradient = gradient * (scale if i == 0 else _shaped(_norm(d), d))
                    first[i] = 0.9 * first[i] + 0.1 * gradient
                    second[i] = 0.99 * second[i] + 0.01 * gradient.square()
                    update = first[i] / (1 - 0.9**step) / ((second[i] / (1 - 0.99**step)).sqrt() + 1e-12)
                    unit = 0.05 * scale if i == 0 else 0.05 * _shaped(_norm(d), d) / math.sqrt(d[0].numel())
                    variable += unit * update
            self._record(x.detach(), (x + d).detach())
        self.x, self.d = x.detach(), d.detach()

    @torch.no_grad()
    def _record(self, x: Tensor, y: Tensor) -> None:
        fx, fy = self.f(x), self.f(y)
        self.evaluations += 2 * len(x)
        apart, moved = _norm(y - x), _norm(fy - fx)
        rounding = 1e-12 * (_norm(fx) + _norm(fy)) + 1e-300
        quotient = torch.where(apart > 0, (moved - rounding) * (1 - 1e-12) / apart, torch.zeros_like(moved))
        better = quotient > self.best  # false where it is not a number
        self.best = torch.where(better, quotient, self.best)
        mask = _shaped(better, x)
        self.pairs = (torch.where(mask, x, self.pairs[0]), torch.where(mask, y, self.pairs[1]))


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def _shaped(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))


def _scaled(x: Tensor, length: Tensor) -> Tensor:
    return x * _shaped(length / _norm(x).clamp(min=1e-300), x)
