"""Condition numbers of residual blocks: the paper's formula beside the truth.

Lemma 1 of the paper gives a block y + W2 W1 y the condition number (M1 M2 + 1) / (m1 m2 + 1), with M and m the largest
and the smallest singular values of W1 and W2.  It is not a bound: the smallest singular value of I + W2 W1 is not
1 + m1 m2 (W1 = I, W2 = diag(-1, 1) have M = m = 1 and formula 1, and I + W2 W1 is singular).  What is true:

- cond(I + W2 W1) <= (1 + M1 M2) / (1 - M1 M2) where M1 M2 < 1;
- cond(W2 W1) <= M1 M2 / (m1 m2), of the branch without shortcut and activations, where W1 and W2 are square.

So the condition number itself is computed too, of the linear map (activations left out, batch norms in evaluation mode,
which are affine) and of the Jacobian at data: sigma_max / sigma_min over the min(m, n) singular values of an (m, n)
matrix:

- dense, where the smaller side is at most ``dense_limit``;
- else, of a map between images that is local (see `banded`), by block QR in the order of image rows, J = Q R, or
  J^T = Q R if J is wide: sigma_min = 1 / ||R^{-1}||;
- else matrix-free, by products with J and J^T, which may not converge, and then says so.

Source: Understanding ResNet from a Discrete Dynamical System Perspective (ICLR 2022 submission), eq. (2) and Lemma 1.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh, lsmr
from torch import Tensor, nn

from stabzoo.diagnostics.banded import MAX_WORK, BandedJacobian, assembled
from stabzoo.diagnostics.block_qr import inverse_gram, inverse_norm, triangular_rows
from stabzoo.diagnostics.capture import named_modules_of, residual_blocks, run_hooked
from stabzoo.diagnostics.measurement import Kind, Measurement
from stabzoo.diagnostics.products import Products

__all__ = ["BlockConditioning", "Condition", "block_conditioning", "condition_number", "module_conditioning"]

DENSE_LIMIT = 2048
COLUMNS = 128  # of a dense Jacobian at once
ROUNDING = 1e-10  # relative to the largest singular value: far above what float64 loses at these dimensions
SINGULAR = 1e-9  # a smallest singular value below this times the largest counts as zero in an iteration
SOLVES = 12  # steps of inverse Lanczos
NOT_A_BOUND = "Lemma 1; not a bound of the condition number, in either direction"


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


@dataclass(frozen=True)
class BlockConditioning:
    """Formula and truth of one block; ``interval`` is what the formula gives for all smallest singular values."""

    name: str
    formula: Measurement
    interval: tuple[float, float]
    branch_bound: Measurement
    block_bound: Measurement
    linear: Condition
    jacobian: Condition

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "name": self.name,
            "formula": self.formula.to_dict(),
            "interval": [end if math.isfinite(end) else str(end) for end in self.interval],
            "branch_bound": self.branch_bound.to_dict(),
            "block_bound": self.block_bound.to_dict(),
            "linear": self.linear.to_dict(),
            "jacobian": self.jacobian.to_dict(),
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


def block_conditioning(
    block: nn.Module, inputs: Tensor | Sequence[Tensor], name: str = "", **options: Any
) -> BlockConditioning:
    """Formula and truth of one residual block, at its input for one image.

    Args:
        block: A block of stabzoo's network, or timm's ResNet ``BasicBlock`` or ``Bottleneck``; it is not changed.
        inputs: What it is called with: a tensor (1, C, H, W), or the history, newest state first.  The maps are those
            from the newest state to the next one; older states are held fixed.
        name: Of the block.
        options: Those of `condition_number`.

    Raises:
        ValueError: the block is of another kind, or without its activations not affine, or see `condition_number`.
    """
    block = copy.deepcopy(block).double().eval().requires_grad_(False)
    history = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    history = [entry.detach().double() for entry in history]
    y = history[0]
    factors, skip, scale = _factors(block)
    jacobian = condition_number(_newest(block, inputs, history), y, **options)
    _remove_activations(block)
    step = _newest(block, inputs, history)
    _require_affine(step, y, name or type(block).__name__)
    linear = condition_number(step, y, **options)
    # A missing skip (its coefficient is 0) makes the formula the one of the paper's base network.
    if skip is None:
        undefined = Measurement(math.nan, "heuristic", "the shortcut is not the identity: Lemma 1 says nothing")
        return BlockConditioning(name, undefined, (math.nan, math.nan), undefined, undefined, linear, jacobian)
    largest = smallest = abs(scale)
    low = high = abs(scale)  # smallest from below and largest from above, rounding included
    at, certain, square = y, True, True
    for factor in factors:
        found = condition_number(factor, at, **options)
        largest, smallest = largest * found.sigma_max.value, smallest * found.sigma_min.value
        margin = ROUNDING * found.sigma_max.value
        low *= max(found.sigma_min.value - margin, 0.0)
        high *= found.sigma_max.value + margin
        square = square and found.shape[0] == found.shape[1]
        certain = certain and found.value.kind == "exact"
        with torch.no_grad():
            at = factor(at)
    kind: Kind = "certified_upper" if certain else "heuristic"
    a = abs(skip)
    formula = Measurement(_ratio(largest + a, smallest + a), "heuristic", NOT_A_BOUND)
    interval = (_ratio(largest + a, smallest + a), _ratio(largest + a, a))
    if square:
        note = "M1 M2 / (m1 m2), of the branch's linear map alone, without shortcut and activations"
        branch = Measurement(_ratio(high, low), kind, note)
    else:
        branch = Measurement(math.inf, kind, "the branch narrows or widens: its linear map has no such bound")
    if high < a:
        whole = Measurement((a + high) / (a - high), kind, "(1 + M1 M2) / (1 - M1 M2), of the block's linear map")
    else:
        whole = Measurement(math.inf, kind, f"M1 M2 = {high:.4g} is not below {a:g}: nothing is proved")
    return BlockConditioning(name, formula, interval, branch, whole, linear, jacobian)


def module_conditioning(
    model: nn.Module, image: Tensor, blocks: Sequence[str] | None = None, **options: Any
) -> list[BlockConditioning]:
    """Formula and truth of every residual block of a model, each at what it gets for ``image`` (1, C, H, W).

    ``blocks`` names modules; by default all (see `residual_blocks`).  Takes the options of `condition_number` and
    raises what `block_conditioning` raises.
    """
    if image.shape[0] != 1:
        raise ValueError(f"image: expected one image (1, C, H, W), got {tuple(image.shape)}")
    modules = named_modules_of(model, residual_blocks(model) if blocks is None else blocks)
    found: dict[str, Any] = {}

    def keep(name: str, argument: Any) -> None:
        # A copy: a block may work on its input in place.
        found[name] = argument.clone() if isinstance(argument, Tensor) else [entry.clone() for entry in argument]

    handles = [
        module.register_forward_pre_hook(lambda _m, args, name=name: keep(str(name), args[0]))
        for name, module in modules.items()
    ]
    run_hooked(model, image, handles)
    return [block_conditioning(modules[name], found[name], name, **options) for name in found]


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.inf


def _newest(block: nn.Module, inputs: Tensor | Sequence[Tensor], history: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """The map from the newest state to the next."""
    if isinstance(inputs, Tensor):
        return lambda y: block(y.clone())  # a clone: the block may add in place
    return lambda y: block([y.clone(), *history[1:]])[0]


def _remove_activations(block: nn.Module) -> None:
    for module in list(block.modules()):
        for child, layer in module.named_children():
            if type(layer).__module__ in ("torch.nn.modules.activation", "timm.layers.activations"):
                setattr(module, child, nn.Identity())


def _require_affine(function: Callable[[Tensor], Tensor], y: Tensor, name: str) -> None:
    """Refuse a map that does not satisfy f(y) + f(-y) = 2 f(0)."""
    with torch.no_grad():
        ends = function(y) + function(-y)
        middle = 2 * function(torch.zeros_like(y))
    if not torch.allclose(ends, middle, rtol=1e-8, atol=1e-8 * float(ends.abs().max())):
        raise ValueError(
            f"{name}: is not affine without its activation modules (attention, or an activation called as a function), "
            "so it has no linear map; use condition_number for its Jacobian"
        )


def _factors(block: nn.Module) -> tuple[list[nn.Sequential], float | None, float]:
    """The branch's convolutions with the scale of their batch norm, what multiplies the skip and the branch.

    What multiplies a skip that is not the identity is None.
    """
    modules = dict(block.named_modules())
    if "step" in modules and isinstance(getattr(modules["step"], "f", None), nn.Module):
        step: Any = modules["step"]
        method = step.coefficients()
        if method.beta_next:
            raise ValueError(
                f"{type(step).__name__}: the formula is that of an explicit step, 1 + branch; condition numbers of "
                "implicit steps are not computed"
            )
        layers = [*cast(Any, block).preact.named_children(), *step.f.body.named_children(), ("conv", step.f.conv)]
        norms = [layer for key, layer in layers if key.startswith("norm")]
        convs = [layer for key, layer in layers if key.startswith("conv")]
        factors = [nn.Sequential(*pair) for pair in (zip(norms, convs, strict=True) if norms else zip(convs))]
        plain = all(isinstance(shortcut, nn.Identity) for shortcut in cast(Any, block).shortcuts)
        return factors, float(method.alpha[0]) if plain else None, float(method.beta[0])
    if "conv1" in modules and "bn1" in modules and "conv2" in modules and "bn2" in modules:
        count = 3 if "conv3" in modules else 2
        factors = [nn.Sequential(modules[f"conv{i}"], modules[f"bn{i}"]) for i in range(1, count + 1)]
        plain = getattr(block, "downsample", None) is None and getattr(block, "stride", 1) in (1, (1, 1))
        return factors, 1.0 if plain else None, 1.0
    raise ValueError(
        f"{type(block).__name__}: expected a block of stabzoo's network or timm's ResNet BasicBlock or Bottleneck; "
        "use condition_number for the Jacobian of another"
    )


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
