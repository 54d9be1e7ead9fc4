"""What trained networks are worth: accuracy, generalization gap, calibration, and accuracy under noise and attack."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from stabzoo.config import Strict, load_yaml, validate
from stabzoo.data.images import ImageDataset
from stabzoo.data.spec import Archived, Data, Digits
from stabzoo.errors import ConfigError, PluginError
from stabzoo.evaluation.accuracy import iter_logits, measure, num_correct, training_accuracy
from stabzoo.evaluation.kinds import AnyEvaluation
from stabzoo.evaluation.spec import Clean, Constant, Fgsm, Gaussian, Pgd, Uniform
from stabzoo.metric import Evaluation
from stabzoo.training.checkpoint import Checkpoints
from stabzoo.training.networks import load_finished
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.spec import Job

__all__ = ["Conditions", "Evaluated", "calibration_error", "conditions", "evaluate"]

BINS = 15


class Conditions(Strict):
    """The conditions that networks are tested under."""

    evaluations: Annotated[tuple[AnyEvaluation, ...], Field(min_length=1)]


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


def conditions(path: Path | None, data: Data) -> tuple[Evaluation, ...]:
    """Read ``evaluations`` from a YAML file; without one, the papers' on colour images, larger ones on scans.

    Raises:
        ConfigError: the file cannot be read, or is not valid.
    """
    if path is None:
        return SCANS if isinstance(data, Digits) or (isinstance(data, Archived) and data.name == "mnist") else CIFAR
    found = validate(Conditions, load_yaml(path), str(path)).evaluations
    return tuple(evaluation for evaluation in found if not isinstance(evaluation, Clean))


@dataclass(frozen=True)
class Evaluated:
    """Numbers of several networks trained alike, one each: percentages where no unit stands beside the name.

    The negative log-likelihood has none.  ``failures`` are what plugins' evaluations raised instead.  ``diverged`` are
    the folders of those whose training diverged: what is measured of them is not what they were
    trained for.
    """

    numbers: dict[str, list[float]]
    diverged: tuple[Path, ...] = ()
    failures: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """What was measured, with mean and standard deviation over the networks."""
        return [(name, _spread(values)) for name, values in self.numbers.items() if values]


def evaluate(
    folders: Sequence[Path], asked: Path | None, root: Path, device: torch.device, workers: int = 0
) -> Evaluated:
    """Test the networks of finished trainings that differ in their seeds, all under the same noise.

    ``workers`` processes decode images that are not in memory.

    Raises:
        ConfigError: a folder is none of a finished training, the trainings differ in more than the seed, or what a
            condition needs is missing.
    """
    numbers: dict[str, list[float]] = {}
    diverged: list[Path] = []
    failures: list[str] = []
    first: Job | None = None
    for folder in folders:
        trained = load_finished(folder, root, workers)
        job = trained.job
        first = first or job
        for name in ("model", "args", "data", "training"):
            if getattr(job, name) != getattr(first, name):
                raise ConfigError(
                    f"{folder}: expected a training that differs from {folders[0]} in its seed alone, but its {name} "
                    "is another"
                )
        network, images = trained.network.to(device), trained.images
        found = _measure(network, images)
        evaluations = conditions(asked, job.data)
        for evaluation, value in zip(evaluations, measure(network, images, evaluations), strict=True):
            if isinstance(value, PluginError):
                failures.append(f"{folder}: {value}")
            else:
                found[evaluation.heading] = value
        if _diverged(folder) or not all(map(math.isfinite, found.values())):
            diverged.append(folder)
        for name, value in found.items():
            numbers.setdefault(name, []).append(value)
    return Evaluated(numbers, tuple(diverged), tuple(failures))


def _diverged(folder: Path) -> bool:
    """Whether the training in ``folder`` ended at a loss that was not finite, as its last checkpoint says."""
    state, _ = Checkpoints(folder).newest()
    return bool(state and state.get("trainer", state)["progress"]["diverged"])  # a study's has more than the trainer


def _measure(network: NormalizedModel, images: ImageDataset) -> dict[str, float]:
    """On clean images: one pass over the test images, and one over the training images, without augmentation."""
    parts = [(logits.cpu(), labels.cpu()) for labels, logits in iter_logits(network, images)]
    logits, labels = torch.cat([part for part, _ in parts]), torch.cat([part for _, part in parts])
    top1, training = 100 * num_correct(logits, labels) / len(labels), training_accuracy(network, images)
    return {
        "top-1": top1,
        "top-5": 100 * num_correct(logits, labels, 5) / len(labels),
        "top-1 in training": training,
        "generalization gap": training - top1,
        "negative log-likelihood": float(functional.cross_entropy(logits, labels)),
        "calibration error": 100 * calibration_error(logits, labels),
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
    mean = statistics.fmean(values)
    places = 2 if not mean or abs(mean) >= 1 else 2 - math.floor(math.log10(abs(mean)))  # three digits of small ones
    return f"{mean:.{places}f}" + (f" ± {statistics.stdev(values):.{places}f}" if len(values) > 1 else "")
