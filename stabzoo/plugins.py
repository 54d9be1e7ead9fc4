"""Discovery of plugins, and who owns what.  Data eager, code lazy.

Names, claims and model configurations are read from ``registry.yaml`` files without importing a plugin.  A plugin's
code is imported when one of its schemes is asked for.  A broken plugin costs its own models only, is named in every
message, and stays listed.

Environment:
    STABZOO_PLUGINS: comma-separated names; only these plugins are read (empty: none).
    STABZOO_STRICT: ``1`` turns a broken plugin's warning into an error.
"""

from __future__ import annotations

import difflib
import importlib
import os
import warnings
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pluggy
from pydantic import BaseModel

from stabzoo import hookspecs
from stabzoo.config import ConfigError, load_yaml, validate
from stabzoo.discretization import Discretization
from stabzoo.registry import ModelConfig, Registry, SchemeClaim

__all__ = [
    "Plugin",
    "PluginError",
    "PluginWarning",
    "UnknownParameterError",
    "get_scheme",
    "list_models",
    "list_schemes",
    "refresh",
]

GROUP = "stabzoo"
OURS = "stabzoo"  # the distribution whose plugins are read first and whose claims stand in the top-level registry.yaml


class PluginError(RuntimeError):
    """A plugin is broken; the message names it."""


class PluginWarning(UserWarning):
    """A plugin, or a part of one, is left out; the message names it."""


class UnknownParameterError(ConfigError, TypeError):
    """A parameter that neither the scheme nor the network knows."""


@dataclass
class Plugin:
    """One plugin as it was found.

    Attributes:
        name: The name of its entry point, and of its section in ``registry.yaml``.
        module: The package that implements it.
        distribution: What was installed, ``"stabzoo 0.1.0"``.
        registry: Its validated registry; None when that could not be read.
        problems: What is wrong with it, one sentence each.
    """

    name: str
    module: str
    distribution: str
    registry: Registry | None = None
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution})"


def _top_level_registry() -> Path:
    """Our ``registry.yaml``: in the installed package, or at the top of the checkout of an editable installation."""
    package = Path(__file__).parent
    shipped = package / "registry.yaml"
    return shipped if shipped.is_file() else package.parent / "registry.yaml"


def _registry_path(plugin: Plugin) -> Path:
    if plugin.distribution.split()[0] == OURS:
        return _top_level_registry()
    try:
        spec = find_spec(plugin.module)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"its package {plugin.module!r} cannot be found ({error}); is it installed?") from None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"its package {plugin.module!r} cannot be found; the entry point must name an installed package"
        )
    path = Path(next(iter(spec.submodule_search_locations))) / "registry.yaml"
    if not path.is_file():
        raise ConfigError(
            f"{path} is missing; ship registry.yaml beside __init__.py (with setuptools: as package-data)"
        )
    return path


@cache
def _our_sections() -> dict[str, Any]:
    return dict(load_yaml(_top_level_registry()))


def _read_registry(plugin: Plugin) -> Registry:
    path = _registry_path(plugin)
    sections = _our_sections() if path == _top_level_registry() else load_yaml(path)
    if plugin.name not in sections:
        raise ConfigError(
            f"{path}: expected a section {plugin.name!r} (the name of the entry point), "
            f"got {', '.join(map(str, sections))}"
        )
    return validate(Registry, sections[plugin.name], f"{path}: {plugin.name}")


def _found() -> list[tuple[EntryPoint, str]]:
    """Entry points with the distribution of each, ours first, then by name; one that is found twice counts once."""
    found: dict[tuple[str, str, str], EntryPoint] = {}
    for point in entry_points(group=GROUP):
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
        found.setdefault((point.name, point.value, distribution), point)
    order = sorted(found, key=lambda key: (key[2].split()[0] != OURS, key))
    wanted = os.environ.get("STABZOO_PLUGINS")
    names = None if wanted is None else {name.strip() for name in wanted.split(",") if name.strip()}
    if names is not None and (unknown := names - {key[0] for key in order}):
        warnings.warn(
            f"STABZOO_PLUGINS names no installed plugin: {', '.join(sorted(unknown))}", PluginWarning, stacklevel=2
        )
    return [(found[key], key[2]) for key in order if names is None or key[0] in names]


@dataclass(frozen=True)
class Catalogue:
    """Every plugin found, and the owner of every scheme and model."""

    plugins: tuple[Plugin, ...]
    schemes: dict[str, tuple[Plugin, SchemeClaim]]
    models: dict[str, tuple[Plugin, ModelConfig]]


def report(plugin: Plugin, problem: str) -> None:
    """Keep a problem with a plugin, and warn about it (or raise, under ``STABZOO_STRICT=1``)."""
    plugin.problems.append(problem)
    if os.environ.get("STABZOO_STRICT") == "1":
        raise PluginError(f"{plugin}: {problem}")
    warnings.warn(f"{plugin}: {problem}", PluginWarning, stacklevel=3)


@cache
def catalogue() -> Catalogue:
    """Read every plugin's registry; no plugin is imported."""
    plugins: list[Plugin] = []
    schemes: dict[str, tuple[Plugin, SchemeClaim]] = {}
    models: dict[str, tuple[Plugin, ModelConfig]] = {}
    for point, distribution in _found():
        plugin = Plugin(point.name, point.value, distribution)
        plugins.append(plugin)
        if earlier := next((p for p in plugins[:-1] if p.name == plugin.name), None):
            report(plugin, f"the plugin name {plugin.name!r} is taken by {earlier}; this one is left out")
            continue
        try:
            plugin.registry = _read_registry(plugin)
        except ConfigError as error:
            report(plugin, str(error))
            continue
        for kind, provided, owners in (
            ("scheme", plugin.registry.schemes, schemes),
            ("model", plugin.registry.expanded_models(), models),
        ):
            for name, value in provided.items():
                if name in owners:
                    report(
                        plugin, f"the {kind} {name!r} is already provided by {owners[name][0]}; this one is left out"
                    )
                else:
                    owners[name] = (plugin, value)  # type: ignore[index]  # pyright: ignore[reportArgumentType]
    return Catalogue(tuple(plugins), schemes, models)


@cache
def load_plugin(plugin_name: str) -> dict[str, type[Discretization]] | PluginError:
    """The discretizations of a plugin, or why there are none: broken code is imported once, not once a scheme."""
    plugin = next(p for p in catalogue().plugins if p.name == plugin_name and p.registry is not None)
    try:
        return _import(plugin)
    except PluginError as error:
        return error


def _import(plugin: Plugin) -> dict[str, type[Discretization]]:
    """Import a plugin's code and ask it for its discretizations.

    Raises:
        PluginError: naming the plugin, whatever its code did.
    """
    try:
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(hookspecs)
        manager.register(importlib.import_module(plugin.module), plugin.name)
        manager.check_pending()  # a misspelt hook
        classes = [cls for result in manager.hook.stabzoo_discretizations() for cls in result]
    except (Exception, SystemExit) as error:
        raise PluginError(f"{plugin} failed to load: {type(error).__name__}: {error}") from error
    schemes: dict[str, type[Discretization]] = {}
    for cls in classes:
        if not (isinstance(cls, type) and isinstance(getattr(cls, "name", None), str) and hasattr(cls, "coefficients")):
            raise PluginError(
                f"{plugin}: stabzoo_discretizations() must return classes with a name and coefficients(), got {cls!r}"
            )
        schemes[cls.name] = cls  # type: ignore[attr-defined]
    assert plugin.registry is not None
    if missing := set(plugin.registry.schemes) - set(schemes):
        raise PluginError(
            f"{plugin}: registry.yaml lists {', '.join(sorted(missing))}, "
            "which stabzoo_discretizations() does not return"
        )
    if unlisted := set(schemes) - set(plugin.registry.schemes):
        raise PluginError(f"{plugin}: registry.yaml does not list {', '.join(sorted(unlisted))}")
    return schemes


def unknown_name(kind: str, name: str, known: list[str]) -> ConfigError:
    """The error for a name that does not exist, with the closest ones that do."""
    close = difflib.get_close_matches(name, known, n=3)
    hint = (
        f"did you mean {' or '.join(close)}?"
        if close
        else f"known: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"
    )
    return ConfigError(f"unknown {kind} {name!r}; {hint}")


def scheme_class(name: str) -> type[Discretization]:
    """The class of a registered scheme.

    Raises:
        ConfigError: no plugin provides a scheme of this name.
        PluginError: the plugin that provides it is broken.
    """
    owners = catalogue().schemes
    if name not in owners:
        raise unknown_name("scheme", name, list_schemes())
    loaded = load_plugin(owners[name][0].name)
    if isinstance(loaded, PluginError):
        raise loaded
    return loaded[name]


def parameter_names(scheme: type[Discretization]) -> list[str]:
    """Names of the parameters of a scheme."""
    return list(getattr(scheme, "model_fields", {}))


def get_scheme(name: str, **parameters: Any) -> Discretization:
    """The scheme ``name`` with the given parameters, e.g. ``get_scheme("zerosnet", lam="-9/5")``.

    Raises:
        ConfigError: unknown scheme, or a parameter that it does not accept, in a sentence.
        PluginError: the plugin that provides the scheme is broken.
    """
    cls = scheme_class(name)
    accepted = parameter_names(cls)
    if unknown := [key for key in parameters if key not in accepted]:
        takes = f"it takes {', '.join(accepted)}" if accepted else "it takes none"
        raise UnknownParameterError(f"scheme {name!r}: unknown parameter {', '.join(map(repr, unknown))}; {takes}")
    if not issubclass(cls, BaseModel):
        return cls(**parameters)
    scheme: Discretization = validate(cls, parameters, f"scheme {name!r}")  # pyright: ignore[reportAssignmentType]
    try:
        scheme.coefficients()
    except ValueError as error:  # each parameter is well, but not what they come to
        raise ConfigError(f"scheme {name!r}: {error}") from None
    return scheme


def list_schemes() -> list[str]:
    """Names of all registered schemes, ours first."""
    return list(catalogue().schemes)


def list_models() -> list[str]:
    """Names of all models that stabzoo registers with timm, ours first."""
    return list(catalogue().models)


def refresh() -> None:
    """Look for plugins anew: after an installation or removal while the process runs."""
    import sys

    importlib.invalidate_caches()
    for cached in (catalogue, load_plugin, _our_sections):
        cached.cache_clear()
    if "timm" in sys.modules:
        from stabzoo import zoo

        zoo.register_models()
