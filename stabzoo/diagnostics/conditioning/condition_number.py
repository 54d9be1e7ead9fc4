"""Condition numbers of matrices and operators, dense, banded or iterative."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh, lsmr
from torch import Tensor

from stabzoo.diagnostics.conditioning.banded import MAX_WORK, BandedJacobian, assembled
from stabzoo.diagnostics.conditioning.products import Products
from stabzoo.diagnostics.measurement import Kind, Measurement
from stabzoo.diagnostics.spectra.block_qr import inverse_gram, inverse_norm, triangular_rows

__all__ = ["Condition", "condition_number"]


DENSE_LIMIT = 2048


COLUMNS = 128  # of a dense Jacobian at once


SINGULAR = 1e-9  # a smallest singular value below this times the largest counts as zero in an iteration


SOLVES = 12  # steps of inverse Lanczos


@dataclass(frozen=True)
class Condition:
    """A condition number with its extreme singular values s and the residuals of those.

    A residual is max(||J v - s u||, ||J^T u - s v||) / s with unit vectors u and v: within s times it lies a singular
    value of J.  That it is the extreme one is Lanczos' doing, and not proved.
    """

    value: Measurement
    sigma_max: Measurement
    sigma_min: Measurement
    shape: tuple[int, int]
    residuals: tuple[float, float] = (0.0, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        residuals = [r if math.isfinite(r) else str(r) for r in self.residuals]
        return {
            "value": self.value.to_dict(),
            "sigma_max": self.sigma_max.to_dict(),
            "sigma_min": self.sigma_min.to_dict(),
            "shape": list(self.shape),
            "residuals": residuals,
        }


def condition_number(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    dense_limit: int = DENSE_LIMIT,
    tolerance: float = 1e-4,
    max_products: int = 20_000,
    max_work: float = MAX_WORK,
) -> Condition:
    """The condition number of the Jacobian of ``function`` at ``x``.

    Args:
        function: Any callable of one tensor; a module has to be in evaluation mode.  Once differentiable is enough,
            except matrix-free and where a dense Jacobian has more rows than columns and than ``dense_limit``.
        x: Where; float64, for smallest singular values need it.
        dense_limit: The Jacobian is formed, and the value exact, where its smaller side is at most this.
        tolerance: Residual at which an iteration has converged: relative to the singular value, which is off by at most
            that, and by about its square where the next one is well apart.
        max_products: Products with J or J^T spent on the smallest singular value where the Jacobian is not assembled.
        max_work: Operations spent on a block QR: with more, or 0, the Jacobian is not assembled.

    Returns:
        Kind exact (dense), converged, or heuristic: then the residual of sigma_min is above the tolerance, and as a
        Rayleigh quotient lies above sigma_min, the condition number printed is too small.

    Raises:
        ValueError: ``x`` is not float64, is empty, or the function or its Jacobian is not finite.
    """
    if x.dtype != torch.float64 or not x.numel():
        raise ValueError(f"x: expected float64 with at least one entry, got {tuple(x.shape)} in {x.dtype}")
    x = x.detach()
    with torch.no_grad():
        y = function(x)
    if not torch.isfinite(y).all():
        raise ValueError("the function is not finite at x, so it has no condition number there")
    shape = (y.numel(), x.numel())
    products = Products(function, x)
    if min(shape) <= dense_limit:
        return _dense(products, shape, dense_limit)
    jacobian = assembled(products, max_work)
    if jacobian is not None:
        return _banded(jacobian, shape, tolerance)
    return _iterative(products, shape, tolerance, max_products)


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.inf


def _dense(products: Products, shape: tuple[int, int], limit: int) -> Condition:
    """All singular values of the Jacobian, formed by rows (one derivative) unless they are too many."""
    by_rows = shape[0] <= max(shape[1], limit)
    product = products.rows if by_rows else products.columns
    basis = torch.eye(shape[0] if by_rows else shape[1], dtype=products.x.dtype, device=products.x.device)
    matrix = torch.cat([product(part) for part in basis.split(COLUMNS)])
    if not torch.isfinite(matrix).all():
        raise ValueError("the Jacobian is not finite at x, so it has no condition number there")
    values = torch.linalg.svdvals(matrix)
    high, low = float(values[0]), float(values[-1])
    # Below this a singular value is rounding: report it, and the condition number as infinite.
    floor = max(shape) * np.finfo(np.float64).eps * high
    note = f"dense, {shape[0]} x {shape[1]}"
    value = (
        Measurement(high / low, "exact", note) if low > floor else Measurement(math.inf, "exact", f"{note}; singular")
    )
    return Condition(value, Measurement(high, "exact", note), Measurement(low, "exact", note), shape)


def _banded(jacobian: BandedJacobian, shape: tuple[int, int], tolerance: float) -> Condition:
    """Lanczos for the largest singular value; for the smallest inverse Lanczos on the R of a block QR."""
    wide = shape[0] < shape[1]
    matrix = jacobian.sparse()
    if not np.isfinite(matrix.data).all():
        raise ValueError("the Jacobian is not finite at x, so it has no condition number there")
    matrix = matrix.T.tocsr() if wide else matrix
    transpose = matrix.T.tocsr()
    v, converged = _top(matrix.dot, transpose.dot, min(shape), np.random.default_rng(0))
    high, high_residual = _triplet(matrix.dot, transpose.dot, v)
    if not high:
        return _zero(shape)
    size = min(shape) // (len(jacobian.blocks) if wide else jacobian.rows)
    factor = triangular_rows(jacobian.lines(transposed=wide), size)
    pivots = torch.cat([row[:, :size].diagonal().abs() for row in factor])
    floor = max(shape) * np.finfo(np.float64).eps * high
    # sigma_min(R) is at most the least pivot; below the floor both are rounding.
    low, low_residual = 0.0, 0.0
    if len(pivots) == min(shape) and float(pivots.min()) > floor:
        _, v = inverse_norm(factor)
        low, low_residual = _refined(matrix, transpose, factor, v)
    singular = low <= floor
    kinds: tuple[Kind, Kind] = (
        "converged" if converged and high_residual <= tolerance else "heuristic",
        "converged" if singular or low_residual <= tolerance else "heuristic",
    )
    note = "block QR by image rows, " + (
        "singular to rounding" if singular else f"residuals {high_residual:.1e} and {low_residual:.1e}"
    )
    return Condition(
        Measurement(
            math.inf if singular else high / low, "converged" if set(kinds) == {"converged"} else "heuristic", note
        ),
        Measurement(high, kinds[0], "Lanczos"),
        Measurement(low, kinds[1], "block QR, inverse Lanczos"),
        shape,
        (high_residual, 0.0 if singular else low_residual),
    )


def _refined(matrix: Any, transpose: Any, factor: list[Tensor], v: NDArray[np.float64]) -> tuple[float, float]:
    """The smallest singular value s from its right vector v, and max(||A v - s u||, ||A^T u - s v||) / s.

    With u = A v / s the rounding of v alone makes the residual eps cond^2.  So u is corrected to A^T u = s v,
    u <- u - A (A^T A)^{-1} (A^T u - s v), by the R of A: what is left is eps cond.
    """
    v = v / np.linalg.norm(v)
    image = matrix @ v
    s = float(np.linalg.norm(image))
    if not s:
        return 0.0, 0.0
    u = image / s
    for _ in range(2):
        u = u - matrix @ inverse_gram(factor, transpose @ u - s * v)
        u = u / np.linalg.norm(u)
        s = abs(float(u @ image))
    return s, float(max(np.linalg.norm(image - s * u), np.linalg.norm(transpose @ u - s * v))) / s


def _zero(shape: tuple[int, int]) -> Condition:
    zero = Measurement(0.0, "converged", "the Jacobian is zero")
    return Condition(Measurement(math.inf, "converged", "the Jacobian is zero"), zero, zero, shape)


def _iterative(products: Products, shape: tuple[int, int], tolerance: float, max_products: int) -> Condition:
    """Lanczos for the largest singular value; for the smallest inverse Lanczos whose solves are LSMR's."""
    wide = shape[0] < shape[1]  # then the smallest singular value is that of the tall transpose
    forward, backward = (products.backward, products.forward) if wide else (products.forward, products.backward)
    m, n = max(shape), min(shape)
    operator = LinearOperator((m, n), matvec=forward, rmatvec=backward, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    random = np.random.default_rng(0)
    v, converged = _top(forward, backward, n, random)
    high, high_residual = _triplet(forward, backward, v)
    if not high:
        return _zero(shape)
    low, low_residual = _smallest(operator, random, high, tolerance, max_products, products)
    fine = converged and high_residual <= tolerance and low_residual <= tolerance
    how = f"{products.count} products, residuals {high_residual:.1e} and {low_residual:.1e}"
    kinds: tuple[Kind, Kind] = (
        "converged" if converged and high_residual <= tolerance else "heuristic",
        "converged" if low_residual <= tolerance else "heuristic",
    )
    note = how if fine else f"{how}; not converged, the true value is larger"
    return Condition(
        Measurement(_ratio(high, low), "converged" if fine else "heuristic", note),
        Measurement(high, kinds[0], "Lanczos"),
        Measurement(low, kinds[1], "inverse Lanczos, LSMR solves"),
        shape,
        (high_residual, low_residual),
    )


def _top(forward: Any, backward: Any, n: int, random: np.random.Generator) -> tuple[NDArray[np.float64], bool]:
    gram = LinearOperator((n, n), matvec=lambda v: backward(forward(v)), dtype=np.float64)  # pyright: ignore[reportCallIssue]
    try:
        _, vectors = eigsh(gram, k=1, which="LA", v0=random.standard_normal(n), tol=cast(Any, 1e-13), maxiter=1000)
    except ArpackError:  # a zero matrix, or no convergence
        return random.standard_normal(n), False
    return vectors[:, 0], True


def _triplet(forward: Any, backward: Any, v: NDArray[np.float64]) -> tuple[float, float]:
    """The Rayleigh quotient s = ||J v|| of a unit vector, and ||J^T u - s v|| / s with u = J v / s."""
    v = v / np.linalg.norm(v)
    image = forward(v)
    s = float(np.linalg.norm(image))
    if not s:
        return 0.0, 0.0
    return s, float(np.linalg.norm(backward(image / s) - s * v)) / s


def _smallest(
    operator: LinearOperator,
    random: np.random.Generator,
    high: float,
    tolerance: float,
    max_products: int,
    products: Products,
) -> tuple[float, float]:
    """Lanczos on (A^T A)^-1, fully reorthogonalised; the best Rayleigh quotient found and its residual.

    What A^T y = v leaves of a random v lies in the null space of A: a singular A shows in the first solve.
    """
    n = operator.shape[1]
    limit = products.count + max_products
    basis: list[NDArray[np.float64]] = []
    images: list[NDArray[np.float64]] = []
    v = random.standard_normal(n)
    best = (math.inf, math.inf)
    for _ in range(SOLVES):
        for _twice in (1, 2):
            for other in basis:
                v = v - (other @ v) * other
        size = float(np.linalg.norm(v))
        if not size:
            break
        v = v / size
        basis.append(v)
        left = max((limit - products.count) // 4, 1)
        half = lsmr(operator.T, v, atol=1e-12, btol=1e-12, conlim=0, maxiter=left)[0]
        if len(basis) == 1:
            remainder = v - operator.rmatvec(half)
            if np.linalg.norm(remainder) > 1e-8:
                found = _triplet(operator.matvec, operator.rmatvec, remainder)
                if found[0] <= SINGULAR * high:
                    return 0.0, 0.0
                best = found
        w = lsmr(operator, half, atol=1e-12, btol=1e-12, conlim=0, maxiter=left)[0]
        images.append(w)
        projected = np.array(basis) @ np.array(images).T
        _, vectors = np.linalg.eigh((projected + projected.T) / 2)
        ritz = np.array(images).T @ vectors[:, -1]  # one more inverse step for free
        found = _triplet(operator.matvec, operator.rmatvec, ritz)
        if found[0] < best[0]:
            best = found
        if best[1] <= tolerance or products.count >= limit:
            break
        v = w
    return best
