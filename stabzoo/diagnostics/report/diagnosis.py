"""What is found of one network: norms, bounds, condition numbers, angles, perturbation growth."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import Any

import torch

from stabzoo.diagnostics.angles import ClassAngles
from stabzoo.diagnostics.attack import SensitivityAttack
from stabzoo.diagnostics.batchnorm import BatchNormEffect
from stabzoo.diagnostics.bounds.continuous import ContinuousBounds
from stabzoo.diagnostics.bounds.network import ForwardBounds
from stabzoo.diagnostics.conditioning.blocks import BlockConditioning
from stabzoo.diagnostics.failure import Failure
from stabzoo.diagnostics.features import Answer, FeatureMaps, Steadiness
from stabzoo.diagnostics.growth import PerturbationGrowth
from stabzoo.diagnostics.layers import LayerNorms
from stabzoo.diagnostics.robustness import Robustness
from stabzoo.diagnostics.wellposed import WellPosedness

__all__ = ["Diagnosis"]


@dataclass(frozen=True)
class Diagnosis:
    """What `stabzoo.diagnostics.diagnose` found; ``skipped`` says why a part is missing.

    Nothing is measured of a network with a ``failure``: numbers of it would be numbers of nothing.  ``well_posed`` and
    ``solves`` are of implicit steps: what is proved of their equations, and how those of the images ended, clean and
    perturbed.
    """

    model: str
    parameters: int
    checkpoint: str | None
    data: str
    images: int
    input_size: tuple[int, int, int]
    sigma: float
    failure: Failure | None = None
    steadiness: Steadiness | None = None
    norms: LayerNorms | None = None
    bounds: ForwardBounds | None = None
    continuous: tuple[ContinuousBounds, ...] = ()
    attack: SensitivityAttack | None = None
    robustness: Robustness | None = None
    conditioning: tuple[BlockConditioning, ...] = ()
    angles: dict[str, ClassAngles] = field(default_factory=dict)
    growth: PerturbationGrowth | None = None
    batch_norms: tuple[BatchNormEffect, ...] = ()
    features: tuple[FeatureMaps, ...] = ()
    answers: tuple[Answer, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    well_posed: tuple[WellPosedness, ...] = ()
    solves: tuple[dict[str, Any], ...] = ()

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
            "answers_under_noise": self.steadiness and self.steadiness.to_dict(),
            "layer_norms": self.norms and self.norms.to_dict(),
            "forward_bounds": self.bounds and self.bounds.to_dict(),
            "continuous_time": [bounds.to_dict() for bounds in self.continuous],
            "attack": self.attack and {**self.attack.sensitivity.to_dict(), "evaluations": self.attack.evaluations},
            "robustness": self.robustness and self.robustness.to_dict(),
            "conditioning": [block.to_dict() for block in self.conditioning],
            "angles": {layer: angles.to_dict() for layer, angles in self.angles.items()},
            "perturbation_growth": {"sigma": self.sigma, **(self.growth.to_dict() if self.growth else {})},
            "batch_norms": [effect.to_dict() for effect in self.batch_norms],
            "features": [layer.to_dict() for layer in self.features],
            "answers": [answer.to_dict() for answer in self.answers],
            "implicit_steps": [
                {**proved.to_dict(), "solves": solves}
                for proved, solves in zip(self.well_posed, self.solves, strict=True)
            ],
            "skipped": self.skipped,
            "environment": {
                "torch": torch.__version__,
                "python": platform.python_version(),
                "threads": torch.get_num_threads(),
            },
        }
