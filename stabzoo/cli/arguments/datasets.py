"""Data sets as they are named on the command line."""

from __future__ import annotations

import re
from pathlib import Path

from stabzoo.config import Strict, load_yaml, validate
from stabzoo.data.spec import DIGITS, PERCOLATION, SOLAR_CELLS, Archived, Data, Digits, Percolation, SolarCells
from stabzoo.errors import ConfigError

__all__ = ["dataset_of", "recipe_of", "short_name"]

ARCHIVED = ("cifar10", "cifar100", "mnist")
HELD_OUT = ("val", "test", "validation", "valid")
"""Possible names of the folder of test images next to ``train``; the first that exists is taken."""

FACTORY = ("torch/", "hfds/", "hfids/", "tfds/", "wds/")


class _Chosen(Strict):
    data: Data


def dataset_of(
    text: str, size: int | None, usual: int | None = None, *, verified: bool, only_tested: bool = False
) -> Data:
    """The data set that ``--data`` names: one by its name, a folder, one of timm's factory, or a .yaml file.

    Images that have no size of their own are resized to ``size``, by default to the ``usual`` one of a model.  A folder
    that holds the folders of its classes itself is split, a fifth held out by seed 0; where it is ``only_tested`` all
    of its images are for tests.

    Raises:
        ConfigError: there is none of this name, or an option does not go with it.
    """
    resized = {} if size is None else {"size": size}
    if text in ARCHIVED:
        if resized:
            raise ConfigError(f"--size: {text} has images of one size; expected digits, percolation or images on disk")
        return Archived.model_validate({"name": text, "verified": verified})
    by_default = {} if usual is None else {"size": usual}
    if text == "digits":
        found = {**DIGITS.model_dump(), **by_default, **resized}
    elif text == "percolation":
        found = {**PERCOLATION.model_dump(), **resized}
    elif text == "elpv":
        found = {**SOLAR_CELLS.model_dump(), **by_default, **resized}
    elif text.lower().startswith(FACTORY):
        found = {"name": "timm", "dataset": text, **by_default, **resized}
    elif Path(text).suffix in (".yaml", ".yml"):
        found = {**by_default, **load_yaml(Path(text)), **resized}
    elif Path(text).is_dir():
        found = {"name": "folder", "path": str(Path(text).absolute()), **by_default, **resized}
        if Path(text, "train").is_dir():
            found["test"] = next((name for name in HELD_OUT if Path(text, name).is_dir()), HELD_OUT[0])
        else:
            found |= {"train": ".", "test": "."} if only_tested else {"train": ".", "test_share": 0.2}
    else:
        raise ConfigError(
            f"--data: expected digits, percolation, elpv, {', '.join(ARCHIVED)}, a folder with train/CLASS/* and "
            f"val/CLASS/*, or with CLASS/*, torch/NAME or hfds/NAME of timm's factory, or a .yaml file; got {text!r}"
        )
    return validate(_Chosen, {"data": found}, text).data


def recipe_of(data: Data) -> str:
    """The shipped recipe for these images."""
    match data:
        case Digits():
            return "digits"
        case Percolation() | SolarCells():
            return "percolation"
        case Archived(name=name):
            return "mnist" if name == "mnist" else "cifar"
        case _:
            return "imagenet"


def short_name(data: Data) -> str:
    """What is short enough for the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", data.title.removeprefix("torch/").removeprefix("hfds/"))
