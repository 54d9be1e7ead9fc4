"""The contract of a scheme: the ``Discretization`` protocol, and the `Place` of a step in its network.

A residual network discretizes y' = f(t, y); one block is one step.  A scheme owns the formula of the step, the network
owns the history: it keeps the past states, brings them to the shape of the next block, and hands them to the step
newest first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from stabzoo.methods.multistep import LinearMultistep

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["BranchKind", "Discretization", "Place", "Shape", "memory_of"]

AtDownsampling: TypeAlias = Literal["project", "restart"]


class Shape(NamedTuple):
    """Shape of a feature map: channels, and the reduction of the input's resolution."""

    channels: int
    reduction: int


@dataclass(frozen=True)
class Place:
    """Where in a network a step stands.

    Attributes:
        number: n of this step, from 0.
        count: N, the steps of the network.
        stage: The stage, from 0.
        number_in_stage: The step within its stage, from 0.
        here: Shape of the argument of f.
        there: Shape of f(y).
        starting: Whether this is one of the steps that find fewer past states than the scheme needs.
        states: How many states ``history`` will have.
        device: Where parameters are created.
        dtype: Their type.
        branch: ``branch(cin=None, cout=None)`` creates another f in the network's style, by default with the block's
            channels; it has the block's stride.
    """

    number: int
    count: int
    stage: int
    number_in_stage: int
    here: Shape
    there: Shape
    starting: bool
    states: int
    device: torch.device | None
    dtype: torch.dtype | None
    branch: Callable[..., nn.Module]


def memory_of(scheme: Any) -> int | None:
    """How many states a network keeps for a scheme: its ``memory``, by default the steps of its coefficients.

    None stands for all states of the stage.

    Raises:
        ValueError: ``memory`` is neither None nor a number that is at least the steps of the coefficients.
    """
    steps = scheme.coefficients().steps
    memory = getattr(scheme, "memory", steps)
    if memory is not None and (not isinstance(memory, int) or isinstance(memory, bool) or memory < steps):
        raise ValueError(
            f"scheme {scheme.name!r}: memory: expected None or an integer >= {steps}, the steps of its coefficients; "
            f"got {memory!r}"
        )
    return memory


@runtime_checkable
class Discretization(Protocol):
    """A numerical method for y' = f(t, y), as a residual network needs it.

    A scheme may also have ``memory``, the number of states that its networks keep: by default the number of steps of
    its coefficients; None keeps all states of the stage, and the history then restarts where shapes change.

    It may have ``method()``, which states what one block computes: a `stabzoo.LinearMultistep`, `OneLeg`,
    `RungeKutta`, `PartitionedRungeKutta`, `GeneralLinear`, `SecondOrderMultistep`, `TruncatedSolve` or `Splitting`
    (`stabzoo.Method`).  Classes derived from those of ``stabzoo.schemes`` have it.  Where a
    class has a `block` or a `network` of its own and no ``method`` beside it, no order and no stability beyond rho are
    claimed of it.
    """

    @property
    def name(self) -> str:
        """The scheme's name in the registry."""
        ...

    @property
    def at_downsampling(self) -> AtDownsampling:
        """What happens to the history where the feature maps change shape.

        ``"project"``: every past state goes through a 1x1 convolution of its own and the step continues (ZeroSNet).
        ``"restart"``: one Euler step with a pre-activated shortcut, after which the history restarts (LM-ResNet).
        """
        ...

    @property
    def needs_equal_shapes(self) -> bool:
        """Whether the step applies ``f`` to what it made of ``f``: several stages, or an equation.

        Then ``f`` must keep the shape of its argument. Where the feature maps change shape the step is one of Euler, as
        ``at_downsampling="restart"`` has it.
        """
        ...

    def coefficients(self) -> LinearMultistep:
        """The exact coefficients; of a learnable scheme, those at initialisation."""
        ...

    def characteristic_polynomial(self) -> tuple[Fraction, ...]:
        """The first characteristic polynomial rho, as `LinearMultistep.rho` orders it: the stability card reads it."""
        ...

    def block(self, f: nn.Module, place: Place) -> nn.Module:
        """One step of the scheme around the residual branch ``f``, which stands at ``place``.

        A class whose `block` takes ``f`` alone is as good.

        ``f(y)`` is a new tensor, which the step may overwrite; ``f(y, scale)`` is scale * f(y).

        The module is called with ``(y, history)``: ``y`` the newest state, the argument of ``f``; ``history`` the
        newest states y_n, y_{n-1}, ..., each already in the shape of ``f(y)``, followed by the past slopes f_{n-1},
        f_{n-2}, ... where the scheme uses them.  It returns y_{n+1} (or ``[y_{n+1}]``), or ``[y_{n+1}, f_n]`` where the
        scheme uses past slopes.
        """
        ...

    def starting_block(self, f: nn.Module, *, returns_slope: bool, place: Place) -> nn.Module:
        """One of the first d - 1 steps of a d-step scheme, which find fewer past states than it needs.

        A one-step method around ``f``, called as a `block` is, with the newest state as its history: explicit Euler in
        `ExplicitMultistep`, backward Euler in `ImplicitMultistep`.  ``returns_slope``: it returns ``[y_{n+1}, f_n]``,
        for the scheme uses past slopes.  ``place`` may be left out, as that of `block`.
        """
        ...

    @classmethod
    def network(cls) -> type[nn.Module]:
        """The class of this scheme's networks: `DiscretizedResNet`, or a `stabzoo.StagedNetwork` of the scheme's own.

        It is called with ``scheme``, ``layers`` (blocks per stage), ``width``, the options that a user gives, and with
        ``form`` and ``bottleneck`` where it has such arguments.
        """
        ...


@runtime_checkable
class BranchKind(Protocol):
    """A kind of residual branch f, selected by ``branch=`` of a network; its fields are its options.

    Example:
        >>> from typing import ClassVar
        >>> from stabzoo import Strict
        >>> class Halved(Strict):
        ...     name: ClassVar[str] = "halved"
        ...
        ...     def build(self, site):
        ...         from my_package.layers import HalvedBranch
        ...
        ...         return HalvedBranch(site)
    """

    @property
    def name(self) -> str:
        """The kind's name in the registry."""
        ...

    def build(self, site: Any) -> nn.Module:
        """The branch at ``site`` (a `stabzoo.BranchSite`), a module with

        - ``forward(y, scale=1.0)``: scale * f(y), a new tensor, which the step may overwrite; ``y`` stays as it is.
        - ``init_scale(factor, variance)``: called once the weights are redrawn (convolutions He-normal, other
          modules by their ``reset_parameters``).  It makes f about ``factor`` times as large, and has batch norms
          expect what they will see of states of this variance.

        What is proved of f, it says by attributes that it may have: ``one_sided_lipschitz``, a mu with
        (f(u) - f(v)) . (u - v) <= mu ||u - v||^2, or None, for implicit steps, with ``one_sided_reason``, why or why
        not; ``bound(grid)``, a `stabzoo.StepBound`.
        """
        ...
