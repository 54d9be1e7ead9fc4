"""One training on one thread, the same to the last bit whenever it is repeated."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR

from stabzoo.study.augmentation import Augmentation
from stabzoo.study.data import Images
from stabzoo.study.pixel_scale import PixelScale
from stabzoo.study.spec import Training

__all__ = ["Trained", "optimizer_of", "train"]


@dataclass(frozen=True)
class Trained:
    """What a training leaves besides the weights: each finished epoch's mean loss, and whether the loss overflowed."""

    losses: tuple[float, ...]
    diverged: bool


def optimizer_of(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    """The optimizer timm has under that name; biases and batch norms are not decayed, as timm has it."""
    return create_optimizer_v2(
        network, opt=training.optimizer, lr=training.lr, momentum=training.momentum, weight_decay=training.weight_decay
    )


def batches_of(count: int, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """Indices of an epoch's batches: a permutation drawn from (seed, epoch) alone, whatever ran before.

    A last batch of one image joins the one before: batch norm cannot train on it.
    """
    order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(count))
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def schedule_of(optimizer: torch.optim.Optimizer, training: Training, steps: int) -> LRScheduler:
    """The learning rate over ``steps`` steps."""
    if training.schedule == "step":
        return MultiStepLR(optimizer, [round(fraction * steps) for fraction in training.milestones], gamma=0.1)
    # One momentum throughout: the cycle is the learning rate's.
    return OneCycleLR(optimizer, training.lr, total_steps=steps, cycle_momentum=False)


def forward(network: PixelScale, pixels: Tensor, training: Training) -> tuple[Tensor, Tensor | float]:
    """Logits, and the weighted penalties of the training on the way to them; 0 where it has none."""
    penalty: Tensor | float = 0.0
    if training.fixed_point is None and training.perturbation is None:
        return network(pixels), penalty
    from stabzoo.implicit.regularizers import perturbation_penalty, residual_penalty

    with ExitStack() as open_:
        residuals = None
        if (term := training.fixed_point) is not None:
            residuals = open_.enter_context(residual_penalty(network, iterations=term.iterations, power=term.power))
        if (noise := training.perturbation) is not None:
            logits, spread = perturbation_penalty(
                network,
                pixels,
                lambda x: x + noise.sigma * torch.randn_like(x),
                streams=noise.streams,
                power=noise.power,
                blocks=network.blocks(),
            )
            penalty = penalty + noise.weight * spread
        else:
            logits = network(pixels)
    if residuals is not None and training.fixed_point is not None:
        penalty = penalty + training.fixed_point.weight * residuals.total
    return logits, penalty


def train(
    network: PixelScale,
    images: Images,
    training: Training,
    seed: int,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> Trained:
    """Train ``network`` in place; stop at the first loss that is not finite.

    Divergence is a result, not an error: some networks of a study are there because theory says they blow up.
    ``after_epoch`` is called with 0 before the first epoch, and with an epoch's number, from 1, after it; it leaves the
    network's training flags as they are.
    """
    optimizer = optimizer_of(network, training)
    steps = len(batches_of(len(images.train), training.batch_size, seed, epoch=0))
    schedule = schedule_of(optimizer, training, training.epochs * steps)
    network.post_step()  # constraints hold from the start
    network.train()
    after_epoch(0)
    losses: list[float] = []
    for epoch in range(training.epochs):
        torch.manual_seed(seed * 1_000_003 + epoch)  # dropout and drop path of networks that have them
        augment = Augmentation(training.augmentation, len(images.train), seed, epoch)
        total = 0.0
        for batch in batches_of(len(images.train), training.batch_size, seed, epoch):
            output, penalty = forward(network, augment(images.training_pixels(batch), batch), training)
            logits = training.logit_scale * output
            loss = functional.cross_entropy(logits, images.train_labels[batch])
            if not math.isfinite(loss.item()):
                return Trained(tuple(losses), diverged=True)
            optimizer.zero_grad()
            if training.regularization:
                penalty = penalty + network.regularizer(training.regularization)
            (loss + penalty).backward()
            optimizer.step()
            network.post_step()
            schedule.step()
            total += loss.item() * len(batch)
        losses.append(total / len(images.train))
        after_epoch(epoch + 1)
    return Trained(tuple(losses), diverged=False)
