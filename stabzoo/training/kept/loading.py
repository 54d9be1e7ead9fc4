"""Opening what a training has left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load

from stabzoo.data.images import ImageDataset
from stabzoo.data.loading import load_images
from stabzoo.data.manifest import manifest
from stabzoo.errors import ConfigError
from stabzoo.files import open_regular
from stabzoo.networks.checkpoints import fit_weights
from stabzoo.training.kept.description import WEIGHTS, read_description
from stabzoo.training.networks import network_of
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.spec import Job

__all__ = ["FinishedTraining", "load_finished"]


@dataclass(frozen=True)
class FinishedTraining:
    """What a finished training has left: what it was, its images, and its network as trained, in evaluation mode."""

    job: Job
    images: ImageDataset
    network: NormalizedModel


def load_finished(folder: Path, root: Path, workers: int = 0) -> FinishedTraining:
    """Open the folder of a training that has finished: of ``stabzoo train``, or of a run of a study.

    Nothing of it need be said again: model, arguments, images and their normalisation are written there.  Data sets
    lie below ``root``; ``workers`` processes decode images that are not in memory.

    Raises:
        ConfigError: it has left nothing, or its files are damaged, do not fit, or name data that are not here, or are
            others than it was trained on.
    """
    job = read_description(folder).stabzoo.job
    try:
        with open_regular(folder / WEIGHTS) as file:
            content = file.read()
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: cannot be read ({error.strerror or error}); resume the training until it has finished"
        ) from None
    try:
        weights = load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f"{folder}: a file of this training is damaged ({error}); train it again") from None
    images = load_images(job.data, root, workers)
    there, here = job.sources.get("data"), manifest(job.data, root)
    if there is not None and there != here:
        raise ConfigError(
            f"{folder}: its data have changed since the training, whose files had the digest {there}, and have {here} "
            "now; restore them, or give a --root with the original files"
        )
    network = network_of(job, images)
    fit_weights(network.network, weights, str(folder / WEIGHTS), job.model)
    return FinishedTraining(job, images, network.eval())
