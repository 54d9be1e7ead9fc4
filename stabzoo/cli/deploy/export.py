"""``stabzoo export``: a trained network as a file for other runtimes."""

from __future__ import annotations

from pathlib import Path

from stabzoo.cli.console import output
from stabzoo.deploy.exporting import Exported, export_onnx, export_torch
from stabzoo.deploy.opening import open_deployed
from stabzoo.errors import ConfigError
from stabzoo.terminal import say

__all__ = ["export_trained"]


def export_trained(run: Path, *, onnx: Path | None, torch_export: Path | None) -> None:
    """Write the files that are asked for, and say how far they are from the network.

    Raises:
        ConfigError: none is asked for, or one cannot be written or computes something else.
    """
    if onnx is None and torch_export is None:
        raise ConfigError("export: expected --onnx FILE.onnx, --torch-export FILE.pt2, or both")
    deployed = open_deployed(run)
    channels, height, width = deployed.input_size
    for found in [
        *([export_onnx(deployed, onnx)] if onnx is not None else []),
        *([export_torch(deployed, torch_export)] if torch_export is not None else []),
    ]:
        _print(found)
    say(
        output(),
        f"Input: pixels in [0, 1], (batch, {channels}, {height}, {width}), any batch; they are normalised in the file. "
        "Output: logits.",
    )


def _print(found: Exported) -> None:
    say(output(), f"{found.path}: logits differ by at most {found.difference:.1e} of the largest, on random images")
    if found.iterations is not None:
        say(
            output(),
            f"  its equations are not solved: every implicit step is {found.iterations} fixed-point iterations, an "
            f"explicit method; its logits differ by {found.unsolved:.1e} from those of the network that solves them",
            style="yellow",
        )
