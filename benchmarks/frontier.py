"""Clean against certified accuracy of 1-Lipschitz networks, over the margin and the temperature of the loss.

    python benchmarks/frontier.py [--seeds 3] [--folder benchmarks]

Trains networks of five families on digits at 16x16 as `stabzoo train` does, each at several margins and temperatures,
without a fifth of the training images, on which it is measured: clean accuracy, and certified accuracy at l2 radii on
the pixel scale, as `stabzoo evaluate` gives them.  For each family the best point for clean accuracy and at two radii
is chosen by these means over the seeds.  What was chosen is trained on all training images, and measured on the test
images.  The choice among the points does not see those; the list of points, and the margin and scale that the registry
has, come from an earlier sweep that did.  Rows are kept in FOLDER/frontier.json and trainings that are there are not
repeated; the tables go to FOLDER/frontier.md, and the figure to docs/frontier.png.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import torch

from stabzoo.data.images import InMemoryDataset
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS
from stabzoo.evaluation.accuracy import measure
from stabzoo.evaluation.l2 import Certified
from stabzoo.evaluation.spec import Clean
from stabzoo.files import write_atomically
from stabzoo.plotting.style import COLORS, GREY, MARKERS, new_figure, saved
from stabzoo.training.loop import Trainer
from stabzoo.training.networks import create
from stabzoo.training.spec import recipe, settings_of

RADII = (0.05, 0.1, 0.25, 0.5)
NETWORKS = {  # widths at which they have about the same number of parameters
    "ResNet-S": ("stable_resnet_s11_cert", {"width": 8}),
    "CPL": ("cpl_resnet11", {"width": 8}),
    "SLL": ("sll_resnet11", {"width": 8}),
    "AOL": ("aol_net11", {"width": 8}),
    "sandwich": ("sandwich_net11", {"width": 6}),
}
POINTS = [(0.25, 10.0), (1.0, 10.0), (0.5, 10.0), (0.0, 10.0), (0.0, 30.0)]  # margins and logit scales
AIMS = {"clean": None, "certified at 0.1": 0.1, "certified at 0.25": 0.25}  # what a point is chosen for
HELD_OUT = 257  # of 1257 training images, for the choice
HEAD = """# Clean against certified accuracy

By `benchmarks/frontier.py`: digits at 16x16, trained as `stabzoo train` does (8 epochs, AdamW), one thread of an AMD EPYC shared with other work. Percentages
of images, mean ± sample deviation over the seeds; radii are l2, on pixels in [0, 1]; certified by `stabzoo.diagnostics.certificate`, as `stabzoo evaluate` does.
The choice among the points saw no test image; the list of points, and the registry's margin and scale, come from an earlier sweep on the test images."""
PUBLISHED = [
    ("CPL-XL, ICML 2022", 76.7, 65.1, 51.5, 38.1),
    ("SLL X-large, ICLR 2023", 75.3, 62.8, 48.9, 35.8),
    ("LiResNet, ICLR 2024", 87.0, 78.1, 66.6, 53.5),
]


def held_out(images: InMemoryDataset) -> InMemoryDataset:
    """The training images alone: some of them, drawn once, in the place of the test images."""
    order = torch.randperm(images.train_count, generator=torch.Generator().manual_seed(1))
    chosen, rest = order[:HELD_OUT], order[HELD_OUT:]
    return replace(
        images,
        train=images.train[rest],
        train_labels=images.train_labels[rest],
        test=images.train[chosen],
        test_labels=images.train_labels[chosen],
        mean=images.train[rest].mean().view(1, 1, 1),
        std=images.train[rest].std().view(1, 1, 1),
    )


def row_of(name: str, margin: float, logit_scale: float, seed: int, images: InMemoryDataset) -> dict:
    """Train one network, and say what it reaches."""
    model, args = NETWORKS[name]
    settings = settings_of(model) | {"margin": margin, "logit_scale": logit_scale}
    start = time.process_time()
    trainer = Trainer(create(model, args, seed, images), images, recipe("digits", settings), seed)
    trainer.run()
    seconds = time.process_time() - start
    asked = [Certified(kind="certified", radius=Fraction(str(radius))) for radius in RADII]
    values = measure(trainer.averaged, images, [Clean(kind="clean"), *asked])
    clean, *certified = cast(list[float], values)  # none of them is a plugin's, which may fail
    return {
        "parameters": sum(p.numel() for p in trainer.averaged.network.parameters()),
        "clean": round(clean, 2),
        "certified": [round(value, 2) for value in certified],
        "seconds": round(seconds, 1),
    }


def reached(row: dict, radius: float | None) -> float:
    """Its clean accuracy, or that certified at a radius."""
    return row["clean"] if radius is None else row["certified"][RADII.index(radius)]


def chosen(trials: list[dict], name: str) -> dict[tuple[float, float], list[str]]:
    """The margins and scales of a family that are the best for something, with what for."""
    groups = {key[1:]: group for key, group in grouped(trials).items() if key[0] == name}
    found: dict[tuple[float, float], list[str]] = {}
    for aim, radius in AIMS.items():
        best = max(groups, key=lambda key: statistics.mean(reached(row, radius) for row in groups[key]))
        found.setdefault(best, []).append(aim)
    return found


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


def table(rows: list[dict], why: dict[tuple[str, float, float], list[str]]) -> list[str]:
    """Lines of Markdown: a row for each point, with what it was chosen for, if for anything."""
    radii = " | ".join(f"at {r:g}" for r in RADII)
    lines = [f"| network | margin | logit_scale | best held out | seeds | parameters | clean | {radii} | CPU s |"]
    lines.append("|" + "---|" * (8 + len(RADII)))
    for key, group in grouped(rows).items():
        numbers = [mean_and_spread([row["clean"] for row in group])]
        numbers += [mean_and_spread([row["certified"][i] for row in group]) for i in range(len(RADII))]
        seconds = statistics.mean(row["seconds"] for row in group)
        head = f"| {key[0]} | {key[1]:g} | {key[2]:g} | {', '.join(why.get(key, []))} | {len(group)} | {group[0]['parameters']}"
        lines.append(f"{head} | {' | '.join(numbers)} | {seconds:.0f} |")
    return lines


def tables(rows: list[dict], images: InMemoryDataset) -> str:
    """The tables in Markdown."""
    trials, tests = ([row for row in rows if row["measured on"] == where] for where in ("held out", "test"))
    why = {(name, *point): aims for name in NETWORKS for point, aims in chosen(trials, name).items()}
    clean, certified = nearest_neighbour(images)
    numbers = " | ".join(f"{value:.1f}" for value in (clean, *certified))
    lines = [
        f"On the {images.test_count} test images: the points chosen below, trained on all {images.train_count} training images. “Nearest training image” certifies",
        "by half the difference of two distances: what the data allow a classifier that is not a network.",
        "",
        *table(tests, why),
        f"| nearest training image | | | | | | {numbers} | |",
        "",
        f"The choice, on {HELD_OUT} of the training images, by networks trained on the other {images.train_count - HELD_OUT}:",
        "",
        *table(trials, why),
    ]
    lines += ["", "Published, on CIFAR-10 (other data, millions of parameters: no comparison of numbers):", ""]
    lines += ["| network | clean | at 36/255 | at 72/255 | at 108/255 |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in PUBLISHED]
    return "\n".join(lines)


def grouped(rows: list[dict]) -> dict[tuple[str, float, float], list[dict]]:
    """Rows that differ in the seed only, family by family."""
    found: dict[tuple[str, float, float], list[dict]] = {}
    for name in NETWORKS:
        for margin, scale in POINTS:
            key = {"network": name, "margin": margin, "logit_scale": scale}
            if group := [row for row in rows if key.items() <= row.items()]:
                found[name, margin, scale] = group
    return found


def draw(rows: list[dict], images: InMemoryDataset, path: Path) -> None:
    """Clean against certified accuracy at two radii: a line for each family held out, a filled point for each test."""
    figure = new_figure(9, 4.2)
    _, certified = nearest_neighbour(images)
    for axes, radius in zip(figure.subplots(1, 2), (0.1, 0.25), strict=True):
        for j, name in enumerate(NETWORKS):
            own = [row for row in rows if row["network"] == name]
            for where, style in (("held out", {"mfc": "white", "lw": 0.8, "alpha": 0.6}), ("test", {"lw": 0, "ms": 7})):
                groups = grouped([row for row in own if row["measured on"] == where])
                points = sorted((scale, -margin, group) for (_, margin, scale), group in groups.items())
                x = [statistics.mean(row["clean"] for row in group) for *_, group in points]
                y = [statistics.mean(reached(row, radius) for row in group) for *_, group in points]
                label = name if where == "test" else None
                axes.plot(x, y, MARKERS[j] + "-", color=COLORS[j], label=label, **style)
                if name == "CPL" and radius == 0.25 and where == "held out":
                    for (scale, margin, _), here in zip(points, zip(x, y, strict=True), strict=True):
                        axes.annotate(f"{-margin:g}, {scale:g}", here, (5, -9), textcoords="offset points", fontsize=7)
        level = certified[RADII.index(radius)]
        axes.axhline(level, color=GREY, ls=":", lw=1)
        axes.annotate("nearest training image", (0.02, level), (0, 3), ("axes fraction", "data"), "offset points", fontsize=7, color=GREY)  # fmt: skip
        axes.set_xlabel("clean accuracy (%)")
        axes.set_ylabel(f"certified accuracy at l2 radius {radius:g} (%)")
    title = "filled: chosen points, test images\nhollow: held-out images\nnumbers: margin, logit_scale of CPL"
    figure.axes[0].legend(frameon=False, fontsize=8, title=title, title_fontsize=7)
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

    def train(where: str, name: str, point: tuple[float, float], data: InMemoryDataset) -> None:
        for seed in range(options.seeds):
            key = {"measured on": where, "network": name, "margin": point[0], "logit_scale": point[1], "seed": seed}
            if not any(key.items() <= row.items() for row in rows):
                rows.append(key | row_of(name, *point, seed, data))
                lines = ",\n".join(json.dumps(row) for row in rows)
                write_atomically(path, f"[\n{lines}\n]\n".encode())
                print(rows[-1], flush=True)

    for point in POINTS:
        for name in NETWORKS:
            train("held out", name, point, held_out(images))
    for name in NETWORKS:
        for point in chosen([row for row in rows if row["measured on"] == "held out"], name):
            train("test", name, point, images)
    text = tables(rows, images)
    print(text)
    (options.folder / "frontier.md").write_text(f"{HEAD}\n\n{text}\n")
    draw(rows, images, Path(__file__).parent.parent / "docs" / "frontier.png")


if __name__ == "__main__":
    main()
