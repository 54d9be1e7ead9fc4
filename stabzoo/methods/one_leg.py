"""One-leg methods: f is evaluated once, at a mean of the states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import ClassVar

from stabzoo.methods.multistep import FIXED_POINT_ITERATIONS, LinearMultistep, State, combination, combination_text

__all__ = ["OneLeg"]


class OneLeg(LinearMultistep):
    """The one-leg twin of a linear multistep method, with s = beta_next + sum_j beta_j.

        y_{n+1} = sum_j alpha_j y_{n-j} + h s f( (beta_next y_{n+1} + sum_j beta_j y_{n-j}) / s )

    rho, sigma and hence the step on y' = lambda y are those of the multistep method; the order may be lower.

    Raises:
        ValueError: s = 0, or what `LinearMultistep` refuses.

    Source: Dahlquist (1975); Hairer, Wanner, Solving ODEs II, V.6.

    >>> OneLeg((1,), ("1/2",), "1/2").order
    2
    >>> print(OneLeg((1,), ("1/2",), "1/2"))
    y[n+1] = y[n] + h f(1/2 y[n+1] + 1/2 y[n])

    """

    __slots__ = ()
    kind: ClassVar[str] = "one-leg"

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # pyright: ignore[reportArgumentType] -- those of LinearMultistep
        if not self.weight:
            raise ValueError(f"expected betas that do not sum to 0, got {LinearMultistep.__str__(self)}")

    @classmethod
    def of(cls, method: LinearMultistep) -> OneLeg:
        """Return the twin of a multistep method."""
        return cls(method.alpha, method.beta, method.beta_next)

    @property
    def weight(self) -> Fraction:
        """The weight s = sigma(1) of the one slope."""
        return sum(self.sigma, Fraction(0))

    @property
    def mean(self) -> tuple[Fraction, ...]:
        """Weights of y_{n+1}, y_n, y_{n-1}, ... in the state at which f is evaluated; they sum to 1."""
        return tuple(b / self.weight for b in self.sigma)

    @property
    def time(self) -> Fraction:
        """The time t* at which f is evaluated: the mean of those of the states, 1, 0, -1, ... in steps from t_n."""
        return self._moment(1)

    def _moment(self, q: int) -> Fraction:
        """The mean of t^q over the times of the states."""
        return sum((w * Fraction(1 - i) ** q for i, w in enumerate(self.mean)), Fraction(0))

    def differentiation_error(self, q: int) -> Fraction:
        """Of y = t^q: sum_i rho_i t_i^q - q s t*^(q-1), q >= 1."""
        total = sum((a * Fraction(1 - i) ** q for i, a in enumerate(self.rho)), Fraction(0))
        return total - q * self.weight * self.time ** (q - 1)

    @property
    def order(self) -> int | None:
        """Largest p such that the multistep method has it and the mean interpolates y(t*) up to O(h^p).

        The two conditions are that of the differentiation error, C_0 = ... = C_p = 0, and that of the interpolation
        error, mean of t^q = t*^q for q < p (HW II, V.6, (6.12)).
        """
        order = super().order
        return order and min(order, self._interpolated() + 1)

    def _interpolated(self) -> int:
        """Largest q up to the multistep order for which the mean is exact on t, ..., t^q."""
        highest = super().order or 0
        exact = [self._moment(q) == self.time**q for q in range(1, highest + 1)]
        return (*exact, False).index(False)

    @property
    def error_constant(self) -> Fraction | None:
        """C_{p+1} / sigma(1), where the mean is exact up to t^p; elsewhere its error makes f' enter, and None is it."""
        order = self.order
        return super().error_constant if order and self._interpolated() >= order else None

    def coefficients(self) -> LinearMultistep:
        """The multistep twin."""
        return LinearMultistep(self.alpha, self.beta, self.beta_next)

    def step(self, states: Sequence[State], f: Callable[[State], State]) -> State:
        """Return y_{n+1}, by fixed-point iterations where it is implicit (see `LinearMultistep.step`)."""
        past, known = combination(self.alpha, states), combination(self.mean[1:], states)
        new = states[0]
        for _ in range(1 if self.is_explicit else FIXED_POINT_ITERATIONS):
            new = past + self.weight * f(self.mean[0] * new + known)
        return new

    def __str__(self) -> str:
        past = ["n", *(f"n-{j}" for j in range(1, self.steps))]
        size = "" if abs(self.weight) == 1 else f"{abs(self.weight)} "
        sign = "-" if self.weight < 0 else "+"
        mean = combination_text("y", ["n+1", *past], self.mean)
        return f"y[n+1] = {combination_text('y', past, self.alpha)} {sign} {size}h f({mean})"
