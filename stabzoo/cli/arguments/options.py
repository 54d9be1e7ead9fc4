"""Options that several commands have, and how an option is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def option(text: str, name: str | None = None) -> Parameter:
    """An option with its help, and its name where that is not the argument's."""
    return Parameter(name=name, help=text, show_default=False)


def numbers(text: str, name: str | None = None) -> Parameter:
    """An option that takes several numbers, one after the other."""
    return Parameter(name=name, help=text, consume_multiple=1)


Json = Annotated[bool, option("Print one JSON document; exact numbers are strings.", name="--json")]
Workers = Annotated[
    int | None, option("Processes that decode images from disk; by default one less than the processors.")
]
DATA = option(
    "digits, percolation, elpv, cifar10, cifar100, mnist, a folder with train/CLASS/* and val/CLASS/* or with only "
    "CLASS/*, torch/NAME or hfds/NAME of timm's factory, or a .yaml file like the data of a study; by default digits.",
    name="--data",
)
DataSet = Annotated[str, DATA]
Arguments = Annotated[
    tuple[str, ...], option("An argument of the model: width=8, norm=none; may be repeated.", name="--arg")
]
Device = Annotated[str, option("cpu or cuda; by default cpu.")]
Size = Annotated[
    int | None,
    option(
        "Pixels per side; by default 16 for digits, 12 for percolation, 32 for elpv, that of the images for a folder, "
        "else 224."
    ),
]
Root = Annotated[Path, option("Folder of the data sets; by default data.")]
Unverified = Annotated[bool, option("Accept files whose checksums are not the published ones.")]
Plot = Annotated[Path | None, option("Also draw roots and stability region: .png, .svg or .pdf.")]
