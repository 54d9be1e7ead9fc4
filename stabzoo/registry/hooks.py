"""What the hooks of a plugin return, checked against the contract and against its ``registry.yaml``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Literal

import pluggy

from stabzoo import hookspecs
from stabzoo.discretization import Discretization
from stabzoo.errors import PluginError, enumeration
from stabzoo.metric import Evaluation
from stabzoo.registry.discovery import GROUP, Plugin

__all__ = ["Kind", "parameter_names", "provided"]

Kind = Literal["schemes", "branches", "evaluations"]
MOST = 1000  # classes of a hook
CONTRACT = [member for member in vars(Discretization) if not member.startswith("_")]


def provided(plugin: Plugin, kind: Kind) -> dict[str, type[Any]]:
    """Import the package of a plugin and call one of its hooks: the classes that it returns, by their names.

    Raises:
        PluginError: they are not what the hook must return, or not what ``registry.yaml`` lists under ``kind``; and
            whatever the code of the plugin raises.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    module = importlib.import_module(plugin.module)
    manager.register(module, plugin.name)
    hooks = manager.get_hookcallers(module) or []
    if misspelt := [hook.name for hook in hooks if not hook.has_spec()]:
        known = enumeration([f"{name}()" for name, _ in HOOKS.values()])
        raise PluginError(f"{plugin}: there is no hook {misspelt[0]!r}; stabzoo has {known}")
    assert plugin.registry is not None
    hook, name_of = HOOKS[kind]
    return _classes(plugin, getattr(manager.hook, hook), getattr(plugin.registry, kind), name_of)


def _classes(
    plugin: Plugin, hook: pluggy.HookCaller, listed: Iterable[str], name_of: Callable[[Plugin, str, Any], str]
) -> dict[str, type[Any]]:
    """What one hook returns, by name: all that is listed, and nothing else."""
    call, found = f"{hook.name}()", dict[str, type[Any]]()
    results: Sequence[object] = hook()
    for result in results:
        if isinstance(result, str | bytes) or not isinstance(result, Iterable):
            raise PluginError(f"{plugin}: {call} must return a list of classes, got {result!r:.80}")
        for cls in islice(result, MOST + 1):
            name = name_of(plugin, call, cls)
            if len(found) == MOST:
                raise PluginError(f"{plugin}: {call} must return at most {MOST} classes")
            if found.setdefault(name, cls) is not cls:
                raise PluginError(f"{plugin}: {call} returns two classes named {name!r}")
    if missing := set(listed) - set(found):
        reason = f"which {call} does not return"
        if not hook.get_hookimpls():
            reason = f"but it has no hook; decorate {call} with @stabzoo.hookimpl"
        raise PluginError(f"{plugin}: registry.yaml lists {', '.join(sorted(missing))}, {reason}")
    if unlisted := set(found) - set(listed):
        raise PluginError(f"{plugin}: registry.yaml does not list {', '.join(sorted(unlisted))}")
    return found


def _scheme_name(plugin: Plugin, call: str, cls: Any) -> str:
    """The name of a class that has all that `Discretization` lists."""
    if not (isinstance(cls, type) and isinstance(getattr(cls, "name", None), str) and hasattr(cls, "coefficients")):
        raise PluginError(f"{plugin}: {call} must return classes with a name and coefficients(), got {cls!r:.80}")
    fields = parameter_names(cls)
    if lacking := [member for member in CONTRACT if not hasattr(cls, member) and member not in fields]:
        raise PluginError(
            f"{plugin}: the class {cls.__name__} lacks {', '.join(lacking)} of stabzoo.Discretization; define what "
            "is missing, or derive from stabzoo.ExplicitMultistep"
        )
    return cls.name


def _kind(plugin: Plugin, call: str, cls: Any) -> str:
    """The one kind of a class of evaluations."""
    if not (isinstance(cls, type) and issubclass(cls, Evaluation)):
        raise PluginError(f"{plugin}: {call} must return classes derived from stabzoo.Evaluation, got {cls!r:.80}")
    kinds = getattr(cls.model_fields["kind"].annotation, "__args__", ())
    if len(kinds) != 1 or not isinstance(kinds[0], str):
        raise PluginError(
            f"{plugin}: the class {cls.__name__}: expected a kind of its own, e.g. kind: Literal['dropped-pixels']"
        )
    return kinds[0]


def _branch_name(plugin: Plugin, call: str, cls: Any) -> str:
    """The name of a class that builds branches."""
    name = getattr(cls, "name", None)
    if not (isinstance(cls, type) and isinstance(name, str) and callable(getattr(cls, "build", None))):
        raise PluginError(f"{plugin}: {call} must return classes with a name and build(site), got {cls!r:.80}")
    return name


HOOKS: dict[Kind, tuple[str, Callable[[Plugin, str, Any], str]]] = {
    "schemes": ("stabzoo_discretizations", _scheme_name),
    "branches": ("stabzoo_branches", _branch_name),
    "evaluations": ("stabzoo_evaluations", _kind),
}
"""By the section of ``registry.yaml`` that lists its classes: the hook, and how a class is checked and named."""


def parameter_names(scheme: type[Discretization]) -> list[str]:
    """Names of the parameters of a scheme."""
    return list(getattr(scheme, "model_fields", {}))
