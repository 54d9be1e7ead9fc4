"""What an exact norm costs: stabzoo beside dense SVD, power iteration, Lanczos and torch's spectral norm, in one run.

    OMP_NUM_THREADS=1 python benchmarks/spectra.py            # --dense adds the dense SVDs of dimension 4096

CPU seconds of one thread (with OMP_NUM_THREADS=1), the best of several rounds. The 75 convolutions are those of
ResNet-D, m = 12; all kernels are He-initialised.
"""

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn import functional as F

from stabzoo.diagnostics.operators import ConvOperator
from stabzoo.diagnostics.periodic import periodic_norms, periodic_singular_values
from stabzoo.diagnostics.smallest import smallest_singular_value
from stabzoo.diagnostics.zero_padding import enclose_norm, torus_bound


def he(layers: int, rows: int, columns: int, k: int = 3) -> Tensor:
    """He-initialised kernels (layers, rows, columns, k, k)."""
    return torch.randn(layers, rows, columns, k, k, dtype=torch.float64) * math.sqrt(2 / (k * k * columns))


def clock(call: Callable[[], Any], rounds: int = 3) -> tuple[float, float, Any]:
    """Return CPU and wall seconds, the best of the rounds, and the result."""
    cpu = wall = float("inf")
    result = None
    for _ in range(rounds):
        start, begin = time.process_time(), time.perf_counter()
        result = call()
        cpu, wall = min(cpu, time.process_time() - start), min(wall, time.perf_counter() - begin)
    return cpu, wall, result


def products(weight: Tensor, n: int) -> Callable[[Tensor], Tensor]:
    """Return x -> T' T x of the periodic convolution with stride 1."""
    back = weight.transpose(0, 1).flip(2, 3)
    pad = (1, 1, 1, 1)
    return lambda x: F.conv2d(F.pad(F.conv2d(F.pad(x, pad, "circular"), weight), pad, "circular"), back)


def power(weight: Tensor, n: int, accuracy: float, truth: float) -> float:
    """Iterate until the value is within `accuracy` of the truth (which a user does not know: this favours it)."""
    apply, x = products(weight, n), torch.randn(1, weight.shape[1], n, n, dtype=torch.float64)
    for _ in range(200_000):
        x = apply(x / x.norm())
        value = math.sqrt(float(x.norm()))
        if value > truth * (1 - accuracy):
            return value
    return value


def lanczos(weight: Tensor, n: int) -> float:
    """ARPACK on T' T, tolerance 1e-10."""
    apply, size = products(weight, n), weight.shape[1] * n * n
    gram = LinearOperator(
        (size, size), lambda v: apply(torch.from_numpy(v.copy()).view(1, -1, n, n)).flatten().numpy(), dtype=np.float64
    )
    return math.sqrt(eigsh(gram, 1, tol=1e-10, return_eigenvectors=False)[0])


def flattened(weight: Tensor) -> float:
    """What torch's spectral_norm divides by."""
    return float(torch.linalg.matrix_norm(weight.flatten(1), 2))


def main() -> None:
    """Print the tables."""
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s)\n")
    stacks = [(he(1, 16, 3), 32, 1), (he(24, 16, 16), 32, 1), (he(22, 32, 32), 16, 1), (he(22, 64, 64), 8, 1)]
    stacks += [(he(1, 32, 16), 32, 2), (he(1, 64, 32), 16, 2)]
    for dtype in (torch.float64, torch.float32):
        cpu, wall, _ = clock(lambda d=dtype: [periodic_norms(w.to(d), (n, n), s) for w, n, s in stacks], 5)
        print(f"75 periodic norms, {dtype}: {cpu:.3f} s CPU, {wall:.3f} s wall")
    cpu, wall, _ = clock(lambda: [periodic_singular_values(x, (n, n), (s, s)) for w, n, s in stacks for x in w], 3)
    print(f"75 periodic spectra, float64: {cpu:.3f} s CPU, {wall:.3f} s wall\n", flush=True)

    print("| periodic layer | stabzoo ms | power 1e-9 | Lanczos | dense SVD | torch spectral_norm's value |")
    print("|---|---|---|---|---|---|")
    for c, n in ((16, 32), (32, 16), (64, 8), (16, 16), (16, 8)):
        w = he(8, c, c)
        ours, _, norms = clock(lambda w=w, n=n: periodic_norms(w, (n, n)), 5)
        ours /= len(w)
        truth, cells = float(norms[0]), []
        for peer in (lambda w=w, n=n, t=truth: power(w[0], n, 1e-9, t), lambda w=w, n=n: lanczos(w[0], n)):
            cpu, _, value = clock(peer, 2)
            cells.append(f"{cpu * 1e3:.1f} ({cpu / ours:.0f}x, error {value / truth - 1:.0e})")
        if c * n * n <= 1024 or ("--dense" in sys.argv and c * n * n <= 4096):
            matrix = ConvOperator(w[0], (n, n), padding=((1, 1), (1, 1)), mode="circular").dense()
            cpu, _, values = clock(lambda m=matrix: torch.linalg.svdvals(m), 1)
            cells.append(f"{cpu * 1e3:.0f} ({cpu / ours:.0f}x, differs by {abs(float(values[0]) / truth - 1):.0e})")
        else:
            cells.append("-")
        print(
            f"| {c}@{n}x{n} | {ours * 1e3:.2f} | {' | '.join(cells)} | {flattened(w[0]) / truth - 1:+.0%} |", flush=True
        )

    print("\n| zero-padded layer | enclosure, s CPU | width | torus bound, s CPU | above | sigma_min, s CPU |")
    print("|---|---|---|---|---|---|")
    for c, n in ((16, 32), (32, 16), (64, 8)):
        operator = ConvOperator(he(1, c, c)[0], (n, n), padding=((1, 1), (1, 1)))
        cpu, wall, (low, up) = clock(lambda o=operator: enclose_norm(o), 2)
        torus, _, bound = clock(lambda o=operator: torus_bound(o), 2)
        least, _, value = clock(lambda o=operator: smallest_singular_value(o), 1)
        print(
            f"| {c}@{n}x{n} | {cpu:.2f} | {up.value / low.value - 1:.1e} | {torus:.2f} | "
            f"{bound.value / low.value - 1:+.2%} | {least:.2f} ({value.value:.2e}) |",
            flush=True,
        )

    from torchvision import models

    print()
    for name in ("resnet34", "resnet50", "resnet101"):
        cpu, wall, count = clock(lambda name=name: spectra(getattr(models, name)()), 1)
        print(
            f"periodic spectra of {name} at 224, {count} convolutions: {cpu:.1f} s CPU, {wall:.1f} s wall", flush=True
        )


def spectra(model: nn.Module) -> int:
    """All singular values of every convolution, made periodic; pointwise ones by one SVD. Return how many there are."""
    grids: dict[nn.Conv2d, tuple[int, int]] = {}
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda m, x: grids.setdefault(m, tuple(x[0].shape[2:])) and None)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 224, 224))
    for conv, grid in grids.items():
        weight = conv.weight.detach().double()
        if weight.shape[2:] == (1, 1):
            torch.linalg.svdvals(weight[..., 0, 0])
        else:
            periodic_singular_values(weight, grid, (conv.stride[0], conv.stride[1]))
    return len(grids)


if __name__ == "__main__":
    main()
