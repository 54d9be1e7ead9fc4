"""Everything measured of one network at once: norms, bounds, condition numbers, angles, perturbation growth."""

from __future__ import annotations

import copy
import platform
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from stabzoo.data.labelled import LabelledImages
from stabzoo.diagnostics.angles import ClassAngles, layer_angles
from stabzoo.diagnostics.attack import SensitivityAttack, sensitivity_attack
from stabzoo.diagnostics.batchnorm import BatchNormEffect, batch_norm_effects
from stabzoo.diagnostics.bounds.continuous import ContinuousBounds, continuous_bounds
from stabzoo.diagnostics.bounds.network import ForwardBounds, forward_bounds
from stabzoo.diagnostics.conditioning.blocks import BlockConditioning, module_conditioning
from stabzoo.diagnostics.failure import Failure, failure_of
from stabzoo.diagnostics.features import Answer, FeatureMaps, answers, feature_maps
from stabzoo.diagnostics.growth import PerturbationGrowth, perturbation_growth
from stabzoo.diagnostics.layers import LayerNorms, layer_norms
from stabzoo.diagnostics.wellposed import WellPosedness, well_posedness
from stabzoo.errors import CertificateError
from stabzoo.implicit.step import solver_report

__all__ = ["Diagnosis", "diagnose"]

LOOKED_AT = 64  # images on which a network must not answer all alike
SOLVED = 4  # images at whose solutions the eigenvalues of implicit steps are measured
TIGHT = 64  # pixels a side up to which zero-padded norms are enclosed to 1e-6: beyond, a report would take minutes


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found; ``skipped`` says why a part is missing.

    Nothing is measured of a network with a ``failure``: numbers of it would be numbers of nothing.  ``well_posed`` and
    ``solves`` are of implicit steps: what is proved of their equations, and how those of the growth measurement ended.
    """

    model: str
    parameters: int
    checkpoint: str | None
    data: str
    images: int
    input_size: tuple[int, int, int]
    sigma: float
    failure: Failure | None = None
    norms: LayerNorms | None = None
    bounds: ForwardBounds | None = None
    continuous: tuple[ContinuousBounds, ...] = ()
    attack: SensitivityAttack | None = None
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
            "layer_norms": self.norms and self.norms.to_dict(),
            "forward_bounds": self.bounds and self.bounds.to_dict(),
            "continuous_time": [bounds.to_dict() for bounds in self.continuous],
            "attack": self.attack and {**self.attack.sensitivity.to_dict(), "evaluations": self.attack.evaluations},
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


def diagnose(
    model: nn.Module,
    data: LabelledImages,
    *,
    name: str,
    checkpoint: str | None = None,
    sigma: float = 0.1,
    condition_numbers: bool = True,
    smallest: bool = False,
) -> Diagnosis:
    """Measure ``model`` on ``data``, in evaluation mode.

    Args:
        model: Any timm model.
        data: What it is measured on.
        name: What it is called in the report.
        checkpoint: Where its weights are from, for the report.
        sigma: Deviation of the Gaussian noise whose growth is measured, on the pixel scale [0, 1]; drawn with seed 0.
        condition_numbers: Of blocks, at the first image: the slowest part.
        smallest: The smallest singular value of each layer, too.
    """
    about: dict[str, Any] = {
        "model": name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "checkpoint": checkpoint,
        "data": data.name,
        "images": len(data.images),
        "input_size": data.input_size,
        "sigma": sigma,
    }
    if (failure := failure_of(model, data.images[:LOOKED_AT])) is not None:
        return Diagnosis(**about, failure=failure)
    skipped: dict[str, str] = {}
    noise = sigma * data.scale * torch.randn(data.images.shape, generator=torch.Generator().manual_seed(0))
    conditioning: tuple[BlockConditioning, ...] = ()
    growth: PerturbationGrowth | None = None
    if condition_numbers:
        try:
            exact = copy.deepcopy(model).double()  # smallest singular values need it
            conditioning = tuple(module_conditioning(exact, data.images[:1].double()))
        except ValueError as error:
            skipped["condition numbers"] = str(error)
    else:
        skipped["condition numbers"] = "not asked for"
    reports = solver_report(model)
    for report in reports:
        report.reset()
    try:
        growth = perturbation_growth(model, data.images, noise)
    except ValueError as error:
        skipped["perturbation growth"] = str(error)
    solves = tuple(report.to_dict() for report in solver_report(model))
    features: tuple[FeatureMaps, ...] = ()
    try:
        features = tuple(feature_maps(model, data.images[:1], noise[:1]))
    except ValueError as error:
        skipped["features"] = str(error)
    bounds: ForwardBounds | None = None
    continuous: tuple[ContinuousBounds, ...] = ()
    try:
        bounds = forward_bounds(model, data.input_size)
        continuous = tuple(continuous_bounds(model, bounds))
    except CertificateError as error:
        skipped["forward bounds"] = str(error)
    return Diagnosis(
        **about,
        norms=layer_norms(model, data.input_size, tight=max(data.input_size[1:]) <= TIGHT, smallest=smallest),
        bounds=bounds,
        continuous=continuous,
        attack=sensitivity_attack(model, data.images[:8]),
        conditioning=conditioning,
        angles=layer_angles(model, data.images, data.labels),
        growth=growth,
        batch_norms=tuple(batch_norm_effects(model, data.images, noise)),
        features=features,
        answers=tuple(answers(model, data, sigma)),
        skipped=skipped,
        well_posed=tuple(well_posedness(model, data.input_size, data.images[:SOLVED])),
        solves=solves,
    )
