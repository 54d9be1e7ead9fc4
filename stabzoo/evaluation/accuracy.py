"""Accuracy on clean, noisy, corrupted and attacked test images, all of them in one pass over the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from stabzoo.data.images import ImageDataset
from stabzoo.evaluation.perturbations import Perturbation, perturbations
from stabzoo.evaluation.spec import Clean, Evaluation

__all__ = ["BATCH", "accuracies", "iter_logits", "num_correct", "training_accuracy"]

BATCH = 256


def num_correct(logits: Tensor, labels: Tensor, k: int = 1) -> int:
    """How many rows of ``logits`` (N, classes) have the entry of their label (N,) among the k largest.

    Of equal entries the first comes first, as for `torch.argmax`.  NaN is never right, and never behind.
    """
    own = logits.gather(1, labels[:, None])
    first = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    ahead = (logits > own) | ((logits == own) & first) | logits.isnan()
    return int(((ahead.sum(1) < k) & ~own[:, 0].isnan()).sum())


def iter_logits(
    network: nn.Module, images: ImageDataset, changes: Sequence[Perturbation]
) -> Iterator[tuple[Tensor, list[list[Tensor]]]]:
    """For each batch of test images, in their order: the labels (B,), and the logits (B, classes) under each change.

    A change that has several copies of an image gives as many logits.  All are on the network's device, float32.
    """
    network.eval()
    device = next(network.parameters()).device
    for pixels, labels in images.testing(torch.arange(images.test_count).split(BATCH)):
        x, y = pixels.to(device), labels.to(device)
        yield y, [[_logits(network, copy) for copy in change(network, x, y)] for change in changes]


def accuracies(network: nn.Module, images: ImageDataset, evaluations: Sequence[Evaluation]) -> list[float]:
    """Percentage of the test images that ``network`` puts in their class under each of the evaluations.

    Raises:
        ConfigError: what an evaluation needs is not there, or an image cannot be read.
    """
    right, asked = [0] * len(evaluations), [0] * len(evaluations)
    top = [evaluation.top if isinstance(evaluation, Clean) else 1 for evaluation in evaluations]
    for labels, found in iter_logits(network, images, perturbations(evaluations, images)):
        for i, copies in enumerate(found):
            right[i] += sum(num_correct(logits, labels, top[i]) for logits in copies)
            asked[i] += len(copies) * len(labels)
    return [100 * r / a for r, a in zip(right, asked, strict=True)]


def training_accuracy(network: nn.Module, images: ImageDataset) -> float:
    """Percentage of the training images, without augmentation, that ``network`` puts in their class."""
    network.eval()
    device = next(network.parameters()).device
    batches = images.training(torch.arange(images.train_count).split(BATCH))
    return 100 * sum(num_correct(_logits(network, x.to(device)), y.to(device)) for x, y in batches) / images.train_count


@torch.inference_mode()
def _logits(network: nn.Module, pixels: Tensor) -> Tensor:
    return network(pixels).float()
