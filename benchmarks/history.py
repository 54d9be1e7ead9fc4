"""What the history costs: a 3-step network against a residual network of the same depth, and its bare convolutions.

    python benchmarks/history.py [--threads 2] [--batch 64] [--rounds 15] [--depths 20 56 110] [--device cpu]

In every round each network takes one training step (forward, backward; no optimizer) and one inference, one after the
other; the ratios are medians over rounds of times taken side by side (of CPU time with ``--threads 1``: other
processes do not disturb it).  Memory is the peak resident size of a fresh process above its size before the step (on a
GPU: the peak allocated).

With ``--keep-memory`` the program restarts itself with glibc told to keep freed memory.  Otherwise, on a machine with
slow page faults, the ratios measure which of the networks the allocator happens to hand back to the system between
steps.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from itertools import accumulate
from unittest.mock import patch

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import stabzoo
from stabzoo.networks.resnet import Block, preactivation
from stabzoo.networks.steps import MultistepStep

ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_MMAP_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "100000000",
}


class BareConvolutions(nn.Module):
    """The convolutions of a residual network's branches and stem, one after the other, and its classifier."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        convs = [m for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and "shortcuts" not in name]
        self.convs = nn.Sequential(*convs)
        self.head = model.head

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits."""
        return self.head(self.convs(x))


def seconds(run: Callable[[], object], device: str) -> float:
    """Time of one call."""
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def compare(depth: int, batch: int, rounds: int, device: str, *, compiled: bool) -> None:
    """Print the ratios for one depth."""
    torch.manual_seed(0)
    models = {name: timm.create_model(name) for name in (f"preresnet{depth}", f"zerosnet{depth}_opt")}
    models["bare convolutions"] = BareConvolutions(timm.create_model(f"preresnet{depth}"))
    x, y = torch.randn(batch, 3, 32, 32, device=device), torch.randint(10, (batch,), device=device)
    times: dict[tuple[str, str], list[float]] = {}
    for model in models.values():
        model.to(device)
        if compiled:
            model.compile()
    for warm in range(rounds + 2):
        for name, model in models.items():
            model.train()
            model.zero_grad()
            train = seconds(lambda: F.cross_entropy(model(x), y).backward(), device)  # noqa: B023
            model.eval()
            with torch.no_grad():
                infer = seconds(lambda: model(x), device)  # noqa: B023
            if warm >= 2:
                times.setdefault((name, "train"), []).append(train)
                times.setdefault((name, "infer"), []).append(infer)
    baseline, ours, bare = models
    for kind in ("train", "infer"):
        ratio = statistics.median(a / b for a, b in zip(times[ours, kind], times[baseline, kind], strict=True))
        over = {
            n: statistics.median(a / b for a, b in zip(times[n, kind], times[bare, kind], strict=True))
            for n in (baseline, ours)
        }
        median = {n: statistics.median(times[n, kind]) * 1e3 for n in models}
        print(
            f"depth {depth:4d} {kind}: {ours} {median[ours]:8.1f} ms, {baseline} {median[baseline]:8.1f} ms, ratio {ratio:.3f}; "
            f"to the bare convolutions ({median[bare]:.1f} ms): {over[ours]:.3f} and {over[baseline]:.3f}"
        )


def peak_memory(name: str, batch: int, device: str, train: bool) -> int:
    """Bytes allocated at the peak of a training step or an inference, above the weights."""
    torch.manual_seed(0)
    model = timm.create_model(name).to(device).train(train)
    x, y = torch.randn(batch, 3, 32, 32, device=device), torch.randint(10, (batch,), device=device)

    def run() -> None:
        with torch.set_grad_enabled(train):
            logits = model(x)
            if train:
                F.cross_entropy(logits, y).backward()

    run()
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


def floor(depth: int, batch: int, rounds: int, device: str) -> None:
    """Print the least that the history can cost in an inference of eager torch, each kernel alone in a warm cache.

    A multistep block needs two binary sums more than a plain residual block (eager torch has no kernel of more terms:
    a product of the stacked states with the coefficients takes longer, which is measured too), a change of shape two
    shortcuts more, which the reference releases fix.  Nothing else is counted.  Beside it the network itself is timed
    without its further sums, as if a kernel did them for nothing.
    """
    torch.manual_seed(0)
    plain, ours = (timm.create_model(n).to(device).eval() for n in (f"preresnet{depth}", f"zerosnet{depth}_opt"))
    x = torch.randn(batch, 3, 32, 32, device=device)
    calls: list[tuple[str, nn.Module, Tensor]] = []

    hooks = []

    def watch(model: nn.Module, kind: str) -> None:
        for module in model.modules():
            if isinstance(module, MultistepStep) and module.method.steps > 1:
                keep = lambda m, args, result: calls.append(("sum", m, result[0].clone()))  # noqa: E731
                hooks.append(module.register_forward_hook(keep))
            elif isinstance(module, Block):
                for shortcut in module.shortcuts:
                    if not isinstance(shortcut, nn.Identity):
                        keep = lambda m, args: calls.append((kind, m, args[0].clone()))  # noqa: E731
                        hooks.append(shortcut.register_forward_pre_hook(keep))

    def median(run: Callable[[], object]) -> float:
        return statistics.median([seconds(run, device) for _ in range(48)][8:])

    with torch.no_grad():
        whole = statistics.median([seconds(lambda: plain(x), device) for _ in range(rounds + 2)][2:])
        watch(plain, "plain shortcut")
        watch(ours, "our shortcut")
        plain(x)
        ours(x)
        for hook in hooks:
            hook.remove()
        sums: dict[torch.Size, tuple[float, float]] = {}
        cost = {"sum": 0.0, "plain shortcut": 0.0, "our shortcut": 0.0}
        fused = 0.0
        for kind, module, y in calls:
            if kind != "sum":
                cost[kind] += median(lambda: module(y))  # noqa: B023
                continue
            if y.shape not in sums:
                states = torch.randn(3, y.numel(), device=device)
                flat, weights = y.flatten(), torch.tensor([0.3, 0.5, 0.1], device=device)
                one = median(lambda: flat.add_(states[0], alpha=0.1))  # noqa: B023
                sums[y.shape] = one, median(lambda: flat.addmv_(states.t(), weights))  # noqa: B023
            cost["sum"] += 2 * sums[y.shape][0]
            fused += sums[y.shape][1] - sums[y.shape][0]
    with torch.no_grad(), patch.object(MultistepStep, "forward", one_sum):
        pairs = [(seconds(lambda: ours(x), device), seconds(lambda: plain(x), device)) for _ in range(2 * rounds)]
    without = statistics.median(a / b for a, b in pairs[2:])
    extra = cost["sum"] + cost["our shortcut"] - cost["plain shortcut"]
    print(
        f"depth {depth:4d} infer: preresnet{depth} {whole * 1e3:.1f} ms; the history needs at least "
        f"{cost['sum'] * 1e3:.2f} ms for sums (as one product {fused * 1e3:.2f} ms) and "
        f"{(cost['our shortcut'] - cost['plain shortcut']) * 1e3:.2f} ms for shortcuts: ratio at least {1 + extra / whole:.3f}; "
        f"measured without the further sums {without:.3f}"
    )


def one_sum(step: MultistepStep, y: Tensor, history: list[Tensor]) -> list[Tensor]:
    """A step as plain residual networks take it: the newest state is added, the others are only kept."""
    return [step.f(y, step.beta[0]).add_(history[0])]


def parts(batch: int, device: str) -> None:
    """Print what the pieces of the history cost alone, in a warm cache: the median of 60 calls."""

    def median(run: Callable[[], object]) -> float:
        return statistics.median([seconds(run, device) for _ in range(68)][8:]) * 1e6

    with torch.no_grad():
        f, states = torch.randn(batch, 16, 32, 32, device=device), torch.randn(3, batch, 16, 32, 32, device=device)
        print(
            f"one term of the sum, {f.numel() * 4 / 2**20:.0f} MiB: {median(lambda: f.add_(states[0], alpha=0.1)):.0f} us"
        )
        for width in (16, 32):
            states = torch.randn(3, batch, width, 512 // width, 512 // width, device=device)
            projections = [nn.Conv2d(width, 2 * width, 1, 2, bias=False, device=device) for _ in states]
            preact = preactivation(width, norm=True, device=device).eval()
            products = median(lambda: [p(y) for p, y in zip(projections, states, strict=True)])  # noqa: B023
            convolutions = median(
                lambda: [F.conv2d(y, p.weight, stride=2) for p, y in zip(projections, states, strict=True)]  # noqa: B023
            )
            single = median(lambda: projections[0](preact(states[0])))  # noqa: B023
            print(
                f"{width} to {2 * width} channels, three shortcuts: {products:.0f} us (as strided convolutions {convolutions:.0f} us); "
                f"one with BN-ReLU: {single:.0f} us"
            )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 56, 110])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--keep-memory", action="store_true")
    parser.add_argument("--parts", action="store_true", help="only what the pieces of the history cost alone")
    parser.add_argument("--floor", action="store_true", help="only the least that the history can cost an inference")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile the networks (inference only is of interest)"
    )
    options = parser.parse_args()
    if options.keep_memory and "MALLOC_TOP_PAD_" not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    torch.set_num_threads(options.threads)
    machine = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else f"{platform.processor() or platform.machine()}, {options.threads} threads"
    )
    print(
        f"stabzoo {stabzoo.__version__}, torch {torch.__version__}, timm {timm.__version__}, {machine}, batch {options.batch}, {options.rounds} rounds"
    )
    if options.parts:
        parts(options.batch, options.device)
        return
    if options.floor:
        for depth in options.depths:
            floor(depth, options.batch, options.rounds, options.device)
        return
    for depth in options.depths:
        compare(depth, options.batch, options.rounds, options.device, compiled=options.compile)
        for train in (True, False):
            ours, plain = (
                peak_memory(n, options.batch, options.device, train)
                for n in (f"zerosnet{depth}_opt", f"preresnet{depth}")
            )
            kind = "train" if train else "infer"
            print(
                f"depth {depth:4d} {kind}: peak memory {ours / 2**20:.1f} and {plain / 2**20:.1f} MiB, ratio {ours / plain:.3f}"
            )


if __name__ == "__main__":
    main()
