"""The steps of explicit schemes as torch modules: multistep ones, trained or not, Runge-Kutta, and splittings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor, nn

from stabzoo.methods import PartitionedRungeKutta, RungeKutta
from stabzoo.methods.multistep import LinearMultistep

__all__ = ["Inside", "LearnableStep", "MultistepStep", "RungeKuttaStep", "trained_coefficients"]


def trained_coefficients(step: Any) -> dict[str, nn.Parameter]:
    """The parameters that a step has beside those of f, by name: its coefficients follow from them if it states any."""
    if not isinstance(step, nn.Module) or not hasattr(step, "coefficients"):
        return {}
    return dict(step.named_parameters(recurse=False))


class MultistepStep(nn.Module):
    """One step with fixed coefficients (see `stabzoo.Discretization.block` for its arguments).

    The sum is accumulated in place: into f(y) or, if f(y) is scaled, into the weighted mean of the states when the
    alphas sum to 1.  A history of three states costs two more passes over memory than a plain residual connection, and
    no additional memory.
    """

    def __init__(self, f: nn.Module, method: LinearMultistep, *, returns_slope: bool = False) -> None:
        """Wrap ``f``; ``method`` is explicit.  ``returns_slope``: return f_n even if this step needs no past slope."""
        super().__init__()
        self.f = f
        # y_{n+1} = f(y_n) reads no state beside f.  Of more steps all are read, for a network hands all of them on.
        used = method.alpha if method.keeps_state else ()
        self.states, self.slopes = len(used), method.past_slopes
        self.alpha = [float(alpha) for alpha in used] or [0.0]  # no entry at all has no type for TorchScript
        self.beta = [float(beta) for beta in method.beta[: self.slopes + 1]]
        self.returns_slope = returns_slope or self.slopes > 0
        self.overwrites = self.beta[0] == 1 and not self.returns_slope
        self.is_mean = sum(used) == 1 and not self.overwrites
        # the largest first, so that the sums which divide are at least 1 / steps: digits are kept
        self.order = sorted(range(len(self.alpha)), key=lambda j: -self.alpha[j])
        sums = accumulate(used[j] for j in self.order) if self.is_mean else ()
        self.shares = [float(used[j] / total) for j, total in zip(self.order, sums, strict=False)] or [1.0]
        self.method = method
        self.invertible = not self.returns_slope and len(self.alpha) > 1 and self.alpha[-1] != 0

    @torch.jit.unused
    def coefficients(self) -> LinearMultistep:
        """The exact coefficients of this step."""
        return self.method

    @torch.jit.unused
    def inverse(self, new: Tensor, history: list[Tensor]) -> Tensor:
        """The oldest state y_{n-d+1} of a step of two or more, from y_{n+1} and y_n, ..., y_{n-d+2}."""
        rest = cast(Tensor, self.forward(history[0], [*history, torch.zeros_like(new)]))
        return (new - rest) / self.alpha[-1]

    def forward(self, y: Tensor, history: list[Tensor]) -> Tensor | list[Tensor]:
        """``y`` (B, C, H, W), ``history`` of (B, C', H', W') -> y_next or ``[y_next, f]``, of that shape."""
        f = self.f(y)
        if self.is_mean:
            mean = history[self.order[0]].type_as(f)  # under autocast they may differ
            if self.states == 1:
                y_next = torch.add(mean, f, alpha=self.beta[0])
            else:
                mean = torch.lerp(mean, history[self.order[1]].type_as(f), self.shares[1])
                for i in range(2, self.states):
                    mean = mean.lerp_(history[self.order[i]].type_as(f), self.shares[i])
                y_next = mean.add_(f, alpha=self.beta[0])
        else:
            y_next = f if self.overwrites else f * self.beta[0]
            for j in range(self.states):
                y_next = y_next.add_(history[j], alpha=self.alpha[j])  # reassigned: torch.fx drops what is not used
        for j in range(self.slopes):
            y_next = y_next.add_(history[self.states + j], alpha=self.beta[j + 1])
        if self.returns_slope:
            return [y_next, f]
        return y_next


class Inside(nn.Module):
    """Real numbers u_i -> numbers strictly within intervals, p_i = low_i + (high_i - low_i) / (1 + exp(-u_i)).

    What floats round to an end is moved 4 eps (high - low) inside, whatever the dtype; no u, however large, gives an
    end.  Moving is no part of the gradient, which is that of the formula, to rounding: of the two ends that is
    subtracted from which is nearer, so that it does not vanish before exp(-|u|) does.
    """

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        """The intervals.

        Raises:
            ValueError: one is so narrow, for where it lies, that half precision may round its inside to an end.
        """
        super().__init__()
        self.low, self.high = list(low), list(high)
        for a, b in zip(low, high, strict=True):
            # what lies 4 eps w inside is rounded by at most eps/2 max(|a|, |b|), at most twice
            if not max(abs(a), abs(b)) <= 2 * (b - a):
                raise ValueError(
                    f"expected an interval whose ends are no larger than twice its width, got {a:g} to {b:g}; "
                    "choose a coordinate that has it nearer to 0"
                )

    @torch.jit.unused
    def inverse(self, values: Tensor) -> Tensor:
        """The u of values within the intervals."""
        low, high = values.new_tensor(self.low), values.new_tensor(self.high)
        return torch.log((values - low) / (high - values))

    def forward(self, u: Tensor) -> Tensor:
        """(k,) -> (k,), each number within its interval."""
        eps = 2.0**-7  # of bfloat16; TorchScript has no finfo
        if u.dtype == torch.float64:
            eps = 2.0**-52
        elif u.dtype == torch.float32:
            eps = 2.0**-23
        elif u.dtype == torch.float16:
            eps = 2.0**-10
        found: list[Tensor] = []
        for i, low in enumerate(self.low):
            high = self.high[i]
            width = high - low
            part = u[i : i + 1]
            tail = width * torch.sigmoid(torch.where(part < 0, part, -part))
            real = torch.where(part < 0, low + tail, high - tail)
            value = real.detach().clamp(low + 4 * eps * width, high - 4 * eps * width)
            found.append(value + (real - real.detach()))  # the value, for x - x is 0, with the gradient of the formula
        return torch.cat(found)


class LearnableStep(nn.Module):
    """One step whose coefficients follow from k trained numbers, of shape (k,), free of weight decay.

    The numbers are the weight ``parameter`` itself, or those that `Inside` makes of the weight ``free``: the two have
    names of their own, so that a checkpoint of the one is not taken for one of the other.
    """

    def __init__(
        self,
        f: nn.Module,
        formula: Callable[[Any], tuple[list[Any], list[Any]]],
        low: float | Sequence[float],
        high: float | Sequence[float],
        within: Inside | None = None,
    ) -> None:
        """Wrap ``f``; the numbers start uniformly at random in [low, high], of many each in its own interval.

        ``formula`` is given the number, or of many a sequence of them.  ``within``: what keeps them in intervals.
        """
        super().__init__()
        self.f = f
        self.formula = formula
        self.within = within
        self.is_one = not isinstance(low, Sequence)
        self.low: list[float] = list(low) if isinstance(low, Sequence) else [low]
        self.high: list[float] = list(high) if isinstance(high, Sequence) else [high]
        weight = next(f.parameters(), torch.empty(0))
        trained = nn.Parameter(torch.empty(len(self.low), device=weight.device, dtype=weight.dtype))
        if within is None:
            self.parameter = trained
        else:
            self.free = trained
        self.slopes = self._method(self.low).past_slopes
        self.invertible = self.slopes == 0 and self._method(self.low).steps > 1
        self.reset_parameters()

    @torch.jit.unused
    def inverse(self, new: Tensor, history: list[Tensor]) -> Tensor:
        """The oldest state, as `MultistepStep.inverse`."""
        rest = cast(Tensor, self.forward(history[0], [*history, torch.zeros_like(new)]))
        numbers = self.numbers()
        alphas, _ = self.formula(numbers if self.is_one else numbers.unsqueeze(1))
        return (new - rest) / alphas[-1]

    @torch.jit.unused
    def reset_parameters(self) -> None:
        """Draw the numbers' initial values."""
        weight = (self.parameter if self.within is None else self.free).detach()
        for i, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            nn.init.uniform_(weight[i : i + 1], low, high)
        if self.within is not None:
            weight.copy_(self.within.inverse(weight))

    def numbers(self) -> Tensor:
        """What the formula is given, of shape (k,)."""
        if self.within is None:
            return self.parameter
        return self.within(self.free)

    @torch.jit.unused
    def _method(self, weights: list[float]) -> LinearMultistep:
        """The exact coefficients at some weights."""
        exact = tuple(Fraction(weight) for weight in weights)
        return LinearMultistep(*self.formula(exact[0] if self.is_one else exact))

    @torch.jit.unused
    def coefficients(self) -> LinearMultistep:
        """The exact coefficients of this step as it is stored now: the trained weight is a rational number.

        Raises:
            ValueError: the weight is not finite, or the formula gives no method for it.
        """
        weights = self.numbers().tolist()
        shown = ", ".join(f"{weight:g}" for weight in weights)
        if not all(map(math.isfinite, weights)):
            raise ValueError(f"its trained parameter is {shown}, which gives no method: the training diverged")
        try:
            return self._method(weights)
        except ZeroDivisionError:
            raise ValueError(f"its trained parameter is {shown}, where the formula divides by 0") from None

    def forward(self, y: Tensor, history: list[Tensor]) -> Tensor | list[Tensor]:
        """Advance, as `MultistepStep.forward`."""
        numbers = self.numbers()
        alphas, betas = self.formula(numbers if self.is_one else numbers.unsqueeze(1))
        f = self.f(y)
        y_next = f * betas[0]
        for j, alpha in enumerate(alphas):
            y_next = torch.addcmul(y_next, history[j], alpha)
        for j in range(self.slopes):
            y_next = torch.addcmul(y_next, history[len(alphas) + j], betas[j + 1])
        if self.slopes > 0:
            return [y_next, f]
        return y_next


class RungeKuttaStep(nn.Module):
    """One step of an explicit Runge-Kutta method: k_i = f(y_n + sum_j a_ij k_j), y_{n+1} = y_n + sum_i b_i k_i."""

    def __init__(self, f: nn.Module, method: RungeKutta) -> None:
        """Wrap ``f``, which keeps the shape of its argument.

        Raises:
            ValueError: ``method`` is implicit.
        """
        super().__init__()
        if not method.is_explicit:
            raise ValueError(f"expected an explicit tableau, got {method}")
        self.f = f
        self.a = [[float(a) for a in row[:i]] for i, row in enumerate(method.a)]
        self.a[0] = [0.0]  # no entry at all has no type for TorchScript
        self.b = [float(b) for b in method.b]
        self.tableau = method

    @torch.jit.unused
    def coefficients(self) -> LinearMultistep:
        """What is left of the step when f is small."""
        return self.tableau.coefficients()

    def forward(self, y: Tensor, history: list[Tensor]) -> Tensor:
        """``y`` (B, C, H, W), which is also the newest state of ``history`` -> y_next, of that shape."""
        k: list[Tensor] = []
        for row in self.a:
            z = y
            for j, a in enumerate(row):
                if a != 0:
                    z = torch.add(z, k[j], alpha=a)
            k.append(self.f(z))
        for i, b in enumerate(self.b):
            y = torch.add(y, k[i], alpha=b)
        return y


class PartitionedStep(nn.Module):
    """One step of a splitting of y' = f(z), z' = g(y): z += b^_i g(y), then y += b_i f(z), for i = 1, 2, ...

    y and z are the two halves of the state's channels.  The inverse subtracts the same terms in the opposite order.
    """

    def __init__(self, f: nn.Module, g: nn.Module, method: PartitionedRungeKutta) -> None:
        """Wrap ``f`` and ``g``.

        Raises:
            ValueError: ``method`` is no `PartitionedRungeKutta.splitting`.
        """
        super().__init__()
        b, b_hat = method.first.b, method.second.b
        if method != PartitionedRungeKutta.splitting(b, b_hat):
            raise ValueError(f"expected a PartitionedRungeKutta.splitting, got {method}")
        self.f, self.g = f, g
        self.weights = [(float(to_z), float(to_y)) for to_z, to_y in zip(b_hat, b, strict=True)]
        self.splitting = method

    @torch.jit.unused
    def coefficients(self) -> LinearMultistep:
        """What is left of the step when f and g are small."""
        return self.splitting.coefficients()

    @torch.jit.unused
    def branch(self, y: Tensor) -> Tensor:
        """The slopes (f(z), g(y)) of a state (y, z)."""
        first, second = y.chunk(2, 1)
        return torch.cat((self.f(second), self.g(first)), 1)

    def forward(self, y: Tensor, history: list[Tensor]) -> Tensor:
        """``y`` (B, C, H, W), which is also the newest state of ``history`` -> y_next, of that shape."""
        first, second = y.chunk(2, 1)
        for to_z, to_y in self.weights:
            if to_z != 0:
                second = torch.add(second, self.g(first), alpha=to_z)
            if to_y != 0:
                first = torch.add(first, self.f(second), alpha=to_y)
        return torch.cat((first, second), 1)

    @torch.jit.unused
    def inverse(self, new: Tensor, history: list[Tensor]) -> Tensor:
        """y_n from y_{n+1}, which is all there is."""
        first, second = new.chunk(2, 1)
        for to_z, to_y in self.weights[::-1]:
            if to_y != 0:
                first = torch.sub(first, self.f(second), alpha=to_y)
            if to_z != 0:
                second = torch.sub(second, self.g(first), alpha=to_z)
        return torch.cat((first, second), 1)
