"""The Jacobian of a map between images, assembled by image rows: block banded where the map is local.

An output row i of a residual block with two 3x3 convolutions reads the input rows i - 2 .. i + 2 only.  Which rows it
reads is found, not assumed: u J of a random u that lives on row i is zero elsewhere (a nonzero row of J would have to
cancel, which has probability zero).  Output rows that read disjoint windows share their products u J: (5 rows) times
(entries of an image row) backward passes assemble all of J, whatever the height.

Source: Curtis, Powell, Reid, On the estimation of sparse Jacobian matrices, J. Inst. Math. Appl. 13 (1974).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array, vstack
from torch import Tensor

from stabzoo.diagnostics.conditioning.products import Products

__all__ = ["MAX_WORK", "BandedJacobian", "assembled"]

MAX_WORK = 1e12
"""Most operations of a block QR: a 512-dimensional image row and a bandwidth of 5 rows take 4e11 at 32 rows."""
_PROBES = 128  # backward passes at once
_AGREEMENT = 1e-10


@dataclass(frozen=True)
class BandedJacobian:
    """J by image rows; rows and columns are in the order (image row, everything else).

    Attributes:
        first: The first input row that each output row reads.
        blocks: For each output row (p, span * q): p and q entries in an output and in an input row.
        rows: How many input rows there are.
        q: Entries of an input row.
    """

    first: list[int]
    blocks: list[Tensor]
    rows: int
    q: int

    def sparse(self) -> csr_array:
        """J, (p * output rows, q * input rows)."""
        found = []
        for first, block in zip(self.first, self.blocks, strict=True):
            part = csr_array(block.numpy())
            columns = part.indices + first * self.q
            found.append(csr_array((part.data, columns, part.indptr), shape=(len(block), self.rows * self.q)))
        return csr_array(vstack(found, format="csr"))

    def lines(self, transposed: bool) -> list[dict[int, Tensor]]:
        """Block rows of J or J^T as `block_qr.triangular_rows` takes them."""
        found: list[dict[int, Tensor]] = [{} for _ in range(self.rows if transposed else len(self.blocks))]
        for i, (first, block) in enumerate(zip(self.first, self.blocks, strict=True)):
            for r in range(first, first + block.shape[1] // self.q):
                matrix = block[:, (r - first) * self.q : (r - first + 1) * self.q]
                if transposed:
                    found[r][i] = matrix.T
                else:
                    found[i][r] = matrix
        return found


def assembled(products: Products, max_work: float = MAX_WORK) -> BandedJacobian | None:
    """Assemble J of a map from (..., H, W) to (..., H', W').

    Returns:
        None where there are no image rows, the block QR of J (or of J^T, if J is wide) would take more operations than
        ``max_work``, or the assembled J differs from the function's: one that is not the same when called again.
    """
    x, y = products.x, products.y
    if min(x.ndim, y.ndim) < 3:
        return None
    heights = y.shape[-2], x.shape[-2]
    sizes = y.numel() // heights[0], x.numel() // heights[1]
    windows = _windows(products, heights, sizes)
    if _work(windows, heights, sizes) > max_work:
        return None
    blocks = [x.new_zeros(sizes[0], (end - start) * sizes[1]).cpu() for start, end in windows]
    for together in _disjoint(windows):
        for part in torch.arange(sizes[0]).split(_PROBES):
            u = x.new_zeros(len(part), heights[0], sizes[0])
            for i in together:
                u[torch.arange(len(part)), i, part] = 1
            found = _pulled(products, u, sizes[1])
            for i in together:
                start, end = windows[i]
                blocks[i][part] = found[:, start:end].flatten(1)
    jacobian = BandedJacobian([start for start, _ in windows], blocks, heights[1], sizes[1])
    u = torch.from_numpy(np.random.default_rng(1).standard_normal((1, heights[0], sizes[0]))).to(x)
    truth = _pulled(products, u, sizes[1]).flatten().numpy()
    error = np.linalg.norm(jacobian.sparse().T @ u.flatten().cpu().numpy() - truth)
    return jacobian if error <= _AGREEMENT * np.linalg.norm(truth) else None


def _pulled(products: Products, u: Tensor, q: int) -> Tensor:
    """U J by image rows: (k, H', p) -> (k, H, q)."""
    x, y = products.x, products.y
    other = *y.shape[:-2], y.shape[-1]
    found = products.rows(u.unflatten(2, other).movedim(1, -2)).view(-1, *x.shape)
    return found.movedim(-2, 1).reshape(len(u), -1, q).cpu()


def _windows(products: Products, heights: tuple[int, int], sizes: tuple[int, int]) -> list[tuple[int, int]]:
    """First input row that each output row reads, and the one after the last."""
    generator = torch.Generator().manual_seed(0)
    u = torch.zeros(heights[0], *(heights[0], sizes[0]), dtype=torch.float64)
    diagonal = torch.arange(heights[0])
    u[diagonal, diagonal] = torch.randn(heights[0], sizes[0], generator=generator, dtype=torch.float64)
    parts = [_pulled(products, part.to(products.x), sizes[1]) for part in u.split(_PROBES)]
    read = (torch.cat(parts) != 0).any(2)
    found = []
    for line in read:
        where = line.nonzero().flatten().tolist()
        found.append((where[0], where[-1] + 1) if where else (0, 0))
    return found


def _work(windows: list[tuple[int, int]], heights: tuple[int, int], sizes: tuple[int, int]) -> float:
    """Operations of the block QR, from above: 4 (rows) (columns) (block) at each block column."""
    height, width = sizes
    if heights[0] * height < heights[1] * width:  # J^T: input rows, and the output rows that read them
        readers = [[i for i, (start, end) in enumerate(windows) if start <= r < end] for r in range(heights[1])]
        windows = [(reader[0], reader[-1] + 1) if reader else (0, 0) for reader in readers]
        height, width = width, height
        heights = heights[1], heights[0]
    total = 0.0
    for r in range(heights[1]):
        ends = [end for start, end in windows if start <= r < end]
        total += 4.0 * len(ends) * height * (max(ends, default=r) - r) * width**2
    return total


def _disjoint(windows: list[tuple[int, int]]) -> list[list[int]]:
    """Output rows in groups within which no two windows overlap."""
    groups: list[list[int]] = []
    ends: list[int] = []
    for i in sorted(range(len(windows)), key=lambda i: windows[i]):
        start, end = windows[i]
        for g, last in enumerate(ends):
            if last <= start:
                groups[g].append(i)
                ends[g] = max(end, last)
                break
        else:
            groups.append([i])
            ends.append(end)
    return groups
