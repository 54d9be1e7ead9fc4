"""What a scheme is: the ``Discretization`` protocol, and the multistep schemes that are coefficients and nothing else.

A residual network discretizes y' = f(t, y); one block is one step.  A scheme owns the formula of the step, the network
owns the history: it keeps the past states, brings them to the shape of the next block, and hands them to the step
newest first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from stabzoo.config import Strict
from stabzoo.implicit.settings import SolverSettings
from stabzoo.multistep import LinearMultistep

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Discretization", "ExplicitMultistep", "ImplicitMultistep", "LearnableMultistep"]

Boundary = Literal["project", "restart"]
Number = int | str | float | Fraction | Decimal


@runtime_checkable
class Discretization(Protocol):
    """A numerical method for y' = f(t, y), as a residual network needs it."""

    @property
    def name(self) -> str:
        """The scheme's name in the registry."""
        ...

    @property
    def boundary(self) -> Boundary:
        """What happens to the history where the feature maps change shape.

        ``"project"``: every past state goes through a 1x1 convolution of its own and the step goes on (ZeroSNet).
        ``"restart"``: one Euler step with a pre-activated shortcut, after which the history starts anew (LM-ResNet).
        """
        ...

    @property
    def reuses_f(self) -> bool:
        """Whether the step applies ``f`` to what it made of ``f``: several stages, or an equation.

        Then ``f`` must keep the shape of its argument. Where the feature maps change shape the step is one of Euler, as
        ``boundary="restart"`` has it.
        """
        ...

    def coefficients(self) -> LinearMultistep:
        """The exact coefficients; of a learnable scheme, those at initialisation."""
        ...

    def characteristic_polynomial(self) -> tuple[Fraction, ...]:
        """The first characteristic polynomial rho, as `LinearMultistep.rho` orders it."""
        ...

    def block(self, f: nn.Module) -> nn.Module:
        """One step of the scheme around the residual branch ``f``.

        ``f(y)`` is a new tensor, which the step may overwrite; ``f(y, scale)`` is scale * f(y) at no cost.

        The module is called with ``(y, history)``: ``y`` the newest state, the argument of ``f``; ``history`` the
        newest states y_n, y_{n-1}, ..., each already in the shape of ``f(y)``, followed by the past slopes f_{n-1},
        f_{n-2}, ... where the scheme uses them.  It returns ``[y_{n+1}]``, or ``[y_{n+1}, f_n]`` where the scheme uses
        past slopes.
        """
        ...

    @classmethod
    def network(cls) -> type[nn.Module]:
        """The class of this scheme's networks: `DiscretizedResNet`, or a `stabzoo.StagedNetwork` of the scheme's own.

        It is called with ``scheme``, ``layers`` (blocks per stage), ``width``, the options that a user gives, and with
        ``form`` and ``bottleneck`` where it has such arguments.
        """
        ...


class ExplicitMultistep(Strict):
    """An explicit linear multistep scheme; its exact coefficients are all there is to say.

        y_{n+1} = sum_j alpha_j y_{n-j} + sum_j beta_j f(y_{n-j}),    j = 0 .. d-1, newest first; the step size is
        absorbed by f.

    A scheme without parameters sets ``name``, ``alpha`` and ``beta``; a family of schemes declares its parameters as
    pydantic fields and computes its `coefficients` from them.  ``beta`` may be shorter than ``alpha``.

    Example:
        >>> class Leapfrog(ExplicitMultistep):
        ...     name = "leapfrog"
        ...     alpha, beta = (0, 1), (2, 0)
        >>> Leapfrog().coefficients().order
        2
    """

    name: ClassVar[str]
    boundary: ClassVar[Boundary] = "project"
    reuses_f: ClassVar[bool] = False
    alpha: ClassVar[Sequence[Number]]
    beta: ClassVar[Sequence[Number]]

    def coefficients(self) -> LinearMultistep:
        """The exact coefficients."""
        return LinearMultistep(self.alpha, self.beta)

    def characteristic_polynomial(self) -> tuple[Fraction, ...]:
        """The first characteristic polynomial rho, as `LinearMultistep.rho` orders it."""
        return self.coefficients().rho

    def block(self, f: nn.Module) -> nn.Module:
        """One step with fixed coefficients (see `Discretization.block`)."""
        from stabzoo.steps import MultistepStep  # imports torch

        return MultistepStep(f, self.coefficients())

    @classmethod
    def network(cls) -> type[nn.Module]:
        """The one network of explicit multistep schemes (see `Discretization.network`)."""
        from stabzoo.resnet import DiscretizedResNet  # imports torch

        return DiscretizedResNet


class ImplicitMultistep(ExplicitMultistep):
    """An implicit linear multistep scheme; its exact coefficients and its solver are all there is to say.

        y_{n+1} = sum_j alpha_j y_{n-j} + beta_next f(y_{n+1}) + sum_j beta_j f(y_{n-j})

    The first d-1 steps of a d-step scheme are backward Euler steps.  Where the feature maps change shape f(y_{n+1}) has
    no meaning: there the step is one of explicit Euler with a pre-activated shortcut, and the history starts anew.

    Attributes:
        solver: How the equations are solved, and what happens where they are not.
        one_leg: Take the scheme's one-leg twin, with one f at a mean of the states instead of a mean of slopes.

    Example:
        >>> class BDF2(ImplicitMultistep):
        ...     name = "bdf2"
        ...     alpha, beta, beta_next = ("4/3", "-1/3"), (0,), "2/3"
        >>> BDF2().coefficients().order
        2
    """

    boundary: ClassVar[Boundary] = "restart"
    reuses_f: ClassVar[bool] = True
    beta_next: ClassVar[Number]
    solver: SolverSettings = SolverSettings()
    one_leg: bool = False

    def coefficients(self) -> LinearMultistep:
        """The exact coefficients."""
        return LinearMultistep(self.alpha, self.beta, self.beta_next)

    def block(self, f: nn.Module) -> nn.Module:
        """One step with its equation solved (see `Discretization.block`)."""
        return self.step(f, self.coefficients())

    def starting_block(self, f: nn.Module, *, returns_slope: bool) -> nn.Module:
        """One of the first d-1 steps: backward Euler, solved as the others are."""
        return self.step(f, LinearMultistep((1,), (0,), 1), returns_slope=returns_slope)

    def step(self, f: nn.Module, method: LinearMultistep, *, returns_slope: bool = False) -> nn.Module:
        """One step of ``method``; an explicit method (theta = 0) has an explicit step."""
        from stabzoo.implicit.step import ImplicitStep  # imports torch
        from stabzoo.steps import MultistepStep

        if method.is_explicit:
            return MultistepStep(f, method, returns_slope=returns_slope)
        return ImplicitStep(f, method, self.solver, one_leg=self.one_leg, returns_slope=returns_slope)


class LearnableMultistep(ExplicitMultistep):
    """An explicit multistep scheme with one scalar parameter that every block trains for itself.

    The ``formula`` is written once and serves both worlds: given a `fractions.Fraction` it yields the exact
    coefficients that verdicts are about, given a torch tensor it yields those the network computes with.

    Attributes:
        parameter: Name of the field that is trained; the field's value is where training starts.
        spread: Blocks start uniformly at random within the field's value +- ``spread``.
        formula: Maps the parameter to ``([alpha_0, alpha_1, ...], [beta_0, ...])`` by arithmetic alone.
    """

    parameter: ClassVar[str]
    spread: ClassVar[Fraction] = Fraction(0)
    formula: ClassVar[Callable[[Any], tuple[list[Any], list[Any]]]]

    def coefficients(self) -> LinearMultistep:
        """The exact coefficients at initialisation (of the centre of the interval that blocks start from)."""
        return LinearMultistep(*type(self).formula(getattr(self, self.parameter)))

    def block(self, f: nn.Module) -> nn.Module:
        """One step with a trainable parameter of its own (see `Discretization.block`)."""
        from stabzoo.steps import LearnableStep  # imports torch

        centre = getattr(self, self.parameter)
        return LearnableStep(f, type(self).formula, float(centre - self.spread), float(centre + self.spread))
