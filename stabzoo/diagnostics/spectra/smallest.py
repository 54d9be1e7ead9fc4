"""The smallest singular value of a zero-padded convolution, by Lanczos' method on the inverse of T' T.

It lies far below that of the periodic convolution and no bound relates the two. T' T is never inverted as such, so
sigma_min is found to about eps cond(T), not eps cond(T)^2. The value is converged, not proved. Ways to invert T:

Half an FFT (stride 1, "same" padding, square): T is a part of a convolution C that is periodic along x, with N = n + q
columns for kernels of 2 q + 1. Each frequency of C is a block tridiagonal system along y, D_i = A_0 - A_- D_{i-1}^{-1}
A_+. With E the q further columns, T u = f is C u = f + E g, E' u = 0, hence (E' C^{-1} E) g = -E' C^{-1} f. The blocks
are not pivoted, so solutions are refined and the result is checked: T v = s u + r1, T' u = s v + r2 for unit vectors
say that a singular value is within |(r1, r2)| / sqrt 2 of s; that none is smaller is what Lanczos' method says.

Nothing (rectangular operators, as a stride makes them: sigma_min is seldom far below the norm): Lanczos' method on the
smaller of T' T and T T' itself, whose result is accepted if the residual of the eigenvector is small beside the
eigenvalue.

Block QR (small images, all other operators, and where a check fails): T, or T' if T has fewer rows than columns, is
block banded in the order of image rows, T = Q R with Householder reflections on a few of them at a time, and
sigma_min^2 = 1 / lambda_max(R^{-1} R^{-T}).

Source: own; circulant embedding, bordered systems and block elimination are textbook (Golub & Van Loan, 2013, ch. 4).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stabzoo.diagnostics.measurement import Measurement
from stabzoo.diagnostics.spectra.block_qr import inverse_norm, triangular_rows
from stabzoo.diagnostics.spectra.operators import ConvOperator
from stabzoo.diagnostics.spectra.zero_padding import absolute_norm, row_matrix, touching, unit_scaled

__all__ = ["MAX_BLOCK", "MAX_BORDER", "smallest_singular_value"]

MAX_BLOCK = 1024
"""Largest n2 c of one image row for block QR. The cost is about 20 n1 (n2 c)^3 operations."""

MAX_BORDER = 8192
"""Largest q n1 c of the half FFT's bordered system. The cost is about 4 N c (n1 c)^2 + (q n1 c)^3 operations."""

_SMALL = 96  # n2 c of one image row up to which block QR takes a moment only
_CHECK = 1e-7  # largest relative residual
_LANCZOS_VECTORS, _RESTARTS = 48, 60  # some thousand products with T and T'


@torch.no_grad()
def smallest_singular_value(operator: ConvOperator) -> Measurement:
    """Return sigma_min, the least of all min(rows, columns) singular values, of a zero-padded convolution.

    Args:
        operator: (c_out, c_in / groups, k1, k2) weights. At most some seconds at CIFAR sizes; about ten seconds and a
            gigabyte for 3x3 layers with n c = 3584, as all stages of ResNets on ImageNet have; half a minute for 5x5.

    Raises:
        ValueError: The padding is not with zeros; or the operator is too large: more than `MAX_BORDER` for stride 1,
            odd kernels, "same" padding and as many output as input channels, else image rows of more than `MAX_BLOCK`
            entries; or too ill-conditioned for the first way and too large for the second.
    """
    if operator.mode != "zeros" and any(itertools.chain(*operator.padding)):
        raise ValueError(f"expected zero padding, got {operator.mode!r}")
    found = [_smallest_of_block(operator.group(g)) for g in range(operator.groups)]
    value, note = min(found)
    return Measurement(value, "converged", note)


def _smallest_of_block(operator: ConvOperator) -> tuple[float, str]:
    operator, scale = unit_scaled(operator)
    if not scale:
        return 0.0, "no weights"
    operator, size = touching(operator), operator.grid[1] * operator.weight.shape[1]
    fits = _is_same(operator) and _border(operator) <= MAX_BORDER
    if fits and size > _SMALL:
        found = _by_half_fft(operator)
        if found is not None:
            return found[0] * scale, f"half FFT, inverse Lanczos; relative residual {found[1]:.0e}"
    rows, columns = operator.dimensions
    if size > _SMALL and rows != columns:
        found = _by_lanczos(operator)
        if found is not None:
            return found[0] * scale, f"Lanczos; relative residual {found[1]:.0e}"
    return _by_block_qr(operator) * scale, "block QR, inverse Lanczos"


def _is_same(operator: ConvOperator) -> bool:
    """Whether it maps images of one shape to such, at stride 1, with as many taps before as after a pixel."""
    rows, columns, *sides = operator.weight.shape
    padding = tuple((k // 2, k // 2) for k in sides)
    plain = operator.stride == operator.dilation == (1, 1) and operator.padding == padding
    return plain and rows == columns and all(k % 2 for k in sides)


def _halves(operator: ConvOperator) -> tuple[int, int]:
    """Return the half widths p, q of the kernel; taps that never meet the image are left out."""
    return tuple(min(k // 2, n - 1) for k, n in zip(operator.weight.shape[2:], operator.grid, strict=True))  # type: ignore[return-value]


def _border(operator: ConvOperator) -> int:
    """Return the side of the bordered system, along whichever axis it is smaller."""
    (n1, n2), (p, q) = operator.grid, _halves(operator)
    return len(operator.weight) * min(q * n1, p * n2)


def _by_half_fft(operator: ConvOperator) -> tuple[float, float] | None:
    """Return sigma_min and the relative residual; None where the check fails for both twists."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    (n1, n2), (p, q) = operator.grid, _halves(operator)
    if q * n1 > p * n2:  # singular values do not care which axis is called x
        turned = operator.weight.transpose(2, 3).contiguous()
        operator = replace(operator, weight=turned, grid=(n2, n1), padding=operator.padding[::-1])
    size = operator.dimensions[0]
    start = np.random.default_rng(0).standard_normal(size)
    # with N even, half-integer frequencies avoid 0 and pi, the zeros of differences and of means
    first = (operator.grid[1] + _halves(operator)[1]) % 2 == 0
    for twisted in (first, not first):
        try:
            inverse = _HalfFFT(operator, twisted)
            if not inverse.settle(start):
                continue

            def product(vector: np.ndarray) -> np.ndarray:
                return inverse.solve(inverse.solve(vector, True), False)  # noqa: B023

            if size <= 32:
                matrix = np.stack([product(e) for e in np.eye(size)])
                values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
            else:
                gram = LinearOperator((size, size), product, dtype=np.float64)  # pyright: ignore
                values, vectors = eigsh(gram, 1, which="LA", v0=start, tol=1e-9, maxiter=1000)  # pyright: ignore
        except (ArpackError, torch.linalg.LinAlgError, np.linalg.LinAlgError):
            continue
        value = float(values[-1]) ** -0.5
        if not value > 0:
            continue
        left = inverse.solve(vectors[:, -1], True)
        left /= np.linalg.norm(left)
        right = inverse.solve(left, False)
        value = 1 / float(np.linalg.norm(right))
        right *= value
        residuals = inverse.apply(right, False) - value * left, inverse.apply(left, True) - value * right
        relative = float(np.linalg.norm(residuals)) / (math.sqrt(2) * value)
        if relative <= _CHECK:
            return value, relative
    return None


class _HalfFFT:
    """The inverse of a "same" convolution of c channels on n1 x n2; vectors are flat images (c n1 n2,)."""

    def __init__(self, operator: ConvOperator, twisted: bool) -> None:
        (n1, n2), (p, q) = operator.grid, _halves(operator)
        channels, _, k1, k2 = operator.weight.shape
        self.operator, self.steps, side = operator, 0, n2 + q
        ordinals = np.arange((side + 1) // 2 if twisted else side // 2 + 1) + 0.5 * twisted
        phases = np.exp(2j * np.pi / side * np.outer(ordinals, np.arange(side)))  # (K, N)
        share = np.where((ordinals == 0) | (2 * ordinals == side), 1.0, 2.0) / side  # conjugate frequencies
        self.forward, self.backward = phases.conj(), phases * share[:, None]
        middle = operator.weight[:, :, k1 // 2 - p : k1 // 2 + p + 1, k2 // 2 - q : k2 // 2 + q + 1].numpy()
        taps = np.exp(2j * np.pi / side * np.outer(ordinals, np.arange(-q, q + 1)))
        symbol = np.einsum("oiab,kb->kaoi", middle, taps)  # (K, 2p + 1, c, c)
        self.lines = max(p, 1)  # image rows of one block

        def block(shift: int) -> np.ndarray:
            out = np.zeros((len(ordinals), self.lines, channels, self.lines, channels), complex)
            for r, s in itertools.product(range(self.lines), repeat=2):
                if 0 <= (a := s + shift * self.lines - r + p) < 2 * p + 1:
                    out[:, r, :, s] = symbol[:, a]
            return out.reshape(len(ordinals), self.lines * channels, -1)

        below, diagonal, above = block(-1), block(0), block(1)
        self.couplings = {False: (below, above), True: tuple(np.ascontiguousarray(_h(x)) for x in (above, below))}
        cuts = [*range(0, n1 * channels, self.lines * channels), n1 * channels]
        self.slices = [slice(a, b) for a, b in itertools.pairwise(cuts)]
        pivots: list[np.ndarray] = []
        for part in self.slices:  # the last block may be smaller
            b = part.stop - part.start
            pivot = diagonal[:, :b, :b]
            if pivots:
                pivot = pivot - below[:, :b] @ pivots[-1] @ above[:, :, :b]
            pivots.append(np.linalg.inv(pivot))
        self.pivots = {False: pivots, True: [np.ascontiguousarray(_h(x)) for x in pivots]}
        self.border = self._border(side, n2) if q else None

    def _border(self, side: int, n2: int) -> Callable[[np.ndarray, bool], np.ndarray]:
        """Factorise E' C^{-1} E, whose block (x, x') is the mean over frequencies of e^{iw (x - x')} B_w^{-1}."""
        from scipy.linalg import lu_factor, lu_solve

        q, size = side - n2, self.slices[-1].stop
        matrix = np.zeros((size, q, size, q))
        (below, above), pivots = self.couplings[False], self.pivots[False]
        x = np.zeros((size, size), complex)
        for k in range(len(self.forward)):
            for i in reversed(range(len(self.slices))):
                here, d = self.slices[i], pivots[i][k]
                x[here, here] = d
                if i + 1 < len(self.slices):
                    b, after = self.slices[i + 1].stop - here.stop, self.slices[i + 1]
                    up, low = d @ above[k, :, :b], below[k, :b] @ d
                    x[here, here.stop :] = -up @ x[after, here.stop :]
                    x[here.stop :, here] = -x[here.stop :, after] @ low
                    x[here, here] -= x[here, after] @ low
            for i, j in itertools.product(range(q), repeat=2):
                phase = complex(self.backward[k, n2 + i] * self.forward[k, n2 + j])
                matrix[:, i, :, j] += phase.real * np.real(x) - phase.imag * np.imag(x)
        factors = lu_factor(matrix.reshape(size * q, size * q), overwrite_a=True)
        return lambda right, transposed: lu_solve(factors, right.ravel(), int(transposed)).reshape(size, q)

    def _periodic(self, right: np.ndarray, transposed: bool) -> np.ndarray:
        """Apply C^{-1}, or its transpose, to transformed images (K, n1 c)."""
        (below, above), pivots = self.couplings[transposed], self.pivots[transposed]
        x = np.empty((*right.shape, 1), complex)
        for i, here in enumerate(self.slices):
            b, known = here.stop - here.start, right[:, here, None]
            x[:, here] = pivots[i] @ (known - below[:, :b] @ x[:, self.slices[i - 1]] if i else known)
        for i in reversed(range(len(self.slices) - 1)):
            after = self.slices[i + 1]
            x[:, self.slices[i]] -= pivots[i] @ (above[:, :, : after.stop - after.start] @ x[:, after])
        return x[:, :, 0]

    def _once(self, vector: np.ndarray, transposed: bool) -> np.ndarray:
        channels, (n1, n2) = len(self.operator.weight), self.operator.grid
        image = vector.reshape(channels, n1, n2).transpose(1, 0, 2).reshape(n1 * channels, n2)
        x = self._periodic((self.forward[:, :n2] @ image.T), transposed)
        if self.border:
            further = (x.T @ self.backward[:, n2:]).real
            x += self._periodic(self.forward[:, n2:] @ self.border(-further, transposed).T, transposed)
        image = (x.T @ self.backward[:, :n2]).real
        return image.reshape(n1, channels, n2).transpose(1, 0, 2).ravel()

    def apply(self, vector: np.ndarray, transposed: bool) -> np.ndarray:
        """Return T v or T' v."""
        image = torch.from_numpy(np.ascontiguousarray(vector)).view(1, len(self.operator.weight), *self.operator.grid)
        return (self.operator.adjoint if transposed else self.operator)(image).numpy().ravel()

    def solve(self, right: np.ndarray, transposed: bool) -> np.ndarray:
        """Return T^{-1} b or T'^{-1} b, refined `steps` times."""
        x = self._once(right, transposed)
        for _ in range(self.steps):
            x += self._once(right - self.apply(x, transposed), transposed)
        return x

    def settle(self, probe: np.ndarray) -> bool:
        """Choose how often solutions are refined, at most 3 times; False if residuals stay above rounding."""
        weights, size = float(self.operator.weight.norm()), float(np.linalg.norm(probe))
        for self.steps in range(4):
            for transposed in (False, True):
                x = self.solve(probe, transposed)
                residual = float(np.linalg.norm(probe - self.apply(x, transposed)))
                if not residual <= 1e-10 * size + 1e-14 * weights * float(np.linalg.norm(x)):
                    break
            else:
                return True
        return False


def _h(x: np.ndarray) -> np.ndarray:
    return x.conj().swapaxes(-1, -2)


def _by_lanczos(operator: ConvOperator) -> tuple[float, float] | None:
    """Return sigma_min and its relative residual, from the least eigenvalue of T T' or T' T; None if it is too small.

    Of a unit vector u with r = T T' u - s^2 u, an eigenvalue is within |r| of s^2, so a singular value within |r| / s
    of s.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    rows, columns = operator.dimensions
    wide = rows < columns
    size, (first, second) = min(rows, columns), (operator.adjoint, operator) if wide else (operator, operator.adjoint)
    shape = (1, operator.channels[wide], *(operator.output_grid if wide else operator.grid))

    def product(vector: np.ndarray) -> np.ndarray:
        return second(first(torch.from_numpy(np.ascontiguousarray(vector)).view(shape))).flatten().numpy()

    # as the largest eigenvalue of c - T T', for ARPACK overlooks eigenvalues that are zero
    c = absolute_norm(operator) ** 2
    flipped = LinearOperator((size, size), lambda vector: c * vector - product(vector), dtype=np.float64)  # pyright: ignore
    options: dict[str, Any] = {"v0": np.random.default_rng(0).standard_normal(size), "tol": 1e-13, "maxiter": _RESTARTS}
    try:
        values, vectors = eigsh(flipped, 1, which="LA", ncv=min(size, _LANCZOS_VECTORS), **options)
    except ArpackError:  # not converged either
        return None
    square, vector = c - float(values[0]), vectors[:, 0]
    residual = float(np.linalg.norm(product(vector) - square * vector))
    if not residual <= _CHECK * square:
        return None
    return math.sqrt(square), residual / square


def _by_block_qr(operator: ConvOperator) -> float:
    rows, columns = operator.dimensions
    lines, size = _lines(operator, transposed=rows < columns)
    if size > MAX_BLOCK:
        raise ValueError(
            f"an image row of the {operator.grid[0]}x{operator.grid[1]} grid has {size} entries: expected at most "
            f"{MAX_BLOCK} (block QR would take too long); ask for a smaller input"
        )
    factor = triangular_rows(lines, size)
    dimension = min(rows, columns)
    if len(factor) * size < dimension or any(not row[:, :size].diagonal().all() for row in factor):
        return 0.0  # pixels that no tap reads, or a singular R
    return 1 / inverse_norm(factor)[0]


def _lines(operator: ConvOperator, transposed: bool) -> tuple[list[dict[int, Tensor]], int]:
    """Return the block rows of T or T', as {block column: matrix}, and the width of a block column."""
    matrices = [row_matrix(operator, a) for a in range(operator.weight.shape[2])]
    outputs, inputs = operator.output_grid[0], operator.grid[0]
    lines: list[dict[int, Tensor]] = [{} for _ in range(inputs if transposed else outputs)]
    for y, (a, matrix) in itertools.product(range(outputs), enumerate(matrices)):
        r = operator.stride[0] * y + operator.dilation[0] * a - operator.padding[0][0]
        if 0 <= r < inputs:
            lines[r if transposed else y][y if transposed else r] = matrix.T if transposed else matrix
    return lines, matrices[0].shape[0 if transposed else 1]
