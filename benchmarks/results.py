"""Write benchmarks/results.csv: every model with its size, its cost, what is proved of its scheme, and measured accuracy.

    python benchmarks/results.py

About a minute on one core; nothing is trained.  The columns are those of timm's tables of results and benchmarks, in their
units: parameters in millions, multiplications with an addition (gmacs) in 10^9 and outputs of convolutions and products of
matrices (macts) in 10^6, for one image.  They are counted as the network is run on torch's meta device, in which an
implicit step is `TRACED_ITERATIONS` evaluations of its branch.  After them come zero stability, order and A-stability of
the scheme, and top1 with the error top1_err of the weights that come with stabzoo, on the data that ``data`` names.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import stabzoo
from stabzoo.stability import StabilityCard
from stabzoo.zoo import PRETRAINED

COLUMNS = [
    "model",
    "img_size",
    "top1",
    "top1_err",
    "param_count",
    "gmacs",
    "macts",
    "crop_pct",
    "interpolation",
    "scheme",
    "zero_stability",
    "order",
    "a_stable",
    "data",
]
PRODUCTS = ("convolution", "addmm", "mm", "bmm", "baddbmm")
PLACE = Path(__file__).with_name("results.csv")


class Activations(TorchDispatchMode):
    """Counts the outputs of convolutions and products of matrices, as timm's tables do."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation."""
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in PRODUCTS:
            self.count += found.numel()
        return found


def row(name: str) -> dict[str, Any]:
    """What stands in the table of a model, or of its weights of a tag."""
    with torch.device("meta"), torch.no_grad():
        model = timm.create_model(name).eval()
        pixels = torch.empty(1, *model.pretrained_cfg["input_size"])
        with Activations() as activations, FlopCounterMode(display=False) as flops:
            model(pixels)
    card = stabzoo.card(model.scheme)
    assert isinstance(card, StabilityCard)
    described = PRETRAINED / name / "config.json"
    measured: dict[str, Any] = {}
    if described.exists():
        own = json.loads(described.read_text())["stabzoo"]
        top1 = own["measured"]["top1"]
        measured = {"top1": f"{top1:.3f}", "top1_err": f"{100 - top1:.3f}", "data": own["job"]["data"]["name"]}
    return measured | {
        "model": name,
        "img_size": pixels.shape[-1],
        "param_count": f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.3f}",
        "gmacs": f"{flops.get_total_flops() / 2e9:.4f}",
        "macts": f"{activations.count / 1e6:.3f}",
        "crop_pct": model.pretrained_cfg["crop_pct"],
        "interpolation": model.pretrained_cfg["interpolation"],
        "scheme": model.scheme.name,
        "zero_stability": card.status,
        "order": card.order,
        "a_stable": card.is_A_stable,
    }


def names() -> Iterator[str]:
    """All models, each followed by its weights."""
    tagged = timm.list_models(module="stabzoo", pretrained=True)
    for name in timm.list_models(module="stabzoo"):
        yield name
        yield from (tag for tag in tagged if tag.partition(".")[0] == name)


def main() -> None:
    """Write the table."""
    with PLACE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in names():
            sys.stderr.write(f"{name}\n")
            writer.writerow(row(name))


if __name__ == "__main__":
    main()
