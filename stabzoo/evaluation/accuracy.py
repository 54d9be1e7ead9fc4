"""Accuracy on clean, noisy, corrupted and attacked test images, all of them in one pass over the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from stabzoo.data.images import Images
from stabzoo.evaluation.perturbations import Perturbation, perturbations
from stabzoo.evaluation.spec import Clean, Evaluation

__all__ = ["BATCH", "accuracies", "accuracy", "count_right", "hits", "tested"]

BATCH = 256


def accuracies(network: nn.Module, images: Images, evaluations: Sequence[Evaluation]) -> list[float]:
    """Percentage of the test images that ``network`` puts in their class under each of the evaluations.

    Raises:
        ConfigError: what an evaluation needs is not there, or an image cannot be read.
    """
    right, asked = [0] * len(evaluations), [0] * len(evaluations)
    top = [evaluation.top if isinstance(evaluation, Clean) else 1 for evaluation in evaluations]
    for labels, found in tested(network, images, perturbations(evaluations, images)):
        for i, copies in enumerate(found):
            for logits in copies:
                right[i] += count_right(logits, labels) if top[i] == 1 else hits(logits, labels, top[i])
                asked[i] += len(labels)
    return [100 * r / a for r, a in zip(right, asked, strict=True)]


def tested(
    network: nn.Module, images: Images, changes: Sequence[Perturbation]
) -> Iterator[tuple[Tensor, list[list[Tensor]]]]:
    """For each batch of test images, in their order: the labels (B,), and the logits (B, classes) under each change.

    A change that has several copies of an image gives as many logits.  All are on the network's device, float32.
    """
    network.eval()
    device = next(network.parameters()).device
    for pixels, labels in images.testing(torch.arange(images.test_count).split(BATCH)):
        x, y = pixels.to(device), labels.to(device)
        yield y, [[_logits(network, copy) for copy in change(network, x, y)] for change in changes]


@torch.inference_mode()
def _logits(network: nn.Module, pixels: Tensor) -> Tensor:
    return network(pixels).float()


def count_right(logits: Tensor, labels: Tensor) -> int:
    """Rows of ``logits`` (N, classes) whose largest entry is their label's."""
    return int((logits.argmax(1) == labels).sum())


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percentage of ``images`` (N, C, H, W), pixels in [0, 1], that ``network`` puts in their class of ``labels``."""
    network.eval()
    batches = zip(images.split(BATCH), labels.split(BATCH), strict=True)
    return 100 * sum(count_right(_logits(network, x), y) for x, y in batches) / len(images)


def hits(logits: Tensor, labels: Tensor, k: int) -> int:
    """Rows of ``logits`` (N, classes) with their label among the k largest; NaN is no hit."""
    own = logits.gather(1, labels[:, None])
    better = ((logits > own) | logits.isnan()).sum(1)
    return int((better < k).sum())
