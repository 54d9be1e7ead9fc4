"""CPL, SLL, AOL and sandwich layers as discretizations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from stabzoo import ExplicitMultistep, LinearMultistep
from stabzoo_forward.caps import Bounds

if TYPE_CHECKING:
    from torch import nn

__all__ = ["AOL", "CPL", "SLL", "Lipschitz", "Sandwich"]


class Lipschitz(ExplicitMultistep):
    """A network whose every layer is 1-Lipschitz: the layers of this plugin, in the network of `stabzoo_forward`.

    First convolution, patches and classifier are projected onto norms of 1, and ``head_cap``, after every step.

    Attributes:
        layer: The residual layer, by name.
        head_cap: The bound on ||W||_2, which scales logits, margins and the bound alike.
    """

    alpha, beta = (1,), (1,)
    at_downsampling = "restart"
    layer: ClassVar[str]
    is_normed: ClassVar[bool] = False
    is_rectified: ClassVar[bool] = False
    head_cap: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    def bounds(self) -> Bounds:
        """What is projected."""
        return Bounds(stem=1.0, head=self.head_cap, pool=1.0)

    def residual(self, channels: int, grid: tuple[int, int], drop_path: float, **dd: Any) -> nn.Module:
        """The layer of that name (see `stabzoo_forward.caps.ForwardScheme`)."""
        from stabzoo_lipschitz.layers import LAYERS  # imports torch

        return LAYERS[self.layer](channels, grid, drop_path, **dd)

    def transition(self, channels: int, out: int, drop_path: float, **dd: Any) -> nn.Module:
        """Space to depth and a matrix of norm 1."""
        from stabzoo_forward.layers import PatchLayer  # imports torch

        return PatchLayer(channels, out, rectified=False, **dd)

    def method(self) -> LinearMultistep:
        """What a block computes: Euler's step, or f alone."""
        return self.coefficients()

    @classmethod
    def network(cls) -> type[nn.Module]:
        """A convolution, stages of layers, a classifier that reads every pixel."""
        from stabzoo_forward.network import StableResNet  # imports torch

        return StableResNet


class CPL(Lipschitz):
    """y+ = y - 2/||A||^2 A' relu(A y + b), the convex potential layer: Euler's step for minus a gradient.

    The potential's gradient is Lipschitz with ||A||^2, and the step is as long as it may be.

    Source: Meunier, Delattre, Araujo, Allauzen, ICML 2022, eq. (7).
    """

    name = layer = "cpl"


class SLL(Lipschitz):
    """y+ = y - 2 W T^-1 relu(W' y + b), T diagonal: a gradient's step again, of a length for each channel.

    T_i = sum_j |W' W|_ij q_j/q_i with trained q > 0: then T - W' W is positive semidefinite, and no norm is needed.

    Source: Araujo, Havens, Delattre, Allauzen, Hu, ICLR 2023, Theorem 3.
    """

    name = layer = "sll"


class AOL(Lipschitz):
    """y+ = maxmin(P D y + b), D diagonal: an almost orthogonal layer, D_j = (sum_i |P' P|_ij)^(-1/2).

    The state enters nowhere else: it is a feed-forward network, alpha = 0.

    Source: Prach, Lampert, ECCV 2022, Theorem 1.
    """

    name = layer = "aol"
    alpha, beta = (0,), (1,)


class Sandwich(Lipschitz):
    """y+ = sqrt(2) A' Psi relu(sqrt(2) Psi^-1 B y + b) with A A' + B B' = I, by a Cayley transform; Psi > 0 diagonal.

    The state enters nowhere else: it is a feed-forward network, alpha = 0.

    Source: Wang, Manchester, ICML 2023, eq. (10).
    """

    name = layer = "sandwich"
    alpha, beta = (0,), (1,)
