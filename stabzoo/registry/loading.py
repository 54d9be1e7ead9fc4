"""The code of plugins, imported when one of their schemes is asked for, and the schemes that it gives."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pluggy
from pydantic import BaseModel

from stabzoo import hookspecs
from stabzoo.config import validate
from stabzoo.discretization import BranchKind, Discretization
from stabzoo.errors import ConfigError, PluginError, UnknownParameterError, quoted
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.registry.catalogue import catalogue, list_branches, list_schemes, our_sections, unknown_name
from stabzoo.registry.discovery import GROUP, Plugin
from stabzoo.registry.guard import plugin_code

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

MAX_CLASSES = 1000  # that a hook of a plugin returns
HOOKS = [f"{name}()" for name in vars(hookspecs) if name.startswith("stabzoo_")]
T = TypeVar("T")
CONTRACT = [member for member in vars(Discretization) if not member.startswith("_")]


_failures: ContextVar[dict[tuple[str, str], PluginError] | None] = ContextVar("failures", default=None)
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
def load_plugin(plugin_name: str) -> dict[str, type[Discretization]]:
    """The discretizations of a plugin, by name; its code is imported.

    Raises:
        PluginError: naming the plugin, whatever its code did.
    """
    return _loaded(plugin_name, "stabzoo_discretizations", _discretizations)


@cache
def _load_branches(plugin_name: str) -> list[Any]:
    """What a plugin's hook returns for its kinds of branches; its code is imported.

    Raises:
        PluginError: naming the plugin, whatever its code did.
    """
    return _loaded(plugin_name, "stabzoo_branches", lambda plugin: list(_returned(plugin, "stabzoo_branches")))


def _loaded(plugin_name: str, hook: str, load: Callable[[Plugin], T]) -> T:
    """What ``load`` makes of a plugin, under guard; a failure costs what this hook provides."""
    failures = _failures.get()
    if failures and (plugin_name, hook) in failures:
        raise failures[plugin_name, hook].with_traceback(None)
    plugin = next(p for p in catalogue().plugins if p.name == plugin_name and p.registry is not None)
    package = plugin.module.partition(".")[0]
    before = set(sys.modules)
    try:
        with plugin_code(f"{plugin} failed to load"):
            found = load(plugin)
            _sources[package] = _files(package)
        return found
    except PluginError as error:
        unload(package, kept=before)
        if failures is not None:
            failures[plugin_name, hook] = error
        raise


def _files(package: str) -> dict[Path, tuple[int, int]]:
    """When the modules of an imported package were last changed, and their sizes."""
    files = [file for folder in getattr(sys.modules[package], "__path__", ()) for file in Path(folder).rglob("*.py")]
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
    """Have a package, and all in it but what is ``kept``, imported anew when it is asked for."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        if name not in kept:
            del sys.modules[name]


def _returned(plugin: Plugin, hook: str) -> Iterator[Any]:
    """What the plugin's hook returns, its code imported; nothing where it has none.

    Raises:
        PluginError: it returns no iterable, or more than `MAX_CLASSES`; or the plugin has a hook that there is not.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    module = importlib.import_module(plugin.module)
    manager.register(module, plugin.name)
    for implemented in manager.get_hookcallers(module) or []:
        if not implemented.has_spec():
            raise PluginError(f"{plugin}: there is no hook {implemented.name!r}; stabzoo has {', '.join(HOOKS)}")
    count = 0
    for result in getattr(manager.hook, hook)():
        if isinstance(result, str | bytes) or not isinstance(result, Iterable):
            raise PluginError(f"{plugin}: {hook}() must return a list of classes, got {result!r:.80}")
        for cls in result:
            if (count := count + 1) > MAX_CLASSES:
                raise PluginError(f"{plugin}: {hook}() must return at most {MAX_CLASSES} classes")
            yield cls


def _not_returned(plugin: Plugin, hook: str, names: Iterable[str]) -> PluginError:
    """The error for what a registry lists and the hook does not return."""
    reason = f"which {hook}() does not return"
    if not hasattr(getattr(sys.modules[plugin.module], hook, None), "stabzoo_impl"):
        reason = f"but it has no hook; decorate {hook}() with @stabzoo.hookimpl"
    return PluginError(f"{plugin}: registry.yaml lists {', '.join(sorted(names))}, {reason}")


def _discretizations(plugin: Plugin) -> dict[str, type[Discretization]]:
    schemes: dict[str, type[Discretization]] = {}
    for cls in _returned(plugin, "stabzoo_discretizations"):
        _check_class(plugin, cls)
        if schemes.setdefault(cls.name, cls) is not cls:
            raise PluginError(f"{plugin}: stabzoo_discretizations() returns two classes named {cls.name!r}")
    assert plugin.registry is not None
    if missing := set(plugin.registry.schemes) - set(schemes):
        raise _not_returned(plugin, "stabzoo_discretizations", missing)
    if unlisted := set(schemes) - set(plugin.registry.schemes):
        raise PluginError(f"{plugin}: registry.yaml does not list {', '.join(sorted(unlisted))}")
    return schemes


def _check_class(plugin: Plugin, cls: Any) -> None:
    """Whether a class has all that `Discretization` lists."""
    if not (isinstance(cls, type) and isinstance(getattr(cls, "name", None), str) and hasattr(cls, "coefficients")):
        raise PluginError(
            f"{plugin}: stabzoo_discretizations() must return classes with a name and coefficients(), got {cls!r:.80}"
        )
    fields = parameter_names(cls)
    if lacking := [member for member in CONTRACT if not hasattr(cls, member) and member not in fields]:
        raise PluginError(
            f"{plugin}: the class {cls.__name__} lacks {', '.join(lacking)} of stabzoo.Discretization; define what "
            "is missing, or derive from stabzoo.ExplicitMultistep"
        )


def scheme_class(name: str) -> type[Discretization]:
    """The class of a registered scheme.

    Raises:
        ConfigError: no plugin provides a scheme of this name.
        PluginError: the plugin that provides it is broken.
    """
    owners = catalogue().schemes
    if name not in owners:
        raise unknown_name("scheme", name, list_schemes())
    return load_plugin(owners[name][0].name)[name]


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
        ConfigError: there is no such model, or a parameter is not valid. PluginError: its plugin is broken.
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
    """The class of a registered kind of branch; one that is broken costs itself alone.

    Raises:
        ConfigError: no plugin provides a branch of this name.
        PluginError: the plugin's hook, or this class of it, is broken.
    """
    owners = catalogue().branches
    if name not in owners:
        raise unknown_name("branch", name, list_branches())
    plugin = owners[name][0]
    with plugin_code(f"{plugin}: branch {name!r}"):
        found = [cls for cls in _load_branches(plugin.name) if getattr(cls, "name", None) == name]
        if not found:
            raise _not_returned(plugin, "stabzoo_branches", [name])
        if any(cls is not found[0] for cls in found):
            raise PluginError(f"{plugin}: stabzoo_branches() returns two classes named {name!r}")
        if not (isinstance(found[0], type) and callable(getattr(found[0], "build", None))):
            raise PluginError(
                f"{plugin}: stabzoo_branches() must return classes with a name and build(site), got {found[0]!r:.80}"
            )
    return found[0]


def get_branch(branch: str | Mapping[str, Any] | BranchKind) -> BranchKind:
    """A kind of branch: by its name, with fields of its own (``{"name": "se", "reduction": 8}``), or as it is.

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
    """Forget what was discovered and loaded, without discovering anew; modules stay imported."""
    for cached in (catalogue, load_plugin, _load_branches, our_sections):
        cached.cache_clear()
    if failures := _failures.get():
        failures.clear()
