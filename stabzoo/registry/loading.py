"""The code of plugins, imported when something of theirs is asked for, and the schemes and branches that it gives."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stabzoo.config import validate
from stabzoo.discretization import BranchKind, Discretization
from stabzoo.errors import ConfigError, PluginError, UnknownParameterError, quoted
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.registry.catalogue import catalogue, list_branches, list_schemes, our_sections, unknown_name
from stabzoo.registry.guard import plugin_code
from stabzoo.registry.hooks import Kind, parameter_names, provided

__all__ = [
    "branch_class",
    "edited_packages",
    "forget",
    "get_branch",
    "get_scheme",
    "load_plugin",
    "one_command",
    "parameter_names",
    "scheme_class",
    "scheme_of",
    "unload",
]

_failures: ContextVar[dict[tuple[str, Kind], PluginError] | None] = ContextVar("failures", default=None)
"""By plugin and hook, of the command that runs."""

_sources: dict[str, dict[Path, tuple[int, int]]] = {}
"""By package, its files as they were when it was imported."""


@contextlib.contextmanager
def one_command() -> Iterator[None]:
    """Remember inside which plugins have failed: their code is imported once, not once a scheme.

    Outside it is tried whenever it is asked for: what has failed for want of a file or of time may work by then.
    """
    if _failures.get() is not None:
        yield
        return
    token = _failures.set({})
    try:
        yield
    finally:
        _failures.reset(token)


@cache
def load_plugin(plugin_name: str, kind: Kind) -> dict[str, type[Any]]:
    """The schemes, branches or evaluations of a plugin, by name; its code is imported.

    Raises:
        PluginError: naming the plugin, whatever its code did; it costs what this one hook provides.
    """
    failures = _failures.get()
    if failures and (plugin_name, kind) in failures:
        raise failures[plugin_name, kind].with_traceback(None)
    plugin = next(p for p in catalogue().plugins if p.name == plugin_name and p.registry is not None)
    package = plugin.module.partition(".")[0]
    before = set(sys.modules)
    try:
        with plugin_code(f"{plugin} failed to load"):
            found = provided(plugin, kind)
            _sources[package] = _files(package)
        return found
    except PluginError as error:
        unload(package, kept=before)
        if failures is not None:
            failures[plugin_name, kind] = error
        raise


def _files(package: str) -> dict[Path, tuple[int, int]]:
    """When the modules of an imported package, or the archive they are in, were last changed, and their sizes."""
    module = sys.modules[package]
    archive = getattr(module.__spec__ and module.__spec__.loader, "archive", None)
    files = [file for folder in getattr(module, "__path__", ()) for file in Path(folder).rglob("*.py")]
    files += [Path(archive)] if archive else []
    states = ((file, file.stat()) for file in files if file.is_file())
    return {file: (state.st_mtime_ns, state.st_size) for file, state in states}


def edited_packages() -> set[str]:
    """The packages of plugins whose files are not those that were imported."""
    return {package for package, files in _sources.items() if package in sys.modules and _is_edited(package, files)}


def _is_edited(package: str, files: dict[Path, tuple[int, int]]) -> bool:
    try:
        return _files(package) != files
    except OSError:  # gone meanwhile
        return True


def unload(package: str, *, kept: Iterable[str] = ()) -> None:
    """Have a package, and all in it but what is ``kept``, imported again when it is next needed."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        if name not in kept:
            del sys.modules[name]


def scheme_class(name: str) -> type[Discretization]:
    """The class of a registered scheme.

    Raises:
        ConfigError: no plugin provides a scheme of this name.
        PluginError: the plugin that provides it is broken.
    """
    owners = catalogue().schemes
    if name not in owners:
        raise unknown_name("scheme", name, list_schemes())
    return load_plugin(owners[name][0].name, "schemes")[name]


def get_scheme(name: str, **parameters: Any) -> Discretization:
    """The scheme ``name`` with the given parameters, e.g. ``get_scheme("zerosnet", lam="-9/5")``.

    Raises:
        ConfigError: the scheme is unknown, or does not accept a parameter.
        PluginError: the plugin that provides the scheme is broken.
    """
    cls = scheme_class(name)
    accepted = parameter_names(cls)
    if unknown := [key for key in parameters if key not in accepted]:
        takes = f"it takes {', '.join(accepted)}" if accepted else "it takes none"
        raise UnknownParameterError(f"scheme {name!r}: unknown parameter {', '.join(map(repr, unknown))}; {takes}")
    plugin = catalogue().schemes[name][0]
    try:
        with plugin_code(f"{plugin}: scheme {name!r}", passes=(ValueError,)):
            return _create(cls, parameters)
    except ConfigError:
        raise
    except ValueError as error:  # each parameter is well, but not what they come to
        raise ConfigError(f"scheme {name!r}: {error}") from None


def scheme_of(model: str, args: Mapping[str, Any]) -> Discretization:
    """The scheme of a registered model with those of its arguments that are parameters of the scheme.

    Raises:
        ConfigError: there is no such model, or a parameter is not valid.
        PluginError: its plugin is broken.
    """
    models = catalogue().models
    if model not in models:
        raise unknown_name("model", model, list(models))
    config = models[model][1]
    accepted = parameter_names(scheme_class(config.scheme))
    given = {key: value for key, value in args.items() if key in accepted}
    return get_scheme(config.scheme, **{**config.parameters, **given})


def _create(cls: type[Discretization], parameters: dict[str, Any]) -> Discretization:
    """Create a scheme, and make sure that it is one."""
    scheme: Any = (
        cls(**parameters) if not issubclass(cls, BaseModel) else validate(cls, parameters, f"scheme {cls.name!r}")
    )
    method = scheme.coefficients()
    if not isinstance(method, LinearMultistep):
        raise TypeError(f"coefficients() must return a stabzoo.LinearMultistep, got {method!r:.80}")
    return scheme


def branch_class(name: str) -> type[BranchKind]:
    """The class of a registered kind of branch.

    Raises:
        ConfigError: no plugin provides a branch of this name.
        PluginError: the plugin's hook is broken.
    """
    owners = catalogue().branches
    if name not in owners:
        raise unknown_name("branch", name, list_branches())
    return load_plugin(owners[name][0].name, "branches")[name]


def get_branch(branch: str | Mapping[str, Any] | BranchKind) -> BranchKind:
    """A kind of branch, given by its name, by name and fields (``{"name": "se", "reduction": 8}``), or as an object.

    Raises:
        ConfigError: it is none of these, unknown, or does not take the fields.
        PluginError: the plugin that provides it is broken.
    """
    if not isinstance(branch, str | Mapping):
        if isinstance(branch, type) or not isinstance(branch, BranchKind):
            raise ConfigError(
                f"branch: expected the name of a branch, or a mapping with its name and fields; got {quoted(branch)}"
            )
        return branch
    fields = dict(branch) if isinstance(branch, Mapping) else {"name": branch}
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"branch: expected the name of a branch under 'name', got {quoted(branch)}")
    cls: Any = branch_class(name)
    where = f"branch {name!r}"
    try:
        with plugin_code(f"{catalogue().branches[name][0]}: {where}", passes=(ValueError,)):
            kind: Any = validate(cls, fields, where) if issubclass(cls, BaseModel) else cls(**fields)
            return kind
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def forget() -> None:
    """Forget what was discovered and loaded, without a new discovery; modules stay imported."""
    for cached in (catalogue, load_plugin, our_sections):
        cached.cache_clear()
    if failures := _failures.get():
        failures.clear()
