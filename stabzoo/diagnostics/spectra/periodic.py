"""Every singular value of a periodic convolution, exactly, from its symbol.

A convolution with stride s on a torus whose sides s divides is, after sorting the input's pixels by their remainder
mod s, a convolution with stride 1 and s1 s2 c_in input channels on the coarse torus N1 x N2. The Fourier transform
turns that into one small matrix for every frequency,

    F(w) = sum over taps t of K_t e^{i w . t},    w = 2 pi (j1/N1, j2/N2),    K_t: c_out x s1 s2 c_in,

and the singular values of the convolution are those of all F(w). K is real, so F(-w) is the conjugate of F(w) and one
of each pair of frequencies suffices. Taps are evaluated where they are, not on the grid: kernels larger than the grid
wrap around as they must (`fft2` would cut them off).

Source: Sedghi, Gupta and Long, ICLR 2019 (stride 1, kernels no larger than the grid).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stabzoo.diagnostics.spectra.workers import in_threads

__all__ = [
    "Taps",
    "coarse_grid",
    "half_frequencies",
    "periodic_norms",
    "periodic_singular_values",
    "polyphase",
    "symbol_norms",
]

_CHUNK = 1 << 20  # complex numbers handled at once
_CACHED = 3 << 17  # those that stay in a CPU's cache: fewer layers at once are a third faster there
_POWER_STEPS = 2
_SLACK = 0.01  # largest part of the norm that a proof in single precision may leave open
_CANDIDATES = 3  # frequencies whose eigenvalues are computed without a trial
_WELL_CONDITIONED = 1e-3  # of squares: sigma_min / sigma_max > 0.03 costs at most 1.5 digits


@dataclass(frozen=True)
class Taps:
    """Kernels (L, taps, c_out, channels) of stride 1 and the offset (taps, 2) of every tap, in pixels."""

    kernels: Tensor
    offsets: Tensor

    def symbol(self, frequencies: Tensor) -> Tensor:
        """Evaluate F at frequencies (F, 2), in radians.

        Returns:
            Complex (L, F, c_out, channels).
        """
        layers, taps, rows, columns = self.kernels.shape
        angles = frequencies @ self.offsets.T.to(frequencies)
        flat = self.kernels.reshape(layers, taps, rows * columns)
        parts = (f(angles).to(flat.dtype) @ flat for f in (torch.cos, torch.sin))
        return torch.complex(*parts).view(layers, len(frequencies), rows, columns)


def polyphase(weights: Tensor, stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1)) -> Taps:
    """Write convolutions with a stride as convolutions without one, on s1 s2 c_in channels of the coarse grid.

    Tap a reads pixel s y + d a = s (y + q) + r: remainder r chooses the channel, q is the offset.

    Args:
        weights: (L, c_out, c_in, k1, k2).
        stride: s1, s2.
        dilation: d1, d2.
    """
    layers, rows, columns, *sides = weights.shape
    places = [[divmod(d * a, s) for a in range(k)] for k, s, d in zip(sides, stride, dilation, strict=True)]
    offsets = [
        (q1, q2) for q1 in dict.fromkeys(q for q, _ in places[0]) for q2 in dict.fromkeys(q for q, _ in places[1])
    ]
    index = {offset: i for i, offset in enumerate(offsets)}
    kernels = weights.new_zeros(layers, len(offsets), rows, stride[0] * stride[1], columns)
    for a1, (q1, r1) in enumerate(places[0]):
        for a2, (q2, r2) in enumerate(places[1]):
            kernels[:, index[q1, q2], :, r1 * stride[1] + r2] += weights[..., a1, a2]
    return Taps(kernels.flatten(3), torch.tensor(offsets))


def half_frequencies(grid: tuple[int, int], half_turns: tuple[int, int] = (0, 0)) -> tuple[Tensor, Tensor]:
    """Return one of each pair w, -w of the frequencies w = (2 pi j + theta)/N, and how many each stands for.

    Args:
        grid: N1, N2.
        half_turns: theta/pi along each axis, 0 or 1; on a torus with twist theta a wrap multiplies by e^{i theta}.

    Returns:
        float64 (F, 2) in radians and int64 (F,).
    """
    (n1, n2), (t1, t2) = grid, half_turns
    j1, j2 = np.divmod(np.arange(n1 * n2), n2)
    partner = ((-j1 - t1) % n1) * n2 + (-j2 - t2) % n2
    kept = np.flatnonzero(partner >= np.arange(n1 * n2))
    frequencies = np.stack([(j1[kept] + t1 / 2) / n1, (j2[kept] + t2 / 2) / n2], axis=1) * (2 * math.pi)
    return torch.from_numpy(frequencies), torch.from_numpy(1 + (partner[kept] != kept))


@torch.no_grad()
def periodic_norms(weights: Tensor, grid: tuple[int, int], stride: int = 1) -> Tensor:
    """Return max_w sigma_max(F(w)) of L convolutions of one shape: their exact operator norms.

    Args:
        weights: (L, c_out, c_in, k1, k2), float32 or float64; the accuracy is that of the type.
        grid: height and width of the input.
        stride: must divide both.

    Returns:
        (L,), of the type and on the device of `weights`.

    Raises:
        ValueError: The stride does not divide the grid (not shift invariant), or weights are not finite.
    """
    frequencies, _ = half_frequencies(coarse_grid(grid, (stride, stride)))
    return symbol_norms(polyphase(weights, (stride, stride)), frequencies)


@torch.no_grad()
def symbol_norms(taps: Taps, *tori: Tensor) -> Tensor:
    """Return the largest sigma_max(F(w)) of each of L kernels, the least over tori of frequencies (F, 2): (L,).

    Eigenvalues of the Gram matrices H(w) are computed where Ritz values make one expect the maximum t; at the others a
    Cholesky factorisation of (1 - d) t I - H(w) proves, several times faster, that they lie below, d = 4 n^2 eps being
    more than rounding can do; where none exists they are computed too. The result does not depend on the guess. In
    single precision, which suffices unless n is large, the guesses and the proofs take half the time.
    """
    at_once = max(1, _CACHED // (max(map(len, tori)) * min(taps.kernels.shape[2:]) ** 2))
    if taps.kernels.device.type == "cpu" and len(taps.kernels) > at_once:
        return torch.cat([symbol_norms(Taps(some, taps.offsets), *tori) for some in taps.kernels.split(at_once)])
    scale = taps.kernels.abs().amax((1, 2, 3))
    if not scale.isfinite().all():
        raise ValueError("expected finite weights, got infinity or NaN: nothing has a norm; look at the training")
    scale = scale.where(scale > 0, 1)
    offsets, kernels = _gram_taps(Taps(taps.kernels / scale[:, None, None, None], taps.offsets))
    n = kernels.shape[-1]
    least = torch.full_like(scale, math.inf)
    for frequencies in tori:
        largest = torch.zeros_like(scale)
        for part in frequencies.to(scale.device).split(max(1, _CHUNK // (len(scale) * n * n))):
            largest = _largest_eigenvalues(part, offsets, kernels, largest)
        least = torch.minimum(least, largest)
    return least.sqrt() * scale


def _gram_taps(taps: Taps) -> tuple[Tensor, Tensor]:
    """Return offsets (D, 2) and kernels (2, L, D, n, n) of H = F F* (or F* F, if that is smaller).

    F F* = sum over taps a, b of e^{i w . (a - b)} K_a K_b^T = sum over offsets d of e^{i w . d} R_d, R_{-d} = R_d^T.
    Over half the d, the real part is the sum of cos(w . d) (R_d + R_d^T), the imaginary part that of sin(w . d)
    (R_d - R_d^T). So H costs two real matrix products for all frequencies together.
    """
    kernels = taps.kernels if taps.kernels.shape[-2] <= taps.kernels.shape[-1] else taps.kernels.mT
    pairs = dict[tuple[int, ...], list[tuple[int, int]]]()
    places = [tuple(offset) for offset in taps.offsets.tolist()]
    for a, b in itertools.product(range(len(places)), repeat=2):
        difference = tuple(x - y for x, y in zip(places[a], places[b], strict=True))
        if difference >= (0, 0):
            pairs.setdefault(difference, []).append((a, b))
    products = []
    for members in pairs.values():
        left, right = (kernels[:, list(side)].transpose(1, 2).flatten(2) for side in zip(*members, strict=True))
        products.append(left @ right.mT)
    r = torch.stack(products, dim=1)
    r[:, list(pairs).index((0, 0))] /= 2  # its own partner
    return torch.tensor(list(pairs)), torch.stack([r + r.mT, r - r.mT])


def _gram_at(frequencies: Tensor, offsets: Tensor, kernels: Tensor) -> Tensor:
    """Return H (L, F, n, n) at frequencies (F, 2), or (L, F, 2): others for each layer."""
    _, layers, _, n, _ = kernels.shape
    angles = frequencies @ offsets.T.to(frequencies)
    flat = kernels.flatten(-2)
    parts = [f(angles).to(flat.dtype) @ half for f, half in zip((torch.cos, torch.sin), flat, strict=True)]
    return torch.complex(*parts).view(layers, -1, n, n)


def _largest_eigenvalues(frequencies: Tensor, offsets: Tensor, kernels: Tensor, floor: Tensor) -> Tensor:
    """Return max(floor, eigenvalues of H at frequencies (F, 2)) for floors (L,)."""
    n, low = kernels.shape[-1], torch.float32
    slack = 4 * n * n * torch.finfo(low).eps
    if slack > _SLACK:
        low = kernels.dtype
        slack = 4 * n * n * torch.finfo(low).eps
    gram = _gram_at(frequencies, offsets, kernels.to(low))
    best = _ritz_values(gram).topk(min(_CANDIDATES, len(frequencies))).indices
    candidates = _gram_at(frequencies[best], offsets, kernels)
    largest = torch.maximum(floor, torch.linalg.eigvalsh(candidates)[..., -1].amax(-1))
    gram.neg_().diagonal(dim1=-2, dim2=-1).add_((largest * (1 - slack)).to(low)[:, None, None])
    failed = (torch.linalg.cholesky_ex(gram).info > 0).scatter(1, best, value=False)
    if failed.any():
        layer, frequency = failed.nonzero().unbind(1)
        values = [
            torch.linalg.eigvalsh(_gram_at(frequencies[frequency[layer == i]], offsets, kernels[:, i : i + 1]))[
                0, :, -1
            ]
            for i in layer.unique()
        ]
        largest = largest.scatter_reduce(0, layer, torch.cat(values), "amax")
    return largest


def _ritz_values(gram: Tensor) -> Tensor:
    """Estimate the largest eigenvalues of (..., n, n) from below: two power iterations, then two steps of Lanczos."""

    def unit(v: Tensor) -> tuple[Tensor, Tensor]:
        length = torch.linalg.vector_norm(v, dim=(-2, -1))
        return length, v / length.clamp(min=torch.finfo(length.dtype).tiny)[..., None, None]

    n = gram.shape[-1]
    v = torch.arange(1, n + 1, device=gram.device, dtype=gram.real.dtype).square().cos().to(gram.dtype)[:, None]
    for _ in range(_POWER_STEPS):
        _, v = unit(gram @ v)
    image = gram @ v
    a = (v.conj() * image).sum((-2, -1)).real
    b, q = unit(image - a[..., None, None] * v)
    c = (q.conj() * (gram @ q)).sum((-2, -1)).real
    return (a + c) / 2 + torch.hypot((a - c) / 2, b)


@torch.no_grad()
def periodic_singular_values(
    weight: Tensor, grid: tuple[int, int], stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1)
) -> Tensor:
    """Return all N1 N2 min(c_out, s1 s2 c_in) singular values of one convolution without groups, descending.

    Args:
        weight: (c_out, c_in, k1, k2).
        grid: height and width of the input.
        stride: must divide them.
        dilation: any.

    Raises:
        ValueError: The stride does not divide the grid: the operator is not shift invariant.
    """
    taps = polyphase(weight[None], stride, dilation)
    coarse = coarse_grid(grid, stride)
    if len(taps.offsets) == 1:  # F(w) = e^{i w . t} K: one matrix, real, has the values of all
        kernel = taps.kernels[0]
        wide = kernel if kernel.shape[1] <= kernel.shape[2] else kernel.mT
        values = _singular_values(wide @ wide.mT, kernel.__getitem__)
        return values[0].repeat_interleave(math.prod(coarse))
    frequencies, counts = half_frequencies(coarse)
    rows, columns = taps.kernels.shape[-2:]
    gram = _gram_taps(taps) if rows != columns else None

    def of_part(part: Tensor) -> Tensor:
        if gram is None:
            return torch.linalg.svdvals(taps.symbol(part)[0])
        return _singular_values(_gram_at(part, *gram)[0], lambda lossy: taps.symbol(part[lossy])[0])

    parts = frequencies.to(weight.device).split(max(1, _CHUNK // taps.kernels[0, 0].numel()))
    values = torch.cat(in_threads(of_part, parts))
    return values.repeat_interleave(counts.to(weight.device), 0).flatten().sort(descending=True).values


def _singular_values(gram: Tensor, blocks: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the singular values (F, n), descending, of blocks B from their Gram matrices (F, n, n).

    Roots of eigenvalues cost half an SVD of rectangular blocks; where they would lose digits (a
    square squares the condition number) `blocks`, given which, returns those that an SVD must have.
    """
    squares = torch.linalg.eigvalsh(gram).flip(-1)
    lossy = squares[:, -1] < _WELL_CONDITIONED * squares[:, 0]
    values = squares.clamp(min=0).sqrt()
    if lossy.any():
        values[lossy] = torch.linalg.svdvals(blocks(lossy))
    return values


def coarse_grid(grid: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    """Return N1, N2 = grid / stride.

    Raises:
        ValueError: The stride does not divide the grid.
    """
    if grid[0] % stride[0] or grid[1] % stride[1]:
        raise ValueError(
            f"a periodic convolution with stride {stride} on a {grid[0]}x{grid[1]} grid is not shift invariant: "
            "expected a stride that divides the grid; choose another input size or padding"
        )
    return grid[0] // stride[0], grid[1] // stride[1]
