"""What a training is, as data: a recipe, and a job that decides every weight. Importing this imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from stabzoo.config import Strict, load_yaml, validate
from stabzoo.data.manifest import NOT_HERE
from stabzoo.data.spec import Data, check_augmentation
from stabzoo.errors import ConfigError, PluginError
from stabzoo.files import digest
from stabzoo.registry.catalogue import catalogue
from stabzoo.registry.code import code_digest
from stabzoo.registry.discovery import Plugin
from stabzoo.registry.loading import scheme_of

__all__ = ["OF_TIMM", "Job", "Training", "differences", "recipe", "settings_of", "software", "sources"]


WITH_MOMENTUM = """
    adafactorbv adafactorbvc adamuon bnbsgd bnbsgd8bit cadafactorbv cadafactorbvc crmsproptf csgdc csgdp csgdw fusedsgd
    kron kronc kronw larc lars madgrad madgradw momentum muon nadamuon nesterov nesterovw nlarc nlars nmuon rmsprop
    rmsproptf rmsproptfc rmsproptfw sgd sgdc sgdp sgdw
"""
"""The optimizers of timm that take a momentum; the others have coefficients of their own, or none."""

Share: TypeAlias = Annotated[float, Field(gt=0, le=1)]


class FixedPointTerm(Strict):
    """Weight of R_fp in the loss (`stabzoo.residual_penalty`): ``iterations`` + 1 more evaluations of f per block."""

    weight: PositiveFloat
    iterations: PositiveInt = 5
    power: NonNegativeFloat = 1.0


class PerturbationTerm(Strict):
    """Weight of R_rnd in the loss (`stabzoo.perturbation_penalty`): ``streams`` additional passes with noisy images.

    The noise is normal with deviation ``sigma`` on pixels in [0, 1], and redrawn for every batch.
    """

    weight: PositiveFloat
    sigma: PositiveFloat
    streams: PositiveInt = 1
    power: NonNegativeFloat = 1.0


class Training(Strict):
    """How every network is trained: a timm optimizer with a learning rate that changes at every step.

    ``schedule``: ``one-cycle`` is torch's, with maximum ``lr``; ``step`` starts at ``lr`` and divides it by 10 at each
    of the ``milestones``, which are fractions of all steps; ``cosine`` goes from ``lr`` to 0.  The last two rise
    linearly during the ``warmup_epochs``.

    A network with constraints is projected onto them after every step.  ``regularization`` is the weight of the
    scheme's own regulariser, in addition to the optimizer's weight decay; ``fixed_point`` and ``perturbation`` are the
    regularisers of the implicit ResNet paper, the first for implicit networks, the second for networks with
    ``blocks()``.

    The loss is the cross-entropy of ``logit_scale`` times the logits; the scale is the inverse of a temperature, which
    networks of bounded sensitivity need because their logits are small.  ``margin`` is first subtracted from the logit
    of the image's class: the loss then asks for logits that differ by more than the margin, and so for a certified
    radius (Prach and Lampert, ECCV 2022, section 4).

    ``augmentation`` changes only the training images.  ``crop-flip``: a random crop of the image padded with 4 black
    pixels on each side, and a random horizontal flip.  ``crop``: the same without the flip, which would turn digits
    into other shapes.  ``turn-flip``, for percolation: a random quarter turn and a random flip.
    ``resized-crop-flip``, for images read from disk: a random window, resized, and a random flip; ``crop_area`` is the
    range of the window's share of the image's area, ``crop_aspect`` that of its aspect ratio.

    ``momentum`` is required by optimizers that have one; for others it has no effect and is not shown.

    ``weight_decay`` applies to the ``kernels`` of convolutions and the classifier's weights, as in timm, or to ``all``
    parameters, including biases, batch norms and the coefficients of learnable schemes.  ``clip_norm`` is the largest
    norm of the gradient of all parameters together; a longer gradient is scaled down.

    ``selection`` chooses the weights to evaluate: those of the ``last`` epoch, or of the ``best-epoch``, the first
    with the highest accuracy on the test images.  Some releases report the best epoch; since the test images choose
    it, expect a lower accuracy on other images.

    A batch is computed in ``accumulation`` parts, one after the other.  ``ema`` is the decay per step of an average of
    the weights, which is then evaluated in their place.  ``amp`` is the type of automatic mixed precision.  With 0
    ``epochs`` nothing is trained.

    ``layout`` is the order of numbers in memory: ``contiguous``, image by image and channel by channel, or the
    ``fastest`` for the network, its images and the device (`stabzoo.training.networks.fastest_layout`), which may store
    the channels of a pixel next to each other.  ``compile`` is whether torch compiles the network; with ``fastest``,
    whether it pays (`stabzoo.training.networks.pays_to_compile`).  Layouts and compiled code round sums differently, so
    a training keeps those that it began with.
    """

    epochs: NonNegativeInt
    batch_size: Annotated[int, Field(ge=2)]
    optimizer: str
    lr: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: NonNegativeFloat
    decay: Literal["kernels", "all"] = "kernels"
    clip_norm: PositiveFloat | None = None
    schedule: Literal["one-cycle", "step", "cosine"]
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    regularization: NonNegativeFloat = 0.0
    fixed_point: FixedPointTerm | None = None
    perturbation: PerturbationTerm | None = None
    logit_scale: PositiveFloat = 1.0
    margin: NonNegativeFloat = 0.0
    augmentation: Literal["none", "crop", "crop-flip", "turn-flip", "resized-crop-flip"] = "none"
    crop_area: tuple[Share, Share] = (0.08, 1.0)
    crop_aspect: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    warmup_epochs: NonNegativeFloat = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    accumulation: PositiveInt = 1
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    selection: Literal["last", "best-epoch"] = "last"
    amp: Literal["none", "bfloat16", "float16"] = "none"
    compile: bool | Literal["fastest"] = False
    layout: Literal["contiguous", "fastest"] = "contiguous"

    @property
    def has_momentum(self) -> bool:
        """Whether the optimizer takes a momentum, also inside timm's ``lookahead_``."""
        return self.optimizer.lower().rpartition("_")[2] in WITH_MOMENTUM.split()

    @model_serializer(mode="wrap", when_used="json")
    def _stated(self, dump: SerializerFunctionWrapHandler, how: SerializationInfo) -> dict[str, Any]:
        """As JSON the settings have no momentum of an optimizer without one; where it has one it is no default."""
        found = dump(self)
        if not self.has_momentum:
            found.pop("momentum", None)
        elif how.exclude_defaults:
            found["momentum"] = self.momentum
        return found

    @model_validator(mode="after")
    def _momentum_of_optimizer(self) -> Training:
        if self.has_momentum and "momentum" not in self.model_fields_set:
            raise ValueError(f"momentum: optimizer {self.optimizer} needs one, at least 0 and less than 1, e.g. 0.9")
        return self

    @model_validator(mode="after")
    def _ordered(self) -> Training:
        for name in ("crop_area", "crop_aspect"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: expected the least value first, got {low:g} and {high:g}")
        return self

    @model_validator(mode="after")
    def _milestones_of_steps(self) -> Training:
        if self.epochs == 0 and self.schedule == "one-cycle":
            raise ValueError("epochs: 0 has no one-cycle; use schedule: cosine")
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError(
                "milestones go with schedule: step, e.g. milestones: [0.5, 0.75]; "
                f"got {list(self.milestones)} with schedule: {self.schedule}"
            )
        if self.warmup_epochs and (self.schedule == "one-cycle" or self.warmup_epochs >= self.epochs):
            raise ValueError(
                "warmup_epochs go with schedule: step or cosine, and are fewer than epochs; "
                f"got {self.warmup_epochs:g} of {self.epochs} with schedule: {self.schedule}"
            )
        return self


@cache
def software() -> dict[str, str]:
    """Versions of the distributions that decide a run's numbers, read without importing them."""
    return {name: version(name) for name in ("stabzoo", "torch", "timm", "numpy", "scikit-learn")}


def sources(model: str, args: Mapping[str, Any], images: str | None) -> dict[str, str]:
    """What decides a training's numbers besides its settings and the `software`, in words that can be compared.

    - ``plugin NAME``: distribution, version and a digest of the code of every plugin that the model takes from, but
      for those that are part of stabzoo;
    - ``coefficients``: of the scheme of such a plugin, which may come from elsewhere;
    - ``args.NAME``: a digest of the file of weights that an argument of timm's names: ``checkpoint_path``, or
      ``pretrained_cfg`` and ``pretrained_cfg_overlay`` as their ``file``;
    - ``data``: ``images``, their `stabzoo.data.manifest.manifest`.

    What is not on this machine is `NOT_HERE`.
    """
    found: dict[str, str] = {}
    for plugin in _plugins_of(model):
        found[f"plugin {plugin.name}"] = f"{plugin.distribution}, {code_digest(plugin)}"
    if found:
        try:
            found["coefficients"] = str(scheme_of(model, args).coefficients())
        except (ConfigError, PluginError):  # which is said when the network is built
            found["coefficients"] = NOT_HERE
    for name, path in _weights_named(args):
        found[f"args.{name}"] = digest([(path.name, path)]) if path.is_file() else NOT_HERE
    if images is not None:
        found["data"] = images
    return found


def _weights_named(args: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """The files that timm loads weights from, by the arguments that name them; no other argument is a file's name."""
    named = {"checkpoint_path": args.get("checkpoint_path")}
    for name in ("pretrained_cfg", "pretrained_cfg_overlay"):
        if isinstance(config := args.get(name), Mapping):
            named[f"{name}.file"] = config.get("file")
    yield from ((name, Path(value)) for name, value in named.items() if isinstance(value, str) and value)


def differences(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two mappings, such as `sources`, differ: ``data.size``, and both values, None where one has none.

    Mappings within both are compared entry by entry.
    """
    for name in dict.fromkeys([*there, *here]):
        one, other = there.get(name), here.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from differences(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name}", one, other


def _plugins_of(model: str) -> list[Plugin]:
    """The plugins that a model takes from and that are no part of stabzoo: its own, and that of its scheme."""
    known = catalogue()
    if model not in known.models:
        return []
    owner, config = known.models[model]
    plugins = {plugin.name: plugin for plugin in (owner, known.schemes[config.scheme][0])}
    return [plugin for plugin in plugins.values() if not plugin.is_ours]


RECIPES = Path(__file__).parent / "recipes"

OF_TIMM = re.compile("(hf[-_]hub|local-dir|modelscope|ms-hub):")
"""The beginning of what timm builds that is no name of a model."""


class Job(Strict):
    """One training: everything that decides its weights.

    ``threads`` is the number of torch's threads, ``processes`` of those that share each batch, and ``processor`` the
    instructions that torch uses: sums are rounded differently with others.  `sources` are what else decides.
    """

    model: str
    args: dict[str, JsonValue]
    data: Data
    training: Training
    seed: int
    device: str
    threads: int
    processes: int
    processor: str = ""
    software: dict[str, str]
    sources: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Job:
        check_augmentation(self.data, self.training.augmentation)
        return self


def settings_of(model: str) -> dict[str, Any]:
    """The settings of a recipe that a model of stabzoo needs (``training`` in its registry); of others, none."""
    known = catalogue().models
    return dict(known[model][1].training) if model in known else {}


def recipe(name_or_path: str, settings: dict[str, Any]) -> Training:
    """Read how to train from a YAML file, or by the name of a shipped one, with some ``settings`` changed.

    Raises:
        ConfigError: there is no such recipe, it is not a valid one, or a momentum is set of an optimizer without one.
    """
    shipped = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    path = RECIPES / f"{name_or_path}.yaml" if name_or_path in shipped else Path(name_or_path)
    if name_or_path not in shipped and path.suffix not in (".yaml", ".yml"):
        raise ConfigError(
            f"there is no recipe {name_or_path!r}; expected one of {', '.join(shipped)}, or the path of a .yaml file"
        )
    training = validate(Training, {**load_yaml(path), **settings}, str(path))
    if "momentum" in settings and not training.has_momentum:
        raise ConfigError(f"momentum: optimizer {training.optimizer} has none; leave it out, or set another optimizer")
    return training
