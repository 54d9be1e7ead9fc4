"""The modules of the branches, and what is proved of them.

The norm N stands between the kernel and the activation, where R. and H. have it.  A batch norm multiplies each channel
by a number n = 1/sigma > 0, its statistics fixed: in evaluation mode, or within one implicit step.  It has no gain of
its own, which training could turn negative; the shift b does what its shift would.  In training mode the statistics
couple the images, and a group or layer norm is not diagonal: nothing is proved there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import SqueezeExcite
from torch import Tensor, nn

from stabzoo import (
    BranchSite,
    ConvOperator,
    StepBound,
    adjoint_for_hooks,
    fold_batch_norm,
    is_hooked,
    operator_norm,
    pulled_back,
    tells_kernel,
)

__all__ = ["AntisymmetricBranch", "ParabolicBranch", "SqueezeExciteBranch"]

NONDECREASING = ("ReLU", "ReLU6", "Tanh", "Sigmoid", "LeakyReLU", "ELU", "CELU", "SELU", "Softplus")
"""Activations s of torch or timm with s' >= 0, by the names of their classes."""

SLOPES_UP_TO_1 = ("ReLU", "ReLU6", "Tanh", "Sigmoid", "LeakyReLU", "ELU", "CELU", "Softplus")
"""Those with s' <= 1, too, with their default arguments."""


class KernelTwice(nn.Module):
    """What both branches with a kernel and its transpose have: K, the norm, the shift b, the activation s."""

    __jit_ignored_attributes__ = ("adjoint",)
    __jit_unused_properties__ = ("proof_fails",)

    def __init__(self, site: BranchSite, inner: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(site.cin, inner, 3, padding=1, bias=False, **site.style.dd)
        self.adjoint = adjoint_for_hooks(self.conv, padding=1)
        self.norm = site.style.make_norm(inner, affine=False) or nn.Identity()
        self.shift = nn.Parameter(torch.zeros(inner, 1, 1, **site.style.dd))
        self.act = site.style.make_act(inplace=True)
        self.drop_path = site.make_drop_path()

    def transposed(self, z: Tensor) -> Tensor:
        """K^T z: <K y, z> = <y, K^T z>."""
        return self.adapted(z) if not torch.jit.is_scripting() else F.conv_transpose2d(z, self.conv.weight, None, 1, 1)

    @torch.jit.unused
    def adapted(self, z: Tensor) -> Tensor:
        """The same; where an adapter or a quantized layer has taken the place of K, of what it computes."""
        if is_hooked(self.adjoint, self.conv):
            return self.adjoint(z)
        if tells_kernel(self.conv):
            return F.conv_transpose2d(z, self.conv.weight, None, 1, 1)
        return pulled_back(self.conv, z)

    def reset_parameters(self) -> None:
        """No shift."""
        nn.init.zeros_(self.shift)

    @property
    def proof_fails(self) -> str:
        """Which hypothesis about s and N does not hold; empty if all do."""
        if type(self.act).__name__ not in NONDECREASING or getattr(self.act, "negative_slope", 0) < 0:
            return f"{type(self.act).__name__} is not known not to decrease"
        if type(self.norm) is nn.Identity:
            return ""
        if type(self.norm) is not nn.BatchNorm2d:
            return f"{type(self.norm).__name__} does not act on each number by itself"
        if self.norm.weight is not None and bool((self.norm.weight < 0).any()):
            return "a gain of its batch norm is negative"
        return ""

    def expect(self, variances: Tensor) -> None:
        """Have the batch norm start with these variances of its channels."""
        if isinstance(self.norm, nn.BatchNorm2d) and self.norm.running_var is not None:
            self.norm.running_var.copy_(variances)


class ParabolicBranch(KernelTwice):
    """f(y) = -K^T s(N(K y) + b).

    Its Jacobian is -K^T D K with a diagonal D, 0 <= D <= n max s', so that f is monotone, (f(u) - f(v)) . (u - v) <= 0:
    y = c + w f(y) has exactly one solution for every w >= 0 and c, as deep as the network may be.
    """

    __jit_unused_properties__ = ("one_sided_lipschitz", "one_sided_reason", "proof_fails")

    def __init__(self, site: BranchSite) -> None:
        super().__init__(site, site.width)

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * f(y), of that shape."""
        return self.drop_path(self.transposed(self.act(self.norm(self.conv(y)) + self.shift))) * -scale

    @torch.no_grad()
    def init_scale(self, factor: float, variance: float) -> None:
        """Multiply K by ``factor`` under a norm, which undoes that of one of the two; else by its root."""
        self.conv.weight.mul_(factor if type(self.norm) is not nn.Identity else factor**0.5)
        self.expect(variance * self.conv.weight.square().sum((1, 2, 3)))

    @property
    def one_sided_lipschitz(self) -> float | None:
        """0, with the statistics of a batch norm fixed; None where a hypothesis does not hold."""
        return None if self.proof_fails else 0.0

    @property
    def one_sided_reason(self) -> str:
        """Why it is 0, or why that is not decided."""
        return self.proof_fails or "f(y) = -K^T s(N(K y) + b) with an s that does not decrease and N >= 0"

    def bound(self, grid: tuple[int, int]) -> StepBound:
        """||f(u) - f(v)|| <= ||N K|| ||K|| ||u - v|| in evaluation mode, for s' <= 1."""
        if type(self.act).__name__ not in SLOPES_UP_TO_1:
            return StepBound.unknown(f"the slope of {type(self.act).__name__} is not known to be at most 1")
        if type(self.drop_path) is not nn.Identity and self.drop_path.training:
            return StepBound.unknown("stochastic depth draws at random: call model.eval()")
        try:
            if not tells_kernel(self.conv):
                raise ValueError(f"{type(self.conv).__name__} overrides forward(), so its weight does not determine K")
            folded = fold_batch_norm(self.norm)
            inner = operator_norm(ConvOperator.of(self.conv, grid, folded[0] if folded else None)).value
            outer = operator_norm(ConvOperator.of(self.conv, grid)).value
        except ValueError as error:
            return StepBound.unknown(str(error))
        return StepBound("||N K|| ||K||", inner * outer * (1 + 1e-10), grid)


class AntisymmetricBranch(KernelTwice):
    """f(y) = s(N((K - K^T - gamma I) y) + b).

    Its Jacobian D (A - gamma I), D >= 0 diagonal and A skew, has the eigenvalues of D^(1/2) (A - gamma I) D^(1/2),
    whose symmetric part is -gamma D: none has a positive real part.  That is no one-sided Lipschitz constant, and of
    an implicit step with this f nothing is proved.
    """

    def __init__(self, site: BranchSite, gamma: float) -> None:
        super().__init__(site, site.cin)
        self.gamma = gamma

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * f(y), of that shape."""
        z = self.conv(y) - self.transposed(y) - self.gamma * y
        return self.drop_path(self.act(self.norm(z) + self.shift) * scale)

    @torch.no_grad()
    def init_scale(self, factor: float, variance: float) -> None:
        """Multiply K, half of it taken twice; under a norm f is as large as it is."""
        self.conv.weight.mul_(factor / 2**0.5)
        weight = self.conv.weight
        skew = weight - weight.transpose(0, 1).flip(2, 3)
        self.expect(variance * (skew.square().sum((1, 2, 3)) + self.gamma**2))


class SqueezeExciteBranch(nn.Module):
    """The usual branch, each channel times a number in (0, 1) of its own."""

    def __init__(self, site: BranchSite, reduction: int) -> None:
        super().__init__()
        self.usual = site.usual()
        middle = max(1, site.cout // reduction)
        self.se = SqueezeExcite(site.cout, rd_channels=middle, **site.style.dd)

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * f(y), (B, C', H', W')."""
        return self.se(self.usual(y)) * scale

    def init_scale(self, factor: float, variance: float) -> None:
        """As the usual branch."""
        self.usual.init_scale(factor, variance)
