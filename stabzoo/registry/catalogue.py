"""Who owns which scheme and model, read from registry.yaml files; no plugin is imported.

A plugin that is broken costs its own models only, is named in every message, and stays listed.

Environment:
    STABZOO_STRICT: ``1`` turns a broken plugin's warning into an error.
"""

from __future__ import annotations

import difflib
import os
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from stabzoo.config import load_yaml, validate
from stabzoo.errors import ConfigError, PluginError, PluginWarning
from stabzoo.registry.discovery import Plugin, installation_problems, installed_plugins
from stabzoo.registry.schema import ModelConfig, Registry, SchemeClaim

__all__ = ["Catalogue", "catalogue", "list_models", "list_schemes", "report", "unknown_name"]

T = TypeVar("T")


def _top_level_registry() -> Path:
    """Our ``registry.yaml``: in the installed package, or at the top of the checkout of an editable installation."""
    package = Path(__file__).parent.parent
    shipped = package / "registry.yaml"
    return shipped if shipped.is_file() else package.parent / "registry.yaml"


def _registry_path(plugin: Plugin) -> Path:
    """The ``registry.yaml`` of the plugin's package, which is not imported, nor is any package around it."""
    if plugin.is_ours:
        return _top_level_registry()
    top, *rest = plugin.module.split(".")
    try:
        spec = find_spec(top) if all(part.isidentifier() for part in (top, *rest)) else None
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(f"its package {plugin.module!r} cannot be found ({error}); is it installed?") from None
    folders = [Path(folder, *rest) for folder in (spec.submodule_search_locations if spec else None) or ()]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        raise ConfigError(
            f"its package {plugin.module!r} cannot be found; the entry point must name an installed package"
        )
    path = folder / "registry.yaml"
    if not path.is_file():
        raise ConfigError(
            f"{path} is missing; ship registry.yaml beside __init__.py (with setuptools: as package-data)"
        )
    return path


@cache
def our_sections() -> dict[str, Any]:
    """What our ``registry.yaml`` says, by the names of our plugins."""
    return dict(load_yaml(_top_level_registry()))


def _read_registry(plugin: Plugin) -> Registry:
    path = _registry_path(plugin)
    sections = our_sections() if path == _top_level_registry() else load_yaml(path)
    if plugin.name not in sections:
        raise ConfigError(
            f"{path}: expected a section {plugin.name!r} (the name of the entry point), "
            f"got {', '.join(map(str, sections))}"
        )
    return validate(Registry, sections[plugin.name], f"{path}: {plugin.name}")


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
    for plugin, distribution in installed_plugins():
        plugins.append(plugin)
        if plugin.problems:  # found damaged
            report(plugin, plugin.problems.pop())
            continue
        if earlier := next((p for p in plugins[:-1] if p.name == plugin.name), None):
            report(plugin, f"the plugin name {plugin.name!r} is taken by {earlier}; this one is left out")
            continue
        if not plugin.is_ours and not _is_usable(plugin, distribution):
            continue
        try:
            plugin.registry = _read_registry(plugin)
        except ConfigError as error:
            report(plugin, str(error))
            continue
        _own("scheme", plugin, plugin.registry.schemes, schemes)
        _own("model", plugin, plugin.registry.expanded_models(), models)
    return Catalogue(tuple(plugins), schemes, models)


def _own(kind: str, plugin: Plugin, provided: dict[str, T], owners: dict[str, tuple[Plugin, T]]) -> None:
    """Enter what ``plugin`` provides; a name that has an owner stays with it."""
    for name, value in provided.items():
        if name in owners:
            report(plugin, f"the {kind} {name!r} is already provided by {owners[name][0]}; this one is left out")
        else:
            owners[name] = plugin, value


def _is_usable(plugin: Plugin, distribution: Distribution) -> bool:
    """Report what is wrong with the installation, and return whether the plugin can be used in spite of it."""
    found = list(installation_problems(distribution))
    for problem, _ in found:
        report(plugin, problem)
    return all(usable for _, usable in found)


def unknown_name(kind: str, name: str, known: list[str]) -> ConfigError:
    """The error for a name that does not exist, with the closest ones that do."""
    close = difflib.get_close_matches(name, known, n=3)
    hint = (
        f"did you mean {' or '.join(close)}?"
        if close
        else f"known: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"
    )
    return ConfigError(f"unknown {kind} {name!r}; {hint}")


def list_schemes() -> list[str]:
    """Names of all registered schemes, ours first."""
    return list(catalogue().schemes)


def list_models() -> list[str]:
    """Names of all models that stabzoo registers with timm, ours first."""
    return list(catalogue().models)
