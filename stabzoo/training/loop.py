"""The training loop: every random number is drawn from (seed, epoch, step), so that what is resumed repeats exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, OneCycleLR, SequentialLR

from stabzoo.data.augmentation import Augmentation
from stabzoo.data.images import Batch, ImageDataset
from stabzoo.errors import ConfigError
from stabzoo.evaluation.accuracy import accuracy, num_correct
from stabzoo.training.networks import compiled, laid_out, pays_to_compile, tell_of_compiling
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.penalties import forward
from stabzoo.training.process import ALONE, Process
from stabzoo.training.spec import Training

__all__ = ["Trained", "Trainer", "batches_of", "optimizer_of"]


@dataclass(frozen=True)
class Trained:
    """What a training leaves besides the weights: each finished epoch's mean loss, and whether the loss overflowed."""

    losses: tuple[float, ...]
    diverged: bool


@dataclass
class Progress:
    """Where a training is: ``updates`` of the weights in ``epoch`` (from 0) are done, ``steps`` in all.

    Attributes:
        total: Sum of the losses of this epoch's images so far.
        right: How many of them were put in their class, as they were trained on.
        losses: Mean loss of every finished epoch.
        accuracies: Percentage of the images that were put in their class as they were trained on, augmented and by
            weights that change from batch to batch, of every finished epoch.
        notes: What the caller has noted of every finished epoch.
        diverged: A loss was not finite; the training is over.
    """

    epoch: int = 0
    updates: int = 0
    steps: int = 0
    total: float = 0.0
    right: int = 0
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    notes: list[Any] = field(default_factory=list)
    diverged: bool = False


@dataclass(frozen=True)
class Best:
    """The epoch that a training selects so far: its accuracy on the test images, and its weights."""

    accuracy: float
    weights: dict[str, Tensor]


def optimizer_of(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    """The optimizer timm has under that name; ``training.decay`` says which parameters are decayed."""
    return create_optimizer_v2(
        network if training.decay == "kernels" else list(network.parameters()),
        opt=training.optimizer,
        lr=training.lr,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
    )


def batches_of(count: int, batch_size: int, seed: int, epoch: int, least: int = 2) -> list[Tensor]:
    """Indices of an epoch's batches: a permutation drawn from (seed, epoch) alone, whatever ran before.

    A last batch of fewer than ``least`` images joins the one before: batch norm cannot train on a single one.
    """
    order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(count))
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) < least:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def schedule_of(optimizer: torch.optim.Optimizer, training: Training, steps: int, warmup: int) -> LRScheduler:
    """The learning rate over ``steps`` steps, of which the first ``warmup`` approach it."""
    match training.schedule:
        case "step":
            main: LRScheduler = MultiStepLR(optimizer, [round(f * steps) for f in training.milestones], gamma=0.1)
        case "cosine":
            main = CosineAnnealingLR(optimizer, max(1, steps - warmup))
        case "one-cycle":  # One momentum throughout: the cycle is the learning rate's.
            return OneCycleLR(optimizer, training.lr, total_steps=steps, cycle_momentum=False)
    if not warmup:
        return main
    return SequentialLR(optimizer, [LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup), main], [warmup])


class Trainer:
    """One training: the network, its optimizer, and where it is.

    Args:
        network: Trained in place.
        images: Its data.
        training: How it is trained.
        seed: Of order, augmentation, dropout and noise.
        process: Which of several processes this is; all see the same batches, and each takes its share of every one.
    """

    def __init__(
        self, network: NormalizedModel, images: ImageDataset, training: Training, seed: int, process: Process = ALONE
    ) -> None:
        if process.world > 1 and (training.fixed_point or training.perturbation):
            raise ConfigError("training.fixed_point and training.perturbation: expected one process, got several")
        self.network, self.images, self.training = network.to(process.device), images, training
        self.seed, self.process = seed, process
        self.layout = laid_out(self.network, images, training)
        self.optimizer = optimizer_of(network, training)
        self.parts = process.world * training.accumulation
        epoch = len(self.batches(0))
        steps = training.epochs * epoch
        self.schedule = schedule_of(self.optimizer, training, steps, round(training.warmup_epochs * epoch))
        self.ema = ModelEmaV3(network, decay=training.ema) if training.ema else None
        half = {"none": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[training.amp]
        self.autocast = torch.autocast(process.device.type, half) if half else nullcontext()
        self.scaler = torch.amp.GradScaler(process.device.type, enabled=half is torch.float16)  # type: ignore[attr-defined]
        self.model: Callable[[Tensor], Tensor] = network
        if process.world > 1:
            self.model = DistributedDataParallel(
                network, device_ids=[process.device.index] if process.device.type == "cuda" else None
            )
        self.compiled = training.compile is True or (
            training.compile == "fastest" and pays_to_compile(network.network, images, training, process)
        )
        if self.compiled:
            self.model = compiled(cast(nn.Module, self.model), process.device.type)
        self.progress = Progress()
        self.best: Best | None = None

    @property
    def averaged(self) -> NormalizedModel:
        """The network to be evaluated: the average of the weights where there is one, else the network itself.

        When the training is over it has the weights of the epoch that ``training.selection`` chooses.
        """
        return cast(NormalizedModel, self.ema.module) if self.ema else self.network

    def batches(self, epoch: int) -> list[Tensor]:
        """Indices of an epoch's batches, the same in all processes."""
        size, least = self.training.batch_size, 2 * self.parts
        if size < least:
            raise ConfigError(
                f"batch_size: expected at least {least}, 2 images for each of the {self.parts} parts of a batch; "
                f"got {size}"
            )
        return batches_of(self.images.train_count, size, self.seed, epoch, least)

    def run(
        self, after_epoch: Callable[[int], Any] = lambda epoch: None, after_step: Callable[[], None] = lambda: None
    ) -> Trained:
        """Train from where the training is to its end, or to the first loss that is not finite.

        Divergence is a result, not an error: some networks of a study are there because theory says they blow up.

        Args:
            after_epoch: Called with 0 before the first epoch, and with an epoch's number, from 1, after it; leaves the
                network's training flags as they are.  What it returns is noted in ``progress.notes``.
            after_step: Called after every update of the weights.
        """
        progress, network = self.progress, self.network
        if not progress.steps:
            network.post_step()  # constraints hold from the start
            network.train()
            after_epoch(0)
        network.train()
        while progress.epoch < self.training.epochs and not progress.diverged:
            batches = self.batches(progress.epoch)
            left = batches[progress.updates :]
            for batch, parts in zip(left, self.read(left), strict=True):
                try:
                    loss, right = self.update(len(batch), parts)
                except Exception as error:
                    if self.compiled:
                        tell_of_compiling(error)
                    raise
                if not math.isfinite(loss):
                    progress.diverged = True
                    break
                progress.updates += 1
                progress.steps += 1
                progress.total += loss * len(batch)
                progress.right += right
                if progress.updates == len(batches):
                    progress.losses.append(progress.total / self.images.train_count)
                    progress.accuracies.append(100 * progress.right / self.images.train_count)
                    progress.epoch, progress.updates, progress.total, progress.right = progress.epoch + 1, 0, 0.0, 0
                    if self.training.selection == "best-epoch":
                        self.select()
                    progress.notes.append(after_epoch(progress.epoch))
                after_step()
        if self.best:
            self.averaged.network.load_state_dict(self.best.weights)
        return Trained(tuple(progress.losses), progress.diverged)

    def select(self) -> None:
        """Keep the weights if they put more test images in their class than those of all epochs before."""
        network = self.averaged
        was_training = network.training
        found = accuracy(network, self.images)
        network.train(was_training)
        if self.best is None or found > self.best.accuracy:
            weights = {name: value.detach().clone() for name, value in network.network.state_dict().items()}
            self.best = Best(found, weights)

    def read(self, batches: Sequence[Tensor]) -> Iterator[list[Batch]]:
        """This process' parts of each of ``batches`` of the current epoch, augmented, and read ahead."""
        epoch, accumulation = self.progress.epoch, self.training.accumulation
        training = self.training
        windows = (training.crop_area, training.crop_aspect)
        augmentation = Augmentation(training.augmentation, self.images.train_count, self.seed, epoch, *windows)
        parts = [part for batch in batches for part in self.process.share(batch).tensor_split(accumulation)]
        found = self.images.training(parts, augmentation)
        for _ in batches:
            yield list(islice(found, accumulation))

    def update(self, count: int, parts: list[Batch]) -> tuple[float, int]:
        """Update the weights by a batch of ``count`` images, in ``parts`` for this process.

        Returns its mean loss, and how many images were put in their class.

        The gradient is that of the mean over the batch, however many processes and parts share it.
        """
        stream = np.random.SeedSequence((self.seed, self.progress.steps, self.process.rank))
        torch.manual_seed(int(stream.generate_state(1)[0]))  # dropout, drop path and noise of networks that have them
        self.optimizer.zero_grad()
        total, right = 0.0, 0
        for i, (pixels, labels) in enumerate(parts, start=1):
            weight = self.process.world * len(labels) / count  # gradients are averaged over the processes
            waits = nullcontext() if i == len(parts) or self.process.world == 1 else self.model.no_sync()  # type: ignore[attr-defined]  # pyright: ignore
            with waits:
                loss, penalty, hits = self.losses(pixels, labels)
                total += loss.item() * len(labels) / count
                right += hits
                if math.isfinite(total) or self.process.world > 1:
                    objective = loss + penalty
                    self.scaler.scale(objective if weight == 1 else weight * objective).backward()
        sums = torch.tensor([total, right], dtype=torch.float64, device=self.process.device)
        mean, hits = self.process.total(sums).tolist()
        if math.isfinite(mean):
            if self.training.clip_norm:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.network.parameters(), self.training.clip_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.network.post_step()
            if self.ema:
                self.ema.update(self.network)
            self.schedule.step()
        return mean, int(hits)

    def losses(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | float, int]:
        """Mean cross-entropy of some images, the penalties, and how many images are put in their class."""
        device, training = self.process.device, self.training
        pixels, labels = pixels.to(device, non_blocking=True), labels.to(device)
        with self.autocast:
            output, penalty = forward(self.network, self.model, pixels, training)
        logits = output.float()
        asked = logits - training.margin * functional.one_hot(labels, logits.shape[1]) if training.margin else logits
        loss = functional.cross_entropy(training.logit_scale * asked, labels, label_smoothing=training.label_smoothing)
        if training.regularization:
            penalty = penalty + self.network.regularizer(training.regularization)
        return loss, penalty, num_correct(logits.detach(), labels)

    def state(self) -> dict[str, Any]:
        """All that a training needs to resume exactly where it is; `load` takes it."""
        return {
            "network": self.network.network.state_dict(),
            "scheme": self.network.training_state(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": _numbers_of(self.schedule),
            "scaler": self.scaler.state_dict(),
            "average": self.ema.module.state_dict() if self.ema else None,
            "best": vars(self.best) if self.best else None,
            "progress": vars(self.progress),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of the same training.

        Raises:
            Exception: it is of another; the trainer is of no use then.
        """
        own = self.state()
        for part in ("schedule", "scaler"):
            _same_form(state[part], own[part], part)
        _same_optimizer(state["optimizer"], own["optimizer"], self.optimizer)
        self.network.network.load_state_dict(state["network"])
        self.network.load_training_state(state["scheme"])
        self.optimizer.load_state_dict(state["optimizer"])
        _lay_out(self.optimizer)
        _restore(self.schedule, state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.module.load_state_dict(state["average"])
        self.best = Best(**state["best"]) if state["best"] else None
        if self.best:
            _same_form(self.best.weights, own["network"], "best")
        try:
            self.progress = TypeAdapter(Progress).validate_python(state["progress"])
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"progress.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _same_form(found: Any, own: Any, place: str) -> None:
    """Check that ``found`` has the keys, lengths, shapes and kinds of values that ``own`` has.

    Raises:
        ValueError: it has not; with the place.
    """
    kinds = (Tensor, dict, list | tuple, int | float, str)
    kind = next((kind for kind in kinds if isinstance(own, kind)), type(None))
    if not isinstance(found, kind):
        raise ValueError(f"{place}: expected {type(own).__name__}, got {type(found).__name__}")
    if isinstance(own, Tensor):
        if (found.shape, found.dtype) != (own.shape, own.dtype):
            raise ValueError(f"{place}: expected a tensor of shape {tuple(own.shape)}, got {tuple(found.shape)}")
    elif isinstance(own, dict):
        if found.keys() != own.keys():
            raise ValueError(f"{place}: expected {', '.join(map(str, own))}, got {', '.join(map(str, found))}")
        for key, value in own.items():
            _same_form(found[key], value, f"{place}.{key}")
    elif isinstance(own, list | tuple):
        if len(found) != len(own):
            raise ValueError(f"{place}: expected {len(own)} values, got {len(found)}")
        for i, value in enumerate(own):
            _same_form(found[i], value, f"{place}.{i}")


def _same_optimizer(found: dict[str, Any], own: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Check that ``found`` is a state of the optimizer: of as many groups, and of its parameters.

    Raises:
        ValueError: it is not; with the place.
    """
    _same_form(found["param_groups"], own["param_groups"], "param_groups")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in own["param_groups"] for number in group["params"]]
    shapes = {number: parameter.shape for number, parameter in zip(numbers, parameters, strict=True)}
    for number, values in found["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.numel() != 1 and value.shape != shapes[number]:
                raise ValueError(f"optimizer.{number}.{name}: expected shape {tuple(shapes[number])}")
            if not isinstance(value, Tensor | int | float | None):
                raise ValueError(f"optimizer.{number}.{name}: expected a tensor, got {type(value).__name__}")


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give the state of each parameter its layout, as in a training that was never stopped; files have none."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _numbers_of(schedule: LRScheduler) -> dict[str, Any]:
    """What changes in a schedule while it runs; the rest is rebuilt."""
    found: dict[str, Any] = {name: value for name, value in vars(schedule).items() if isinstance(value, int | float)}
    found["_last_lr"] = list(schedule._last_lr)
    parts = getattr(schedule, "_schedulers", [])
    return {"own": found, "parts": [_numbers_of(part) for part in parts]}


def _restore(schedule: LRScheduler, numbers: dict[str, Any]) -> None:
    vars(schedule).update(numbers["own"])
    for part, own in zip(getattr(schedule, "_schedulers", []), numbers["parts"], strict=True):
        _restore(part, own)
