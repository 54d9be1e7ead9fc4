"""The hooks that a plugin may implement: with the contracts they name, all between stabzoo and its plugins.

A plugin is a Python package that is named by an entry point of group ``stabzoo``, ships a ``registry.yaml`` beside its
``__init__.py`` (what it provides and claims, read without importing the package), and implements those of the hooks
below that it needs: none, if it brings data alone, models or studies (``studies/*.yaml``).
"""

from collections.abc import Iterable

import pluggy
from pydantic import BaseModel

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
    """Return this plugin's kinds of residual branches: classes whose ``name`` stands in its ``registry.yaml``.

    A class is called with the fields that a user gives by name, in ``branch={"name": ..., ...}`` of a network.
    """
    return ()


@hookspec
def stabzoo_evaluations() -> Iterable[type[BaseModel]]:
    """Return this plugin's evaluations: classes whose ``kind`` stands in its ``registry.yaml``.

    They are derived from `stabzoo.Evaluation`.  A study, and the file of ``stabzoo evaluate --conditions``, has one as
    a mapping of its ``kind`` and its settings.
    """
    return ()
