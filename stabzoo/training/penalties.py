"""Penalties of the forward pass, of implicit networks and of perturbed images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor

from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.spec import Training

__all__ = ["forward"]


def forward(
    network: NormalizedModel, model: Callable[[Tensor], Tensor], pixels: Tensor, training: Training
) -> tuple[Tensor, Tensor | float]:
    """Logits, and the weighted penalties of the training on the way to them; 0 where it has none.

    ``model`` is ``network`` as it is called: compiled, or in several processes.
    """
    penalty: Tensor | float = 0.0
    if training.fixed_point is None and training.perturbation is None:
        return model(pixels), penalty
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
