"""What a new plugin's files hold, and how they are written: all of them, or none."""

from __future__ import annotations

import keyword
import os
import re
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from stabzoo.errors import ConfigError
from stabzoo.methods import RungeKutta
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.registry.catalogue import catalogue, is_reserved, list_schemes, unknown_name
from stabzoo.registry.loading import get_scheme
from stabzoo.registry.schema import ModelConfig
from stabzoo.stability import StabilityCard, card

__all__ = ["DEFAULTS", "FORMULAS", "Kind", "NewPlugin", "write_plugin"]

Kind: TypeAlias = Literal["explicit", "implicit", "block", "models"]

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 40  # characters of a name
BASES = ("explicit_multistep", "implicit_multistep")
WIDTH, MODELS = 32, 2  # channels of the first stage of new models of an existing scheme, and how many there are

DEFAULTS: dict[str, LinearMultistep | RungeKutta] = {
    "explicit": LinearMultistep((1, 0), ("3/2", "-1/2")),  # Adams-Bashforth 2
    "implicit": LinearMultistep(("4/3", "-1/3"), (), "2/3"),  # BDF2
    "block": RungeKutta(((), (1,)), ("1/2", "1/2")),  # Heun's method
}
"""The method that a new plugin has unless others are given."""

FORMULAS: dict[str, str] = {
    "explicit": "sum_j alpha_j y_{n-j} + sum_j beta_j f(y_{n-j})",
    "implicit": "sum_j alpha_j y_{n-j} + beta_next f(y_{n+1}) + sum_j beta_j f(y_{n-j})",
    "block": "y_n + (f(y_n) + f(y_n + f(y_n))) / 2",
}
"""The step of each kind of plugin."""


@dataclass(frozen=True)
class NewPlugin:
    """A plugin that is to be written.

    Attributes:
        name: Of the plugin and of its scheme: lower-case letters, digits and single underscores, a letter first.
        kind: ``"explicit"`` or ``"implicit"``, a linear multistep method; ``"block"``, a step of its own (Heun's);
            ``"models"``, no scheme, but further models of one that there is.
        method: The coefficients; None is Adams-Bashforth 2, BDF2, or Heun's method.
        scheme: The existing scheme, of a plugin of models.

    Raises:
        ConfigError: The name is none, Python's or stabzoo's, or taken by an installed plugin, scheme or package; the
            coefficients are not of the kind; there is no such scheme, or it has no models.
    """

    name: str
    kind: Kind = "explicit"
    method: LinearMultistep | None = None
    scheme: str | None = None

    def __post_init__(self) -> None:
        _refuse_bad_name(self.name)
        if self.kind == "models" and not self.models:
            raise ConfigError(f"--models {self.scheme}: this scheme has no models after which new ones could be made")
        if self.method is None:
            return
        if self.kind in ("block", "models"):
            has = "with a block of its own" if self.kind == "block" else "of models"
            raise ConfigError(f"a plugin {has} takes no coefficients; leave out --alpha and --beta")
        if self.method.is_explicit != (self.kind == "explicit"):
            has = "none" if self.method.is_explicit else f"{self.method.beta_next}"
            needs = "no --beta-next" if self.kind == "explicit" else "--beta-next, the weight of the new slope"
            raise ConfigError(f"an {self.kind} scheme: expected {needs}; got {has}")

    @property
    def distribution(self) -> str:
        """What is installed: ``stabzoo-my-scheme``; also the name of the folder."""
        return f"stabzoo-{self.name.replace('_', '-')}"

    @property
    def package(self) -> str:
        """What is imported: ``stabzoo_my_scheme``."""
        return f"stabzoo_{self.name}"

    @property
    def model(self) -> str:
        """What the models' names begin with; the depth follows."""
        return f"{self.name}_" if self.name[-1].isdigit() else self.name

    @cached_property
    def models(self) -> dict[str, ModelConfig]:
        """Of a plugin of models: the smallest ones of the scheme by their new names, with another width."""
        if self.kind != "models":
            return {}
        if self.scheme not in list_schemes():
            raise unknown_name("scheme", str(self.scheme), list_schemes())
        found = [config for _, config in catalogue().models.values() if config.scheme == self.scheme]
        small = sorted(found, key=lambda config: (config.form, config.depth))[:MODELS]  # CIFAR's before ImageNet's
        return {f"{self.model}{config.depth}": config.model_copy(update={"width": WIDTH}) for config in small}

    @cached_property
    def card(self) -> StabilityCard:
        """What is proved of the method, and will be claimed."""
        if self.scheme is not None:
            return card(get_scheme(self.scheme))
        return card(self.method or DEFAULTS[self.kind])

    @property
    def command(self) -> str:
        """The command line that writes it."""
        words = ["stabzoo", "new-plugin", self.name]
        words += [] if self.kind == "explicit" else [f"--{self.kind}"]
        words += [] if self.scheme is None else [self.scheme]
        if self.method is not None:
            beta = _trimmed(self.method.beta)
            words += ["--alpha", *map(str, self.method.alpha), *(["--beta", *map(str, beta)] if beta else [])]
            words += [] if self.method.is_explicit else ["--beta-next", str(self.method.beta_next)]
        return shlex.join(words)

    def files(self) -> dict[str, str]:
        """Every file's text, by its path below the folder."""
        environment = Environment(
            loader=PackageLoader("stabzoo.scaffold"),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )
        method = self.card.coefficients
        values = {
            "name": self.name,
            "kind": self.kind,
            "distribution": self.distribution,
            "package": self.package,
            "model": self.model,
            "first": next(iter(self.models), f"{self.model}20"),
            "title": self.name.replace("_", " ").capitalize(),
            "class": "".join(part.capitalize() for part in self.name.split("_")),
            "base": "ImplicitMultistep" if self.kind == "implicit" else "ExplicitMultistep",
            "method": f"y_{{n+1}} = {FORMULAS['block']}" if self.kind == "block" else str(method),
            "formula": FORMULAS.get(self.kind, ""),
            "scheme": self.scheme,
            "models": {name: _flow(config) for name, config in self.models.items()},
            "alpha": _tuple(method.alpha),
            "beta": _tuple(_trimmed(method.beta)),
            "beta_next": _number(method.beta_next),
            "claims": self._claims(),
            "command": self.command,
            "stabzoo": ".".join(version("stabzoo").split(".")[:2]),
        }
        templates = {
            "pyproject.toml": "pyproject.toml.j2",
            "README.md": "README.md.j2",
            f"{self.package}/__init__.py": "package.py.j2",
            f"{self.package}/registry.yaml": "registry.yaml.j2",
            f"tests/test_{self.name}.py": "test_models.py.j2" if self.kind == "models" else "test.py.j2",
        }
        if self.kind == "block":
            templates[f"{self.package}/step.py"] = "step.py.j2"
        return {path: environment.get_template(name).render(values) for path, name in templates.items()}

    def _claims(self) -> str:
        proved = self.card
        family = "Runge-Kutta" if self.kind == "block" else f'"multistep, {self.kind}"'  # quoted, for the comma
        claims = {"family": family, "order": proved.order or "null", "stability": proved.status}
        if self.kind == "implicit":
            claims |= {"a_stable": str(proved.is_A_stable).lower(), "l_stable": str(proved.is_L_stable).lower()}
        return "{" + ", ".join(f"{key}: {value}" for key, value in claims.items()) + "}"


def write_plugin(plugin: NewPlugin, folder: Path) -> Path:
    """Write a plugin's distribution into a new folder below ``folder``, and return that.

    Raises:
        ConfigError: ``folder`` is no folder, or the new one exists. OSError: it cannot be written; nothing is left.
    """
    if not folder.is_dir():
        raise ConfigError(f"--folder {folder}: expected a folder in which {plugin.distribution} is made; make it first")
    target = folder / plugin.distribution
    if os.path.lexists(target):
        raise ConfigError(f"{target} exists; remove it, or choose another --folder or name")
    files = plugin.files()
    unfinished = Path(tempfile.mkdtemp(dir=folder, prefix=f".{plugin.distribution}."))
    try:
        for path, text in files.items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_text(text, encoding="utf-8")
        unfinished.chmod(0o755)  # mkdtemp's is the owner's alone
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def _refuse_bad_name(name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        suggested = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:LONGEST].strip("_")
        hint = f"; e.g. {suggested}" if NAME.fullmatch(suggested) else ""
        raise ConfigError(
            f"the name {name[:80]!r}: expected at most {LONGEST} lower-case letters, digits and single underscores, "
            f"a letter first{hint}"
        )
    if is_reserved(name) or name in sys.stdlib_module_names or keyword.issoftkeyword(name) or _is_installed(name):
        raise ConfigError(f"the name {name!r} is Python's, stabzoo's or an installed package's; choose another")
    if name in BASES:
        raise ConfigError(f"the name {name!r}: its class would have the name of its base class; choose another")
    found = catalogue()
    if owner := next((plugin for plugin in found.plugins if plugin.name == name), None):
        raise ConfigError(f"the name {name!r} is taken by {owner}; choose another")
    if name in found.schemes:
        raise ConfigError(f"the name {name!r} is taken by a scheme of {found.schemes[name][0]}; choose another")
    if find_spec(f"stabzoo_{name}") is not None:
        raise ConfigError(f"the name {name!r}: a package stabzoo_{name} is installed already; choose another")
    prefix = f"{name}_" if name[-1].isdigit() else name
    for model, (owner, _) in found.models.items():
        if re.fullmatch(rf"{prefix}\d+", model):
            raise ConfigError(f"the name {name!r}: its model {model} is taken by {owner}; choose another")


def _is_installed(name: str) -> bool:
    """Whether a module or package of this name can be imported; a folder without code is none."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def _flow(config: ModelConfig) -> str:
    """A model as one line of YAML."""
    settings = config.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(settings, default_flow_style=True, sort_keys=False, width=1000).strip()


def _trimmed(numbers: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """Without the zeros at the end."""
    count = max((i for i, number in enumerate(numbers, start=1) if number), default=0)
    return numbers[:count]


def _number(value: Fraction) -> str:
    text = str(value)
    return f'"{text}"' if "/" in text else text


def _tuple(numbers: tuple[Fraction, ...]) -> str:
    inner = ", ".join(map(_number, numbers))
    return f"({inner},)" if len(numbers) == 1 else f"({inner})"
