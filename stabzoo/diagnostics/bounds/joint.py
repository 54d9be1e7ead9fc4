"""A Lipschitz bound of several layers at once: periodic convolutions with relu between them, frequency by frequency.

Each layer is y = relu(P x - B relu(A x + b) + c) with periodic convolutions P, A, B. For two inputs let x, v, u, y be
the differences of the input, of relu(A x + b), of the outer relu's argument and of its value. relu is a monotone
contraction in every component, so with multipliers lambda > 0 (one for each channel)

    v' L1 (A x - v) >= 0,    y' L2 (u - y) >= 0,    u = P x - B v.

Let y' S y bound what follows. By completing squares, y' S y <= u' T u and u' T u <= x' R x with

    T = L2 (2 L2 - S)^-1 L2,    R = P' T P + M' (2 L1 - B' T B)^-1 M,    M = L1 A - B' T P,

where 2 L2 - S and 2 L1 - B' T B are positive definite. Going back to the image this gives |f(x) - f(y)|^2 <= x' R x:
the sensitivity is the root of R's largest eigenvalue. Multipliers do not depend on the place, so that everything is
block diagonal in Fourier space: one small matrix for each frequency of the coarsest grid, with the pixels between as
channels. Every choice of multipliers gives a true bound; a few gradient steps find good ones.

Source: the quadratic constraints are LipSDP's (Fazlyab et al., NeurIPS 2019); the recursion, which needs no SDP solver,
and its block-diagonal form are ours. S = s I with L = s I gives Lemma 2 of Zhang and Schaeffer (JMIV 2020) back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stabzoo.diagnostics.spectra.periodic import half_frequencies

__all__ = ["Kernel", "ReluStep", "joint_sensitivity"]

_GUARD = 1e-9  # relative; added to every form for the rounding of what precedes (float64, well-conditioned inverses)
_CONDITION = 1e-4  # smallest allowed ratio of the eigenvalues of a matrix that is inverted
_LARGEST = 160  # channels times pixels between: larger forms are replaced by their largest eigenvalue


@dataclass(frozen=True, eq=False)
class Kernel:
    """A periodic convolution: output pixel y is the sum over taps a of weight[:, :, a] x[stride y + first + a].

    Attributes:
        weight: (c_out, c_in, k1, k2), float64.
        first: Position of the first tap, the same along both axes (minus the padding).
        stride: The same along both axes.
    """

    weight: Tensor
    first: int = 0
    stride: int = 1

    def adjoint(self) -> Kernel:
        """Return the transpose; stride 1 only."""
        side = self.weight.shape[-1]
        return Kernel(self.weight.transpose(0, 1).flip(2, 3), 1 - side - self.first)

    def symbol(self, frequencies: Tensor, pixels: int) -> Tensor:
        """Return its matrices (F, pixels^2 c_out, (stride pixels)^2 c_in), complex.

        Args:
            frequencies: (F, 2), of the coarsest grid.
            pixels: Output pixels to one of the coarsest grid, along each axis.
        """
        rows, columns, *sides = self.weight.shape
        inner = self.stride * pixels
        symbol = torch.zeros(len(frequencies), pixels, pixels, rows, inner, inner, columns, dtype=torch.complex128)
        weight = self.weight.to(torch.complex128)
        for r1 in range(pixels):
            for a1 in range(sides[0]):
                q1, p1 = divmod(self.stride * r1 + self.first + a1, inner)
                for r2 in range(pixels):
                    for a2 in range(sides[1]):
                        q2, p2 = divmod(self.stride * r2 + self.first + a2, inner)
                        angle = frequencies @ torch.tensor([q1, q2], dtype=torch.float64)
                        phase = torch.polar(torch.ones_like(angle), angle)
                        symbol[:, r1, r2, :, p1, p2] += phase[:, None, None] * weight[..., a1, a2]
        return symbol.view(len(frequencies), pixels**2 * rows, inner**2 * columns)


@dataclass(frozen=True, eq=False)
class ReluStep:
    """x -> relu(skip x - outer relu(inner x + b) + c), its channels placed among zero channels.

    Attributes:
        skip, inner, outer: Convolutions; `skip` and `inner` have one stride, `outer` has none.
        before, channels: The result's channels are those from `before` of `channels`; the others are identically 0.
    """

    skip: Kernel
    inner: Kernel
    outer: Kernel
    before: int
    channels: int


class _InfeasibleError(ArithmeticError):
    """Multipliers that prove nothing."""


def joint_sensitivity(
    first: Kernel | None,
    steps: Sequence[ReluStep],
    grid: tuple[int, int],
    last: Tensor | None = None,
    iterations: int = 0,
    constants: Sequence[float] | None = None,
    seconds: float = math.inf,
) -> float:
    """Bound the Lipschitz constant of x -> last mean(steps(first x)), or of steps(first x), from above, rounded up.

    Args:
        first: Convolution with stride 1 before the steps (the stem), or None.
        steps: In the order in which they act.
        grid: Height and width of the image; the product of all strides must divide both.
        last: (classes, channels): the classifier behind the mean over all pixels; None: the last state itself.
        iterations: Gradient steps on the multipliers; each costs as much as a few singular value decompositions.
        constants: Known Lipschitz constants of the steps. Steps that have one and whose matrices are large (the early
            ones, with many pixels to one of the coarsest grid) pass s I on as s constant^2 I.
        seconds: What the gradient steps may take; where all do not fit, as many as do are made.

    Returns:
        The bound, infinity where no multipliers were found.

    Raises:
        ValueError: The strides do not divide the grid.
    """
    total = math.prod(step.inner.stride for step in steps)
    if grid[0] % total or grid[1] % total:
        raise ValueError(f"the strides (product {total}) do not divide the {grid[0]}x{grid[1]} grid")
    coarse = (grid[0] // total, grid[1] // total)
    chain = _Chain(first, steps, coarse, last, constants)
    raw = [start.requires_grad_(iterations > 0) for start in chain.starts()]
    best = math.inf
    optimizer = torch.optim.Adam(raw, 0.1) if raw else None  # all steps may have a constant, and no multipliers
    i, start = 0, time.perf_counter()
    while True:
        try:
            with torch.set_grad_enabled(i < iterations):
                square = chain.square(raw)
        except (_InfeasibleError, torch.linalg.LinAlgError):
            break
        best = min(best, math.sqrt(float(square.detach())) * (1 + 1e-9))
        if optimizer is None or i >= iterations:
            break
        for group in optimizer.param_groups:
            group["lr"] = 0.15 * (0.5 + 0.5 * math.cos(math.pi * i / iterations)) + 0.005
        optimizer.zero_grad()
        square.log().backward()
        optimizer.step()
        i += 1
        if i == 1 and seconds < math.inf:  # the rate falls over the steps that there will be
            iterations = min(iterations, int(seconds / (time.perf_counter() - start)))
    return best


class _Chain:
    """The recursion from the output back to the image, for given multipliers."""

    def __init__(
        self,
        first: Kernel | None,
        steps: Sequence[ReluStep],
        coarse: tuple[int, int],
        last: Tensor | None,
        constants: Sequence[float] | None,
    ) -> None:
        self.frequencies, _ = half_frequencies(coarse)
        self.zero = int(self.frequencies.abs().sum(1).argmin())
        self.steps, self.last, self.points = list(steps), last, math.prod(coarse)
        self.first = first
        pixels, symbols = 1, []
        self.known: list[float | None] = []
        for i, step in reversed(list(enumerate(self.steps))):
            sides = [(len(step.outer.weight), pixels), (step.inner.weight.shape[1], pixels * step.inner.stride)]
            large = max(sides[0][0] * sides[0][1] ** 2, sides[1][0] * sides[1][1] ** 2 // step.inner.stride) > _LARGEST
            known = constants[i] if constants is not None and large else None
            self.known.append(known)
            kernels = (step.skip, step.inner, step.outer) if known is None else ()
            symbols.append(tuple(kernel.symbol(self.frequencies, pixels) for kernel in kernels))
            pixels *= step.inner.stride
        self.symbols = symbols
        self.image = first.symbol(self.frequencies, pixels) if first else None
        self.gain = float(torch.linalg.matrix_norm(self.image, 2).max()) ** 2 if self.image is not None else 1.0

    def starts(self) -> list[Tensor]:
        """Return where the multipliers start, as `_multiplier` reads them, in the order of `square`."""
        widths = [
            len(kernel.weight)
            for step, known in zip(reversed(self.steps), self.known, strict=True)
            if known is None
            for kernel in (step.outer, step.inner)
        ]
        return [torch.zeros(width + 1, dtype=torch.float64) for width in widths]

    def square(self, raw: Sequence[Tensor]) -> Tensor:
        """Return the largest eigenvalue of the form on images, guards included."""
        parameters = iter(raw)
        form = self._output()
        scalar: Tensor | None = None  # the form is this times the identity
        for step, known, symbols in zip(reversed(self.steps), self.known, self.symbols, strict=True):
            if known is not None:
                size = step.inner.weight.shape[1] * form.shape[-1] // step.channels * step.inner.stride**2
                scalar = (_top(form) if scalar is None else scalar) * known**2 * (1 + _GUARD)
                form = (scalar * torch.eye(size, dtype=form.dtype)).expand(len(self.frequencies), -1, -1)
                continue
            scalar = None
            skip, inner, outer = symbols
            pixels2 = outer.shape[1] // step.outer.weight.shape[0]
            live = torch.arange(pixels2)[:, None] * step.channels + step.before
            live = (live + torch.arange(step.outer.weight.shape[0])).flatten()
            form = form[:, live][:, :, live] if len(live) < form.shape[-1] else form
            multiplier, form = _relu(form, next(parameters), pixels2)
            pulled = outer.mH @ form
            inner_form = pulled @ outer
            target = pulled @ skip
            symmetric = step.inner.stride == 1 and torch.equal(step.outer.weight, step.inner.adjoint().weight)
            aim = (inner.conj() * target).real.sum() / inner.abs().square().sum() if symmetric else None
            multiplier = _multiplier(inner_form, next(parameters), pixels2, aim)
            mixed = multiplier[:, None] * inner - target
            form = skip.mH @ form @ skip + _quadratic(mixed, 2 * torch.diag(multiplier) - inner_form)
            form = _guarded(form)
        if scalar is not None:
            return scalar * self.gain * (1 + _GUARD)
        if self.image is not None:
            form = self.image.mH @ form @ self.image
        return _top(form) * (1 + _GUARD)

    def _output(self) -> Tensor:
        channels = self.steps[-1].channels
        if self.last is None:
            return torch.eye(channels, dtype=torch.complex128).expand(len(self.frequencies), -1, -1)
        form = torch.zeros(len(self.frequencies), channels, channels, dtype=torch.complex128)
        form[self.zero] = (self.last.mT @ self.last / self.points).to(torch.complex128)
        return _guarded(form)


def _top(form: Tensor) -> Tensor:
    """Return the largest eigenvalue of Hermitian matrices (F, n, n)."""
    if not form.isfinite().all():
        raise _InfeasibleError
    return torch.linalg.eigvalsh(form)[..., -1].max()


def _guarded(form: Tensor) -> Tensor:
    """Make Hermitian, and add what rounding may have taken away."""
    form = (form + form.mH) / 2
    guard = _GUARD * form.detach().abs().sum(-1).max().clamp(min=1e-300)
    return form + guard * torch.eye(form.shape[-1], dtype=form.dtype)


def _multiplier(form: Tensor, raw: Tensor, pixels: int, aim: Tensor | None = None) -> Tensor:
    """Return multipliers (n,) with 2 L > form: their directions and distance from the boundary are `raw`'s.

    At raw = 0 they are equal, and twice as large as they must be, or equal to `aim` if that is large enough.
    """
    direction = raw[:-1].exp().repeat(pixels)
    root = direction.rsqrt()
    least = _top(root[:, None] * form * root).clamp(min=1e-300) / 2
    distance = least if aim is None else (aim - least).clamp(min=0.05 * least)
    return direction * (least + distance * raw[-1].clamp(-6, 6).exp())


def _relu(form: Tensor, raw: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    multiplier = _multiplier(form, raw, pixels)
    pulled = _quadratic(torch.diag(multiplier).to(form.dtype).expand_as(form), 2 * torch.diag(multiplier) - form)
    return multiplier, _guarded(pulled)


def _quadratic(mixed: Tensor, matrix: Tensor) -> Tensor:
    """Return mixed' matrix^-1 mixed.

    Raises:
        _InfeasibleError: The matrix is not safely positive definite.
    """
    diagonal = torch.diagonal(matrix.real, dim1=-2, dim2=-1)
    if not (diagonal > 0).all():
        raise _InfeasibleError
    root = diagonal.rsqrt().to(matrix.dtype)  # scaled to unit diagonal: multipliers may differ by orders
    factor, info = torch.linalg.cholesky_ex(root[..., :, None] * matrix * root[..., None, :])
    pivots = torch.diagonal(factor.real, dim1=-2, dim2=-1)
    if info.any() or float(pivots.detach().square().min()) < _CONDITION:
        raise _InfeasibleError
    half = torch.linalg.solve_triangular(factor, root[..., :, None] * mixed, upper=False)
    return half.mH @ half
