"""The hook that a plugin implements: with `Discretization`, the whole contract between stabzoo and its plugins.

A plugin is a Python package that is named by an entry point of group ``stabzoo``, ships a ``registry.yaml`` beside its
``__init__.py`` (what it provides and claims, read without importing the package), and implements the hook below.
"""

from collections.abc import Iterable

import pluggy

from stabzoo.discretization import Discretization

hookspec = pluggy.HookspecMarker("stabzoo")
hookimpl = pluggy.HookimplMarker("stabzoo")


@hookspec
def stabzoo_discretizations() -> Iterable[type[Discretization]]:
    """Return this plugin's discretizations: classes whose ``name`` stands in the plugin's ``registry.yaml``.

    A class is called with the parameters that a user gives by name; the list shows it with its defaults.
    """
    return ()
