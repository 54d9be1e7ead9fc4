"""Discovery of plugins, and who owns what.  Data eager, code lazy.

Names, claims and model configurations are read from ``registry.yaml`` files without importing a plugin.  A plugin's
code is imported when one of its schemes is asked for.  A broken plugin costs its own models only, is named in every
message, and stays listed.

Environment:
    STABZOO_PLUGINS: comma-separated names; only these plugins are read (empty: none).
    STABZOO_STRICT: ``1`` turns a broken plugin's warning into an error.
    STABZOO_PLUGIN_SECONDS: for how long a plugin's code may run (see `stabzoo.foreign`).
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import pluggy
from pydantic import BaseModel

import stabzoo
from stabzoo import hookspecs
from stabzoo.config import load_yaml, validate
from stabzoo.discretization import Discretization
from stabzoo.errors import ConfigError, PluginError, PluginWarning, UnknownParameterError
from stabzoo.foreign import failure_text, foreign
from stabzoo.multistep import LinearMultistep
from stabzoo.registry import ModelConfig, Registry, SchemeClaim

__all__ = ["Plugin", "get_scheme", "list_models", "list_schemes", "refresh"]

GROUP = "stabzoo"
UNKNOWN = "unknown"  # the name of a distribution without METADATA
MAX_SCHEMES = 1000  # of a plugin
OURS = "stabzoo"  # the distribution whose plugins are read first and whose claims stand in the top-level registry.yaml


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

    @property
    def is_ours(self) -> bool:
        """Whether it comes with stabzoo."""
        return self.distribution.split()[0] == OURS

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution})"


def _top_level_registry() -> Path:
    """Our ``registry.yaml``: in the installed package, or at the top of the checkout of an editable installation."""
    package = Path(__file__).parent
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


def _found() -> list[tuple[Plugin, Distribution]]:
    """The plugins installed, ours first, then by name, with nothing read of them.

    Of distributions of one name the first on the path counts, as it does for their code.
    """
    found: dict[tuple[str, str, str], tuple[Plugin, Distribution]] = {}
    first: dict[str, int] = {}
    for number, distribution in enumerate(distributions()):
        for plugin in _plugins_of(distribution):
            name = re.sub(r"[-_.]+", "-", plugin.distribution.split()[0]).lower()
            if first.setdefault(name, number) == number or name == UNKNOWN:
                found.setdefault((plugin.name, plugin.module, plugin.distribution), (plugin, distribution))
    order = sorted(found, key=lambda key: (not found[key][0].is_ours, key))
    wanted = os.environ.get("STABZOO_PLUGINS")
    names = None if wanted is None else {name.strip() for name in wanted.split(",") if name.strip()}
    if names is not None and (unknown := names - {key[0] for key in order}):
        warnings.warn(
            f"STABZOO_PLUGINS names no installed plugin: {', '.join(sorted(unknown))}", PluginWarning, stacklevel=2
        )
    return [found[key] for key in order if names is None or key[0] in names]


def _plugins_of(distribution: Distribution) -> Iterable[Plugin]:
    """The plugins that a distribution declares; it is not ours to say what is wrong with one that declares none."""
    try:
        points = list(distribution.entry_points.select(group=GROUP))
    except Exception as error:  # a damaged file raises whatever its text leads to
        try:
            declares = f"[{GROUP}]" in (distribution.read_text("entry_points.txt") or "")
        except Exception:
            return []
        problem = f"its entry_points.txt cannot be read ({failure_text(error)}); install it anew"
        return [Plugin("?", "", _title(distribution), problems=[problem])] if declares else []
    return [Plugin(point.name, point.value, _title(distribution)) for point in points]


def _title(distribution: Distribution) -> str:
    try:
        return f"{distribution.name} {distribution.version}"
    except Exception:  # no METADATA: removed in part
        return UNKNOWN


def _installation_problems(distribution: Distribution) -> Iterable[tuple[str, bool]]:
    """What is wrong with a third party's distribution, and whether its plugins can be used in spite of it."""
    from packaging.requirements import InvalidRequirement, Requirement  # only third parties need it

    for line in distribution.requires or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:  # nothing that could be installed by it either
            continue
        if requirement.name.lower() != OURS or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        if not requirement.specifier.contains(stabzoo.__version__, prereleases=True):
            needed = f"needs {OURS}{requirement.specifier}, got {stabzoo.__version__}"
            yield f"{needed}; install a {OURS} and a {distribution.name} that fit one another", False
    folder = str(distribution.locate_file(""))
    beside = {other.version for other in distributions(name=distribution.name, path=[folder])}
    if len(beside) > 1:
        versions = " and ".join(sorted(beside))
        yield f"versions {versions} are both in {folder}; uninstall {distribution.name} until none is left", True


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
    for plugin, distribution in _found():
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


def _is_usable(plugin: Plugin, distribution: Distribution) -> bool:
    """Report what is wrong with the installation, and return whether the plugin can be used in spite of it."""
    found = list(_installation_problems(distribution))
    for problem, _ in found:
        report(plugin, problem)
    return all(usable for _, usable in found)


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
    running = foreign()
    try:
        with running:
            return _discretizations(plugin)
    except (PluginError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit, or whatever it defines
        raise PluginError(f"{plugin} failed to load: {failure_text(error)}") from error


def _discretizations(plugin: Plugin) -> dict[str, type[Discretization]]:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    module = importlib.import_module(plugin.module)
    manager.register(module, plugin.name)
    hooks = manager.get_hookcallers(module) or []
    if misspelt := [hook.name for hook in hooks if not hook.has_spec()]:
        raise PluginError(f"{plugin}: there is no hook {misspelt[0]!r}; stabzoo has stabzoo_discretizations()")
    schemes: dict[str, type[Discretization]] = {}
    for result in manager.hook.stabzoo_discretizations():
        if isinstance(result, str | bytes) or not isinstance(result, Iterable):
            raise PluginError(f"{plugin}: stabzoo_discretizations() must return a list of classes, got {result!r:.80}")
        for cls in islice(result, MAX_SCHEMES + 1):
            named = isinstance(cls, type) and isinstance(getattr(cls, "name", None), str)
            if not (named and hasattr(cls, "coefficients")):
                raise PluginError(
                    f"{plugin}: stabzoo_discretizations() must return classes with a name and coefficients(), "
                    f"got {cls!r:.80}"
                )
            if len(schemes) == MAX_SCHEMES:
                raise PluginError(f"{plugin}: stabzoo_discretizations() must return at most {MAX_SCHEMES} classes")
            if schemes.setdefault(cls.name, cls) is not cls:
                raise PluginError(f"{plugin}: stabzoo_discretizations() returns two classes named {cls.name!r}")
    assert plugin.registry is not None
    if missing := set(plugin.registry.schemes) - set(schemes):
        reason = "which stabzoo_discretizations() does not return"
        if not hooks:
            reason = "but it has no hook; decorate stabzoo_discretizations() with @stabzoo.hookimpl"
        raise PluginError(f"{plugin}: registry.yaml lists {', '.join(sorted(missing))}, {reason}")
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
    plugin = catalogue().schemes[name][0]
    running = foreign()
    try:
        with running:
            return _create(cls, parameters)
    except (PluginError, ConfigError, KeyboardInterrupt):
        raise
    except ValueError as error:  # each parameter is well, but not what they come to
        raise ConfigError(f"scheme {name!r}: {error}") from None
    except BaseException as error:
        raise PluginError(f"{plugin}: scheme {name!r}: {failure_text(error)}") from error


def _create(cls: type[Discretization], parameters: dict[str, Any]) -> Discretization:
    """Create a scheme, and make sure that it is one."""
    scheme: Any = (
        cls(**parameters) if not issubclass(cls, BaseModel) else validate(cls, parameters, f"scheme {cls.name!r}")
    )
    method = scheme.coefficients()
    if not isinstance(method, LinearMultistep):
        raise TypeError(f"coefficients() must return a stabzoo.LinearMultistep, got {method!r:.80}")
    return scheme


def list_schemes() -> list[str]:
    """Names of all registered schemes, ours first."""
    return list(catalogue().schemes)


def list_models() -> list[str]:
    """Names of all models that stabzoo registers with timm, ours first."""
    return list(catalogue().models)


def refresh() -> None:
    """Look for plugins anew: after an installation or removal while the process runs.

    Models and schemes of a plugin that is gone are unknown from then on; code of one that is gone or of another version
    is forgotten and imported anew.  Networks that exist go on working.
    """
    known = catalogue().plugins if catalogue.cache_info().currsize else ()
    before = {plugin.module: plugin.distribution for plugin in known if not plugin.is_ours}
    importlib.invalidate_caches()
    for cached in (catalogue, load_plugin, _our_sections):
        cached.cache_clear()
    # forgotten before the catalogue is read: a module that is loaded is found where it was
    now = {plugin.module: plugin.distribution for plugin, _ in _found()}
    for changed in (module for module, distribution in before.items() if now.get(module) != distribution):
        for loaded in [name for name in sys.modules if name == changed or name.startswith(f"{changed}.")]:
            del sys.modules[loaded]
    if "timm" in sys.modules:
        from stabzoo import zoo

        zoo.register_models()
