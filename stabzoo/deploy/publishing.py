"""A trained network as a repository of the hub: ``config.json``, ``model.safetensors``, and a model card."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from stabzoo.deploy.opening import Deployed
from stabzoo.errors import ConfigError
from stabzoo.files import open_regular, write_atomically
from stabzoo.training.kept.description import CONFIG, WEIGHTS, Description

__all__ = ["model_card", "upload", "write_repository"]

README = "README.md"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def write_repository(deployed: Deployed, folder: Path, where: str | None = None) -> None:
    """Write what is published of a network into ``folder``, which must be new or empty; ``where`` it will be opened.

    Raises:
        ConfigError: there is something in the folder, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder}: expected a folder that is new or empty; name another")
        for name in (CONFIG, WEIGHTS):
            with open_regular(deployed.folder / name) as file:
                write_atomically(folder / name, file.read())
        card = model_card(deployed.description, where or f"local-dir:{folder}")
        write_atomically(folder / README, card.encode())
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be used ({error.strerror or error})") from error


def upload(folder: Path, repository: str, *, private: bool) -> str:
    """Upload what `write_repository` wrote to the Hugging Face hub, with the token of ``hf auth login``; its address.

    Raises:
        ConfigError: the name is none, or the hub refuses it.
    """
    from huggingface_hub import HfApi

    if not REPOSITORY.fullmatch(repository):
        raise ConfigError(f"publish: expected a repository OWNER/NAME of the Hugging Face hub, got {repository!r}")
    try:
        hub = HfApi(library_name="stabzoo")
        made = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="Publish with stabzoo")
    except Exception as error:  # of the network, of the hub, of the token
        raise ConfigError(
            f"publish: {repository} cannot be uploaded ({type(error).__name__}: {error}); "
            "log in by `hf auth login`, or write the repository with --folder and upload it later"
        ) from error
    return str(made)


def model_card(description: Description, where: str) -> str:
    """The README of a repository, in Markdown with the hub's front matter; ``where`` is what timm opens it by.

    Names from the description are written as code, so that they are no markup.
    """
    own, cfg = description.stabzoo, description.pretrained_cfg
    channels, height, width = cfg["input_size"]
    title = description.architecture
    parts = [
        _front_matter(description),
        f"# {title}, trained on {_code(own.job.data.title)}",
        "An image classifier for timm, by stabzoo: a residual network that is a numerical method for an ODE."
        if own.scheme
        else "An image classifier for timm, trained with stabzoo.",
        "## Use",
        _use(where, channels),
        "## What it is",
        _rows(
            {
                "model": _code(title),
                "arguments": _code(json.dumps(description.model_args)),
                "input": f"{channels} x {height} x {width}, mean {_numbers(cfg['mean'])}, deviation "
                f"{_numbers(cfg['std'])} of pixels in [0, 1], crop {cfg['crop_pct']:.4g}",
                "classes": ", ".join(map(_code, description.label_names or [])) or str(description.num_classes),
            }
            | ({} if own.measured is None else {"top-1": _accuracy(own.measured)})
        ),
    ]
    if own.scheme:
        parts += ["## Stability", _stability(own.scheme, own.stability)]
    training = {name: value for name, value in own.job.training.model_dump(mode="json").items() if value is not None}
    parts += [
        "## Training",
        _rows(
            {
                "data": _code(json.dumps(own.job.data.model_dump(mode="json"))),
                "digest of the data": _code(own.job.sources.get("data", "published files, or part of the software")),
                "recipe": _code(json.dumps(training)),
                "seed": str(own.job.seed),
                "software": ", ".join(f"{name} {version}" for name, version in own.job.software.items()),
            }
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(description: Description) -> str:
    license = str(description.pretrained_cfg.get("license") or "other")
    lines = ["tags: [image-classification, timm, stabzoo]", "pipeline_tag: image-classification", "library_name: timm"]
    return "\n".join(["---", *lines, f"license: {json.dumps(license)}", "---"])


def _use(where: str, channels: int) -> str:
    mode = "L" if channels == 1 else "RGB"
    return f"""```python
import stabzoo, timm  # stabzoo registers the model with timm
from PIL import Image

model = timm.create_model({where!r}, pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
probabilities = model(transform(Image.open("image.png").convert({mode!r}))[None]).softmax(1)
```"""


def _stability(scheme: dict[str, Any], card: dict[str, Any] | None) -> str:
    rows = {"scheme": _code(json.dumps(scheme))}
    if card is None:
        rows["stability"] = "not decided: a trained parameter gives no method"
    for name in ("formula", "status", "reason", "order", "parasitic_radius", "is_A_stable", "norm", "is_preconsistent"):
        if card and (value := card.get(name)) is not None:
            rows[name.removeprefix("is_").replace("_", " ")] = _code(value if isinstance(value, str) else str(value))
    certificate = (card or {}).get("certificate")
    if certificate:
        rows["certificate"] = f"{_code(json.dumps(certificate))}, checked by `stabzoo.verify_certificate`"
    return _rows(rows)


def _accuracy(measured: dict[str, float]) -> str:
    return f"{measured['top1']:.2f} % of {measured['test_images']:.0f} test images"


def _rows(rows: dict[str, str]) -> str:
    lines = [f"| {name} | {text.replace('|', chr(92) + '|')} |" for name, text in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _code(text: str) -> str:
    """Text as Markdown's code, whatever is in it."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    fence = "`" * (max(map(len, re.findall("`+", plain)), default=0) + 1)
    pad = " " if "`" in plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}"
