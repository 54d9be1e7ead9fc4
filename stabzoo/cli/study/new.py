"""``stabzoo study new``: your own study, as a commented file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from stabzoo.cli.arguments.datasets import dataset_of, recipe_of
from stabzoo.cli.arguments.folders import look
from stabzoo.cli.console import output
from stabzoo.data.spec import Folder
from stabzoo.errors import ConfigError
from stabzoo.files import write_atomically
from stabzoo.study.spec import load_study
from stabzoo.terminal import say
from stabzoo.training.results import conditions
from stabzoo.training.spec import recipe

__all__ = ["write_study"]

TEMPLATE = """\
# A study: networks trained alike, compared under the same evaluations. Change what you like, then
#   stabzoo study show {path}      what it says, and whether the models exist
#   stabzoo study run {path}       trains what is missing; resumes where it was stopped
#   stabzoo study checkpoint {path} LABEL      the best run of a network, to use it
# All fields, as a JSON schema: stabzoo schema 'study show'
title: Which scheme is best on {title}?
description: >-
  Two networks that differ in the scheme of their blocks only, trained alike.

networks: # label: in the report; model: of `stabzoo list`, or any of timm; args: what timm.create_model takes
  - {{label: Euler, model: preresnet20, args: {{}}}}
  - {{label: optimal ZeroSNet, model: zerosnet20_opt, args: {{}}}}

# The images: of one size and normalisation for all networks, which take channels and classes from them.
data: {data}

training: # as `stabzoo train --recipe {recipe}` does{chosen}; a network may have its own: training: {{lr: 0.05}}
{training}

seeds: [0, 1, 2] # every network is trained once per seed; differences are reported beside their spread

evaluations: # on the test images; noise on pixels in [0, 1], clipped; FGSM and PGD: attacks
  - {{kind: clean}}
{evaluations}

scales:
  smoke: # stabzoo study run {path} --scale smoke: whether everything works
    args: {{width: 4}}
    training: {smoke}
    seeds: [0]
"""


def write_study(path: Path, named: str, size: int | None, root: Path) -> None:
    """Write the file, after looking at the images where they are a folder; it is read once to be sure.

    Raises:
        ConfigError: the file is there or cannot be written, or the data cannot be looked at.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{path}: expected the name of a .yaml file")
    if path.exists():
        raise ConfigError(f"{path}: exists already; name another file, or remove it")
    data = dataset_of(named, size, verified=True)
    name, settings, chosen = recipe_of(data), dict[str, Any](), ""
    if isinstance(data, Folder) and Path(named).is_dir():
        looked = look(data, root, "cpu", sized=size is not None)
        data, name, settings, chosen = looked.data, looked.recipe, looked.settings, ", for as many images"
        say(output(), looked.chosen(recipe(name, settings), name))
    training = recipe(name, {"layout": "fastest", "compile": "fastest"} | settings)
    given = training.model_dump(mode="json", exclude_defaults=True)
    smoke: dict[str, Any] = {"epochs": 1}
    if training.warmup_epochs >= 1:
        smoke["warmup_epochs"] = 0
    text = TEMPLATE.format(
        path=_plain(str(path)),
        title=_plain(data.title),
        data=_flow(data.model_dump(mode="json", exclude_none=True)),
        recipe=name,
        chosen=chosen,
        training="\n".join(f"  {key}: {_flow(value)}" for key, value in given.items()),
        evaluations="\n".join(
            f"  - {_flow(evaluation.model_dump(mode='json', exclude_defaults=True) | {'kind': evaluation.kind})}"
            for evaluation in conditions(None, data)
        ),
        smoke=_flow(smoke),
    )
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error})") from None
    load_study(path)
    say(output(), f"{path}: stabzoo study run {path} --scale smoke")


def _plain(text: str) -> str:
    """Text that is no more than text in YAML, in a comment and in a plain value."""
    return re.sub(r"[^\w ./+-]", "_", text)


def _flow(value: Any) -> str:
    """A value as YAML has it on one line, which JSON is a part of; names without quotes where they need none."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w-]*", value) and value not in ("true", "false", "null"):
        return value
    return json.dumps(value)
