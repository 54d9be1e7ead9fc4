"""CPL and SLL beside deel-torchlip, and certified Lipschitz constants beside exact ones.

    pip install --no-deps deel-torchlip==1.0.5
    python benchmarks/peers.py [--seeds 3]

First table: 1-Lipschitz networks of about equal parameters, trained alike on digits at 16x16 (`stabzoo train`'s recipe
for certified networks), one seed after another of all: the time of a step, clean accuracy, certified accuracy.
torchlip's network is made of its convolutions, GroupSort2 and InvertibleDownSampling; it is certified twice, by the
constant 1 that its layers are built for, and, exported to plain convolutions, by `stabzoo.diagnostics.certificate`.

Second table: networks of one hidden layer, so small that their Lipschitz constant is known: the largest ||V D U|| over
all diagonal D of zeros and ones, each of which is the state of the relus somewhere, for U is invertible.

The tables go to peers.md.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from stabzoo.data.images import InMemoryDataset
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS
from stabzoo.diagnostics.attack import sensitivity_attack
from stabzoo.diagnostics.bounds.certificate import certificate
from stabzoo.diagnostics.bounds.network import forward_bounds
from stabzoo.diagnostics.bounds.step_bound import StepBound
from stabzoo.evaluation.accuracy import measure
from stabzoo.evaluation.l2 import Certified
from stabzoo.evaluation.spec import Clean
from stabzoo.files import write_atomically
from stabzoo.training.loop import Trainer
from stabzoo.training.networks import create
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.spec import recipe, settings_of

RADII = ("0.1", "0.25", "0.5")
WIDTH = 8
SIDE, CHANNELS, CLASSES = 4, 1, 3  # of the networks whose constant is known: 16 relus


class Sorted(nn.Module):
    """torchlip's GroupSort2: channels, or features, in pairs, each in order; it moves numbers, and makes none larger."""

    def forward(self, x: Tensor) -> Tensor:
        """The smaller one first."""
        return torch.stack(torch.aminmax(x.unflatten(1, (-1, 2)), dim=2), 2).flatten(1, 2)

    def bound(self, grid: tuple[int, int] | None) -> StepBound:
        """1."""
        return StepBound("a permutation at every point", 1.0, grid, 1.0, 0.0)


def torchlip_network(seed: int, images: InMemoryDataset) -> NormalizedModel:
    """Stages of 2 layers, of the widths and image sizes of `cpl_resnet11`."""
    from deel.torchlip import GroupSort2, InvertibleDownSampling, SpectralConv2d, SpectralLinear

    torch.manual_seed(seed)
    layers: list[nn.Module] = [SpectralConv2d(images.channels, WIDTH, 3, padding=1), GroupSort2()]
    for stage, width in enumerate((WIDTH, 2 * WIDTH, 4 * WIDTH)):
        if stage:
            layers += [InvertibleDownSampling(2), SpectralConv2d(2 * width, width, 1), GroupSort2()]
        for _ in range(2):
            layers += [SpectralConv2d(width, width, 3, padding=1), GroupSort2()]
    side = images.shape[1] // 4
    layers += [nn.Flatten(), SpectralLinear(4 * WIDTH * side * side, images.classes)]
    return NormalizedModel(nn.Sequential(*layers), images)


def exported(network: NormalizedModel, images: InMemoryDataset) -> NormalizedModel:
    """The same function of torch's own layers."""
    from deel.torchlip import GroupSort2
    from deel.torchlip.modules import vanilla_model

    layers = [Sorted() if isinstance(layer, GroupSort2) else layer for layer in vanilla_model(network.network)]
    found = NormalizedModel(nn.Sequential(*layers), images).eval()
    with torch.no_grad():
        torch.testing.assert_close(found(images.test[:50]), network(images.test[:50]), rtol=1e-4, atol=1e-4)
    return found


def ours(model: str) -> Callable[[int, InMemoryDataset], NormalizedModel]:
    """What makes an untrained network of ours."""
    return lambda seed, images: create(model, {"width": WIDTH}, seed, images)


NETWORKS = {"CPL": ours("cpl_resnet11"), "SLL": ours("sll_resnet11"), "torchlip": torchlip_network}


def trained(name: str, seed: int, images: InMemoryDataset) -> dict[str, Any]:
    """Train one network, and say what it reaches."""
    trainer = Trainer(NETWORKS[name](seed, images), images, recipe("digits", settings_of("cpl_resnet11")), seed)
    steps = trainer.training.epochs * len(trainer.batches(0))
    start = time.process_time()
    trainer.run()
    seconds = time.process_time() - start
    network = trainer.averaged.eval()
    parameters = sum(p.numel() for p in network.network.parameters())
    plain = exported(network, images) if name == "torchlip" else network
    asked = [Certified(kind="certified", radius=Fraction(radius)) for radius in RADII]
    start = time.process_time()
    clean, *certified = cast(list[float], measure(plain, images, [Clean(kind="clean"), *asked]))
    found = {"parameters": parameters, "ms": 1e3 * seconds / steps, "clean": clean, "certified": certified}
    found |= {"bound": certificate(plain, images.shape).sensitivity * float(images.std.min())}
    return found | {"claimed": claimed(plain, images)}


def claimed(network: NormalizedModel, images: InMemoryDataset) -> list[float]:
    """Certified accuracy by the constant 1 that layers are built for: margins over it, the rows' distance, 1/deviation."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        logits = network(images.test)
        apart = torch.cdist(linear.weight, linear.weight)[images.test_labels] / float(images.std.min())
        own = images.test_labels[:, None]
        radii = ((logits.gather(1, own) - logits) / apart).scatter(1, own, torch.inf).amin(1)
    return [100 * float((radii >= float(Fraction(radius))).double().mean()) for radius in RADII]


def tiny(seed: int, kind: str) -> nn.Sequential:
    """A network whose relus may be in any state: an invertible convolution, relus, a classifier."""
    torch.manual_seed(seed)
    convolution = nn.Conv2d(
        CHANNELS, CHANNELS, 3, padding=1, padding_mode="circular" if kind == "periodic" else "zeros"
    )
    hidden = CHANNELS * SIDE * SIDE
    return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(hidden, CLASSES)).double().eval()


def exact(network: nn.Sequential) -> float:
    """Its Lipschitz constant: the largest ||V D U|| over the states D of the relus."""
    pixels = CHANNELS * SIDE * SIDE
    basis = torch.eye(pixels, dtype=torch.float64).view(pixels, CHANNELS, SIDE, SIDE)
    with torch.no_grad():
        u = (network[0](basis) - network[0](torch.zeros_like(basis[:1]))).flatten(1).T
        v = cast(Tensor, network[3].weight)
    if float(torch.linalg.svdvals(u).min()) < 1e-6:
        raise ValueError(
            "expected an invertible convolution, so that every state of the relus occurs; take another seed"
        )
    largest = 0.0
    for first in range(0, 2**pixels, 2**12):
        numbers = torch.arange(first, first + 2**12)
        states = (numbers[:, None] >> torch.arange(pixels) & 1).double()
        largest = max(largest, float(torch.linalg.matrix_norm((v * states[:, None]) @ u, 2).max()))
    return largest


def tightness(kind: str, seed: int) -> dict[str, float]:
    """Of one network whose constant is known: what is certified, and what is found."""
    network = tiny(seed, kind)
    shape = (CHANNELS, SIDE, SIDE)
    start = time.process_time()
    layers = forward_bounds(network, shape).sensitivity.value
    seconds = time.process_time() - start
    images = torch.rand(16, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    attacked = sensitivity_attack(network, images).sensitivity.value
    return {"exact": exact(network), "layers": layers, "attacked": attacked, "seconds": seconds}


def spread(values: list[float], places: int = 1) -> str:
    """Mean ± sample deviation."""
    text = f"{statistics.mean(values):.{places}f}"
    return text + (f" ± {statistics.stdev(values):.{places}f}" if len(values) > 1 else "")


def tables(seeds: int) -> str:
    """Both tables in Markdown."""
    images = load_images(DIGITS, Path())
    assert isinstance(images, InMemoryDataset)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in NETWORKS}
    for seed, name in itertools.product(range(seeds), NETWORKS):
        rows[name].append(trained(name, seed, images))
        print(name, seed, rows[name][-1], flush=True)
    radii = " | ".join(f"at {radius}" for radius in RADII)
    lines = [
        f"## Beside deel-torchlip {version('deel-torchlip')}",
        "",
        f"{seeds} seeds, mean ± sample deviation, of the {images.test_count} test images in percent. L: certified constant of the network behind the normalisation.",
        "",
        f"| network | parameters | CPU ms per step | clean | {radii} | L |",
        "|" + "---|" * (5 + len(RADII)),
    ]
    for name, found in rows.items():
        head = f"| {found[0]['parameters']} | {spread([row['ms'] for row in found])} | {spread([row['clean'] for row in found])}"
        certified = " | ".join(spread([row["certified"][i] for row in found]) for i in range(len(RADII)))
        lines.append(f"| {name} {head} | {certified} | {spread([row['bound'] for row in found], 3)} |")
        if name == "torchlip":
            by_claim = " | ".join(spread([row["claimed"][i] for row in found]) for i in range(len(RADII)))
            lines.append(f"| the same, by its layers' constant {head} | {by_claim} | 1 |")
    lines += [
        "",
        "## Beside exact constants",
        "",
        f"Networks of {CHANNELS * SIDE * SIDE} relus, whose constant is the largest of 2^{CHANNELS * SIDE * SIDE} norms; five of each kind with random weights, numbers over the exact one.",
        "",
        "| convolution | found by attack | certified: product of norms | CPU s of the bound |",
        "|---|---|---|---|",
    ]
    for kind in ("periodic", "zero-padded"):
        found = [tightness(kind, seed) for seed in range(5)]
        print(kind, found, flush=True)
        ratios = [np.array([row[name] / row["exact"] for row in found]) for name in ("attacked", "layers")]
        assert ratios[0].max() <= 1 + 1e-9 <= 1 + 1e-6 + ratios[1].min()
        cells = " | ".join(f"{r.mean():.3f} ({r.min():.3f} to {r.max():.3f})" for r in ratios)
        lines.append(f"| {kind} | {cells} | {spread([row['seconds'] for row in found], 2)} |")
    return "\n".join(lines)


HEAD = """# Peers

By `python benchmarks/peers.py`: digits at 16x16, 8 epochs, one thread of a CPU shared with other work; CPU times are of whole trainings, by the number of steps."""
TAIL = """
auto_LiRPA is not in the tables: of its releases, pip takes 0.3, which requires torch < 1.13 and whose import fails with NumPy 2. It bounds outputs over boxes of
inputs, which is no Lipschitz constant, so exact constants stand here in its place.
"""


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    write_atomically(Path(__file__).with_suffix(".md"), "\n".join([HEAD, "", tables(options.seeds), TAIL]).encode())


if __name__ == "__main__":
    main()
