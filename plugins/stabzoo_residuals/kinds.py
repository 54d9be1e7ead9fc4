"""The kinds and their fields; the modules they build are in `stabzoo_residuals.layers`, which imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from stabzoo import Strict

if TYPE_CHECKING:
    from torch import nn

    from stabzoo import BranchSite

__all__ = ["Antisymmetric", "Parabolic", "Plain", "SqueezeExcite"]


class Plain(Strict):
    """Norm, activation and convolution, two or three times: the branch of pre-activation residual networks.

    Source: He, Zhang, Ren, Sun, Identity mappings in deep residual networks, ECCV 2016.
    """

    name: ClassVar[str] = "plain"

    def build(self, site: BranchSite) -> nn.Module:
        """The branch (see `stabzoo.BranchKind`)."""
        return site.usual()


class SqueezeExcite(Strict):
    """The usual branch, each of whose channels is weighed by a number in (0, 1) that the means of all channels give.

    Attributes:
        reduction: Channels to one of those in the middle of the two layers that give the weights.

    Source: Hu, Shen, Sun, Squeeze-and-excitation networks, CVPR 2018.
    """

    name: ClassVar[str] = "se"
    reduction: Annotated[int, Field(ge=1, le=1024)] = 16

    def build(self, site: BranchSite) -> nn.Module:
        """The branch (see `stabzoo.BranchKind`)."""
        from stabzoo_residuals.layers import SqueezeExciteBranch

        return SqueezeExciteBranch(site, self.reduction)


class Parabolic(Strict):
    """f(y) = -K^T s(N(K y) + b): the heat equation's, for its Jacobian -K^T diag(s' n) K is symmetric and has no
    positive eigenvalue, as long as s does not decrease and N multiplies by n >= 0.

    Where the state changes its shape, the usual branch.

    Source: Ruthotto, Haber, Deep neural networks motivated by partial differential equations, J. Math. Imaging Vis. 62
    (2020), section 3.1.
    """

    name: ClassVar[str] = "parabolic"

    def build(self, site: BranchSite) -> nn.Module:
        """The branch (see `stabzoo.BranchKind`)."""
        from stabzoo_residuals.layers import ParabolicBranch

        return ParabolicBranch(site) if site.keeps_shape else site.usual()


class Antisymmetric(Strict):
    """f(y) = s(N((K - K^T - gamma I) y) + b): no eigenvalue of its Jacobian has a positive real part, as long as s does
    not decrease and N multiplies by n >= 0, for (K - K^T) is skew.

    Explicit Euler is unstable for purely imaginary eigenvalues; gamma corrects that.  Where the state changes its
    shape, the usual branch is taken.

    Attributes:
        gamma: The damping, >= 0.

    Source: Haber, Ruthotto, Stable architectures for deep neural networks, Inverse Problems 34 (2018), section 3.1;
    Chang, Chen, Haber, Chi, AntisymmetricRNN, ICLR 2019, eq. (9).
    """

    name: ClassVar[str] = "antisymmetric"
    gamma: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.1

    def build(self, site: BranchSite) -> nn.Module:
        """The branch (see `stabzoo.BranchKind`)."""
        from stabzoo_residuals.layers import AntisymmetricBranch

        return AntisymmetricBranch(site, self.gamma) if site.keeps_shape else site.usual()
