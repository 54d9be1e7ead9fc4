"""What users' checkpoints depend on: names, parameters and logits of the models, written to and compared with a file.

    python tests/networks/released.py

writes ``released.json`` anew.  A model that changes must be named under "Changed models" of the newest version in
CHANGELOG.md; see tests/networks/test_released.py.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

import stabzoo
from stabzoo.registry.catalogue import catalogue

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).parent / "released.json"
CHANGELOG = ROOT / "CHANGELOG.md"
DEEPEST = 56  # whose logits are recorded; the blocks of deeper ones are the same


def described(name: str) -> dict[str, Any]:
    """Parameters, and a digest of the names and shapes of all that a checkpoint holds."""
    model = timm.create_model(name, device="meta")
    held = [[key, *value.shape] for key, value in model.state_dict().items()]
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "checkpoint": hashlib.sha256(json.dumps(held).encode()).hexdigest()[:16],
    }


def logits(name: str) -> list[float]:
    """The first four logits of a fixed image in float64, from weights that do not depend on torch's generators."""
    stream = np.random.default_rng(0)
    model = timm.create_model(name).double().eval()
    for module in model.modules():
        if isinstance(module, stabzoo.ImplicitStep):  # solved so far that rounding elsewhere does not show
            module.settings = module.settings.model_copy(update={"rtol": 1e-13, "max_evaluations": 1000})
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                noise = torch.from_numpy(stream.standard_normal(tuple(value.shape)))
                if value.dim() > 1:
                    value.copy_(noise / value[0].numel() ** 0.5)
                else:
                    value.copy_((0 if "bias" in key or "mean" in key else 1) + 0.1 * noise.abs())
        image = torch.from_numpy(stream.standard_normal((1, *model.pretrained_cfg["input_size"])))
        return model(image)[0, :4].tolist()


def measured() -> list[str]:
    """The models whose logits are recorded: of every family and form that which was, or else the smallest."""
    before = {name for name, entry in json.loads(FILE.read_text()).items() if "logits" in entry}
    smallest: dict[str, tuple[bool, int, str]] = {}
    for name in stabzoo.list_models():
        depth = catalogue().models[name][1].depth
        form = "imagenet" if timm.get_pretrained_cfg_value(name, "input_size") == (3, 224, 224) else "cifar"
        family = f"{name.replace(str(depth), '', 1)} {form}"
        smallest[family] = min(smallest.get(family, (True, depth, name)), (name not in before, depth, name))
    return [name for _, depth, name in smallest.values() if depth <= DEEPEST]


def released() -> dict[str, Any]:
    """All that is recorded, as the installed code has it."""
    found = {name: described(name) for name in stabzoo.list_models()}
    for name in measured():
        found[name]["logits"] = logits(name)
    return found


def changes(before: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """What is not as it was, by the model: removed, or another number of parameters, checkpoint or logits."""
    found: dict[str, str] = {}
    for name, recorded in before.items():
        if name not in now:
            found[name] = "is gone"
            continue
        for what in ("parameters", "checkpoint"):
            if recorded[what] != now[name][what]:
                found[name] = f"{what}: {recorded[what]} before, {now[name][what]} now"
        if name not in found and "logits" in recorded:
            mine = np.array(now[name].get("logits", [np.nan]))
            if not np.allclose(mine, recorded["logits"], rtol=1e-9, atol=1e-12):
                found[name] = f"logits: {recorded['logits']} before, {mine.tolist()} now"
    return found


def announced(changelog: str) -> set[str]:
    """Models named under "Changed models" of the newest version."""
    newest = changelog.split("\n## ")[1]
    _, _, section = newest.partition("### Changed models\n")
    section = section.partition("\n### ")[0]
    return {part for i, part in enumerate(section.split("`")) if i % 2}


if __name__ == "__main__":
    FILE.write_text(json.dumps(released(), indent=1) + "\n")
