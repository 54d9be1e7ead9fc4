"""How fast the networks are, as ratios of times taken side by side in one run.

    python benchmarks/speed.py [--threads 1 2] [--batch 1 32 128] [--rounds 15] [--compile] [--device cuda]
    python benchmarks/speed.py --depths 20 56 110

Every round takes one inference and one training step (forward and backward) of each network in each setting, one after
the other; a ratio is the median over the rounds.  With one thread it is CPU time, which other processes hardly disturb.
A setting is a layout, of eager or (``--compile``) compiled networks; on a GPU also a precision, and CUDA graphs.
Networks:

- ``zerosnet20_opt`` and ``zerosnet20_tra``, which keep three states, with fixed and with trained coefficients; the
  first also fused, for inference;
- ``preresnet20``, which keeps one; and its bare convolutions with the classifier, which is the limit;
- the resnet18 of timm and torchvision on the same images, whose times are divided by its share of the operations.

The history is compared with what reading two states more takes at the bandwidth that the machine has in the same run.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import accumulate, product
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import stabzoo
from stabzoo.networks.steps import MultistepStep

OURS, LEARNED, PLAIN, BARE = "zerosnet20_opt", "zerosnet20_tra", "preresnet20", "bare convolutions"
FUSED = "zerosnet20_opt (fused)"
TIMM, TORCHVISION = "resnet18 (timm)", "resnet18 (torchvision)"
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class BareConvolutions(nn.Module):
    """The convolutions of a residual network's branches and stem, one after the other, and its classifier."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        convs = [m for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and "shortcuts" not in name]
        self.convs = nn.Sequential(*convs)
        self.head = cast(nn.Module, model.head)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits."""
        return self.head(self.convs(x))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    OURS: partial(timm.create_model, OURS),
    LEARNED: partial(timm.create_model, LEARNED),
    FUSED: lambda: stabzoo.fuse(timm.create_model(OURS)).network,
    PLAIN: partial(timm.create_model, PLAIN),
    BARE: lambda: BareConvolutions(timm.create_model(PLAIN)),
    TIMM: partial(timm.create_model, "resnet18", num_classes=10),
    TORCHVISION: partial(torchvision.models.resnet18, num_classes=10),
}


def operations(model: nn.Module) -> int:
    """Of one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, 32, 32))
    return counter.get_total_flops()


class Timed:
    """One network in one setting, and the seconds that each kind of call took."""

    def __init__(
        self, make: Callable[[], nn.Module], layout: str, batch: int, device: str, precision: str, mode: str
    ) -> None:
        torch.manual_seed(0)
        self.model = make().to(device).to(memory_format=LAYOUTS[layout])
        if mode == "CUDA graphs":
            self.model.compile(mode="reduce-overhead", dynamic=False)
        elif mode == "compiled":
            self.model.compile(dynamic=False)
        self.x = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=LAYOUTS[layout])
        self.y = torch.randint(10, (batch,), device=device)
        self.device, self.half = device, precision == "bf16"
        self.trains = batch > 1 and make is not NETWORKS[FUSED]  # batch norms cannot train on one image
        self.seconds: dict[str, list[float]] = {"inference": [], "training": []}
        self.first: dict[str, float] = {}

    def round(self) -> None:
        """Take one of each."""
        self.model.eval()
        with torch.inference_mode():
            self._timed("inference", lambda: self.model(self.x))
        if not self.trains:
            return
        self.model.train()
        self.model.zero_grad()
        self._timed("training", self._step)

    def _step(self) -> None:
        F.cross_entropy(self.model(self.x).float(), self.y).backward()

    def _timed(self, kind: str, run: Callable[[], object]) -> None:
        clock = time.process_time if self.device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
        began, start = time.perf_counter(), clock()
        with torch.autocast(self.device, torch.bfloat16) if self.half else nullcontext():
            run()
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.seconds[kind].append(clock() - start)
        self.first.setdefault(kind, time.perf_counter() - began)

    def ms(self, kind: str) -> float:
        """The median time; the first two rounds are warming up."""
        return statistics.median(self.seconds[kind][2:]) * 1e3


def over(one: Timed, other: Timed, kind: str) -> float:
    """The median ratio of times taken side by side; the first two rounds are warming up."""
    return statistics.median(a / b for a, b in zip(one.seconds[kind][2:], other.seconds[kind][2:], strict=True))


def compare(batch: int, options: argparse.Namespace, modes: list[str], precisions: list[str]) -> None:
    """Print the ratios of all networks and settings for one batch."""
    torch.compiler.reset()
    settings = list(product(modes, LAYOUTS, precisions))
    chosen = {name: NETWORKS[name] for name in options.networks}
    timed = {
        (name, setting): Timed(make, setting[1], batch, options.device, setting[2], setting[0])
        for name, make in chosen.items()
        for setting in settings
    }
    for _ in range(options.rounds + 2):
        for each in timed.values():
            each.round()
    work = {name: operations(make()) for name, make in chosen.items()}
    first = settings[0]
    for kind in ("inference", "training") if batch > 1 else ("inference",):
        print(f"\n{kind}, batch {batch}: times, and ratios to")
        print(f"| network | setting | ms | {' '.join(first)}, same network | {PLAIN} | {BARE} |")
        print("|---|---|---|---|---|---|")
        for (name, setting), each in timed.items():
            if not each.seconds[kind]:
                continue
            own = over(each, timed[name, first], kind)
            share = work[name] / work[PLAIN] if name in (TIMM, TORCHVISION) else 1.0
            beside = [f"{over(each, timed[other, setting], kind) / share:.3f}" for other in (PLAIN, BARE)]
            print(f"| {name} | {' '.join(setting)} | {each.ms(kind):.1f} | {own:.3f} | {' | '.join(beside)} |")
    for (name, setting), each in timed.items():
        if setting[0] != "eager":
            waited = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in each.first.items())
            print(f"first call of {name}, {' '.join(setting)}, batch {batch}: {waited}")
    for setting in settings:
        history(batch, timed[OURS, setting], timed[PLAIN, setting], " ".join(setting), options.device)


def by_depth(depths: list[int], batch: int, rounds: int, device: str) -> Iterator[str]:
    """A table of zerosnet{depth}_opt beside preresnet{depth}, eager, a line each."""
    precision = "tf32" if device == "cuda" else "float32"
    yield "| depth | layout | inference ms | ratio | training ms | ratio |"
    yield "|---|---|---|---|---|---|"
    for depth, layout in product(depths, LAYOUTS):
        ours, plain = (
            Timed(partial(timm.create_model, name), layout, batch, device, precision, "eager")
            for name in (f"zerosnet{depth}_opt", f"preresnet{depth}")
        )
        for _ in range(rounds + 2):
            ours.round()
            plain.round()
        cells = [
            f"{ours.ms(kind):.0f} / {plain.ms(kind):.0f} | {over(ours, plain, kind):.3f}"
            for kind in ("inference", "training")
        ]
        yield f"| {depth} | {layout} | {' | '.join(cells)} |"


def history(batch: int, ours: Timed, plain: Timed, setting: str, device: str) -> None:
    """Print the history's extra time in an inference, and what reading two states more takes at the bandwidth."""
    read = 0

    def count(step: Any, arguments: tuple[Any, ...], result: Tensor) -> None:
        nonlocal read
        read += (sum(alpha != 0 for alpha in step.alpha[: step.states]) - 1) * result.nbytes

    model = NETWORKS[OURS]().eval()
    for module in model.modules():
        if isinstance(module, MultistepStep):
            module.register_forward_hook(count)
    with torch.inference_mode():
        model(torch.zeros(batch, 3, 32, 32))
    state = ours.x.numel() // 3 * 16
    found = {size: bandwidth(size, device) for size in (state, 2**24)}
    pairs = zip(ours.seconds["inference"][2:], plain.seconds["inference"][2:], strict=True)
    extra = statistics.median(a - b for a, b in pairs)
    texts = [
        f"{read / rate * 1e3:.3f} ms at {rate / 1e9:.1f} GB/s ({size * 4 / 2**20:.1f} MiB), ratio {extra * rate / read:.2f}"
        for size, rate in found.items()
    ]
    print(
        f"history, {setting}, batch {batch}: {extra * 1e3:.3f} ms more; reading {read / 2**20:.1f} MiB takes {'; '.join(texts)}"
    )


def bandwidth(size: int, device: str) -> float:
    """Bytes a second that a sum of two states of so many numbers moves: it reads both and writes one."""
    a, b = torch.randn(size, device=device), torch.randn(size, device=device)
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    seconds = []
    for _ in range(20):
        start = clock()
        a.add_(b, alpha=0.5)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    return 12 * size / statistics.median(seconds[4:])


def peak_memory(name: str, batch: int, device: str, train: bool) -> int:
    """Bytes allocated at the peak of a training step or an inference, above the weights."""
    torch.manual_seed(0)
    model = NETWORKS[name]().to(device).train(train)
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
    events = [e for e in cast(Any, record.profiler).kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


def memory(batch: int, device: str) -> Iterator[str]:
    """Ratios of peaks, a line each."""
    for train in (True, False):
        kind = "training" if train else "inference"
        peaks = {name: peak_memory(name, batch, device, train) for name in (OURS, LEARNED, PLAIN)}
        yield (
            f"peak memory, {kind}, batch {batch}: {OURS} / {PLAIN} {peaks[OURS] / peaks[PLAIN]:.3f}, "
            f"{LEARNED} / {OURS} {peaks[LEARNED] / peaks[OURS]:.3f}"
        )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, len(os.sched_getaffinity(0))])
    parser.add_argument("--batch", type=int, nargs="+", default=None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--depths", type=int, nargs="+", help="compare only zerosnet{depth}_opt with preresnet{depth}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true", help="compiled networks too; minutes of compiling")
    options = parser.parse_args()
    options.networks = list(dict.fromkeys([OURS, PLAIN, BARE, *options.networks]))
    gpu = options.device == "cuda"
    modes = ["eager", *(["compiled", *(["CUDA graphs"] if gpu else [])] if options.compile else [])]
    precisions = ["tf32", "bf16"] if gpu else ["float32"]
    if gpu:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    machine = torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine()
    print(f"stabzoo {stabzoo.__version__}, torch {torch.__version__}, timm {timm.__version__}, {machine}")
    # networks of one class share their code: torch compiles it 8 times, and no further without a word
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 1000
    if options.depths:
        torch.set_num_threads(options.threads[0])
        for line in by_depth(options.depths, (options.batch or [32])[0], options.rounds, options.device):
            print(line, flush=True)
        return
    batches = options.batch or ([128, 512, 4096] if gpu else [1, 32, 128])
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # what is in the usual one would make first calls short
        for threads in dict.fromkeys([0] if gpu else options.threads):
            if threads:
                torch.set_num_threads(threads)
                print(f"\n{threads} thread{'s' if threads > 1 else ''}, {options.rounds} rounds")
            for batch in batches:
                compare(batch, options, modes, precisions)
    for line in memory(32, options.device):
        print(line)


if __name__ == "__main__":
    main()
