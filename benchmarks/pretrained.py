"""Train the networks whose weights come with stabzoo, NAME.digits, and write them to stabzoo/pretrained.

    python benchmarks/pretrained.py

A few minutes on one core.  Each is `stabzoo train NAME --set layout=contiguous` on one thread; on the same kind of processor, with the software
that its config.json names, the weights are the same to the last bit.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from stabzoo.cli import main
from stabzoo.deploy.opening import open_deployed
from stabzoo.deploy.publishing import write_repository
from stabzoo.zoo import PRETRAINED

NAMES = ("preresnet20", "stable_resnet_s11_cert", "zerosnet20_opt")


def train(name: str) -> None:
    """Train one and put it in its place."""
    with TemporaryDirectory() as scratch:
        if main(["train", name, "--threads", "1", "--set", "layout=contiguous", "--folder", f"{scratch}/run"]):
            sys.exit(f"{name} was not trained")
        tagged = f"{name}.digits"
        shutil.rmtree(PRETRAINED / tagged, ignore_errors=True)
        write_repository(open_deployed(Path(scratch, "run")), PRETRAINED / tagged, tagged)


if __name__ == "__main__":
    for name in NAMES:
        train(name)
