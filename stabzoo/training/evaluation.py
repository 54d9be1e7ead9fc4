"""What trained networks are worth: accuracy, generalization gap, calibration, and accuracy under noise and attack."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor
from torch.nn import functional

from stabzoo.config import ConfigError, Strict, load_yaml, validate
from stabzoo.study.accuracy import accuracy_under, hits, logits_of
from stabzoo.study.data import load_images
from stabzoo.study.evaluations import Clean, Constant, Evaluation, Fgsm, Gaussian, Pgd, Uniform
from stabzoo.study.pixel_scale import PixelScale
from stabzoo.training.job import Job, network_of

__all__ = ["Conditions", "Evaluated", "calibration_error", "conditions", "evaluate", "load_trained"]

BINS = 15


class Conditions(Strict):
    """The conditions that networks are tested under."""

    evaluations: Annotated[tuple[Evaluation, ...], Field(min_length=1)]


CIFAR = (  # Chen, Jin & Shang, Table 6
    Uniform(kind="uniform", low=-0.08, high=0, seed=1),
    Uniform(kind="uniform", low=0, high=0.08, seed=1),
    *(Gaussian(kind="gaussian", sigma=sigma, seed=1) for sigma in (0.01, 0.02, 0.04)),
    Constant(kind="constant", mu=0.3),
    Fgsm(kind="fgsm", epsilon=8 / 255),
    Pgd(kind="pgd", epsilon=8 / 255, seed=1),
)
SCANS = (
    *(Gaussian(kind="gaussian", sigma=sigma, seed=1) for sigma in (0.1, 0.2)),
    Uniform(kind="uniform", low=-0.2, high=0, seed=1),
    Uniform(kind="uniform", low=0, high=0.2, seed=1),
    Constant(kind="constant", mu=0.1),
    Fgsm(kind="fgsm", epsilon=0.02),
    Pgd(kind="pgd", epsilon=0.02, seed=1),
)


def conditions(path: Path | None, data: str) -> tuple[Evaluation, ...]:
    """Read ``evaluations`` from a YAML file; without one, the papers' on CIFAR, larger ones on digits and MNIST.

    Raises:
        ConfigError: the file cannot be read, or is not valid.
    """
    if path is None:
        return CIFAR if data.startswith("cifar") else SCANS
    found = validate(Conditions, load_yaml(path), str(path)).evaluations
    return tuple(evaluation for evaluation in found if not isinstance(evaluation, Clean))


@dataclass(frozen=True)
class Evaluated:
    """Numbers of several networks trained alike, one each: percentages, but for the negative log-likelihood."""

    numbers: dict[str, list[float]]

    def rows(self) -> list[tuple[str, str]]:
        """What was measured, with mean and standard deviation over the networks."""
        return [(name, _spread(values)) for name, values in self.numbers.items()]


def load_trained(folder: Path) -> tuple[Job, dict[str, Tensor]]:
    """What a finished training has left in its folder.

    Raises:
        ConfigError: it has left nothing, or its files are damaged.
    """
    try:
        job = validate(Job, json.loads((folder / "job.json").read_bytes()), str(folder / "job.json"))
        return job, load((folder / "weights.safetensors").read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: cannot be read ({error.strerror or error}); expected the folder of a training that "
            "`stabzoo train` has finished"
        ) from None
    except (ValueError, SafetensorError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{folder}: a file of this training is damaged ({error}); train it again") from None


def evaluate(folders: Sequence[Path], asked: Path | None, root: Path, device: torch.device) -> Evaluated:
    """Test the networks of finished trainings that differ in their seeds, all under the same noise.

    Raises:
        ConfigError: a folder is none of a finished training, or the trainings differ in more than the seed.
    """
    numbers: dict[str, list[float]] = {}
    first: Job | None = None
    for folder in folders:
        job, weights = load_trained(folder)
        first = first or job
        for name in ("model", "args", "data", "training"):
            if getattr(job, name) != getattr(first, name):
                raise ConfigError(
                    f"{folder}: expected a training that differs from {folders[0]} in its seed alone, but its {name} "
                    "is another"
                )
        images = load_images(job.data, root)
        network = network_of(job, images)
        try:
            network.network.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ConfigError(f"{folder / 'weights.safetensors'}: does not fit {job.model}: {reason}") from None
        network = network.to(device).eval()
        found = _clean(network, images.training_pixels, images.train_labels, images.test, images.test_labels)
        test, labels = images.test.to(device), images.test_labels.to(device)
        for evaluation in conditions(asked, job.data.name):
            found[evaluation.title] = accuracy_under(network, test, labels, evaluation)
        for name, value in found.items():
            numbers.setdefault(name, []).append(value)
    return Evaluated(numbers)


def _clean(
    network: PixelScale, train: Any, train_labels: Tensor, test: Tensor, test_labels: Tensor
) -> dict[str, float]:
    logits = logits_of(network, lambda part: test[part], len(test))
    right = hits(logits_of(network, train, len(train_labels)), train_labels, 1)
    top1 = hits(logits, test_labels, 1)
    return {
        "top-1": top1,
        "top-5": hits(logits, test_labels, 5),
        "top-1 in training": right,
        "generalization gap": right - top1,
        "negative log-likelihood": float(functional.cross_entropy(logits, test_labels)),
        "calibration error": 100 * calibration_error(logits, test_labels),
    }


def calibration_error(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """The expected calibration error: |accuracy - confidence| in bins of equal width, weighted by their images.

    Args:
        logits: (N, classes).
        labels: (N,).
        bins: Of the confidence, the largest probability.

    Source: Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks, ICML 2017, eq. (3).
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1
    excess = (predicted == labels).double() - confidence
    sums = torch.zeros(bins, dtype=torch.float64).index_add(0, index, excess)
    return float(sums.abs().sum() / len(labels))


def _spread(values: list[float]) -> str:
    if not all(map(math.isfinite, values)):
        return "not finite"
    mean = f"{statistics.fmean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean
