"""Implicit methods whose equation is not solved but iterated K times: explicit methods, whatever was meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from stabzoo.methods.method import Method
from stabzoo.methods.multistep import NOT_DECIDED, LinearMultistep, NotDecided, State, combination
from stabzoo.methods.one_leg import OneLeg
from stabzoo.methods.stability_function import StabilityFunction

__all__ = ["TruncatedSolve"]


@dataclass(frozen=True, slots=True)
class TruncatedSolve(Method):
    """K fixed-point iterations from y_n of the equation of an implicit multistep or one-leg method.

        z_0 = y_n,    z_k = b + h beta_next f(z_{k-1}),    y_{n+1} = z_K

    with b = sum_j alpha_j y_{n-j} + h sum_j beta_j f(y_{n-j}).  Of a one-leg method, s = sigma(1), the equation is that
    of the state at which f is evaluated, b = (beta_next sum_j alpha_j y_{n-j} + sum_j beta_j y_{n-j}) / s, and
    y_{n+1} = sum_j alpha_j y_{n-j} + h s f(z_{K-1}).  R(z) is a polynomial: such a step is never A-stable.

    Attributes:
        solved: The implicit method.
        iterations: K.

    Raises:
        ValueError: `solved` is explicit, or K < 1.

    Source: Lambert, Numerical methods for ordinary differential systems, chapter 4: P(EC)^K with y_n for a predictor.

    >>> print(TruncatedSolve(LinearMultistep((1,), (), 1), 2).linear)
    1 + z + z^2

    """

    kind: ClassVar[str] = "truncated solve"

    solved: LinearMultistep
    iterations: int

    def __post_init__(self) -> None:
        if self.solved.is_explicit:
            raise ValueError(f"expected an implicit method, whose equation is iterated; got {self.solved}")
        if self.iterations < 1:
            raise ValueError(f"expected at least 1 iteration, got {self.iterations}")

    @property
    def as_multistep(self) -> LinearMultistep | None:
        """The explicit multistep method that a single iteration is: f(y_n) takes the weight of the new slope."""
        if self.iterations > 1:
            return None
        if isinstance(self.solved, OneLeg):
            return LinearMultistep(self.solved.alpha, (self.solved.weight,))
        first, *others = self.solved.beta
        return LinearMultistep(self.solved.alpha, (first + self.solved.beta_next, *others))

    @property
    def order(self) -> int | NotDecided | None:
        """min(p, K) of an implicit method of order p: every iteration gains one order, from that of y_n, which is 0.

        The K-th iterate errs by the method's own error, C h^{p+1} y^{(p+1)} + ..., and by h^{K+1} f'^K f times the
        weights of the new slope.  For K = p >= 2 the two are no multiples of each other, as C is not 0 and y^{(p+1)}
        has further terms; for K = 1 the method is a multistep method.  Of a one-leg method the second error is also
        proportional to the time t* of its slope, and t* or C may be 0: there the order is not decided unless K > p.
        """
        if self.as_multistep:
            return self.as_multistep.order
        solved, order = self.solved, self.solved.order
        if not order or self.iterations > order:
            return order
        if isinstance(solved, OneLeg):
            last = self.iterations == order
            if solved.time == 0 or (last and solved.differentiation_error(order + 1) == 0):
                return NOT_DECIDED
        return self.iterations

    @property
    def error_constant(self) -> Fraction | NotDecided | None:
        """That of the implicit method if K > p, of the multistep method if K = 1; elsewhere there is none."""
        if self.as_multistep:
            return self.as_multistep.error_constant
        order = self.order
        if order is NOT_DECIDED:
            return NOT_DECIDED
        return self.solved.error_constant if order is not None and self.iterations > order else None

    @property
    def linear(self) -> LinearMultistep | StabilityFunction | NotDecided:
        """R(z), a polynomial, of a one-step method; rho - z sigma if K = 1; of others nothing that is decided here."""
        if self.steps == 1:
            return StabilityFunction.of_step(self.step)
        return self.as_multistep or NOT_DECIDED

    def coefficients(self) -> LinearMultistep:
        """The coefficients of the implicit method, whose rho is that of the step."""
        return LinearMultistep(self.solved.alpha, self.solved.beta, self.solved.beta_next)

    def step(self, states: Sequence[State], f: Callable[[State], State]) -> State:
        """Return y_{n+1}."""
        solved, z = self.solved, states[0]
        past = combination(solved.alpha, states)
        if isinstance(solved, OneLeg):
            known = solved.mean[0] * past + combination(solved.mean[1:], states)
            for _ in range(self.iterations - 1):
                z = known + solved.beta_next * f(z)
            return past + solved.weight * f(z)
        known = past + combination(solved.beta, [f(y) for y in states])
        for _ in range(self.iterations):
            z = known + solved.beta_next * f(z)
        return z

    def __str__(self) -> str:
        times = f"{self.iterations} fixed-point iteration{'s' if self.iterations > 1 else ''} from y[n]"
        return f"{self.solved}, {times}"
