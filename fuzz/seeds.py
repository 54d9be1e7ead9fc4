"""Where a fuzzer begins: a few valid inputs of each kind."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import save
from targets import COMMANDS, columns, whole, whole_state

from stabzoo.config import load_yaml
from stabzoo.training.checkpoint import pack

__all__ = ["WORDS", "seeds"]

ROOT = Path(__file__).parents[1]

WORDS = (
    "alpha", "beta", "beta_next", "models", "schemes", "order", "stability", "condition", "parameters", "depth", "{depth}", "networks", "label",
    "evaluations", "kind", "clean", "seeds", "data", "digits", "training", "epochs", "scales", "title", "name", "null", "true", ".inf", ".nan", "1e999",
    "1/0", "-9/5", "!!binary ", "!!python/object:", "&a ", "*a", "<<: ", "? ", "- ", "|\n", "\xff", "\x00", "\x1b[31m", "\u202e",
    "bdf(3)", "ssp(4, 3)", "--set", "--json", "--alpha", "--beta", "--folder", "--data", "--size", "--scale", "lam=", "runs", "zerosnet", "quickstart",
    "__metadata__", "state", "tensor", "pairs", "dtype", "shape", "data_offsets", "F32", "numpy", "ndarray", "_reconstruct", "SQLite format 3",
)  # fmt: skip


def seeds(target: str) -> list[bytes]:
    """Valid inputs of a target, and some that are nearly so."""
    shipped = sorted((ROOT / "stabzoo" / "study" / "studies").glob("*.yaml"))
    registries = [yaml.safe_dump(part, sort_keys=False).encode() for part in load_yaml(ROOT / "registry.yaml").values()]
    recipes = [path.read_bytes() for path in (ROOT / "stabzoo" / "training" / "recipes").glob("*.yaml")]
    small = [text for text in (path.read_bytes() for path in shipped) if len(text) < 6000]
    match target:
        case "yaml":
            return [*registries[:3], b"a: [1, 2.5, x]\nb: {c: null, d: true}\n", b"a: &x [1]\nb: *x\n"]
        case "registry":
            return registries
        case "study":
            return small[:6]
        case "training":
            return [*recipes, json.dumps(_job()).encode()]
        case "coefficients":
            return [
                b"1/3 5/9 1/9|16/9",
                b"4/3 -1/3|0|2/3",
                b"0 1|2 0",
                b"bdf(3)",
                b"ssp(4, 3)",
                b"1|3/2 -1/2",
                b"1 1 1|1",
            ]
        case "checkpoint":
            return _checkpoints()
        case "state":
            return [whole_state()[0].encode()]
        case "archive":
            return _archives()
        case "database":
            return [whole()]
        case "cell":
            cells = (
                b"{}",
                b"[1.5, 0.5]",
                b'{"alpha": ["1"], "beta": ["1"], "beta_next": 0}',
                b'{"kind": "clean"}',
                b"1",
            )
            return [bytes([i, 0]) + text for i in range(len(columns())) for text in cells[: 2 + i % 3]]
        case _:
            lines = {
                "analyze": ["bdf(3)", "--alpha 1/3 5/9 1/9 --beta 16/9 --json"],
                "show": ["zerosnet --set lam=3", "zerosnet20_opt --json", "multistep --set alpha=1,1 --set beta=1"],
                "study show": ["quickstart --scale smoke --json"],
                "study status": ["quickstart --folder runs"],
                "study diff": ["quickstart@smoke quickstart"],
                "study report": ["quickstart --folder runs --keep kept"],
                "study export": ["all.csv --study quickstart"],
                "study run": ["quickstart --workers 2 --engine dask"],
                "train": ["zerosnet20_opt --set epochs=1 --arg width=4 --size 8 --data digits", "x --recipe mine.yaml"],
                "evaluate": ["runs/a --conditions c.yaml --json"],
                "diagnose": ["zerosnet20_opt --sigma 0.1 --images 3 --checkpoint w.pt"],
                "oscillator": ["--omega 50 --step 1/100 1/20 --json"],
                "new-plugin": ["leapfrog --alpha 0 1 --beta 2 0"],
                "list -": ["-status strong zerosnet*"],
            }
            return [bytes([COMMANDS.index(c)]) + line.encode() for c, found in lines.items() for line in found]


def _job() -> dict[str, object]:
    training = load_yaml(ROOT / "stabzoo" / "training" / "recipes" / "digits.yaml")
    data = {"name": "digits", "size": 8, "test_images": 540, "split_seed": 0}
    rest = {"device": "cpu", "threads": 1, "processes": 1, "processor": "AVX2", "software": {}, "sources": {}}
    return {
        "model": "zerosnet20_opt",
        "args": {"width": 4},
        "data": data,
        "training": dict(training),
        "seed": 0,
        **rest,
    }


def _checkpoints() -> list[bytes]:
    packed, tensors = pack({"step": 1, "weights": {"a": torch.ones(2)}, "list": [None, 1.5, "x"]})
    pickled = io.BytesIO()
    torch.save({"stem.conv.weight": torch.ones(1)}, pickled)
    old = io.BytesIO()
    torch.save({"a": torch.ones(1)}, old, _use_new_zipfile_serialization=False)
    return [
        save(tensors, {"state": json.dumps(packed)}),
        save({"a": torch.ones(1)}),
        pickled.getvalue(),
        old.getvalue(),
    ]


def _archives() -> list[bytes]:
    pixels = np.zeros((1, 12), np.uint8)
    batches = [pickle.dumps({b"data": pixels, b"labels": [3]}, protocol=protocol) for protocol in (2, 3, 4, 5)]
    labels = gzip.compress(struct.pack(">2I", 0x801, 2) + b"\1\2", mtime=0)
    images = gzip.compress(struct.pack(">4I", 0x803, 1, 2, 2) + bytes(4), mtime=0)
    return [*batches, labels, images]
