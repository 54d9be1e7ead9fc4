"""What keeping the constraints costs: projection after every step, beside the training step itself.

    python benchmarks/projection.py [--steps 60] [--batch 128] [--lr 0.1] [--decay] [--adam] [--threads 1]

Trains on scikit-learn's digits as the paper trains (SGD, momentum 0.9, its regulariser), at 32x32 with three equal
channels and at 16x16 with one. Every step is timed beside its projection (CPU time with one thread, which other
processes do not disturb); the ratios are sums over all steps but the first two. Then, on the trained weights and
beside each other: the projection where everything is skipped, where everything is proved anew, and with every norm
computed. A last column tells the ratio of a training step with ``parametrize=True`` to one without.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import timm
import torch
from torch.nn.functional import cross_entropy, interpolate

import stabzoo
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo_forward.constraints import NormBound, Projector

CASES = [
    ("stable_resnet_s20_cert", 32, 3),
    ("stable_resnet_s11_cert", 16, 1),
    ("stable_resnet_s11", 16, 1),
    ("stable_resnet_d18", 16, 1),
]


def clock() -> float:
    """Seconds: CPU time with one thread."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def seconds(run: Callable[[], object], repeats: int = 7) -> float:
    """Median time of a call."""
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        times.append(clock() - start)
    return statistics.median(times)


def norms(model: torch.nn.Module) -> None:
    """Compute every constrained norm, those of one shape together."""
    groups: dict[tuple[NormBound, torch.Size], list[torch.Tensor]] = {}
    for name, bound in model.constraints().items():
        if isinstance(bound, NormBound):
            weight = model.get_parameter(name).detach()
            groups.setdefault((bound, weight.shape), []).append(weight)
    for (bound, _), weights in groups.items():
        bound.norms(torch.stack(weights))


def afresh(model: torch.nn.Module) -> None:
    """Project without what was proved before."""
    model.projector = Projector()
    model.post_step()


def measure(name: str, size: int, channels: int, options: argparse.Namespace) -> None:
    """Print the ratios of one model."""
    images = load_images(Digits(name="digits", size=16, test_images=450, split_seed=0))
    x = interpolate((images.train - images.mean) / images.std, size=size, mode="bilinear").expand(-1, channels, -1, -1)
    torch.manual_seed(0)
    given = {"head_cap": 200.0} if options.adam and name.endswith("_cert") else {}
    models = [timm.create_model(name, in_chans=channels, img_size=size, parametrize=p, **given) for p in (False, True)]
    kind, extra = (torch.optim.Adam, {}) if options.adam else (torch.optim.SGD, {"momentum": 0.9})
    optimizers = [kind(m.parameters(), lr=options.lr, **extra) for m in models]

    def step(i: int, batch: torch.Tensor) -> None:
        loss = cross_entropy(models[i](x[batch]), images.train_labels[batch]) + models[i].regularizer()
        optimizers[i].zero_grad()
        loss.backward()
        optimizers[i].step()

    training, projecting, parametrized = [], [], []
    for i in range(options.steps):
        if options.decay and i in (options.steps // 2, options.steps * 3 // 4):
            for group in optimizers[0].param_groups:
                group["lr"] /= 10
        batch = torch.randperm(len(x))[: options.batch]
        training.append(seconds(lambda: step(0, batch), 1))  # noqa: B023
        projecting.append(seconds(models[0].post_step, 1))
        if len(parametrized) < 10:
            parametrized.append(seconds(lambda: step(1, batch), 1))  # noqa: B023
    one = statistics.median(training)
    skipped, proved, computed = models[0].projector.decided
    print(
        f"{name} {size}x{size}: step {one * 1e3:.1f} ms, projection {sum(projecting[2:]) / sum(training[2:]):.1%}; "
        f"kernels skipped {skipped}, proved {proved}, norms {computed}; all skipped {seconds(models[0].post_step) / one:.1%}, "
        f"all anew {seconds(lambda: afresh(models[0])) / one:.1%}, all norms {seconds(lambda: norms(models[0])) / one:.1%}; "
        f"parametrize {statistics.median(parametrized) / statistics.median(training[:10]):.2f}"
    )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--decay", action="store_true", help="a tenth of the rate from half, and from three quarters")
    parser.add_argument("--adam", action="store_true", help="Adam, and head_cap=200 where it can be chosen")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"stabzoo {stabzoo.__version__}, torch {torch.__version__}, timm {timm.__version__}, "
        f"{platform.processor() or platform.machine()}, threads {options.threads}, batch {options.batch}, "
        f"{options.steps} steps, {'Adam' if options.adam else 'SGD'}, lr {options.lr}"
    )
    for case in CASES:
        measure(*case, options)


if __name__ == "__main__":
    main()
