"""Building the networks of a study, and saying which entry is wrong before anything is trained."""

from __future__ import annotations

import warnings

import torch

from stabzoo.data.images import ImageDataset
from stabzoo.errors import ConfigError
from stabzoo.implicit.report import ConvergenceWarning
from stabzoo.study.spec import Run, Study, check_models
from stabzoo.study.store.records import Coefficients
from stabzoo.training.loop import optimizer_of
from stabzoo.training.networks import create
from stabzoo.training.normalized import NormalizedModel

__all__ = ["build", "check_networks", "coefficients_of"]


def build(run: Run, images: ImageDataset) -> NormalizedModel:
    """The untrained network of ``run`` for ``images``, its data; its weights depend on the run's seed alone."""
    return create(run.model, run.args, run.seed, images)


def check_networks(study: Study, images: ImageDataset) -> None:
    """Build every network and its optimizer, send one blank image through, and open what the evaluations need.

    Raises:
        ConfigError: naming the first entry that cannot be built, or what is missing, with the reason.
    """
    check_models(study)
    for evaluation in study.evaluations:
        if not evaluation.plugin:  # what is wrong with a plugin's costs its own number
            evaluation.perturbation(images)
    for position, entry in enumerate(study.networks):
        place = f"networks.{position} ({entry.label}): {entry.model}"
        try:
            network = build(study.run(entry, study.seeds[0]), images).eval()
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # only the shape of what comes out is looked at
                logits = network(torch.zeros(1, *images.shape))
        except Exception as error:  # whatever a model of anyone raises about its arguments
            raise ConfigError(f"{place} cannot be built: {error or type(error).__name__}") from error
        if logits.shape != (1, images.classes):
            raise ConfigError(f"{place} gives {tuple(logits.shape)} for one image, expected (1, {images.classes})")
        try:
            optimizer_of(network, study.training_of(entry))
        except Exception as error:  # timm's and torch's optimizers raise what they like
            raise ConfigError(f"training.optimizer: {study.training.optimizer!r} cannot be used: {error}") from error


def coefficients_of(network: NormalizedModel) -> Coefficients | None:
    """Exact coefficients of the network's scheme, of a learnable one at initialisation; None if it has no scheme."""
    scheme = getattr(network.network, "scheme", None)
    if scheme is None:
        return None
    method = scheme.coefficients()
    return Coefficients(alpha=method.alpha, beta=method.beta, beta_next=method.beta_next)
