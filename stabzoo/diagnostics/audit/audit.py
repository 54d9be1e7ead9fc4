"""One network audited: what it has learnt, and how each block acts on the state and on a perturbation of it."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from stabzoo.data.labelled import LabelledImages
from stabzoo.diagnostics.audit.euler import EulerStep, euler_steps
from stabzoo.diagnostics.audit.scheme import learnt_scheme
from stabzoo.diagnostics.failure import Failure, failure_of
from stabzoo.diagnostics.growth import PerturbationGrowth, perturbation_growth
from stabzoo.diagnostics.layers import LayerNorm, layer_norms
from stabzoo.stability.parameters.learnt import LearntScheme

__all__ = ["Audit", "audit"]

LOOKED_AT = 64  # images


@dataclass(frozen=True)
class Audit:
    """What `audit` found; ``skipped`` says why a part is missing.

    Attributes:
        scheme: The coefficients of the blocks, exactly; None of a network whose blocks state none.
        boundaries: Norms of what brings past states to another shape: what the products of the scheme leave out.
        steps: Each block read as a step of Euler's method.
        growth: Of the noise along the depth.
    """

    model: str
    parameters: int
    checkpoint: str | None
    data: str
    images: int
    input_size: tuple[int, int, int]
    sigma: float
    failure: Failure | None = None
    scheme: LearntScheme | None = None
    boundaries: tuple[LayerNorm, ...] = ()
    steps: tuple[EulerStep, ...] = ()
    growth: PerturbationGrowth | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "format": 1,
            "model": self.model,
            "parameters": self.parameters,
            "checkpoint": self.checkpoint,
            "data": self.data,
            "images": self.images,
            "input_size": list(self.input_size),
            "failure": self.failure and self.failure.to_dict(),
            "scheme": self.scheme and self.scheme.to_dict(),
            "stage_boundaries": [layer.to_dict() for layer in self.boundaries],
            "euler_steps": [step.to_dict() for step in self.steps],
            "perturbation_growth": {"sigma": self.sigma, **(self.growth.to_dict() if self.growth else {})},
            "skipped": self.skipped,
            "environment": {
                "torch": torch.__version__,
                "python": platform.python_version(),
                "threads": torch.get_num_threads(),
            },
        }


def audit(
    model: nn.Module,
    data: LabelledImages,
    *,
    name: str,
    checkpoint: str | None = None,
    sigma: float = 0.1,
    most: int = LOOKED_AT,
) -> Audit:
    """Audit any timm model, in evaluation mode.

    Args:
        model: As trained.
        data: The images whose states are looked at.
        name: What it is called in the report.
        checkpoint: Where its weights are from, for the report.
        sigma: Deviation of the Gaussian noise on the pixel scale [0, 1], drawn with seed 0.
        most: How many images at most.
    """
    images = data.images[:most]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    found: dict[str, Any] = {"failure": failure_of(model, images)}
    skipped: dict[str, str] = {}
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images.device)
    noise = sigma * data.scale * noise

    def scheme() -> LearntScheme | None:
        learnt = learnt_scheme(model)
        if learnt is None:
            skipped["learnt scheme"] = "its blocks state no coefficients"
        return learnt

    parts = {"scheme": ("learnt scheme", scheme)}
    if found["failure"] is None:  # numbers of a network that answers nothing are numbers of nothing
        parts |= {
            "boundaries": ("stage boundaries", lambda: _boundaries(model, data) if found.get("scheme") else ()),
            "steps": ("steps of Euler's method", lambda: tuple(euler_steps(model, images, noise))),
            "growth": ("perturbation growth", lambda: perturbation_growth(model, images, noise)),
        }
    for part, (called, measure) in parts.items():
        try:
            found[part] = measure()
        except (ValueError, RuntimeError) as error:  # a foreign network does not allow everything
            skipped[called] = str(error).split("\n", 1)[0]
    return Audit(name, parameters, checkpoint, data.name, len(images), data.input_size, sigma, skipped=skipped, **found)


def _boundaries(model: nn.Module, data: LabelledImages) -> tuple[LayerNorm, ...]:
    norms = layer_norms(model, data.input_size, tight=False)
    return tuple(layer for layer in norms if ".shortcuts." in f".{layer.name}")
