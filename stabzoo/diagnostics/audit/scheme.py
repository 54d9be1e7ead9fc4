"""The scheme that a network of this package has learnt, read from its blocks as they are stored now."""

from __future__ import annotations

from typing import Any

from torch import nn

from stabzoo.methods import method_of
from stabzoo.methods.multistep import HasCoefficients, LinearMultistep
from stabzoo.networks.staged import StagedNetwork
from stabzoo.networks.steps import LearnableStep, trained_coefficients
from stabzoo.stability.parameters.learnt import LearntBlock, LearntScheme

__all__ = ["learnt_scheme"]


def learnt_scheme(model: nn.Module) -> LearntScheme | None:
    """Read the method of every block; None of other networks, and where a block does not state its coefficients.

    Raises:
        ValueError: a trained parameter is not finite, or gives no method; the message names the block.
    """
    found = [(name, part) for name, part in model.named_modules() if isinstance(part, StagedNetwork)]
    if len(found) != 1:
        return None
    ((prefix, network),) = found
    blocks: list[LearntBlock] = []
    for i, stage in enumerate(network.stages):
        for j, block in enumerate(stage.blocks):  # type: ignore[arg-type]  # pyright: ignore
            name = f"{prefix}.stages.{i}.blocks.{j}".lstrip(".")
            step: Any = getattr(block, "step", None)
            if not isinstance(step, HasCoefficients):
                return None
            numbers: tuple[float, ...] = ()
            if trained := trained_coefficients(step):
                values = [step.numbers()] if isinstance(step, LearnableStep) else trained.values()
                numbers = tuple(number for value in values for number in value.detach().flatten().tolist())
            starting = bool(getattr(block, "starting", False))
            of_scheme = method_of(network.scheme)
            try:
                method = method_of(step)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if not numbers and not starting and not isinstance(of_scheme, LinearMultistep):
                method = of_scheme  # a step states its coefficients, the scheme also of what kind its method is
            blocks.append(LearntBlock(name, i, starting, method, of_scheme if numbers else method, numbers))
    return LearntScheme(tuple(blocks))
