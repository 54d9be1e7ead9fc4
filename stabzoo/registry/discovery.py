"""Which plugins are installed, and what is wrong with their installation; none is imported.

Environment:
    STABZOO_PLUGINS: comma-separated names; only these plugins are read (empty: none).
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions, version

from stabzoo.errors import PluginWarning
from stabzoo.registry.guard import failure_text
from stabzoo.registry.schema import Registry

__all__ = ["Plugin", "installation_problems", "installed_plugins"]

GROUP = "stabzoo"
UNKNOWN = "unknown"  # the name of a distribution without METADATA
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


def installed_plugins() -> list[tuple[Plugin, Distribution]]:
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
        return f"{distribution.name} {distribution.version}" if _has_name(distribution) else UNKNOWN
    except Exception:  # damaged
        return UNKNOWN


def _has_name(distribution: Distribution) -> bool:
    """False without METADATA: removed in part.  To ask for the name all the same warns from Python 3.12 on."""
    return "Name" in distribution.metadata


def installation_problems(distribution: Distribution) -> Iterable[tuple[str, bool]]:
    """What is wrong with a third party's distribution, and whether its plugins can be used in spite of it."""
    from packaging.requirements import InvalidRequirement, Requirement  # only third parties need it

    for line in distribution.requires or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:  # nothing that could be installed by it either
            continue
        if requirement.name.lower() != OURS or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        if not requirement.specifier.contains(ours := version(OURS), prereleases=True):
            needed = f"needs {OURS}{requirement.specifier}, got {ours}"
            yield f"{needed}; install a {OURS} and a {distribution.name} that fit one another", False
    if not _has_name(distribution):
        return  # which others are the same one cannot be told
    folder = str(distribution.locate_file(""))
    beside = {other.version for other in distributions(name=distribution.name, path=[folder])}
    if len(beside) > 1:
        versions = " and ".join(sorted(beside))
        yield f"versions {versions} are both in {folder}; uninstall {distribution.name} until none is left", True
