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
from stabzoo.multistep import LinearMultistep

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Discretization", "ExplicitMultistep", "LearnableMultistep"]

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
