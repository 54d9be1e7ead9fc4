"""Which plugins are installed, and what is wrong with their installation; none is imported.

Environment:
    STABZOO_PLUGINS: comma-separated names; only these plugins are read (empty: none).
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PathDistribution, distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

from stabzoo.errors import PluginWarning
from stabzoo.registry.guard import failure_text
from stabzoo.registry.schema import Registry

if TYPE_CHECKING:
    from zipfile import Path as ZipPath

__all__ = ["Plugin", "folder_of", "installation_problems", "installed_plugins"]

GROUP = "stabzoo"
METADATA = ("METADATA", "PKG-INFO", "")  # where it is in a .dist-info, an .egg-info folder and an .egg-info file
UNKNOWN = "unknown"  # the name of a distribution without METADATA that can be read
OURS = "stabzoo"  # the distribution whose plugins are read first and whose claims stand in the top-level registry.yaml


@dataclass
class Plugin:
    """One plugin as it was found.

    Attributes:
        name: The name of its entry point, and of its section in ``registry.yaml``.
        module: The package that implements it.
        distribution: What was installed, ``"stabzoo 0.1.0"``.
        registry: Its validated registry; None when that could not be read.
        folder: Of its package, in which ``registry.yaml`` is, on the disk or in an archive.
        problems: What is wrong with it, one sentence each.
    """

    name: str
    module: str
    distribution: str
    registry: Registry | None = None
    folder: Path | ZipPath | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def is_ours(self) -> bool:
        """Whether it comes with stabzoo."""
        return self.distribution.rpartition(" ")[0] == OURS

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution})"


def installed_plugins() -> list[tuple[Plugin, Distribution]]:
    """The plugins installed, ours first, then by name, with nothing read of them.

    Of distributions of one name the first on the path counts, as it does for their code.
    """
    found: dict[tuple[str, str, str], tuple[Plugin, Distribution]] = {}
    first: dict[str, int] = {}
    for number, distribution in enumerate((*distributions(), *_in_folders_of_archives())):
        for plugin in _plugins_of(distribution):
            name = re.sub(r"[-_.]+", "-", plugin.distribution.rpartition(" ")[0]).lower()
            if first.setdefault(name, number) == number or not name:
                found.setdefault((plugin.name, plugin.module, plugin.distribution), (plugin, distribution))
    order = sorted(found, key=lambda key: (not found[key][0].is_ours, key))
    wanted = os.environ.get("STABZOO_PLUGINS")
    names = None if wanted is None else {name.strip() for name in wanted.split(",") if name.strip()}
    if names is not None and (unknown := names - {key[0] for key in order}):
        warnings.warn(
            f"STABZOO_PLUGINS names no installed plugin: {', '.join(sorted(unknown))}", PluginWarning, stacklevel=2
        )
    return [found[key] for key in order if names is None or key[0] in names]


def _in_folders_of_archives() -> Iterator[Distribution]:
    """The distributions in ``made.zip/folder`` on the path: Python imports from there, and lists none of them."""
    for entry in sys.path:
        path = Path(entry)
        archive = next((parent for parent in path.parents if parent.is_file()), None)
        if archive is None or not entry:
            continue
        from zipfile import BadZipFile  # few need it
        from zipfile import Path as ZipPath

        try:
            folder = ZipPath(str(archive), f"{path.relative_to(archive).as_posix()}/")
            found = list(folder.iterdir()) if folder.is_dir() else []
        except (BadZipFile, OSError):
            continue
        for place in found:
            if place.name.endswith((".dist-info", ".egg-info")) or place.name == "EGG-INFO":
                yield PathDistribution(place)


def _plugins_of(distribution: Distribution) -> Iterable[Plugin]:
    """The plugins that a distribution declares; it is not ours to say what is wrong with one that declares none."""
    try:
        points = [(str(point.name), str(point.value)) for point in distribution.entry_points.select(group=GROUP)]
    except Exception as error:  # a damaged file raises whatever its text leads to
        if not _declares(distribution, error):
            return []
        where = f"{folder_of(distribution)}: its entry_points.txt"
        problem = f"{where} cannot be read ({failure_text(error)}); install it again"
        return [Plugin("?", "", _title(distribution), problems=[problem])]
    return [Plugin(name, value, _title(distribution)) for name, value in points]


def _declares(distribution: Distribution, error: Exception) -> bool:
    """Whether an ``entry_points.txt`` that cannot be read, for the reason given, has a section of ours all the same."""
    try:
        damaged = isinstance(error, UnicodeDecodeError)
        text = bytes(error.object) if damaged else (distribution.read_text("entry_points.txt") or "").encode()
    except Exception:
        return False
    return f"[{GROUP}]".encode() in text


def _title(distribution: Distribution) -> str:
    """``"stabzoo-leapfrog 9.0"``."""
    try:
        metadata = distribution.metadata
        # without METADATA, removed in part, there is no name, and to ask for it warns from Python 3.12 on
        name = "Name" in metadata and " ".join(metadata["Name"].split())
        return f"{name} {metadata['Version']}" if name else UNKNOWN
    except Exception:  # damaged
        return UNKNOWN


def folder_of(distribution: Distribution) -> str:
    """Where the installer has written what it has installed: the ``.dist-info`` folder."""
    try:
        return str(getattr(distribution, "_path", None) or distribution.locate_file(""))
    except Exception:  # of a finder of its own
        return f"the distribution {_title(distribution)}"


def installation_problems(distribution: Distribution) -> Iterable[tuple[str, bool]]:
    """What is wrong with a third party's distribution, and whether its plugins can be used despite it."""
    from packaging.requirements import InvalidRequirement, Requirement  # only third parties need it

    if not any(distribution.read_text(name) for name in METADATA):
        return  # removed in part: what it needs, and which others are the same one, cannot be told
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
    if _title(distribution) == UNKNOWN:
        return
    folder = str(distribution.locate_file(""))
    versions: set[str] = set()
    for other in distributions(name=distribution.name, path=[folder]):
        if (title := _title(other)) == UNKNOWN:
            yield f"{folder_of(other)} has no METADATA: an interrupted upgrade has left it behind; remove it", True
        else:
            versions.add(title.rpartition(" ")[2])
    if len(versions) > 1:
        both = " and ".join(sorted(versions))
        yield f"versions {both} are both in {folder}; uninstall {distribution.name} until none is left", True
