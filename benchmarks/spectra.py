"""What an exact norm costs: stabzoo beside dense SVD, power iteration, Lanczos and other libraries.

    OMP_NUM_THREADS=1 python benchmarks/spectra.py --norms --layers     # and --dense --enclosures --least --libraries
    OMP_NUM_THREADS=1 python benchmarks/spectra.py --imagenet resnet34  # or resnet50, resnet101
    OMP_NUM_THREADS=1 python benchmarks/spectra.py --conditions         # of all layers of ResNet-34, some minutes

Without options all but --dense (SVDs of dimension 4096, a minute) and --conditions run. Times of single calls are CPU seconds of one
thread, the best of several rounds; the 75 norms and the ImageNet spectra also run on two workers of one thread. The 75
convolutions are those of ResNet-D, m = 12; all kernels are He-initialised.
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from stabzoo.diagnostics.layers import layer_norms
from stabzoo.diagnostics.spectra.operators import ConvOperator
from stabzoo.diagnostics.spectra.periodic import periodic_norms, periodic_singular_values
from stabzoo.diagnostics.spectra.smallest import smallest_singular_value
from stabzoo.diagnostics.spectra.workers import in_threads
from stabzoo.diagnostics.spectra.zero_padding import enclose_norm, lanczos_lower, torus_bound

LAYERS = ((16, 32), (32, 16), (64, 8))
NETWORKS = ("resnet34", "resnet50", "resnet101")


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


def on_workers(function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> list[Any]:
    """Return [function(item) for item in items], by workers of one thread each."""
    torch.set_num_threads(workers)
    try:
        return in_threads(function, items)
    finally:
        torch.set_num_threads(1)


def products(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Return x -> T' T x of the periodic convolution with stride 1."""
    back = weight.transpose(0, 1).flip(2, 3)
    pad = (1, 1, 1, 1)
    return lambda x: F.conv2d(F.pad(F.conv2d(F.pad(x, pad, "circular"), weight), pad, "circular"), back)


def power(weight: Tensor, n: int, done: Callable[[float, float], bool]) -> float:
    """Power iteration from a random image until done(last value, value), roots of Rayleigh quotients."""
    apply, x = products(weight), torch.randn(1, weight.shape[1], n, n, dtype=torch.float64)
    x, value = x / x.norm(), 0.0
    for _ in range(200_000):
        image = apply(x)
        last, value = value, math.sqrt(float(torch.sum(x * image)))
        if done(last, value):
            break
        x = image / image.norm()
    return value


def lanczos(weight: Tensor, n: int) -> float:
    """ARPACK on T' T, tolerance 1e-10."""
    apply, size = products(weight), weight.shape[1] * n * n
    gram = LinearOperator(
        (size, size), lambda v: apply(torch.from_numpy(v.copy()).view(1, -1, n, n)).flatten().numpy(), dtype=np.float64
    )
    return math.sqrt(eigsh(gram, 1, tol=1e-10, return_eigenvectors=False)[0])


def norms() -> None:
    """75 convolutions of one network, periodic."""
    stacks = [(he(1, 16, 3), 32, 1), (he(24, 16, 16), 32, 1), (he(22, 32, 32), 16, 1), (he(22, 64, 64), 8, 1)]
    stacks += [(he(1, 32, 16), 32, 2), (he(1, 64, 32), 16, 2)]
    halves = [(half, n, s) for w, n, s in stacks for half in w.split(max(1, len(w) // 2))]
    halves.sort(key=lambda stack: stack[0].shape[1] ** 3 * len(stack[0]) * stack[1] ** 2, reverse=True)
    print("| 75 periodic convolutions | CPU s | wall s |\n|---|---|---|")
    for dtype in (torch.float64, torch.float32):
        for workers, items in ((1, stacks), (2, halves)):
            cpu, wall, _ = clock(
                lambda k=workers, d=dtype, i=items: on_workers(
                    lambda stack: periodic_norms(stack[0].to(d), (stack[1], stack[1]), stack[2]), i, k
                ),
                7,
            )
            print(f"| norms, {str(dtype)[6:]}, {workers} worker(s) | {cpu:.3f} | {wall:.3f} |", flush=True)
    singles = [(x, n, s) for w, n, s in stacks for x in w]
    cpu, wall, _ = clock(lambda: [periodic_singular_values(w, (n, n), (s, s)) for w, n, s in singles], 5)
    print(f"| all singular values, float64, 1 worker(s) | {cpu:.3f} | {wall:.3f} |\n", flush=True)


def layers(dense: bool) -> None:
    """One periodic layer: stabzoo beside its peers."""
    peers = "power, own stop at 1e-9 | power, to 1e-9 of the truth | power, to 1e-12 | Lanczos"
    print(f"| periodic layer | stabzoo ms | {peers} | dense SVD |\n|---|---|---|---|---|---|---|")
    for c, n in (*LAYERS, (16, 16), (16, 8)):
        w = he(8, c, c)
        ours, _, values = clock(lambda w=w, n=n: periodic_norms(w, (n, n)), 25)
        ours /= len(w)
        truth, cells = float(values[0]), []
        stops = [lambda last, value: abs(value - last) <= 1e-9 * value]
        stops += [lambda _, value, t=truth, a=a: value >= t * (1 - a) for a in (1e-9, 1e-12)]
        calls = [lambda w=w, n=n, stop=stop: power(w[0], n, stop) for stop in stops]
        for peer in (*calls, lambda w=w, n=n: lanczos(w[0], n)):
            cpu, _, value = clock(peer, 2)
            cells.append(f"{cpu * 1e3:.1f} ({cpu / ours:.0f}x, {value / truth - 1:.0e})")
        if c * n * n <= 1024 or (dense and c * n * n <= 4096):
            matrix = ConvOperator(w[0], (n, n), padding=((1, 1), (1, 1)), mode="circular").dense()
            cpu, _, value = clock(lambda m=matrix: torch.linalg.svdvals(m), 1)
            ratio = f"{cpu / ours:.0f}x, norm differs by {abs(float(value[0]) / truth - 1):.0e}"
            all_ours = periodic_singular_values(w[0], (n, n))
            cells.append(f"{cpu * 1e3:.0f} ({ratio}, spectrum by {float((all_ours - value).abs().max()) / truth:.0e})")
        else:
            cells.append("-")
        print(f"| {c}@{n}x{n} | {ours * 1e3:.2f} | {' | '.join(cells)} |", flush=True)
    print()


def zero_padded(c: int, n: int) -> ConvOperator:
    """A 3x3 layer with c channels on an n x n grid."""
    return ConvOperator(he(1, c, c)[0], (n, n), padding=((1, 1), (1, 1)))


def enclosures() -> None:
    """Two certified bounds, and the torus' alone."""
    print("| zero-padded layer | enclosure, CPU s | its width | torus bound alone, CPU s | above the norm |")
    print("|---|---|---|---|---|")
    for c, n in (*LAYERS, (512, 7)):
        operator = zero_padded(c, n)
        cpu, _, (low, up) = clock(lambda o=operator: enclose_norm(o), 2)
        torus, _, bound = clock(lambda o=operator: torus_bound(o), 2)
        above = bound.value / lanczos_lower(operator, 1e-9) - 1
        print(f"| {c}@{n}x{n} | {cpu:.2f} | {up.value / low.value - 1:.1e} | {torus:.2f} | {above:+.2%} |", flush=True)
    print()


def least() -> None:
    """Smallest singular values under zero padding."""
    print("| zero-padded layer | sigma_min, CPU s | sigma_min |\n|---|---|---|")
    for c, n in (*LAYERS, (64, 56)):
        try:
            cpu, _, value = clock(lambda c=c, n=n: smallest_singular_value(zero_padded(c, n)), 1)
            print(f"| {c}@{n}x{n} | {cpu:.2f} | {value.value:.2e} |", flush=True)
        except ValueError as error:
            print(f"| {c}@{n}x{n} | - | refused: {error} |", flush=True)
    print()


def libraries() -> None:
    """What others call the norm of the same layer, beside the norm."""
    print("| layer | method | ms | claims | the norm is | claim / norm - 1 |\n|---|---|---|---|---|---|")
    for c, n in LAYERS:
        weight, grid = he(1, c, c), (n, n)
        circular, zeros = (convolution(weight[0], mode) for mode in ("circular", "zeros"))
        periodic = float(periodic_norms(weight, grid)[0])
        padded = lanczos_lower(ConvOperator(weight[0], grid, padding=((1, 1), (1, 1))), 1e-9)

        def row(method: str, ms: float, claim: float, norm: float, layer: str = f"{c}@{n}x{n}") -> None:
            print(
                f"| {layer} | {method} | {ms * 1e3:.2f} | {claim:.3f} | {norm:.3f} | {claim / norm - 1:+.1%} |",
                flush=True,
            )

        normed = spectral_norm(convolution(weight[0], "circular"))
        with torch.no_grad():
            cpu, _, _ = clock(lambda m=normed: m.weight, 100)  # each access is one step of its power iteration
            row("torch spectral_norm, 100 steps", cpu, 1, float(periodic_norms(normed.weight[None], grid)[0]))

        try:
            from orthogonium.layers.conv.singular_values import get_conv_sv
        except ImportError:
            print(f"| {c}@{n}x{n} | orthogonium get_conv_sv | not installed | | | |")
        else:
            for name, module, norm, n_iter in (
                ("circular", circular, periodic, 3),
                ("circular", circular, periodic, 6),
                ("zeros", zeros, padded, 3),
            ):
                cpu, _, value = clock(
                    lambda m=module, i=n_iter, n=n: get_conv_sv(m, i, return_stab_rank=False, imsize=n), 2
                )
                row(f"orthogonium get_conv_sv, {name}, n_iter {n_iter}", cpu, float(value), norm)

        try:
            from deel.torchlip.normalizers import spectral_normalization
            from deel.torchlip.utils.lconv_norm import compute_lconv_coef
        except ImportError:
            print(f"| {c}@{n}x{n} | deel-torchlip | not installed | | | |")
        else:
            flat = weight[0].flatten(1)
            cpu, _, (_, _, sigma) = clock(
                lambda w=flat: spectral_normalization(w, torch.randn_like(w[:1]), 1e-6, 1000), 2
            )
            # its layers multiply the normalised kernel by this coefficient and are then called 1-Lipschitz
            for name, coefficient, norm in (
                ("circular", compute_lconv_coef((3, 3)), periodic),
                ("zeros", compute_lconv_coef((3, 3), (1, c, n, n)), padded),
            ):
                row(f"deel-torchlip lconv_norm, {name}", cpu, float(sigma) / coefficient, norm)
    print()


def convolution(weight: Tensor, mode: str) -> nn.Conv2d:
    """A 3x3 module with this weight."""
    module = nn.Conv2d(weight.shape[1], weight.shape[0], 3, 1, 1, 1, 1, False, mode, dtype=torch.float64)
    module.weight = nn.Parameter(weight.clone())
    return module


def imagenet(names: Sequence[str]) -> None:
    """All singular values of torchvision's networks at 224, convolutions made periodic, pointwise ones one matrix."""
    from torchvision import models

    print("| periodic spectra at 224 | convolutions | CPU s | wall s, two workers |\n|---|---|---|---|")
    for name in names:
        items = convolutions(getattr(models, name)())
        items.sort(key=cost, reverse=True)
        cpu, wall, _ = clock(lambda items=items: on_workers(lambda item: periodic_singular_values(*item), items, 2), 1)
        print(f"| {name} | {len(items)} | {cpu:.1f} | {wall:.1f} |", flush=True)
    print()


def conditions() -> None:
    """True condition numbers of every layer of ResNet-34 at 224, zero-padded as they are."""
    from torchvision import models

    cpu, wall, rows = clock(lambda: layer_norms(models.resnet34(), (3, 224, 224), smallest=True), 1)
    print("| ResNet-34 at 224 | grid | norm | sigma_min | condition number | how |\n|---|---|---|---|---|---|")
    for row in rows:
        least = row.smallest
        known = f"{least.value:.3e} | {row.condition.value:.3e} | {least.note}" if least else "not known | |"
        print(f"| {row.name} {row.shape} | {row.grid} | {row.upper.value:.4f} | {known} |")
    print(
        f"\n{len(rows)} layers, {sum(row.smallest is None for row in rows)} not known: {cpu:.0f} s CPU, {wall:.0f} s\n"
    )


Item = tuple[Tensor, tuple[int, int], tuple[int, int]]


def convolutions(model: nn.Module) -> list[Item]:
    """Return the kernel, grid and stride of every convolution; of a pointwise one, its only matrix."""
    grids: dict[nn.Conv2d, tuple[int, int]] = {}
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda m, x: grids.setdefault(m, tuple(x[0].shape[2:])) and None)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 224, 224))
    return [
        (conv.weight.detach().double(), grid, (conv.stride[0], conv.stride[1]))
        if conv.kernel_size != (1, 1)
        else (conv.weight.detach().double(), (1, 1), (1, 1))
        for conv, grid in grids.items()
    ]


def cost(item: Item) -> float:
    """Estimate the work: an SVD for each coarse pixel."""
    weight, grid, stride = item
    rows, columns = weight.shape[0], weight.shape[1] * math.prod(stride)
    return min(rows, columns) ** 2 * max(rows, columns) * math.prod(grid) / math.prod(stride)


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"norms": norms, "enclosures": enclosures, "least": least, "libraries": libraries}
    for name in (*parts, "layers"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--conditions", action="store_true", help="every layer of ResNet-34, some minutes")
    parser.add_argument("--dense", action="store_true", help="--layers with the SVDs of dimension 4096")
    parser.add_argument("--imagenet", nargs="*", choices=NETWORKS, help="all three if none is named")
    chosen = parser.parse_args()
    everything = chosen.imagenet is None and not any(v for v in vars(chosen).values())
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n", flush=True)
    for name, part in parts.items():
        if everything or getattr(chosen, name):
            part()
    if everything or chosen.layers or chosen.dense:
        layers(chosen.dense)
    if chosen.conditions:
        conditions()
    if everything or chosen.imagenet is not None:
        imagenet(chosen.imagenet or NETWORKS)


if __name__ == "__main__":
    main()
