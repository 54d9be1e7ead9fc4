"""The hooks that a plugin implements: with `Discretization` and `BranchKind`, all between stabzoo and its plugins.

A plugin is a Python package that is named by an entry point of group ``stabzoo``, ships a ``registry.yaml`` beside its
``__init__.py`` (what it provides and claims, read without importing the package), and implements those of the hooks
below that it needs: none, if it brings models alone.
"""

from collections.abc import Iterable

import pluggy

from stabzoo.discretization import BranchKind, Discretization

hookspec = pluggy.HookspecMarker("stabzoo")
hookimpl = pluggy.HookimplMarker("stabzoo")


@hookspec
def stabzoo_discretizations() -> Iterable[type[Discretization]]:
    """Return this plugin's discretizations: classes whose ``name`` stands in the plugin's ``registry.yaml``.

    A class is called with the parameters that a user gives by name; the list shows it with its defaults.
    """
    return ()


@hookspec
def stabzoo_branches() -> Iterable[type[BranchKind]]:
    """Return this plugin's kinds of residual branches: classes whose ``name`` stands under ``branches`` there.

    A class is called with the fields that a user gives by name, in ``branch={"name": ..., ...}`` of a network.
    """
    return ()
