"""What a backward pass by inversion saves and costs, against the ordinary one and one that recomputes every block.

    python benchmarks/reversible.py [--threads 2] [--batch 64] [--rounds 5] [--depths 20 56 110] [--models midpoint ...]

In every round each mode takes one training step (forward, backward; no optimizer), one after the other; ratios are
medians over rounds of times taken side by side (of CPU time with ``--threads 1``).  "Saved" are the bytes that autograd
keeps for the backward pass beside the weights, each storage once, as torch's hooks for saved tensors see them: the most
at any time of the step (states that a recomputation holds on to are not among them); "peak" is the most that is
allocated in the step, of everything, the gradients among them.  "Error" is the relative difference of the gradient by
all parameters, as one vector, from that in float64.
"""

import argparse
import platform
import statistics
import time
from collections import Counter
from itertools import accumulate

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

import stabzoo

MODES = (None, "recompute", "reversible")


def build(name: str, depth: int, mode: str | None) -> nn.Module:
    """A network with the same weights for every mode."""
    torch.manual_seed(0)
    model = timm.create_model(f"{name}{depth}").train()
    if mode:
        model.set_grad_checkpointing(mode=mode)
    return model


def step(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """One training step without its optimizer."""
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()


def saved(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """The most bytes that are saved for the backward pass at any time of a step."""
    count, alive = Counter(), Counter()
    weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor, self.storage = tensor, tensor.untyped_storage()
            key = self.storage.data_ptr()
            alive[key] += 1
            if alive[key] == 1 and key not in weights:
                count["now"] += self.storage.nbytes()
                count["most"] = max(count["most"], count["now"])

        def __del__(self) -> None:
            key = self.storage.data_ptr()
            alive[key] -= 1
            if alive[key] == 0 and key not in weights:
                count["now"] -= self.storage.nbytes()

    with saved_tensors_hooks(Saved, lambda packed: packed.tensor):
        step(model, x, y)
    return count["most"]


def peak(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """The most bytes that are allocated in a step."""
    step(model, x, y)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step(model, x, y)
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


def error(name: str, depth: int, mode: str | None, x: Tensor, y: Tensor) -> float:
    """The relative difference of the gradient in float32 from that in float64."""
    exact, model = build(name, depth, None).double(), build(name, depth, mode)
    step(exact, x.double(), y)
    step(model, x, y)
    ours, theirs = (torch.cat([p.grad.double().flatten() for p in m.parameters()]) for m in (model, exact))
    return ((ours - theirs).norm() / theirs.norm()).item()


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 56, 110])
    parser.add_argument("--models", nargs="+", default=["midpoint", "verlet", "hamiltonian", "revnet"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    print(
        f"stabzoo {stabzoo.__version__}, torch {torch.__version__}, {platform.processor() or platform.machine()}, "
        f"{options.threads} threads, batch {options.batch}, {options.rounds} rounds"
    )
    x, y = torch.randn(options.batch, 3, 32, 32), torch.randint(10, (options.batch,))
    for name in options.models:
        for depth in options.depths:
            models = {mode: build(name, depth, mode) for mode in MODES}
            times: dict[str | None, list[float]] = {mode: [] for mode in MODES}
            for warm in range(options.rounds + 1):
                for mode, model in models.items():
                    start = clock()
                    step(model, x, y)
                    if warm:
                        times[mode].append(clock() - start)
            for mode, model in models.items():
                ratio = statistics.median(a / b for a, b in zip(times[mode], times[None], strict=True))
                print(
                    f"{name}{depth} {mode or 'ordinary'}: time {ratio:.2f}, saved {saved(model, x, y) / 2**20:.1f} MiB, "
                    f"peak {peak(model, x, y) / 2**20:.1f} MiB, error {error(name, depth, mode, x[:8], y[:8]):.1e}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
