"""Numbers of a network on clean, noisy, corrupted and attacked test images, all of them in one pass over the data."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.data.images import ImageDataset
from stabzoo.errors import PluginError, quoted
from stabzoo.evaluation.batches import BATCH, device_of, logits_of, test_batches
from stabzoo.evaluation.kinds import owner
from stabzoo.evaluation.l2 import Certificate
from stabzoo.metric import Evaluation, is_right
from stabzoo.registry.guard import plugin_code

__all__ = ["accuracy", "iter_logits", "measure", "num_correct", "training_accuracy"]


def num_correct(logits: Tensor, labels: Tensor, k: int = 1) -> int:
    """How many rows of ``logits`` (N, classes) have the entry of their label (N,) among the k largest (`is_right`)."""
    return int(is_right(logits, labels, k).sum())


def iter_logits(network: nn.Module, images: ImageDataset) -> Iterator[tuple[Tensor, Tensor]]:
    """For each batch of test images, in their order: the labels (B,), and the logits (B, classes).

    Both are on the network's device, and the logits float32.
    """
    network.eval()
    for pixels, labels in test_batches(images, device_of(network)):
        yield labels, logits_of(network, pixels)


def accuracy(network: nn.Module, images: ImageDataset) -> float:
    """Percentage of the test images that ``network`` puts in their class."""
    return 100 * sum(num_correct(logits, labels) for labels, logits in iter_logits(network, images)) / images.test_count


def training_accuracy(network: nn.Module, images: ImageDataset) -> float:
    """Percentage of the training images, without augmentation, that ``network`` puts in their class."""
    network.eval()
    device = device_of(network)
    batches = images.training(torch.arange(images.train_count).split(BATCH))
    return (
        100 * sum(num_correct(logits_of(network, x.to(device)), y.to(device)) for x, y in batches) / images.train_count
    )


def measure(network: nn.Module, images: ImageDataset, evaluations: Sequence[Evaluation]) -> list[float | PluginError]:
    """What ``network`` comes to under each of the evaluations, which share one pass over the test images.

    An evaluation of a plugin has a copy of the network, of the images and of the random stream, and whatever it raises
    takes the place of its own result alone.

    Raises:
        ConfigError: what an evaluation of ours needs is not there, or an image cannot be read.
    """
    network.eval()
    certified: dict[Any, Tensor] = {}
    for evaluation in evaluations:
        if isinstance(evaluation, Certificate) and evaluation.family() not in certified:
            certified[evaluation.family()] = evaluation.radii(network, images)
    tests = [_Test(network, images, evaluation, certified) for evaluation in evaluations]
    waiting = [test for test in tests if test.result is None]
    if waiting:
        for pixels, labels in test_batches(images, device_of(network)):
            for test in waiting:
                test.take(pixels, labels)
    return [test.outcome() for test in tests]


class _Test:
    """One evaluation of one network: ``result`` as soon as there is one."""

    def __init__(
        self, network: nn.Module, images: ImageDataset, evaluation: Evaluation, certified: Mapping[Any, Tensor]
    ) -> None:
        self.evaluation, self.is_foreign = evaluation, bool(evaluation.plugin)
        self.network = copy.deepcopy(network) if self.is_foreign else network
        self.result: float | PluginError | None = None
        self.total, self.images, self.calls = 0.0, 0, 0
        self.is_share = True
        with self._code():
            if isinstance(evaluation, Certificate):
                whole = evaluation.share(certified[evaluation.family()])
            else:
                whole = evaluation.measure(self.network, images)
            if whole is None:
                self.change = evaluation.perturbation(images)
            else:
                self.result = _finite(whole, "measure()")

    def take(self, pixels: Tensor, labels: Tensor) -> None:
        """Test on the next images."""
        if self.result is not None:
            return
        with self._code():
            own = (pixels.clone(), labels.clone()) if self.is_foreign else (pixels, labels)
            found = self.change(self.network, *own)
            for changed in [found] if isinstance(found, Tensor) else found:
                if self.is_foreign:
                    changed = _images(changed, pixels)
                    self.network.eval()
                scores = self.evaluation.score(logits_of(self.network, changed), labels)
                if not isinstance(scores, Tensor) or scores.shape != labels.shape:
                    raise TypeError(f"score() must return one number per image, {len(labels)}, got {_shape(scores)}")
                self.is_share = scores.dtype == torch.bool
                self.total += int(scores.sum()) if self.is_share else float(scores.double().sum())
                self.images += len(labels)

    def outcome(self) -> float | PluginError:
        """The result, or what was raised instead."""
        if self.result is None:
            with self._code():
                mean = (100 * self.total if self.is_share else self.total) / self.images
                self.result = _finite(mean, "the mean of score()")
        assert self.result is not None
        return self.result

    @contextlib.contextmanager
    def _code(self) -> Iterator[None]:
        """Run code of the evaluation inside; a stranger's under guard."""
        if not self.is_foreign:
            yield
            return
        self.calls += 1
        where = f"{owner(self.evaluation)}: evaluation {self.evaluation.title!r}"
        device = device_of(self.network)
        devices = [device] if device.type == "cuda" else []
        try:
            passes = (MemoryError, torch.OutOfMemoryError)
            with plugin_code(where, passes=passes, limited=False), torch.random.fork_rng(devices):
                torch.manual_seed(self.calls)  # what draws from the global stream gives the same each time, too
                yield
        except PluginError as error:
            self.result = error


def _finite(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what}: expected a finite number, got {quoted(value)}")
    return float(value)


def _images(changed: object, pixels: Tensor) -> Tensor:
    """What a stranger's perturbation has made of images."""
    if not isinstance(changed, Tensor) or changed.shape != pixels.shape:
        raise TypeError(f"perturbation(): expected images of shape {tuple(pixels.shape)}, got {_shape(changed)}")
    return changed.detach().to(pixels).clamp(0, 1)


def _shape(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else quoted(value)
