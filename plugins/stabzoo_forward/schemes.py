"""ResNet-D and ResNet-S, a form of ResNet-S whose certificate is true, and ResNet as discretizations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from stabzoo import ExplicitMultistep, Splitting
from stabzoo_forward.caps import Bounds, Caps, Downsampling

if TYPE_CHECKING:
    from torch import nn

    from stabzoo import Place

__all__ = ["ForwardBackward", "PostResNet", "ResNetD", "ResNetS", "ResNetSCert"]


SQRT2 = 2**0.5


class ForwardBackward(ExplicitMultistep):
    """y_{n+1} = relu(y_n + f(y_n)): an explicit Euler step, then the projection onto y >= 0.

    Attributes:
        layer: The residual layer: "D", eq. (14); "S", eq. (15); "post", the post-activation residual block.
        is_normed: Whether batch norms follow the convolutions; otherwise there are biases.
        is_rectified: Whether states are >= 0.
    """

    alpha, beta = (1,), (1,)
    at_downsampling = "restart"
    layer: ClassVar[str]
    is_normed: ClassVar[bool] = True
    is_rectified: ClassVar[bool] = True

    def bounds(self) -> Bounds:
        """What its networks are kept within: nothing."""
        return Bounds()

    def residual(self, channels: int, grid: tuple[int, int], drop_path: float, **dd: Any) -> nn.Module:
        """Eq. (15), on a torus of any size (see `ForwardScheme.residual`)."""
        from stabzoo_forward.layers import SLayer  # imports torch

        return SLayer(channels, drop_path, normed=self.is_normed, **dd)

    def transition(self, channels: int, out: int, drop_path: float, **dd: Any) -> nn.Module:
        """Eq. (18) (see `ForwardScheme.transition`)."""
        from stabzoo_forward.layers import PoolingLayer  # imports torch

        return PoolingLayer(channels, out, normed=self.is_normed, **dd)

    def method(self) -> Splitting:
        """What a block computes: the forward-backward step."""
        return Splitting(self.coefficients())

    def block(self, f: nn.Module, place: Place | None = None) -> nn.Module:
        """One step relu(y + f(y)) around any branch f (see `stabzoo.Discretization.block`)."""
        from stabzoo_forward.layers import ForwardBackwardStep  # imports torch

        return ForwardBackwardStep(f)

    @classmethod
    def network(cls) -> type[nn.Module]:
        """The network of Fig. 1 (see `stabzoo.Discretization.network`)."""
        from stabzoo_forward.network import StableResNet  # imports torch

        return StableResNet


class ResNetD(ForwardBackward):
    """ResNet-D: y+ = relu(y - A2 relu(A1 y + b_1) + b_2) with A2 >= 0 elementwise, eq. (14).

    Not to be confused with timm's ``resnet50d``. Features do not grow but by the biases (Theorem 5), for any A1.

    Attributes:
        caps: What the weights are projected onto after every step. ``certified``: the hypotheses of Theorem 5,
            A2 >= 0, ||A_0||_2 <= 1 and ||W||_2 <= 1. ``paper``: A2 >= 0 alone, as in the paper's experiments, which
            regularise the Frobenius norms (section 4) and bound none. ``none``: nothing.
    """

    name = "resnet_d"
    layer = "D"
    caps: Caps = "certified"

    def bounds(self) -> Bounds:
        """As ``caps`` says."""
        cap = 1.0 if self.caps == "certified" else None
        return Bounds(is_signed=self.caps != "none", stem=cap, head=cap)

    def residual(self, channels: int, grid: tuple[int, int], drop_path: float, **dd: Any) -> nn.Module:
        """Eq. (14) (see `ForwardScheme.residual`)."""
        from stabzoo_forward.layers import DLayer  # imports torch

        return DLayer(channels, drop_path, **dd)


class ResNetS(ForwardBackward):
    """ResNet-S with batch norms, as the paper has it: y+ = relu(y - A^T relu(A y + b_1) + b_2), eq. (15).

    Not to be confused with timm's ``resnet50s``. Whatever is kept of A, the batch norms scale A and A^T differently, so
    Theorem 6 does not apply to the network that is computed; to `ResNetSCert` it does.

    Attributes:
        caps: What the weights are projected onto after every step. ``certified``: the hypotheses of Theorem 6,
            ||A||_2 <= sqrt(2), ||A_0||_2 <= 1 and ||W||_2 <= 1, though they do not certify this form.
            ``paper``: nothing, as in the paper's experiments, which regularise the Frobenius norms (section 4) and
            bound none. ``none``: nothing.
    """

    name = "resnet_s"
    layer = "S"
    caps: Caps = "certified"

    def bounds(self) -> Bounds:
        """As ``caps`` says."""
        return Bounds(residual=SQRT2, stem=1.0, head=1.0) if self.caps == "certified" else Bounds()


class ResNetSCert(ForwardBackward):
    """ResNet-S without batch norms: eq. (15) with biases, ||A||_2 <= sqrt(2), and every other layer's norm bounded.

    All hypotheses of Theorem 6 hold, and whatever the depth and the weights, the logits of two images x and x' differ
    by at most head_cap p^2 ||x - x'||_2, p the norm of what halves the resolution:

    - ``downsampling`` "space-to-depth": relu(A y + b), A a matrix that reads patches of 2x2 pixels, ||A||_2 <= p = 1.
      It starts as the means of neighbours times sqrt(2), which keep the norm of what is alike on them;
    - "mean", eq. (18): p = 1/2 + pool_cap (||P_2||_2 = 1/2), which is 1 by default. What is alike on four pixels is
      handed on at half of its norm, so that the state fades.

    The classifier reads every pixel (``global_pool="flat"``, of the models): after layers of norm 1 a mean over all
    pixels leaves logits too small to be learned.

    The theorem has ||W||_2 <= 1. A larger ``head_cap`` scales logits, margins and the bound alike, so no certified
    radius changes by the factor itself; in the loss it is what a logit_scale is.
    """

    name = "resnet_s_cert"
    layer = "S"
    is_normed = False
    head_cap: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    pool_cap: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    downsampling: Downsampling = "space-to-depth"

    def bounds(self) -> Bounds:
        """All layers are bounded."""
        pool = self.pool_cap if self.downsampling == "mean" else 1.0
        return Bounds(residual=SQRT2, stem=1.0, head=self.head_cap, pool=pool)

    def transition(self, channels: int, out: int, drop_path: float, **dd: Any) -> nn.Module:
        """As ``downsampling`` says."""
        from stabzoo_forward.layers import PatchLayer  # imports torch

        if self.downsampling == "mean":
            return super().transition(channels, out, drop_path, **dd)
        return PatchLayer(channels, out, **dd)


class PostResNet(ForwardBackward):
    """The post-activation ResNet of Fig. 2c, for comparison: y+ = relu(y + A2 relu(A1 y + b_1) + b_2); no bounds.

    Source: He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016, section 4.2.
    """

    name = "postresnet"
    layer = "post"

    def residual(self, channels: int, grid: tuple[int, int], drop_path: float, **dd: Any) -> nn.Module:
        """Two convolutions and a shortcut."""
        from stabzoo_forward.layers import PostLayer  # imports torch

        return PostLayer(channels, channels, drop_path=drop_path, **dd)

    def transition(self, channels: int, out: int, drop_path: float, **dd: Any) -> nn.Module:
        """The same with a stride of 2."""
        from stabzoo_forward.layers import PostLayer  # imports torch

        return PostLayer(channels, out, 2, drop_path, **dd)
