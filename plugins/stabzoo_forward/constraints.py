"""What the theorems assume of the weights, kept: by projection after every step, or by construction.

A kernel K with too large a norm is scaled back, K <- s K; negative weights are set to 0. Both sets are convex, so
averages of constrained weights (EMA) satisfy the constraints too.

The norm is that of the periodic convolution, the maximum of sigma_max(F(w)) over the frequencies w of a grid. The
frequencies of a grid whose sides divide n1, n2 are among those of n1 x n2: a bound on 32x32 holds on 16x16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo import periodic_norms
from stabzoo_forward.proofs import proved_bounds, size_bounds, tap_sums

__all__ = ["Constraint", "NonNegative", "NormBound", "Projected", "Projector"]

SLACK = 0.04  # a kernel out of bounds is scaled to 0.96 of its bound: the next steps can then be proved harmless
WITHIN = 0.98  # of the bound: kernels below are not touched
NEAR = 1.1  # how much larger than a norm what is proved of it may be, where that only makes the kernel smaller
ROUNDED = 1 + 1e-12  # float64


@dataclass(frozen=True)
class NonNegative:
    """K >= 0 elementwise, of ResNet-D's second kernels."""

    def project(self, weight: Tensor) -> Tensor:
        """The nearest non-negative weights."""
        return weight.clamp(min=0)

    def __str__(self) -> str:
        return "K >= 0"


@dataclass(frozen=True)
class NormBound:
    """||A||_2 <= cap for the periodic convolution A with a kernel; on the 1x1 grid, for a matrix.

    Attributes:
        cap: The bound.
        grid: Height and width of the input.
        stride: The convolution's; it divides both.
    """

    cap: float
    grid: tuple[int, int] = (1, 1)
    stride: int = 1

    def norms(self, weights: Tensor) -> Tensor:
        """Return the exact norms, in float64, of weights (L, C', C, k, k) or (L, C', C): (L,)."""
        kernels = weights.double()
        return periodic_norms(kernels if kernels.ndim == 5 else kernels[..., None, None], self.grid, self.stride)

    def bounds(self, weights: Tensor, part: float, margin: float) -> Tensor:
        """Return proved bounds of the norms of weights (L, ...): (L,), float64, infinity where there is no proof.

        They are ``part`` of the cap, or ``margin`` times an estimate that is beyond it; both rounded up.
        """
        kernels = weights if weights.ndim == 5 else weights[..., None, None]
        n = min(kernels.shape[1], self.stride**2 * kernels.shape[2])
        dtype = torch.float32 if 4 * torch.finfo(torch.float32).eps * n * n < SLACK / 4 else torch.float64
        found = proved_bounds(kernels.to(dtype), self.grid, self.stride, part * self.cap, margin)
        return found * (1 + 4 * torch.finfo(dtype).eps * n * n)

    def scales(self, weights: Tensor, norms: Tensor) -> Tensor:
        """Return the factors, 1 or less, that bring weights (L, ...) of these norms below the bound even when rounded.

        A product rounded to the weights' type has an elementwise relative error of eps at most, hence an error of
        eps sum_t ||K_t||_F in the operator norm, K_t the taps.
        """
        rounding = 2 * torch.finfo(weights.dtype).eps * tap_sums(weights.double())
        inside = (1 - SLACK) * self.cap / (norms * ROUNDED + rounding)
        return inside.where(norms * ROUNDED > self.cap, 1)

    def project(self, weight: Tensor) -> Tensor:
        """Scale one weight (C', C, k, k) or (C', C) to within the bound; one that is not finite stays as it is."""
        if not weight.isfinite().all():
            return weight
        return weight * self.scales(weight[None], self.norms(weight[None]))[0].to(weight.dtype)

    def __str__(self) -> str:
        return f"||A|| <= {self.cap:.4g}"


Constraint = NonNegative | NormBound


class Projector:
    """Projects weights onto their constraints, and computes norms only where nothing cheaper proves a bound.

    1. Of every kernel it keeps the value K' about which something was last proved. ||A|| <= ||A'|| + ||A - A'||, and
       `size_bounds` bounds the last term by a few small matrix products. Where the weights come from does not matter:
       after a checkpoint is loaded, A - A' is merely large.
    2. A Cholesky factorisation at every frequency proves a kernel to be within 0.98 of its bound, or, where it is
       estimated to be larger, within 1.1 of the estimate.
    3. Of the rest the exact norms are computed, unless step 1 tells that they are within 1.1 of the bound.

    Kernels are scaled back by the least of these bounds of their norms.

    A kernel within 0.98 of its bound is never touched; one beyond its bound is brought to between 0.86 and 0.96 of it.
    """

    def __init__(self) -> None:
        self.proved: dict[
            Any, tuple[Tensor, Tensor]
        ] = {}  # by bound and shape: kernels, and bounds of their norms, float64
        self.decided = [0, 0, 0]  # kernels decided by each of the three

    def state(self) -> list[Any]:
        """What is kept, as numbers and tensors: cap, grid, stride of a bound, kernels, and bounds of their norms."""
        return [[bound.cap, bound.grid, bound.stride, *kept] for (bound, _), kept in self.proved.items()]

    def load(self, state: list[Any]) -> None:
        """Keep what a `state` tells."""
        self.proved = {
            (NormBound(cap, tuple(grid), stride), kept.shape[1:]): (kept, norms)
            for cap, grid, stride, kept, norms in state
        }

    @torch.no_grad()
    def project(self, constrained: Mapping[str, tuple[Tensor, Constraint]]) -> None:
        """Project every weight in place; kernels of one shape and bound together."""
        groups: dict[Any, list[Tensor]] = {}
        for weight, constraint in constrained.values():
            if isinstance(constraint, NonNegative):
                weight.clamp_(min=0)
            else:
                groups.setdefault((constraint, weight.shape), []).append(weight)
        for (bound, shape), weights in groups.items():
            self._project(bound, shape, weights)

    def _project(self, bound: NormBound, shape: torch.Size, weights: list[Tensor]) -> None:
        kernels = torch.stack([whole(weight) for weight in weights])
        kept, norms = self.proved.get((bound, shape), (None, None))
        if kept is None or norms is None or kept.shape != kernels.shape or kept.dtype != kernels.dtype:
            kept, norms = torch.zeros_like(kernels), kernels.new_zeros(len(kernels), dtype=torch.float64)
        elif kept.device != kernels.device:
            kept, norms = kept.to(kernels.device), norms.to(kernels.device)
        most = norms + size_bounds(kernels - kept)
        opened = ~(most <= bound.cap)
        opened &= kernels.isfinite().flatten(1).all(1)  # a diverged kernel has no norm, and no projection
        chosen = opened.nonzero()[:, 0]
        if len(chosen):
            kept, norms = kept.clone(), norms.clone()
            some = kernels[chosen]
            proved = bound.bounds(some, WITHIN, NEAR)
            bounds = torch.fmin(proved, most[chosen])
            far = proved.isinf() & ~(bounds <= NEAR * bound.cap)
            if far.any():
                bounds[far] = bound.norms(some[far]) * ROUNDED
            scales = bound.scales(some, bounds).where(proved > bound.cap, 1)
            for i, scale in zip(chosen.tolist(), scales.tolist(), strict=True):
                if scale < 1:
                    kernels[i] = whole(weights[i].mul_(scale))
            norms[chosen] = bounds.where(scales == 1, (1 - SLACK) * bound.cap)
            kept[chosen] = kernels[chosen]
            self.proved[bound, shape] = kept, norms
            self.decided[1] += len(chosen) - int(far.sum())
            self.decided[2] += int(far.sum())
        self.decided[0] += len(weights) - len(chosen)


def whole(weight: Tensor) -> Tensor:
    """All of a weight, also of one that `torch.distributed.fsdp.fully_shard` has divided among processes."""
    gathered = getattr(weight, "full_tensor", None)  # of a DTensor, asked in all processes alike
    return weight if gathered is None else gathered()


class StraightThrough(torch.autograd.Function):
    """The projection of a weight; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, projected: Tensor) -> Tensor:
        """The projection."""
        return projected.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient."""
        return gradients[0], None


class Projected(nn.Module):
    """A parametrization (`torch.nn.utils.parametrize`): the module computes with the projection of what is trained.

    The gradient at the projection is applied to the unprojected weight: lazy projection, or dual averaging. A weight at
    0 or at its bound can therefore leave it again.

    Source: Nesterov, Primal-dual subgradient methods for convex problems, Math. Program. 120, 2009.
    """

    def __init__(self, constraint: Constraint) -> None:
        super().__init__()
        self.constraint = constraint

    def forward(self, weight: Tensor) -> Tensor:
        """Weights -> weights that satisfy the constraint."""
        if weight.is_meta:
            return weight
        with torch.no_grad():
            projected = self.constraint.project(weight)
        return StraightThrough.apply(weight, projected)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """A weight that is assigned is what is trained."""
        return weight

    def extra_repr(self) -> str:
        """Show the constraint."""
        return repr(self.constraint)
