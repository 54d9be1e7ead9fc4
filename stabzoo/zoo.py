"""Registration with timm: one entry function a model, so that ``timm.create_model("zerosnet56_opt")`` works.

The entry functions are in a module of their own, `ENTRIES`, where no name of a model meets one of stabzoo's.

timm and the network are imported by the functions that need them: this module is called while timm is being imported,
which may be because the network is.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from stabzoo.errors import ConfigError, PluginError, PluginWarning, UnknownParameterError, quoted
from stabzoo.registry.catalogue import catalogue, report
from stabzoo.registry.discovery import Plugin, installed_plugins
from stabzoo.registry.guard import failure_text, plugin_code
from stabzoo.registry.loading import edited_packages, forget, get_scheme, scheme_class, unload
from stabzoo.registry.schema import MAX_WIDTH, ModelConfig

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ENTRIES", "OWN_WEIGHTS", "PRETRAINED", "build_model", "refresh", "register_models", "why_not_built"]

ENTRIES = ModuleType("stabzoo.zoo.stabzoo", "The entry functions of all models, and what timm looks for beside them.")
"""timm calls a module by the last part of its name: ``timm.list_models(module="stabzoo")``."""

ENTRIES.default_cfgs, ENTRIES.__all__ = {}, []  # type: ignore[attr-defined]
sys.modules[ENTRIES.__name__] = ENTRIES

PRETRAINED = Path(__file__).with_name("pretrained")
"""Networks that come with their weights: folders NAME.TAG, as `stabzoo publish` writes them."""

OWN_WEIGHTS = "STABZOO_PRETRAINED"
"""The environment variable that names a folder of such folders, of whoever has trained more networks."""

FROM_CONFIG = ("self", "scheme", "layers", "form", "bottleneck")  # arguments of the network that are not options
FEATURES = ("features_only", "out_indices", "feature_cls", "pruned")  # keywords that timm's builder takes out itself
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of CIFAR-10's training pixels, what an untrained model suggests.  The releases divide by (0.2023, 0.1994, 0.2010), a
widespread slip; studies of published numbers follow them, and a trained network carries what it was trained with."""

OF_CIFAR100 = {"num_classes": 100, "mean": (0.5071, 0.4865, 0.4409), "std": (0.2673, 0.2564, 0.2762)}
SLOTS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "cifar": {"c10": ("cifar10", {}), "c100": ("cifar100", OF_CIFAR100)},
    "imagenet": {"in1k": ("IMAGENET", {})},
}
"""Tags of every model of a form that wait for weights: what ``--data`` of a training is, and how its images differ."""


def pretrained_cfg(config: ModelConfig) -> dict[str, Any]:
    """The data configuration that timm wants of a model without weights.

    As timm has it, a network of ``fixed_input_size`` is built for images of one size, ``img_size``.
    """
    cfg: dict[str, Any] = {"first_conv": "stem.conv", "classifier": "head.fc", "license": "mit"}
    if config.options.get("global_pool") == "flat":
        cfg["fixed_input_size"] = True
    if config.form == "cifar":
        size = {
            "input_size": (3, 32, 32),
            "pool_size": (8, 8),
            "num_classes": 10,
            "crop_pct": 1.0,
            "interpolation": "bilinear",
        }
        return cfg | size | {"mean": CIFAR_MEAN, "std": CIFAR_STD}
    return cfg | {
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "num_classes": 1000,
        "crop_pct": 0.875,
        "interpolation": "bilinear",
    }


def pretrained_cfgs(name: str, config: ModelConfig) -> dict[str, dict[str, Any]]:
    """The configurations of a model's weights, by ``NAME.TAG``: of those that are here, and of `SLOTS` without any."""
    found = {f"{name}.{tag}": pretrained_cfg(config) | differing for tag, (_, differing) in SLOTS[config.form].items()}
    own = os.environ.get(OWN_WEIGHTS)
    for folder in (PRETRAINED, *([Path(own)] if own else [])):
        for weights in sorted(folder.glob(f"{name}.*")):
            try:
                found[weights.name] = _cfg_of(weights, name)
            except (OSError, ValueError, LookupError, TypeError) as error:
                warnings.warn(f"{weights} is skipped: {failure_text(error)}", PluginWarning, stacklevel=2)
    return found


def _cfg_of(folder: Path, name: str) -> dict[str, Any]:
    """The configuration of the weights in a folder that `stabzoo publish` wrote.

    Raises:
        ConfigError: they are of another model, or of one with other arguments.
    """
    config, weights = json.loads((folder / "config.json").read_text()), folder / "model.safetensors"
    if (config["architecture"], args := config["stabzoo"]["job"]["args"]) != (name, {}):
        given = f" with the arguments {', '.join(args)}" if args else ""
        raise ConfigError(
            f"expected weights of {name!r} with no arguments, got {quoted(config['architecture'])}{given}; "
            "open them by local-dir:"
        )
    weights.open("rb").close()
    return {**config["pretrained_cfg"], "file": str(weights), "label_names": config["label_names"]}


def build_model(name: str, config: ModelConfig, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build a model, as ``timm.create_model(name, ...)`` does.

    Args:
        name: The model's registered name.
        config: Its configuration.
        pretrained: Load the weights that timm's ``pretrained_cfg`` (or overlay) names.
        kwargs: Options of the scheme's network (`DiscretizedResNet` has the usual ones), of timm's builder, and
            parameters of the scheme.

    Raises:
        ConfigError: a parameter is not valid (`stabzoo.errors.UnknownParameterError`, also a TypeError, where nothing
            has its name), or the tag is one of the empty `SLOTS`.
        PluginError: the plugin that provides the scheme is broken.
    """
    from timm.models import build_model_with_cfg

    from stabzoo.networks.checkpoints import checkpoint_filter_fn, keep_constraints
    from stabzoo.networks.staged import FeatureDict, FeatureGetter

    if pretrained:
        _refuse_empty(name, config, kwargs)
    try:
        network, arguments, plugin = _network(name, config)
    except ConfigError as error:
        raise ConfigError(f"model {name!r}: {error}") from None
    options = [argument for argument in arguments if argument not in FROM_CONFIG]
    builder = inspect.signature(build_model_with_cfg).parameters.values()
    known = {*options, *FEATURES, *(p.name for p in builder if p.kind is not p.VAR_KEYWORD)}
    given = {key: value for key, value in kwargs.items() if key in known}
    parameters = {key: value for key, value in kwargs.items() if key not in known}
    try:
        scheme = get_scheme(config.scheme, **{**config.parameters, **parameters})
    except UnknownParameterError as error:
        raise UnknownParameterError(f"model {name!r}: {error}; the network takes {', '.join(options)}") from None
    except ConfigError as error:
        raise ConfigError(f"model {name!r}: {error}") from None
    if unknown := [option for option in config.options if option not in options]:
        raise ConfigError(
            f"model {name!r}: options: the network takes no {unknown[0]!r}; it takes {', '.join(options)}"
        )
    given = {**config.options, **given}
    width = given.setdefault("width", config.width)
    if width is not None and (not isinstance(width, int) or isinstance(width, bool) or not 1 <= width <= MAX_WIDTH):
        raise ConfigError(
            f"model {name!r}: width: expected a whole number of channels, at least 1 and at most {MAX_WIDTH}; "
            f"got {quoted(width)}"
        )
    shape = {"form": config.form, "bottleneck": config.block == "bottleneck"}
    given |= {key: value for key, value in shape.items() if key in arguments}
    if isinstance(kind := given.get("feature_cls"), str):  # timm's for lists and dicts call the parts one by one
        given["feature_cls"] = {"list": FeatureGetter, "getter": FeatureGetter, "dict": FeatureDict}.get(kind, kind)
    where = f"{plugin}: model {name!r}{' with ' if kwargs else ''}{', '.join(kwargs)}"
    model = build_model_with_cfg(
        _guarded(network, where),
        name,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": tuple(range(len(config.layers) + 1)), "feature_cls": FeatureGetter},
        scheme=scheme,
        layers=config.layers,
        **given,
    )
    if pretrained:
        keep_constraints(getattr(model, "model", model))  # or in timm's wrapper for features
    return model


def _refuse_empty(name: str, config: ModelConfig, kwargs: Mapping[str, Any]) -> None:
    """Say how weights come into a slot that has none.

    Raises:
        ConfigError: the tag that is asked for is such a slot, and nothing else says where weights are.
    """
    from timm.models import get_pretrained_cfg

    tag, slots = kwargs.get("pretrained_cfg"), SLOTS[config.form]
    if not isinstance(tag, str) or tag not in slots or kwargs.get("pretrained_cfg_overlay"):
        return
    cfg = get_pretrained_cfg(f"{name}.{tag}", allow_unregistered=True)
    if cfg is None or not cfg.has_weights:
        raise ConfigError(
            f"model '{name}.{tag}': there are no weights of it yet; train them, `stabzoo train {name} --data "
            f"{slots[tag][0]} --folder RUN`, publish them, `stabzoo publish RUN --folder FOLDER/{name}.{tag}`, and set "
            f"{OWN_WEIGHTS}=FOLDER before timm is imported"
        )


def _network(name: str, config: ModelConfig) -> tuple[type[nn.Module], list[str], Plugin]:
    """The class of a model's network, its arguments, and the plugin that provides it."""
    from torch import nn

    scheme = scheme_class(config.scheme)
    plugin = catalogue().schemes[config.scheme][0]
    with plugin_code(f"{plugin}: model {name!r}", passes=(ConfigError,)):
        network: Any = scheme.network()
        if not (isinstance(network, type) and issubclass(network, nn.Module)):
            raise TypeError(f"network() must return a class of torch modules, got {network!r:.80}")
        return network, _arguments(network), plugin


def _arguments(network: type[nn.Module]) -> list[str]:
    """The names of what a class is created with; what it hands on as ``**kwargs`` is what its base class takes."""
    names: dict[str, None] = {}
    for cls in network.__mro__:
        if "__init__" in vars(cls):
            parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
            names |= dict.fromkeys(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return list(names)


def _guarded(network: type[nn.Module], where: str) -> Callable[..., nn.Module]:
    """``network``, whose failures name its plugin; without a limit of time, which a large one may need."""

    def build(**arguments: Any) -> nn.Module:
        try:
            return network(**arguments)
        except (ConfigError, PluginError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            if type(error).__name__ == "OutOfMemoryError":  # torch's
                raise
            raise PluginError(f"{where} cannot be built: {failure_text(error)}") from error

    return build


def why_not_built(name: str, config: ModelConfig) -> str | None:
    """What is wrong with a model, from building it on the meta device under guard; None if nothing is."""
    import torch

    plugin = catalogue().models[name][0]
    try:
        with plugin_code(f"{plugin}: model {name!r}", passes=(ConfigError,)), torch.device("meta"):
            build_model(name, config)
    except (ConfigError, PluginError) as error:
        return failure_text(error.__cause__) if error.__cause__ else str(error).removeprefix(f"model {name!r}: ")
    return None


def entrypoint(name: str, config: ModelConfig) -> Callable[..., nn.Module]:
    """The entry function of one model."""

    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return build_model(name, config, pretrained, **kwargs)

    create.__name__ = create.__qualname__ = name
    create.__module__ = ENTRIES.__name__
    create.__doc__ = f"{config.scheme}, depth {config.depth}, {config.form} form, {config.block} blocks."
    return create


_registered: dict[str, ModelConfig] = {}


def register_models() -> None:
    """Register every model of the catalogue with timm, and remove those that are no longer in it.

    A name that timm has is refused, with the plugin named.
    """
    import timm
    from timm.models import generate_default_cfgs, register_model

    models = catalogue().models
    for name, config in list(_registered.items()):
        if name not in models or models[name][1] != config:
            _unregister(name)
    for name, (plugin, config) in list(models.items()):
        if name in _registered:
            continue
        if timm.is_model(name):
            owner = timm.model_entrypoint(name).__module__
            del models[name]
            report(plugin, f"the model name {name!r} is taken by {owner}; this one is left out")
            continue
        # the last is the default, by its star: a name without a tag is an untrained network, of its own configuration
        cfgs: dict[str, Any] = {**pretrained_cfgs(name, config), f"{name}.*": pretrained_cfg(config)}
        ENTRIES.default_cfgs.update(generate_default_cfgs(cfgs))
        function = entrypoint(name, config)
        setattr(ENTRIES, name, function)
        register_model(function)  # which appends the name to ENTRIES.__all__
        _registered[name] = config


def _unregister(name: str) -> None:
    """Remove a model that `register_models` has registered; timm has no function for it."""
    from timm.models import _registry

    tagged = list(_registry._model_with_tags[name])
    for table in ("entrypoints", "to_module", "default_cfgs", "pretrained_cfgs", "with_tags"):
        for key in (name, *tagged):
            getattr(_registry, f"_model_{table}").pop(key, None)
    _registry._module_to_models["stabzoo"].discard(name)
    _registry._model_has_pretrained.difference_update((name, *tagged))
    ENTRIES.default_cfgs.pop(name, None)
    ENTRIES.__all__.remove(name)
    delattr(ENTRIES, name)
    del _registered[name]


def refresh() -> None:
    """Look for plugins again: after an installation or removal while the process runs.

    Models and schemes of a removed plugin become unknown; code of a plugin that was removed, edited or updated is
    forgotten and imported again.  Existing networks keep working.
    """
    known = catalogue().plugins if catalogue.cache_info().currsize else ()
    before = {plugin.module: plugin.distribution for plugin in known if not plugin.is_ours}
    importlib.invalidate_caches()
    forget()
    # forgotten before the catalogue is read: a module that is loaded is found where it was
    now = {plugin.module: plugin.distribution for plugin, _ in installed_plugins()}
    changed = {module.partition(".")[0] for module, distribution in before.items() if now.get(module) != distribution}
    for package in changed | edited_packages():
        unload(package)
    if "timm" in sys.modules:
        register_models()
