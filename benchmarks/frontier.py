"""Clean against certified accuracy of 1-Lipschitz networks, over the margin and the temperature of the loss.

    python benchmarks/frontier.py [--seeds 3] [--folder benchmarks]

Trains networks of five families on digits at 16x16 as `stabzoo train` does, all at one margin and temperature and two
of them over several, and prints clean accuracy and certified accuracy at l2 radii on the pixel scale. Rows are kept in
FOLDER/frontier.json and trainings that are there are not repeated; the tables go to FOLDER/frontier.md, and the figure
to docs/frontier.png.

An image is certified at radius r where no other class can come first within it: for the class y that comes first and
every other i, (z_y - z_i) / (L |w_y - w_i|) > r, with L the certified constant of pixels -> features, the normalisation
by the data's deviation among them. Logits are in float64; quotients are rounded down, and a tie certifies nothing.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from stabzoo.data.images import InMemoryDataset
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS
from stabzoo.diagnostics.bounds.network import forward_bounds
from stabzoo.files import write_atomically
from stabzoo.plotting.style import COLORS, GREY, MARKERS, new_figure, saved
from stabzoo.training.loop import Trainer
from stabzoo.training.networks import create
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.spec import recipe, settings_of

RADII = (0.05, 0.1, 0.25, 0.5)
NETWORKS = {  # widths at which they have about the same number of parameters
    "ResNet-S": ("stable_resnet_s11_cert", {"width": 8}),
    "CPL": ("cpl_resnet11", {"width": 8}),
    "SLL": ("sll_resnet11", {"width": 8}),
    "AOL": ("aol_net11", {"width": 8}),
    "sandwich": ("sandwich_net11", {"width": 6}),
}
DEFAULT = (0.25, 10.0)
POINTS = [(1.0, 10.0), (0.0, 100.0), (0.5, 10.0), (0.0, 10.0), (0.0, 30.0)]  # margins and logit scales
DRAWN = ("CPL", "ResNet-S")
HEAD = """# Clean against certified accuracy

By `benchmarks/frontier.py`: digits at 16x16, 540 test images, trained as `stabzoo train` does (8 epochs, AdamW), one thread of an
AMD EPYC shared with other work; torch 2.15. Percentages of the test images, mean ± sample deviation over the seeds; radii are l2, on pixels
in [0, 1]. "Nearest training image" certifies by half the difference of two distances: what the data allow a classifier that is no network."""
PUBLISHED = [
    ("CPL-XL, ICML 2022", 76.7, 65.1, 51.5, 38.1),
    ("SLL X-large, ICLR 2023", 75.3, 62.8, 48.9, 35.8),
    ("LiResNet, ICLR 2024", 87.0, 78.1, 66.6, 53.5),
]


@torch.no_grad()
def certified_radii(network: NormalizedModel, images: InMemoryDataset) -> Tensor:
    """The l2 radius, in pixels, to which each test image is certified; negative where it is not in its class."""
    bounds = forward_bounds(network, images.shape)
    constant = 1.0
    for block in bounds.blocks:
        constant *= 1.0 if block.name.endswith("head") else block.sensitivity
    exact = network.double()
    logits, labels = exact(images.test.double()), images.test_labels
    weight = exact.network.head.fc.weight
    distances = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")[labels] * constant
    gaps = logits.gather(1, labels[:, None]) - logits
    radii = gaps / (distances * (1 + 1e-9)) - 1e-9
    return radii.scatter(1, labels[:, None], torch.inf).amin(1)


def row_of(name: str, margin: float, logit_scale: float, seed: int, images: InMemoryDataset) -> dict:
    """Train one network, and say what it reaches."""
    model, args = NETWORKS[name]
    settings = settings_of(model) | {"margin": margin, "logit_scale": logit_scale}
    start = time.process_time()
    trainer = Trainer(create(model, args, seed, images), images, recipe("digits", settings), seed)
    trainer.run()
    network = trainer.averaged.eval()
    radii = certified_radii(network, images)
    return {
        "network": name,
        "margin": margin,
        "logit_scale": logit_scale,
        "seed": seed,
        "parameters": sum(p.numel() for p in network.network.parameters()),
        "clean": round(100 * float((radii > 0).double().mean()), 2),
        "certified": [round(100 * float((radii > r).double().mean()), 2) for r in RADII],
        "median_radius": round(float(radii.median()), 4),
        "seconds": round(time.process_time() - start, 1),
    }


def nearest_neighbour(images: InMemoryDataset) -> tuple[float, list[float]]:
    """What the nearest training image certifies: half of what the nearest one of another class is further away."""
    distances = torch.cdist(images.test.flatten(1).double(), images.train.flatten(1).double())
    same = images.test_labels[:, None] == images.train_labels
    own, other = (distances.masked_fill(~mask, torch.inf).amin(1) for mask in (same, ~same))
    radii = (other - own) / 2
    return 100 * float((radii > 0).double().mean()), [100 * float((radii > r).double().mean()) for r in RADII]


def mean_and_spread(values: list[float]) -> str:
    """Mean ± sample deviation."""
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def tables(rows: list[dict], images: InMemoryDataset) -> str:
    """The tables in Markdown."""
    radii = " | ".join(f"at {r:g}" for r in RADII)
    lines = ["| network | margin | logit_scale | seeds | parameters | clean | " + radii + " | CPU s |"]
    lines.append("|" + "---|" * (7 + len(RADII)))
    for (name, margin, scale), group in grouped(rows).items():
        numbers = [mean_and_spread([row["clean"] for row in group])]
        numbers += [mean_and_spread([row["certified"][i] for row in group]) for i in range(len(RADII))]
        seconds = statistics.mean(row["seconds"] for row in group)
        head = f"| {name} | {margin:g} | {scale:g} | {len(group)} | {group[0]['parameters']}"
        lines.append(f"{head} | {' | '.join(numbers)} | {seconds:.0f} |")
    clean, certified = nearest_neighbour(images)
    numbers = " | ".join(f"{value:.1f}" for value in (clean, *certified))
    lines.append(f"| nearest training image | | | | | {numbers} | |")
    lines += ["", "Published, on CIFAR-10 (other data, millions of parameters: no comparison of numbers):", ""]
    lines += ["| network | clean | at 36/255 | at 72/255 | at 108/255 |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in PUBLISHED]
    return "\n".join(lines)


def grouped(rows: list[dict]) -> dict[tuple[str, float, float], list[dict]]:
    """Rows that differ in the seed only; the default's first."""
    found: dict[tuple[str, float, float], list[dict]] = {}
    order = list(NETWORKS)
    for row in sorted(rows, key=lambda r: ((r["margin"], r["logit_scale"]) != DEFAULT, order.index(r["network"]))):
        found.setdefault((row["network"], row["margin"], row["logit_scale"]), []).append(row)
    return found


def draw(rows: list[dict], images: InMemoryDataset, path: Path) -> None:
    """Clean against certified accuracy at two radii, a point for each margin and scale, a dot for each seed."""
    figure = new_figure(9, 4.2)
    _, certified = nearest_neighbour(images)
    for axes, radius in zip(figure.subplots(1, 2), (0.1, 0.25), strict=True):
        i = RADII.index(radius)
        for j, name in enumerate(NETWORKS):
            groups = {key: group for key, group in grouped(rows).items() if key[0] == name}
            points = []
            for (_, margin, scale), group in groups.items():
                x, y = ([row["clean"] for row in group], [row["certified"][i] for row in group])
                axes.plot(x, y, ".", color=COLORS[j], alpha=0.35, markersize=4)
                points.append((statistics.mean(x), statistics.mean(y), margin, scale))
            points.sort(key=lambda point: (point[3], -point[2]))  # along the margin, then the scale
            line = "-" if len(points) > 1 else ""
            axes.plot(
                [p[0] for p in points], [p[1] for p in points], MARKERS[j] + line, color=COLORS[j], label=name, lw=1
            )
            if name == DRAWN[0] and radius == 0.25:
                for x, y, margin, scale in points:
                    axes.annotate(f"{margin:g}, {scale:g}", (x, y), (5, -9), textcoords="offset points", fontsize=7)
        axes.axhline(certified[i], color=GREY, ls=":", lw=1)
        axes.annotate("nearest training image", (0.02, certified[i]), (0, 3), ("axes fraction", "data"), "offset points", fontsize=7, color=GREY)  # fmt: skip
        axes.set_xlabel("clean accuracy (%)")
        axes.set_ylabel(f"certified accuracy at l2 radius {radius:g} (%)")
    figure.axes[0].legend(frameon=False, fontsize=8, title="margin, logit_scale at CPL", title_fontsize=7)
    write_atomically(path, saved(figure, "png"))


def main() -> None:
    """Train what is missing, and write the tables and the figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = load_images(DIGITS, Path())
    assert isinstance(images, InMemoryDataset)
    path = options.folder / "frontier.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    wanted = [(name, *DEFAULT) for name in NETWORKS] + [(name, *point) for point in POINTS for name in DRAWN]
    for name, margin, scale in wanted:
        for seed in range(options.seeds):
            key = {"network": name, "margin": margin, "logit_scale": scale, "seed": seed}
            if not any(key.items() <= row.items() for row in rows):
                rows.append(row_of(name, margin, scale, seed, images))
                lines = ",\n".join(json.dumps(row) for row in rows)
                write_atomically(path, f"[\n{lines}\n]\n".encode())
                print(rows[-1], flush=True)
    text = tables(rows, images)
    print(text)
    (options.folder / "frontier.md").write_text(f"{HEAD}\n\n{text}\n")
    draw(rows, images, Path(__file__).parent.parent / "docs" / "frontier.png")


if __name__ == "__main__":
    main()
