"""Norms of convolutions whose padding is not periodic, enclosed.

Let T map images on the grid n to outputs on the grid m, and C be the same convolution on a torus of side N, a multiple
of the stride s, where a wrap multiplies by e^{i theta}. If no tap that leaves the grid comes back into it around the
torus, N >= n + p (p: padding before) and N > s (m - 1) + d (k - 1) - p (the last pixel read), and the outputs are
different ones, N >= s m, then T is a part of the matrix C and ||T|| <= ||C|| = max sigma_max F((2 pi j + theta)/N), for
every such N and theta. On the *same* grid, N = n, this is false: ||T|| may exceed the periodic norm.

The least of these bounds is some percent too large. A certificate of any accuracy is a Cholesky factorisation of
tau^2 I - T T', block banded in the order of image rows, just above Lanczos' lower bound.

Padding that copies pixels (reflect, replicate) is x -> T P x, where P repeats a pixel c times at most:
||T P|| <= sqrt(c) ||T|| for all of them, and the factorisation for those that are small enough, as rows stay in a band.

Source: compression to a circulant: Gray, 2006; Araujo et al., AAAI 2021. Rounding: Rump, BIT 46 (2006).
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from stabzoo.diagnostics.measurement import Measurement
from stabzoo.diagnostics.spectra.operators import ConvOperator
from stabzoo.diagnostics.spectra.periodic import half_frequencies, polyphase, symbol_norms

__all__ = [
    "COPYING",
    "absolute_norm",
    "certified_below",
    "enclose_norm",
    "lanczos_lower",
    "padded_bound",
    "quickly_enclosed",
    "remembered",
    "row_matrix",
    "torus_bound",
    "torus_bounds",
    "touching",
    "unit_scaled",
]

_UNIT = 2.0**-53
_WIDTH = 1e-6
_BLOCK = 1024  # largest side of a Cholesky block, one image row
_WORK = 2e11  # most operations of a factorisation, some seconds
_QUICK = 5e9
COPYING = ("reflect", "replicate")  # paddings that repeat pixels near the edge
_NARROW, _CHEAP = 128, 2e8  # channels, and pixels times channels cubed, up to which twelve tori are tried


def torus_bound(operator: ConvOperator, twists: bool | None = None) -> Measurement:
    """Return a certified upper bound of a zero-padded convolution's norm, from tori large enough.

    Args:
        operator: With zero (or no) padding.
        twists: Take the least of 12 tori (three sides, theta in {0, pi}^2) instead of the smallest torus' bound; by
            default for at most 128 channels on small grids, as the time grows with pixels times channels cubed.

    Raises:
        ValueError: The padding is not with zeros.
    """
    return torus_bounds([operator], twists)[0]


_Known: TypeAlias = dict[tuple[object, ...], Measurement]
_known: ContextVar[_Known | None] = ContextVar("known torus bounds", default=None)


@contextmanager
def remembered() -> Iterator[None]:
    """Bound a convolution that is met again, on the same grid and with the same weights, once only within."""
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def torus_bounds(operators: Sequence[ConvOperator], twists: bool | None = None) -> list[Measurement]:
    """Return the `torus_bound` of each of several operators that differ in the values of their weights only.

    Raises:
        ValueError: The padding is not with zeros.
    """
    known = _known.get()
    if known is None:
        return _torus_bounds(operators, twists)
    keys = [_key(operator, twists) for operator in operators]
    new = {key: operator for key, operator in zip(keys, operators, strict=True) if key not in known}
    if new:
        known.update(zip(new, _torus_bounds(list(new.values()), twists), strict=True))
    return [known[key] for key in keys]


def _key(operator: ConvOperator, twists: bool | None) -> tuple[object, ...]:
    """All that a bound depends on."""
    weight = operator.weight.contiguous()
    settings = (operator.grid, operator.stride, operator.dilation, operator.groups, operator.padding, operator.mode)
    return (hashlib.sha256(weight.numpy().tobytes()).digest(), tuple(weight.shape), *settings, twists)


@torch.no_grad()
def _torus_bounds(operators: Sequence[ConvOperator], twists: bool | None) -> list[Measurement]:
    operators, scales = zip(*[unit_scaled(touching(operator)) for operator in operators], strict=True)
    first = operators[0]
    stacked = torch.cat([_groups_of(operator) for operator in operators])
    taps = polyphase(stacked, first.stride, first.dilation)
    smallest = []
    sizes = zip(first.grid, first.output_grid, first.padding, first.reach, first.stride, strict=True)
    for n, m, (before, _), reach, s in sizes:
        side = max(n + before, s * (m - 1) + reach - before + 1, s * m)
        smallest.append(-(-side // s))
    if twists is None:
        channels = min(stacked.shape[1], math.prod(first.stride) * stacked.shape[2])
        twists = channels <= _NARROW and math.prod(smallest) * channels**3 <= _CHEAP
    choices = itertools.product(range(3), (0, 1), (0, 1)) if twists else [(0, 0, 0)]
    tori = [half_frequencies((smallest[0] + more, smallest[1] + more), (t1, t2))[0] for more, t1, t2 in choices]
    norms = symbol_norms(taps, *tori).view(len(operators), -1).amax(1).tolist()
    note = "norm on a larger torus, least of 12" if twists else "on a larger torus"
    # Rounding: each symbol is wrong by less than 1e-11 |K|_F, its largest singular value by less than 1e-10 of itself.
    return [
        Measurement(
            _scaled(norm * (1 + 1e-10) + 1e-11 * float(torch.linalg.vector_norm(operator.weight)), scale, math.inf),
            "certified_upper",
            note,
        )
        for norm, operator, scale in zip(norms, operators, scales, strict=True)
    ]


@torch.no_grad()
def enclose_norm(operator: ConvOperator) -> tuple[Measurement, Measurement]:
    """Return a certified lower and a certified upper bound of a convolution's norm: padding of any kind but circular.

    They are 1e-6 apart, relatively, where the Cholesky blocks (one image row) are small enough; else the upper one is
    the torus'. The lower one is the Rayleigh quotient of Lanczos' vector.

    Raises:
        ValueError: The padding is circular.
    """
    operator = operator if operator.mode in COPYING else touching(operator)
    best: tuple[float, float, str] = (0.0, 0.0, "no weights")
    for g in range(operator.groups):
        block, scale = unit_scaled(operator.group(g))
        if not scale:
            continue
        lower, upper, how = _enclose_block(block)
        lower, upper = _scaled(lower, scale, 0.0), _scaled(upper, scale, math.inf)
        best = (max(best[0], lower), *max((best[1], best[2]), (upper, how)))
    return Measurement(best[0], "certified_lower", "Lanczos"), Measurement(best[1], "certified_upper", best[2])


def _enclose_block(operator: ConvOperator) -> tuple[float, float, str]:
    provable = _provable(operator)
    lower = lanczos_lower(operator, 1e-5 if provable else 3e-2)
    torus = padded_bound(operator) if operator.mode in COPYING else torus_bound(operator)
    if provable:
        for attempt in range(2):
            if torus.value <= lower * (1 + 0.9 * _WIDTH):
                break
            above = certified_below(operator, lower * (1 + 0.9 * _WIDTH))
            if above is not None:
                return lower, above, "block Cholesky"
            if not attempt:
                lower = max(lower, lanczos_lower(operator, 1e-9))
    return lower, torus.value, torus.note


def padded_bound(operator: ConvOperator) -> Measurement:
    """Bound a convolution with any padding by the padding's norm times that of the convolution of the padded image.

    The padding's norm is the root of how often a pixel is copied.
    """
    norm = math.sqrt(_copies(operator))
    bound = torus_bound(operator.unpadded())
    note = f"{operator.mode} padding (norm {norm:.4g}) times the convolution of the padded image"
    return Measurement(bound.value * norm * (1 + 1e-12), "certified_upper", note)


def _copies(operator: ConvOperator) -> int:
    """How often the pixel that is copied most stands in the padded image."""
    counts = [Counter(source for source in operator.sources(axis) if source >= 0) for axis in (0, 1)]
    return math.prod(max(count.values()) for count in counts)


def quickly_enclosed(operator: ConvOperator) -> bool:
    """Whether `enclose_norm` takes well below a second and ends with a proof."""
    return _provable(operator, _QUICK)


def _provable(operator: ConvOperator, work: float = _WORK) -> bool:
    """Whether the factorisation of n blocks of side b in a band of h blocks is quick: n b^3 (h^2 + h) operations."""
    by_output = _by_output(operator)
    side = min(_row_sizes(operator))
    lines = (operator.output_grid if by_output else operator.grid)[0]
    band = min(lines, 1 + operator.reach[0] // (operator.stride[0] if by_output else 1))
    return side <= _BLOCK and lines * side**3 * (band**2 + band) <= work


def lanczos_lower(operator: ConvOperator, tolerance: float) -> float:
    """Return ||T v|| / ||v||, rounded down, for the v where Lanczos' method on T' T stops."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    rows, columns = operator.dimensions
    transposed = rows < columns
    size = min(rows, columns)
    shape = (1, operator.channels[transposed], *(operator.output_grid if transposed else operator.grid))
    first, second = (operator.adjoint, operator) if transposed else (operator, operator.adjoint)

    def product(vector: np.ndarray) -> np.ndarray:
        return second(first(torch.from_numpy(np.ascontiguousarray(vector)).view(shape))).flatten().numpy()

    if size <= 16:
        matrix = np.stack([product(e) for e in np.eye(size)])
        vector = np.linalg.eigh((matrix + matrix.T) / 2)[1][:, -1]
    else:
        start = np.random.default_rng(0).standard_normal(size)
        gram = LinearOperator((size, size), product, dtype=np.float64)  # pyright: ignore
        options = {"v0": start, "tol": tolerance, "ncv": min(size - 1, 24), "maxiter": 10_000}
        vector = eigsh(gram, 1, which="LA", **options)[1][:, 0]
    image = first(torch.from_numpy(vector.copy()).view(shape))
    quotient = float(image.norm()) / float(np.linalg.norm(vector))
    # |fl(T v) - T v| <= gamma |T| |v|, and the two norms are sums of `size` squares
    return max(
        0.0, quotient * (1 - 4 * max(rows, columns) * _UNIT) - 2 * _terms(operator) * _UNIT * absolute_norm(operator)
    )


def certified_below(operator: ConvOperator, tau: float) -> float | None:
    """Return a proved upper bound of ||T||, tau and what rounding may hide; None where the proof fails.

    If the factorisation of fl(tau^2 I - G), G = T T' or T' T, runs to its end, its result is the exact factor of a
    matrix that differs in each entry by less than gamma_{b+2} tau^2, with b entries of a row inside the band, hence by
    less than 2 (b + 2) (2 b + 1) u tau^2 in norm; G itself was computed to within gamma |T| |T'|.
    """
    blocks = _gram_rows(operator)
    size = len(blocks[0][0])
    band = max(j - i for i, row in enumerate(blocks) for j in range(i, i + len(row))) + 1
    if not _factorises(blocks, tau * tau):
        return None
    width = band * size
    factor = 2 * (width + 2) * (2 * width + 1) * _UNIT * tau * tau
    formation = 4 * (_terms(operator) + 2) * len(operator.weight[0, 0]) * _UNIT * absolute_norm(operator) ** 2
    return math.sqrt(tau * tau + factor + formation + 4 * _UNIT * tau * tau) * (1 + 4 * _UNIT)


def _factorises(gram: list[list[Tensor]], square: float) -> bool:
    """Whether square I - G has a Cholesky factor; row i of `gram` holds the blocks G[i + o, i] of the band, o >= 0."""
    window: dict[tuple[int, int], Tensor] = {}
    for i, row in enumerate(gram):
        for offset, block in enumerate(row):  # right-looking: updates of earlier rows may already be here
            key = (i + offset, i)
            window[key] = window[key] - block if key in window else -block
        diagonal = window.pop((i, i))
        diagonal.diagonal().add_(square)
        factor, info = torch.linalg.cholesky_ex(diagonal)
        if info:
            return False
        below = [
            (j, torch.linalg.solve_triangular(factor.T, window.pop((j, i)), upper=True, left=False))
            for j in range(i + 1, i + len(row))
        ]
        for (j, x), (k, y) in itertools.combinations_with_replacement(below, 2):
            if j == k:
                _subtract_square(window.setdefault((j, j), torch.zeros_like(diagonal)), x)
            elif (k, j) in window:
                window[k, j].addmm_(y, x.T, alpha=-1)
            else:
                window[k, j] = -(y @ x.T)
    return True


def _subtract_square(block: Tensor, x: Tensor) -> None:
    """Subtract x x' from the lower triangle of a block, in place: half the operations of a product."""
    from scipy.linalg.blas import dsyrk  # pyright: ignore[reportAttributeAccessIssue]

    # BLAS has columns where torch has rows; on a block that is not contiguous it would work on a copy
    updated = dsyrk(-1.0, x.numpy().T, beta=1.0, c=block.numpy().T, trans=1, lower=0, overwrite_c=1)
    assert updated.ctypes.data == block.data_ptr()


def _gram_rows(operator: ConvOperator) -> list[list[Tensor]]:
    """Return the blocks [G[i, i], G[i + 1, i], ...] of G = T T' or T' T, whichever has the smaller blocks.

    T's block (y, r) for output row y and input row r = s1 y + d1 a - p1 is the one-dimensional convolution with kernel
    row a, zero elsewhere.
    """
    outputs = operator.output_grid[0]
    toeplitz = [row_matrix(operator, a) for a in range(operator.weight.shape[2])]
    by_output, sources = _by_output(operator), operator.sources(0)
    # of each block row, which kernel rows meet which row of the other side: several where padding copies rows
    lines: dict[int, dict[int, tuple[int, ...]]] = {i: {} for i in range(outputs if by_output else operator.grid[0])}
    for y, a in itertools.product(range(outputs), range(len(toeplitz))):
        r = sources[operator.stride[0] * y + operator.dilation[0] * a]
        if r >= 0:
            line, other = lines[y if by_output else r], r if by_output else y
            line[other] = (*line.get(other, ()), a)
    met = {rows for line in lines.values() for rows in line.values()}
    matrices = {rows: sum((toeplitz[a] for a in rows[1:]), toeplitz[rows[0]]) for rows in met}
    if not by_output:
        matrices = {rows: matrix.T for rows, matrix in matrices.items()}
    size = min(_row_sizes(operator))
    products: dict[tuple[tuple[int, ...], tuple[int, ...]], Tensor] = {}

    def product(a: tuple[int, ...], b: tuple[int, ...]) -> Tensor:
        if (a, b) not in products:
            products[a, b] = matrices[a] @ matrices[b].T
        return products[a, b]

    gram = []
    for i, line in lines.items():
        touched = [j for j in range(i, len(lines)) if line.keys() & lines[j].keys()]
        row = []
        for j in range(i, max(touched, default=i) + 1):
            shared = [product(lines[j][r], line[r]) for r in line if r in lines[j]]
            row.append(sum(shared[1:], shared[0].clone()) if shared else torch.zeros(size, size, dtype=torch.float64))
        gram.append(row)
    for i in range(1, len(gram)):  # fill-in stays within the longest reach of any earlier row
        missing = i - 1 + len(gram[i - 1]) - i - len(gram[i])
        gram[i] += [torch.zeros(size, size, dtype=torch.float64) for _ in range(missing)]
    return gram


def row_matrix(operator: ConvOperator, a: int) -> Tensor:
    """Return the matrix (m2 c_out) x (n2 c_in) of the one-dimensional convolution with kernel row a."""
    rows, columns, _, taps = operator.weight.shape
    outputs, inputs = operator.output_grid[1], operator.grid[1]
    matrix = operator.weight.new_zeros(outputs, rows, inputs, columns)
    sources = operator.sources(1)
    for y, b in itertools.product(range(outputs), range(taps)):
        x = sources[operator.stride[1] * y + operator.dilation[1] * b]
        if x >= 0:
            matrix[y, :, x] += operator.weight[:, :, a, b]
    return matrix.view(outputs * rows, inputs * columns)


def _row_sizes(operator: ConvOperator) -> tuple[int, int]:
    """Return the sides of a block of T T' and of T' T."""
    return operator.output_grid[1] * operator.weight.shape[0], operator.grid[1] * operator.weight.shape[1]


def _by_output(operator: ConvOperator) -> bool:
    """Whether T T' has the smaller blocks."""
    of_output, of_input = _row_sizes(operator)
    return of_output <= of_input


def _terms(operator: ConvOperator) -> int:
    """Bound the terms of an entry of T x and of T' y."""
    copies = _copies(operator) if operator.mode in COPYING else 1
    return copies * (max(operator.weight[0].numel(), operator.weight[:, 0].numel()) + 2)


def absolute_norm(operator: ConvOperator) -> float:
    """Bound || |T| || by the geometric mean of its largest row and column sum."""
    size = operator.weight.abs()
    copies = _copies(operator) if operator.mode in COPYING else 1  # a pixel's column has an entry for each copy
    return math.sqrt(float(size.sum((1, 2, 3)).max()) * float(size.sum((0, 2, 3)).max()) * copies) * (1 + 1e-12)


def _groups_of(operator: ConvOperator) -> Tensor:
    """Return the kernels of the groups, (groups, c_out / groups, c_in / groups, k1, k2)."""
    return operator.weight.view(operator.groups, -1, *operator.weight.shape[1:])


def touching(operator: ConvOperator) -> ConvOperator:
    """Set to zero the taps that never meet the image; on a torus they would count.

    Raises:
        ValueError: The padding is not with zeros.
    """
    if operator.mode != "zeros" and any(itertools.chain(*operator.padding)):
        raise ValueError(f"expected zero padding, got {operator.mode!r}: the bound does not hold for it")
    masks = []
    for axis, (taps, outputs) in enumerate(zip(operator.weight.shape[2:], operator.output_grid, strict=True)):
        pixels = operator.stride[axis] * torch.arange(outputs) - operator.padding[axis][0]
        read = pixels + operator.dilation[axis] * torch.arange(taps)[:, None]
        masks.append(((read >= 0) & (read < operator.grid[axis])).any(1))
    return replace(operator, weight=operator.weight * (masks[0][:, None] & masks[1]), mode="zeros")


def unit_scaled(operator: ConvOperator) -> tuple[ConvOperator, float]:
    """Return the operator with its largest weight in [1, 2), and the power of two to multiply its norms by.

    Squares of the weights neither underflow nor overflow then; without weights the factor is 0.
    """
    largest = float(operator.weight.abs().amax())
    if not largest:
        return operator, 0.0
    exponent = math.frexp(largest)[1] - 1
    weight = torch.from_numpy(np.ldexp(operator.weight.numpy(), -exponent))
    return replace(operator, weight=weight), 2.0**exponent


def _scaled(bound: float, scale: float, towards: float) -> float:
    """Multiply a bound by a power of two, rounding outwards where the result is not a normal number."""
    value = bound * scale
    return value if not scale or 2.0**-1022 <= value < math.inf else math.nextafter(value, towards)
