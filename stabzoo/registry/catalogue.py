"""Who owns which scheme, model, evaluation and study, read from registry.yaml files; no plugin is imported.

A plugin that is broken costs its own models only, is named in every message, and stays listed.

Environment:
    STABZOO_STRICT: ``1``, ``true``, ``yes`` or ``on`` turns a broken plugin's warning into an error; ``0``, ``false``,
        ``no`` or ``off`` does not.
"""

from __future__ import annotations

import difflib
import keyword
import os
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stabzoo.config import file_name, load_yaml, validate
from stabzoo.errors import ConfigError, PluginError, PluginWarning, enumeration
from stabzoo.metric import SHIPPED
from stabzoo.registry.discovery import Plugin, folder_of, installation_problems, installed_plugins
from stabzoo.registry.guard import failure_text, plugin_code
from stabzoo.registry.schema import BranchEntry, ModelConfig, Registry, SchemeClaim

if TYPE_CHECKING:
    from zipfile import Path as ZipPath

__all__ = [
    "STUDIES",
    "Catalogue",
    "catalogue",
    "is_reserved",
    "is_strict",
    "list_branches",
    "list_models",
    "list_schemes",
    "report",
    "studies_of",
    "unknown_name",
]

T = TypeVar("T")
PACKAGE = Path(__file__).parent.parent
STUDIES = PACKAGE / "study" / "studies"
"""Where the studies that come with stabzoo are."""

STRICT = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _top_level_registry() -> Path:
    """Our ``registry.yaml``: in the installed package, or at the top of the checkout of an editable installation."""
    shipped = PACKAGE / "registry.yaml"
    return shipped if shipped.is_file() else PACKAGE.parent / "registry.yaml"


def _package_folder(plugin: Plugin) -> Path | ZipPath:
    """The folder of the plugin's package, which is not imported, nor is any package around it."""
    top, *rest = plugin.module.split(".")
    try:
        spec = find_spec(top) if all(part.isidentifier() for part in (top, *rest)) else None
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(f"its package {plugin.module!r} cannot be found ({error}); is it installed?") from None
    folder = next((folder for folder in _folders(spec, rest) if folder.is_dir()), None)
    if folder is None:
        raise ConfigError(
            f"its package {plugin.module!r} cannot be found; the entry point must name an installed package"
        )
    return folder


def _folders(spec: ModuleSpec | None, below: list[str]) -> Iterator[Path | ZipPath]:
    """Where the files of a package may be, on the disk or in an archive: `zipfile.Path` reads as `Path` does."""
    archive = getattr(spec and spec.loader, "archive", None)
    for location in (spec and spec.submodule_search_locations) or ():
        if archive is None:
            yield Path(location, *below)
        else:
            from zipfile import Path as ZipPath  # few need it

            inside = Path(location, *below).relative_to(archive).as_posix()
            yield ZipPath(archive, f"{inside}/")


@cache
def our_sections() -> dict[str, Any]:
    """What our ``registry.yaml`` says, by the names of our plugins."""
    return dict(load_yaml(_top_level_registry()))


def _read_registry(plugin: Plugin) -> Registry:
    if plugin.is_ours:
        path, sections = _top_level_registry(), our_sections()
    else:
        plugin.folder = _package_folder(plugin)
        path = plugin.folder / "registry.yaml"
        if not path.is_file():
            raise ConfigError(
                f"{path} is missing; ship registry.yaml beside __init__.py (with setuptools: as package-data)"
            )
        sections = load_yaml(path)
    if plugin.name not in sections:
        raise ConfigError(
            f"{path}: expected a section {plugin.name!r} (the name of the entry point), "
            f"got {', '.join(map(str, sections))}"
        )
    registry = validate(Registry, sections[plugin.name] or {}, f"{path}: {plugin.name}")
    if registry.is_empty and not studies_of(plugin):
        raise ConfigError(
            f"{path}: {plugin.name}: expected schemes, models, families, branches or evaluations, got none; list what "
            "the plugin provides, or ship studies in studies/*.yaml beside it"
        )
    return registry


def studies_of(plugin: Plugin) -> dict[str, Path | ZipPath]:
    """The files of the studies that a plugin ships, by their names."""
    folder = plugin.folder and plugin.folder / "studies"
    if folder is None or not folder.is_dir():
        return {}
    files = [path for path in folder.iterdir() if path.name.endswith(".yaml") and path.is_file()]
    return {path.name.removesuffix(".yaml"): path for path in sorted(files, key=lambda path: path.name)}


@dataclass(frozen=True)
class Catalogue:
    """Every plugin found, and the owner of every scheme, model and branch, and of foreign evaluations and studies."""

    plugins: tuple[Plugin, ...]
    schemes: dict[str, tuple[Plugin, SchemeClaim]] = field(default_factory=dict)
    models: dict[str, tuple[Plugin, ModelConfig]] = field(default_factory=dict)
    branches: dict[str, tuple[Plugin, BranchEntry]] = field(default_factory=dict)
    evaluations: dict[str, Plugin] = field(default_factory=dict)
    studies: dict[str, tuple[Plugin, Path | ZipPath]] = field(default_factory=dict)


def is_strict() -> bool:
    """Whether what is wrong with a plugin is an error.

    Raises:
        ConfigError: ``STABZOO_STRICT`` is neither yes nor no.
    """
    text = os.environ.get("STABZOO_STRICT", "").strip()
    if text and text.lower() not in STRICT:
        raise ConfigError(f"STABZOO_STRICT: expected {', '.join(STRICT)}; got {text!r:.40}")
    return STRICT[text.lower()] if text else False


def report(plugin: Plugin, problem: str) -> None:
    """Keep a problem with a plugin, and warn about it (or raise, under ``STABZOO_STRICT=1``)."""
    plugin.problems.append(problem)
    if is_strict():
        raise PluginError(f"{plugin}: {problem}")
    warnings.warn(f"{plugin}: {problem}", PluginWarning, stacklevel=3)


@cache
def catalogue() -> Catalogue:
    """Read every plugin's registry; no plugin is imported."""
    is_strict()  # a wrong setting is told although no plugin is broken
    installed = installed_plugins()
    found = Catalogue(tuple(plugin for plugin, _ in installed))
    for number, (plugin, distribution) in enumerate(installed):
        if plugin.problems:  # found damaged
            report(plugin, plugin.problems.pop())
            continue
        if earlier := next((p for p in found.plugins[:number] if p.name == plugin.name), None):
            report(plugin, f"the plugin name {plugin.name!r} is taken by {earlier}; this one is left out")
            continue
        for problem in _read(plugin, distribution):
            report(plugin, problem)
        if plugin.registry is not None:
            _own(plugin, plugin.registry, found)
    return found


def _read(plugin: Plugin, distribution: Distribution) -> list[str]:
    """Read the registry of a plugin that is for this stabzoo, and return what is wrong, whatever its files hold."""
    problems: list[str] = []
    try:
        with plugin_code(str(plugin)):
            found = [] if plugin.is_ours else list(installation_problems(distribution))
            problems += [problem for problem, _ in found]
            if all(usable for _, usable in found):
                try:
                    plugin.registry = _read_registry(plugin)
                except ConfigError as error:
                    problems.append(str(error))
    except PluginError as error:
        reason = failure_text(error.__cause__ or error)
        problems.append(f"{folder_of(distribution)}: what is installed cannot be read ({reason}); install it again")
    return problems


def _own(plugin: Plugin, registry: Registry, found: Catalogue) -> None:
    """Enter what ``plugin`` provides; a name that has an owner stays with it.

    Models of a scheme or a branch that stays with another go with it: they would be built from what is the other's.
    """
    models = registry.expanded_models()
    models = _claim(plugin, "scheme", registry.schemes, found.schemes, models, lambda config: config.scheme)
    models = _claim(plugin, "branch", registry.branches, found.branches, models, lambda config: config.branch)
    for name, config in models.items():
        if is_reserved(name):
            report(plugin, f"the model name {name!r} is reserved, by Python or by stabzoo; this one is left out")
        elif name in found.models:
            report(plugin, f"the model {name!r} is already provided by {found.models[name][0]}; this one is left out")
        else:
            found.models[name] = plugin, config
    for kind in registry.evaluations:
        if taken := "stabzoo itself" if kind in SHIPPED else found.evaluations.get(kind):
            report(plugin, f"the evaluation {kind!r} is already provided by {taken}; this one is left out")
        else:
            found.evaluations[kind] = plugin
    for name, path in studies_of(plugin).items():
        try:
            file_name(name)
        except ValueError as error:
            report(plugin, f"{path}: {error}; this study is left out")
            continue
        ours = (STUDIES / f"{name}.yaml").is_file()
        if taken := "stabzoo itself" if ours else next(iter(found.studies.get(name, ())), None):
            report(plugin, f"the study {name!r} is already provided by {taken}; this one is left out")
        else:
            found.studies[name] = plugin, path


def _claim(
    plugin: Plugin,
    kind: str,
    entries: dict[str, T],
    owners: dict[str, tuple[Plugin, T]],
    models: dict[str, ModelConfig],
    used: Callable[[ModelConfig], str | None],
) -> dict[str, ModelConfig]:
    """Enter a plugin's schemes or branches whose names are free, and return the models that use none of the others."""
    for name, entry in entries.items():
        if name in owners:
            lost = [model for model, config in models.items() if used(config) == name]
            out = f"this one is left out{f' with its models {enumeration(lost)}' if lost else ''}"
            report(plugin, f"the {kind} {name!r} is already provided by {owners[name][0]}; {out}")
            models = {model: config for model, config in models.items() if used(config) != name}
        else:
            owners[name] = plugin, entry
    return models


def is_reserved(name: str) -> bool:
    """Whether a name is a keyword of Python, or one that stabzoo or a module of it has."""
    return keyword.iskeyword(name) or name in _our_names()


@cache
def _our_names() -> frozenset[str]:
    submodules = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    of_timm = "default_cfgs"  # in every module of models
    return frozenset({*sys.modules["stabzoo"].__all__, *submodules, of_timm})


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that does not exist, with the closest ones that do, each once."""
    known = list(dict.fromkeys(known))
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


def list_branches() -> list[str]:
    """Names of all registered kinds of residual branches, ours first."""
    return list(catalogue().branches)


def list_models() -> list[str]:
    """Names of all models that stabzoo registers with timm, ours first."""
    return list(catalogue().models)
