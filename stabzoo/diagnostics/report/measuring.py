"""Measuring a network, part by part, within a time: what cannot be measured is left out, with the reason."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn

from stabzoo.data.labelled import LabelledImages
from stabzoo.diagnostics.angles import layer_angles
from stabzoo.diagnostics.attack import sensitivity_attack
from stabzoo.diagnostics.batchnorm import batch_norm_effects
from stabzoo.diagnostics.bounds.continuous import continuous_bounds
from stabzoo.diagnostics.bounds.network import forward_bounds
from stabzoo.diagnostics.capture import in_parts, run_hooked
from stabzoo.diagnostics.conditioning.blocks import module_conditioning
from stabzoo.diagnostics.failure import failure_of
from stabzoo.diagnostics.features import answers, feature_maps, steadiness
from stabzoo.diagnostics.growth import perturbation_growth
from stabzoo.diagnostics.layers import layer_norms
from stabzoo.diagnostics.report.diagnosis import Diagnosis
from stabzoo.diagnostics.robustness import robustness
from stabzoo.diagnostics.spectra.zero_padding import remembered
from stabzoo.diagnostics.wellposed import well_posedness
from stabzoo.errors import CertificateError
from stabzoo.implicit.step import solver_report

__all__ = ["diagnose"]

LOOKED_AT = 64  # images on which a network must not answer all alike
SOLVED = 4  # images at whose solutions the eigenvalues of implicit steps are measured
TIGHT = 64  # pixels a side up to which zero-padded norms are enclosed to 1e-6: beyond, a report would take minutes
STARTS = 8  # images from which the search for a large sensitivity starts; fewer large ones, or a step takes too long
PIXELS = 2**16  # of them all
LARGE = 1e6  # sensitivity beyond which no margin certifies a radius that is worth attacking
STEPS = 200  # gradient steps of the joint bound, if there is time; beyond, it hardly falls

Tell: TypeAlias = Callable[[str, float], None]
"""Called with what is measured next, and the share of the work that is done, from 0 to 1."""


class _Part(NamedTuple):
    """``name`` is what is left out where it cannot be measured; ``seconds`` is a guess, for the time left."""

    name: str
    measure: Callable[[], dict[str, Any]]
    seconds: float


def diagnose(
    model: nn.Module,
    data: LabelledImages,
    *,
    name: str,
    checkpoint: str | None = None,
    sigma: float = 0.1,
    seconds: float = 10.0,
    condition_numbers: bool = True,
    smallest: bool = False,
    tell: Tell = lambda part, done: None,
) -> Diagnosis:
    """Measure ``model`` on ``data``, in evaluation mode.

    Args:
        model: Any timm model.
        data: What it is measured on.
        name: What it is called in the report.
        checkpoint: Where its weights are from, for the report.
        sigma: Deviation of the Gaussian noise whose growth is measured, on the pixel scale [0, 1]; drawn with seed 0.
        seconds: What is given to either of the two searches that only get better with time: for multipliers of the
            joint bound, and for the pair of images that the network drives furthest apart. A small network needs less.
        condition_numbers: Of blocks, at the first image: the slowest part.
        smallest: The smallest singular value of each layer, too.
        tell: Where the measuring is.
    """
    found = Diagnosis(
        name,
        sum(parameter.numel() for parameter in model.parameters()),
        checkpoint,
        data.name,
        len(data.images),
        data.input_size,
        sigma,
    )
    tell("whether it answers", 0.0)
    start, looked_at = time.perf_counter(), in_parts(data.images)[0][:LOOKED_AT]
    if (failure := failure_of(model, looked_at)) is not None:
        return replace(found, failure=failure)
    a_pass = (time.perf_counter() - start) / len(looked_at)  # of an image: more than it takes without hooks
    parts = _Measuring(model, data, sigma, seconds).parts(a_pass, smallest=smallest)
    skipped: dict[str, str] = {}
    if condition_numbers:
        parts.append(_Part("condition numbers", partial(_conditioning, model, data), 60.0))
    else:
        skipped["condition numbers"] = "not asked for"
    total, done = sum(part.seconds for part in parts), 0.0
    measured: dict[str, Any] = {}
    with remembered():  # the same convolutions are bounded for the network, its margins and its layers
        for part in parts:
            tell(part.name, done / total)
            try:
                measured |= part.measure()
            except (ValueError, RuntimeError, CertificateError) as error:  # a foreign network does not allow everything
                skipped[part.name] = str(error).split("\n", 1)[0]
            done += part.seconds
    tell("done", 1.0)
    return replace(found, **measured, skipped=skipped)


class _Measuring:
    def __init__(self, model: nn.Module, data: LabelledImages, sigma: float, seconds: float) -> None:
        self.model, self.data, self.sigma, self.seconds = model, data, sigma, seconds
        noise = torch.randn(data.images.shape, generator=torch.Generator().manual_seed(0))
        self.sensitivity = math.inf
        self.starts = max(1, min(STARTS, PIXELS // data.images[0, 0].numel()))
        self.noise = sigma * data.scale * noise.to(data.images.device)

    def parts(self, a_pass: float, *, smallest: bool) -> list[_Part]:
        """All but the condition numbers, in the order in which they are measured."""
        images = len(self.data.images)
        modules = sum(1 for _ in self.model.modules())
        search = min(self.seconds, self.starts * 400 * a_pass)
        return [
            _Part("answers under noise", self.steadiness, 2 * images * a_pass),
            _Part("perturbation growth", self.growth, 2 * images * a_pass),
            _Part("features", self.features, 4 * a_pass),
            _Part("forward bounds", self.bounds, self.seconds / 2),
            _Part("accuracy within an l2 distance", self.robustness, self.seconds / 2 + 100 * images * a_pass),
            _Part("layer norms", partial(self.norms, smallest=smallest), 0.05 * modules),
            _Part("attack", self.attack, search),
            _Part("principal angles", self.angles, images * a_pass),
            _Part("batch norms", self.batch_norms, 2 * images * a_pass),
            _Part("class probabilities", self.answers, 15 * a_pass),
            _Part("implicit steps", self.equations, 8 * a_pass),
        ]

    def steadiness(self) -> dict[str, Any]:
        """How many answers are right, with and without noise."""
        return {"steadiness": steadiness(self.model, self.data, self.noise)}

    def growth(self) -> dict[str, Any]:
        """Of the noise along the depth."""
        return {"growth": perturbation_growth(self.model, self.data.images, self.noise)}

    def features(self) -> dict[str, Any]:
        """Of the first image."""
        return {"features": tuple(feature_maps(self.model, self.data.images[:1], self.noise[:1]))}

    def bounds(self) -> dict[str, Any]:
        """Proved, with as many steps for the joint bound as there is time for."""
        bounds = forward_bounds(self.model, self.data.input_size, iterations=STEPS, seconds=self.seconds)
        self.sensitivity = bounds.sensitivity.value
        return {"bounds": bounds, "continuous": tuple(continuous_bounds(self.model, bounds))}

    def robustness(self) -> dict[str, Any]:
        """Certified and attacked, where the bounds that were found may certify anything."""
        if self.sensitivity > LARGE:
            raise ValueError(f"nothing is certified: the bound on the sensitivity is {self.sensitivity:.4g}")
        return {
            "robustness": robustness(
                self.model, self.data, sensitivity=self.sensitivity, iterations=STEPS, seconds=self.seconds
            )
        }

    def norms(self, *, smallest: bool) -> dict[str, Any]:
        """Of the layers, batch norms folded in."""
        size = self.data.input_size
        tight = max(size[1:]) <= TIGHT
        return {"norms": layer_norms(self.model, size, tight=tight, smallest=smallest, folded=True)}

    def attack(self) -> dict[str, Any]:
        """From the first images, as long as there is time."""
        return {"attack": sensitivity_attack(self.model, self.data.images[: self.starts], seconds=self.seconds)}

    def angles(self) -> dict[str, Any]:
        """Within and between the classes of the images."""
        return {"angles": layer_angles(self.model, self.data.images, self.data.labels)}

    def batch_norms(self) -> dict[str, Any]:
        """What each does to the relative size of the noise."""
        return {"batch_norms": tuple(batch_norm_effects(self.model, self.data.images, self.noise))}

    def answers(self) -> dict[str, Any]:
        """For three images, under more and more noise."""
        return {"answers": tuple(answers(self.model, self.data, self.sigma))}

    def equations(self) -> dict[str, Any]:
        """What is proved of those of implicit steps, and how they were solved for the images, clean and perturbed."""
        reports = solver_report(self.model)
        if not reports:
            return {}
        for report in reports:
            report.reset()
        for batch in (*in_parts(self.data.images), *in_parts(self.data.images + self.noise)):
            run_hooked(self.model, batch, ())
        solves = tuple(report.to_dict() for report in solver_report(self.model))
        proved = well_posedness(self.model, self.data.input_size, self.data.images[:SOLVED])
        return {"well_posed": tuple(proved), "solves": solves}


def _conditioning(model: nn.Module, data: LabelledImages) -> dict[str, Any]:
    exact = copy.deepcopy(model).double()  # smallest singular values need it
    return {"conditioning": tuple(module_conditioning(exact, data.images[:1].double()))}
