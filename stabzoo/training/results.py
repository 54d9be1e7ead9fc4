"""What trained networks are worth: accuracy, generalization gap, calibration, and accuracy under noise and attack."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from stabzoo.config import Strict, load_yaml, validate
from stabzoo.data.images import ImageDataset
from stabzoo.data.spec import Archived, Data, Digits, Percolation, SolarCells
from stabzoo.errors import ConfigError, PluginError
from stabzoo.evaluation.accuracy import iter_logits, measure, num_correct, training_accuracy
from stabzoo.evaluation.interval import wilson
from stabzoo.evaluation.kinds import Evaluations
from stabzoo.evaluation.l2 import Abstentions, Certified, Smoothed, l2_level
from stabzoo.evaluation.spec import RADII, Clean, Constant, Fgsm, Gaussian, Margin, Pgd, Uniform
from stabzoo.metric import ACCURACY, Evaluation
from stabzoo.training.checkpoint import Checkpoints
from stabzoo.training.kept.loading import load_finished
from stabzoo.training.networks import laid_out
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.spec import Job

if TYPE_CHECKING:
    from stabzoo.plotting.robustness import Curve

__all__ = ["Conditions", "Evaluated", "calibration_error", "conditions", "evaluate"]

BINS = 15


class Conditions(Strict):
    """The conditions that networks are tested under."""

    evaluations: Annotated[Evaluations, Field(min_length=1)]


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
        return (
            SCANS
            if isinstance(data, Digits | Percolation | SolarCells)
            or (isinstance(data, Archived) and data.name == "mnist")
            else CIFAR
        )
    found = validate(Conditions, load_yaml(path), str(path)).evaluations
    return tuple(evaluation for evaluation in found if not isinstance(evaluation, Clean))


def certificates(radii: Sequence[Fraction], sigma: float | None = None) -> list[Evaluation]:
    """Certified l2 accuracy at some radii; and with ``sigma`` that of the smoothed network, with its abstentions."""
    found: list[Evaluation] = [Certified(kind="certified", radius=radius) for radius in radii]
    if sigma is not None:
        found += [Smoothed(kind="smoothed", sigma=sigma, radius=radius, seed=0) for radius in radii]
        found.append(Abstentions(kind="abstentions", sigma=sigma, seed=0))
    return found


def attacks(radii: Sequence[Fraction]) -> list[Evaluation]:
    """What stands beside certified l2 accuracies: two attacks at the same radii."""
    pgd = [Pgd(kind="pgd", norm="l2", epsilon=float(radius), seed=0) for radius in radii if radius]
    return [*pgd, *(Margin(kind="margin", epsilon=float(radius)) for radius in radii if radius)]


@dataclass(frozen=True)
class Evaluated:
    """Numbers of several networks trained alike, one each: percentages where no unit stands beside the name.

    The negative log-likelihood has none.  ``evaluations`` are those that numbers are of, by the same names,
    ``test_images`` what the shares among them are counted on, and ``shape`` that of an image as a network gets it.
    ``failures`` are what plugins' evaluations raised instead.  ``diverged`` are the folders of those whose training
    diverged: what is measured of them is not what they were trained for.
    """

    numbers: dict[str, list[float]]
    diverged: tuple[Path, ...] = ()
    failures: tuple[str, ...] = ()
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    test_images: int = 0
    shape: tuple[int, int, int] = (0, 0, 0)

    def rows(self) -> list[tuple[str, str]]:
        """What was measured, with mean and standard deviation over the networks; of one, the test images' interval."""
        return [(name, self._row(name, values)) for name, values in self.numbers.items() if values]

    def _row(self, name: str, values: list[float]) -> str:
        interval = self.interval(name)
        if len(values) > 1 or interval is None:
            return _spread(values)
        return f"{_spread(values)} [{interval[0]:.2f}, {interval[1]:.2f}]"

    def interval(self, name: str) -> tuple[float, float] | None:
        """Wilson's interval of the mean over the networks, for the test images; None of what is no share of them."""
        evaluation = self.evaluations.get(name)
        is_share = evaluation.metric == ACCURACY if evaluation else name in ("top-1", "top-5")
        mean = statistics.fmean(self.numbers[name])
        if not (is_share and self.test_images and math.isfinite(mean)):
            return None
        return wilson(mean, evaluation.counted(self.test_images) if evaluation else self.test_images)

    def about(self) -> dict[str, dict[str, Any]]:
        """By name, how each number is known, the settings of its evaluation, and the interval: JSON-safe."""
        return {
            name: {
                "evidence": evaluation.evidence,
                "evaluation": evaluation.model_dump(mode="json"),
                "interval": self.interval(name),
            }
            for name, evaluation in self.evaluations.items()
        }

    def curves(self) -> list[Curve]:
        """The l2 accuracies as curves over the radius; those of the network itself begin at the clean accuracy."""
        from stabzoo.plotting.robustness import Curve  # matplotlib is slow to import

        found: dict[tuple[str, bool], list[tuple[float, str]]] = {}
        for name, evaluation in self.evaluations.items():
            if place := l2_level(evaluation):
                found.setdefault(place[:2], []).append((place[2], name))
        curves = []
        for (label, certified), points in found.items():
            begin = [] if label.startswith("smoothed") else [(0.0, "top-1")]
            levels = sorted([*begin, *points])
            names = [name for _, name in levels]
            means = [statistics.fmean(self.numbers[name]) for name in names]
            intervals = [interval for name in names if (interval := self.interval(name))]
            curves.append(Curve("", label, certified, [level for level, _ in levels], means, intervals))
        return curves


def evaluate(
    folders: Sequence[Path],
    asked: Path | None,
    root: Path,
    device: torch.device,
    workers: int = 0,
    radii: Sequence[Fraction] = (),
    sigma: float | None = None,
) -> Evaluated:
    """Test the networks of finished trainings that differ in their seeds, all under the same noise.

    ``workers`` processes decode images that are not in memory.  Certified l2 accuracies are at the literature's radii
    and ``radii``, and at none with ``asked`` and without radii; ``sigma`` also smooths the network.  Beside them stands
    what attacks leave, where something is certified of the first network, or radii are given.

    Raises:
        ConfigError: a folder is none of a finished training, the trainings differ in more than the seed, or what a
            condition needs is missing.
    """
    numbers: dict[str, list[float]] = {}
    diverged: list[Path] = []
    failures: list[str] = []
    test_images, shape = 0, (0, 0, 0)
    first: Job | None = None
    evaluations: dict[str, Evaluation] = {}
    levels = sorted({*RADII, *radii}) if asked is None or radii or sigma is not None else []
    beside: list[Evaluation] | None = None
    for folder in folders:
        trained = load_finished(folder, root, workers)
        job = trained.job
        first = first or job
        for name in ("model", "args", "data", "training"):
            if getattr(job, name) != getattr(first, name):
                raise ConfigError(
                    f"{folder}: expected a training that differs from {folders[0]} only in its seed, but its {name} "
                    "is another"
                )
        network, images = trained.network.to(device), trained.images
        laid_out(network, images, job.training)
        test_images, shape = images.test_count, images.shape
        found = _measure(network, images)
        titled = {each.title: each for each in (*certificates(levels, sigma), *conditions(asked, job.data))}
        wanted = list(titled.values())  # of two that are called alike the one in the file
        values = measure(network, images, wanted)
        if beside is None:
            certified = any(v for e, v in zip(wanted, values, strict=True) if isinstance(e, Certified))
            beside = [each for each in attacks(levels) if (radii or certified) and each.title not in titled]
        values += measure(network, images, beside)
        for evaluation, value in zip([*wanted, *beside], values, strict=True):
            if isinstance(value, PluginError):
                failures.append(f"{folder}: {value}")
            else:
                found[evaluation.heading], evaluations[evaluation.heading] = value, evaluation
        if _diverged(folder) or not all(map(math.isfinite, found.values())):
            diverged.append(folder)
        for name, value in found.items():
            numbers.setdefault(name, []).append(value)
    return Evaluated(numbers, tuple(diverged), tuple(failures), evaluations, test_images, shape)


def _diverged(folder: Path) -> bool:
    """Whether the training in ``folder`` ended at a loss that was not finite, as its last checkpoint says.

    Raises:
        ConfigError: that is a checkpoint of something else.
    """
    state, _ = Checkpoints(folder).newest()
    try:  # a study's checkpoint has more than the trainer
        return bool(state and state.get("trainer", state)["progress"]["diverged"])
    except (LookupError, TypeError, AttributeError):
        raise ConfigError(
            f"{folder}: its newest checkpoint belongs to no training; restore its files from a copy, or train it again"
        ) from None


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
