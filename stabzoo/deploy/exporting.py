"""Files for other runtimes: ONNX, and the programs of torch.export, compared with the network that they are of."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.config import json_text
from stabzoo.deploy.opening import Deployed
from stabzoo.errors import ConfigError
from stabzoo.implicit.report import ConvergenceWarning
from stabzoo.implicit.settings import TRACED_ITERATIONS
from stabzoo.implicit.step import ImplicitStep

__all__ = ["Exported", "export_onnx", "export_torch"]

TOLERANCE = 1e-3
"""Most that logits may differ, relative to the largest: float32, summed in another order."""

SIZES = (2, 1, 5)
"""Batches: the one that is traced, and those that the file is compared on beside it."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how far it is from the network that it is of.

    Attributes:
        path: The file.
        difference: The largest of the logits, relative to the largest logit, on random images in batches of 1, 2 and 5.
        iterations: Of every implicit step, which the file has in place of a solve; None of an explicit network.
        unsolved: For an implicit network, `difference` from the network that solves its equations.
    """

    path: Path
    difference: float
    iterations: int | None
    unsolved: float | None


def export_torch(deployed: Deployed, path: Path) -> Exported:
    """Write a program of `torch.export`, of pixels (batch, C, H, W) in [0, 1]: ``torch.export.load(path).module()``.

    Raises:
        ConfigError: the network cannot be traced, or the file computes something else.
    """

    def written(network: nn.Module, pixels: Tensor) -> None:
        program = _traced(network, pixels)
        torch.export.save(program, path, extra_files={"config.json": _described(deployed)})

    def computed(pixels: Tensor) -> Tensor:
        return torch.export.load(path).module()(pixels)

    return _exported(deployed, path, written, computed)


def export_onnx(deployed: Deployed, path: Path) -> Exported:
    """Write an ONNX file, of ``pixels`` (batch, C, H, W) in [0, 1] to ``logits``; it is compared in ONNX Runtime.

    Raises:
        ConfigError: a package is missing, the network cannot be traced, or the file computes something else.
    """
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        raise ConfigError(f"onnx: expected the package {missing[0]}; pip install 'stabzoo[onnx]'")

    def written(network: nn.Module, pixels: Tensor) -> None:
        program: Any = torch.onnx.export(
            _traced(network, pixels), dynamo=True, input_names=["pixels"], output_names=["logits"], verbose=False
        )
        program.model.metadata_props["config.json"] = _described(deployed)
        program.save(path, external_data=False)

    def computed(pixels: Tensor) -> Tensor:
        from onnxruntime import InferenceSession  # pyright: ignore[reportMissingImports]

        session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(["logits"], {"pixels": pixels.numpy()})[0])

    return _exported(deployed, path, written, computed)


def _described(deployed: Deployed) -> str:
    """The description of the network, without the line breaks."""
    return json.dumps(json.loads(json_text(deployed.description.model_dump(mode="json"), 0)))


def _traced(network: nn.Module, pixels: Tensor) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its code
        batch = torch.export.Dim("batch", min=1, max=2**20)
        return torch.export.export(network, (pixels,), dynamic_shapes=({0: batch},))


def _exported(deployed: Deployed, path: Path, written: Any, computed: Any) -> Exported:
    network = deployed.of_pixels()
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(size, *deployed.input_size, generator=generator) for size in SIZES]
    steps = [module for module in network.modules() if isinstance(module, ImplicitStep)]
    settings = [step.settings for step in steps]
    with torch.no_grad():
        solved = _run(network, batches) if steps else None
        try:
            for step in steps:
                fixed = step.settings.fixed_iterations or TRACED_ITERATIONS
                step.settings = step.settings.model_copy(update={"fixed_iterations": fixed})
            expected = _run(network, batches)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    written(network, batches[0])
            except Exception as error:  # torch raises what it likes about what it cannot trace
                raise ConfigError(
                    f"{path}: {deployed.description.architecture} cannot be exported: {error or type(error).__name__}"
                ) from error
        finally:
            for step, before in zip(steps, settings, strict=True):
                step.settings = before
        try:
            found = [computed(pixels) for pixels in batches]
            shapes = [tuple(logits.shape) for logits in found]
            difference = _difference(found, expected) if shapes == [tuple(e.shape) for e in expected] else float("inf")
        except Exception as error:
            raise ConfigError(f"{path}: was written, but cannot be run: {error or type(error).__name__}") from error
    if not difference <= TOLERANCE:
        path.unlink(missing_ok=True)
        raise ConfigError(
            f"{path}: its logits differ from the network's by {difference:.2g} of the largest, so the file was removed"
        )
    iterations = max(step.settings.fixed_iterations or TRACED_ITERATIONS for step in steps) if steps else None
    return Exported(path, difference, iterations, None if solved is None else _difference(found, solved))


def _run(network: nn.Module, batches: list[Tensor]) -> list[Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is compared, and the difference told
        return [network(pixels) for pixels in batches]


def _difference(found: list[Tensor], expected: list[Tensor]) -> float:
    largest = max(float(logits.abs().max()) for logits in expected) or 1.0
    pairs = zip(found, expected, strict=True)
    return max(float((got - wanted).abs().max()) for got, wanted in pairs) / largest
