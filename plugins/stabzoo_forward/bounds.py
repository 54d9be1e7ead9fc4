"""What is proved of the layers of eqs. (14), (15), (18), with every hypothesis checked on the weights as they are.

Batch norms are read as in evaluation mode: norm1 turns A into D1 A, norm2 turns A2 into D2 A2 (A^T into D2 A^T), with
diagonal D. For differences, relu is a diagonal matrix with entries in [0, 1], Delta below.

- ResNet-D: 1 + ||D1 A1|| ||D2 A2||, eq. (47); the features do not grow but by the biases if D2 A2 >= 0, eq. (41).
- ResNet-S without norm2: I - A^T Delta D1 A is symmetric, with eigenvalues between 1 - ||D1+^(1/2) A||^2 and
  1 + ||D1-^(1/2) A||^2, where D1+- are the positive and the negative part of D1. So it is non-expansive when
  D1 >= 0 and ||D1^(1/2) A||^2 <= 2 (Lemma 2 with D1 absorbed into both sides), not when ||D1 A||^2 <= 2.
- ResNet-S with norm2: not a symmetric step. It is similar by D2^(1/2) to one with D1^(1/2) A D2^(1/2), at the cost
  (max D2 / min D2)^(1/2) of the change of norm; or 1 + ||D1 A|| ||A^T D2||; or what
  `joint_sensitivity` proves of one step.
- Pooling: 1/2 + ||A'||, A' the rows of A that meet the channels which E does not fill with zeros: the others leave the
  layer as relu(0 - relu(.)) = 0.

Source: Zhang and Schaeffer, JMIV 2020, appendix B, sharpened and corrected.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stabzoo import ConvOperator, Kernel, ReluStep, StepBound, conv_norm, fold_batch_norm, joint_sensitivity

__all__ = ["d_bound", "pooling_bound", "post_bound", "s_bound"]

Grid = tuple[int, int]
_UP = 1 + 1e-10  # rounding outwards
_SLACK = 1 + 1e-8  # a cap reached up to rounding counts as kept in words; the factor is what it is, e.g. 1.000000001


def d_bound(conv1: nn.Conv2d, norm1: nn.Module, conv2: nn.Conv2d, norm2: nn.Module, grid: Grid) -> StepBound:
    """Theorem 5 for one residual layer relu(y - norm2(A2 relu(norm1(A1 y))))."""
    a1, b1 = _folded(conv1, norm1)
    a2, b2 = _folded(conv2, norm2)
    b2 = -b2
    refused = []
    if float(a2.min()) < 0:
        refused.append(f"A2 >= 0 after folding the batch norm: its smallest entry is {float(a2.min()):.3g}")
    paper = (1 + _norm(a1, grid) * _norm(a2, grid)) * _UP
    form = _form(a1, Kernel(a2, -1))
    sensitivity, theorem = _least({"1 + ||A1|| ||A2||": paper, "joint step": joint_sensitivity(None, [form], grid)})
    points = math.sqrt(math.prod(grid))
    if refused:
        growth, offset = sensitivity, _at_zero(a2, b1, b2) * points
    else:
        growth, offset = 1.0, float(b2.relu().norm()) * points
    return StepBound(
        theorem, sensitivity, grid, growth, offset * _UP, tuple(refused), paper, float(b2.norm()) * points * _UP, form
    )


def s_bound(conv: nn.Conv2d, norm1: nn.Module, norm2: nn.Module, bias2: Tensor | None, grid: Grid) -> StepBound:
    """Theorem 6 for relu(y - norm2(A^T relu(norm1(A y))) + b_2), refused where the batch norms break it."""
    a = _kernel(conv)
    channels = len(a)
    folded1, folded2 = fold_batch_norm(norm1), fold_batch_norm(norm2)
    one, zero = torch.ones(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    d1, t1 = folded1 or (one, zero)
    d2, t2 = folded2 or (one, zero)
    b1 = t1 if conv.bias is None else t1 + d1 * conv.bias.detach().double().cpu()
    b2 = -t2 if bias2 is None else bias2.detach().double().cpu() - t2

    refused, spread = [], float(d2.max() / d2.min())
    if float(d1.min()) < 0:
        refused.append(f"gamma_1 >= 0: the smallest is a scale of {float(d1.min()):.3g}, for which the step expands")
    if spread > 1 + 1e-12:
        refused.append(
            f"A and A^T a pair: the batch norm after A^T scales its channels by 1/sigma_2 (a ratio of {spread:.3g} "
            "between them), so that Remark 2 does not preserve eq. (15)"
        )
    square = _symmetric(a, d1, d2, grid)
    positive = square[0]
    if positive > 2 * _SLACK:
        refused.append(f"||A||^2 <= 2: ||D1^(1/2) A D2^(1/2)||^2 is {positive:.6g}")
    step = max(1 + square[1], positive - 1)
    text = "Lemma 2: ||A||^2 <= 2" if step <= _SLACK else "max(1 + ||A-||^2, ||A+||^2 - 1)"
    if spread > 1 + 1e-12:
        text = f"in the norm ||D2^(-1/2) x||, changed at a cost of {math.sqrt(spread):.3g}"
    if spread <= 1 + 1e-12 and float(d1.min()) >= 0:
        root = (d1 * d2).sqrt()[:, None, None, None]  # D1 absorbed into both sides
        form = _form(root * a, Kernel(root * a, -1).adjoint())
    else:
        form = _form(d1[:, None, None, None] * a, _scaled(Kernel(a, -1).adjoint(), d2))
    candidates = {text: step * math.sqrt(spread)}
    if candidates[text] > _SLACK:
        general = 1 + _norm(d1[:, None, None, None] * a, grid) * _norm(a * d2[:, None, None], grid)
        candidates |= {"1 + ||D1 A|| ||A^T D2||": general * _UP, "joint step": joint_sensitivity(None, [form], grid)}
    sensitivity, theorem = _least(candidates)
    points = math.sqrt(math.prod(grid))
    offset = _at_zero(_scaled(Kernel(a, -1).adjoint(), d2).weight, b1, b2) * points * _UP
    printed = (math.sqrt(2) * float(b1.norm()) + float(b2.norm())) * points * _UP
    return StepBound(theorem, sensitivity, grid, sensitivity, offset, tuple(refused), 1.0, printed, form)


def pooling_bound(conv: nn.Conv2d, norm: nn.Module, grid: Grid) -> StepBound:
    """Eqs. (42) and (48) with ||P_2|| = 1/2 and the rows of A that matter."""
    a, _ = _folded(conv, norm, stride=2)
    made, channels = a.shape[:2]
    before = (made - channels) // 2
    live = a[before : before + channels]
    paper = (1 + _norm(a, grid, 2)) * _UP
    candidates = {"1/2 + ||A||, rows that matter": (0.5 + _norm(live, grid, 2)) * _UP}
    form = None
    if grid[0] % 2 == 0 == grid[1] % 2:
        eye = torch.eye(channels, dtype=torch.float64)[..., None, None]
        form = ReluStep(Kernel(eye.expand(-1, -1, 2, 2) / 4, 0, 2), Kernel(live, -1, 2), Kernel(eye), before, made)
        candidates["joint step"] = joint_sensitivity(None, [form], grid)
    sensitivity, theorem = _least(candidates)
    refused = () if form else (f"even sides: {grid[0]}x{grid[1]} is halved by a zero-padded mean",)
    out = (-(-grid[0] // 2), -(-grid[1] // 2))
    return StepBound(theorem, sensitivity, out, 0.5 * _UP, 0.0, refused, paper, 0.0, form)


def post_bound(conv1: nn.Conv2d, norm1: nn.Module, conv2: nn.Conv2d, norm2: nn.Module, grid: Grid) -> StepBound:
    """1 + ||A1|| ||A2||: nothing better is known of the post-activation block, and the paper claims nothing."""
    channels, stride = len(conv1.weight), _one_stride(conv1)
    (a1, t1), (a2, t2) = (
        fold_batch_norm(n) or (torch.ones(channels).double(), torch.zeros(channels).double()) for n in (norm1, norm2)
    )
    out = (-(-grid[0] // stride), -(-grid[1] // stride))
    second = conv_norm(conv2, out, a2).value
    value = (1 + conv_norm(conv1, grid, a1).value * second) * _UP
    offset = math.sqrt(math.prod(out)) * (second * float(t1.relu().norm()) + float(t2.norm())) * _UP
    return StepBound("1 + ||A1|| ||A2||", value, out, value, offset)


def _one_stride(conv: nn.Conv2d) -> int:
    """The stride of the first convolution of a post-activation block, which its shortcut has, too."""
    stride = ConvOperator.of(conv, (64, 64)).stride
    if stride[0] != stride[1] or type(conv) is not nn.Conv2d:
        raise ValueError(f"expected a convolution with one stride, got {conv}")
    return stride[0]


def _kernel(conv: nn.Conv2d, stride: int = 1) -> Tensor:
    """Return the kernel of a convolution, float64, as its forward reads it now.

    Raises:
        ValueError: The convolution is not a 3x3 one on a torus.
    """
    read = ConvOperator.of(conv, (3 * stride, 3 * stride))
    on_torus = read.mode == "circular" and read.padding == ((1, 1), (1, 1)) and read.weight.shape[2:] == (3, 3)
    if (
        type(conv) is not nn.Conv2d
        or not on_torus
        or (read.groups, read.dilation, read.stride)
        != (
            1,
            (1, 1),
            (stride, stride),
        )
    ):
        raise ValueError(f"periodic padding: expected a 3x3 convolution with stride {stride} on a torus, got {conv}")
    return read.weight


def _folded(conv: nn.Conv2d, norm: nn.Module, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Return kernel and bias of convolution and norm together, float64.

    Raises:
        ValueError: The convolution is not a 3x3 one on a torus.
    """
    weight = _kernel(conv, stride)
    bias = torch.zeros(len(weight), dtype=torch.float64) if conv.bias is None else conv.bias.detach().double().cpu()
    folded = fold_batch_norm(norm)
    if folded is None:
        return weight, bias
    return weight * folded[0][:, None, None, None], bias * folded[0] + folded[1]


def _norm(weight: Tensor, grid: Grid, stride: int = 1) -> float:
    """Return the norm of the periodic convolution, rounded up."""
    rows, columns = weight.shape[:2]
    conv = nn.Conv2d(columns, rows, 3, stride, 1, padding_mode="circular", bias=False, dtype=torch.float64)
    with torch.no_grad():
        conv.weight.copy_(weight)
    return conv_norm(conv, grid).value * _UP


def _symmetric(a: Tensor, d1: Tensor, d2: Tensor, grid: Grid) -> tuple[float, float]:
    """Return ||D1+^(1/2) A D2^(1/2)||^2 and ||D1-^(1/2) A D2^(1/2)||^2."""
    right = a * d2.sqrt()[:, None, None]
    roots = (d1.clamp(min=0).sqrt(), (-d1).clamp(min=0).sqrt())
    positive, negative = (_norm(root[:, None, None, None] * right, grid) ** 2 if root.any() else 0.0 for root in roots)
    return positive, negative


def _scaled(kernel: Kernel, scale: Tensor) -> Kernel:
    return Kernel(scale[:, None, None, None] * kernel.weight, kernel.first, kernel.stride)


def _form(inner: Tensor, outer: Kernel) -> ReluStep:
    channels = inner.shape[1]
    eye = torch.eye(channels, dtype=torch.float64)[..., None, None]
    return ReluStep(Kernel(eye), Kernel(inner, -1), outer, 0, channels)


def _at_zero(outer: Tensor, b1: Tensor, b2: Tensor) -> float:
    """Return ||relu(b2 - A2 relu(b1))|| of one pixel: on a torus the image of 0 is constant."""
    return float((b2 - outer.sum((2, 3)) @ b1.relu()).relu().norm())


def _least(candidates: dict[str, float]) -> tuple[float, str]:
    theorem = min(candidates, key=lambda name: candidates[name])
    return candidates[theorem], theorem
