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
from stabzoo.metric import SHIPPED
from stabzoo.registry.catalogue import STUDIES, catalogue, is_reserved, list_schemes, unknown_name
from stabzoo.registry.loading import get_scheme
from stabzoo.registry.schema import ModelConfig
from stabzoo.stability import StabilityCard, card

__all__ = ["Kind", "NewPlugin", "write_plugin"]

Kind: TypeAlias = Literal["multistep", "runge-kutta", "block", "branch", "evaluation", "models"]

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 40  # characters of a name
IMPORTED = ("ClassVar", "Literal", "Field")  # by new plugins, beside what is stabzoo's
WIDTH, MODELS = 32, 2  # channels of the first stage of new models of an existing scheme, and how many there are

HEUN = RungeKutta(((), (1,)), ("1/2", "1/2"))
DEFAULTS: dict[str, LinearMultistep | RungeKutta] = {
    "multistep": LinearMultistep((1, 0), ("3/2", "-1/2")),  # Adams-Bashforth 2
    "runge-kutta": RungeKutta(((), ("1/2",), (0, "3/4")), ("2/9", "1/3", "4/9")),  # Ralston's, of order 3
    "block": HEUN,
}
"""The method that a new plugin of a scheme has unless others are given."""

WHAT: dict[str, str] = {
    **dict.fromkeys(DEFAULTS, "a discretization"),
    "branch": "a residual branch",
    "evaluation": "an evaluation",
    "models": "models",
}

FORMULAS: dict[str, str] = {
    "explicit": "y_{n+1} = sum_j alpha_j y_{n-j} + sum_j beta_j f(y_{n-j})",
    "implicit": "y_{n+1} = sum_j alpha_j y_{n-j} + beta_next f(y_{n+1}) + sum_j beta_j f(y_{n-j})",
    "runge-kutta": "y_{n+1} = y_n + sum_i b_i k_i, k_i = f(y_n + sum_j a_ij k_j)",
    "block": "y_{n+1} = y_n + (f(y_n) + f(y_n + f(y_n))) / 2",
    "branch": "the usual branch, each pixel times a number in (0, 1)",
    "evaluation": "accuracy on images of which a share of the pixels is black",
}
"""What is computed, by the kind of plugin, of multistep ones by the kind of method."""

PACKAGE: dict[str, dict[str, str]] = {
    **{kind: {"__init__.py": "package.py.j2"} for kind in ("multistep", "runge-kutta", "models")},
    "block": {"__init__.py": "package.py.j2", "step.py": "step.py.j2"},
    "branch": {"__init__.py": "branch.py.j2", "layers.py": "layers.py.j2"},
    "evaluation": {"__init__.py": "evaluation.py.j2", "studies/{name}.yaml": "study.yaml.j2"},
}
TESTS = {"branch": "test_branch.py.j2", "evaluation": "test_evaluation.py.j2", "models": "test_models.py.j2"}
"""The templates of the package's files and of its tests, of a scheme ``test.py.j2``, by kind."""


@dataclass(frozen=True)
class NewPlugin:
    """A plugin that is to be written.

    Attributes:
        name: Of the plugin, and of its scheme, branch or evaluation: lower-case letters, digits and single underscores,
            a letter first.
        kind: ``"multistep"`` or ``"runge-kutta"``, a scheme that is its coefficients; ``"block"``, one with a step of
            its own (Heun's); ``"branch"``, a residual branch, with models; ``"evaluation"``, a noise, with a study;
            ``"models"``, further models of a scheme that there is.
        method: The coefficients; None is Adams-Bashforth 2, Ralston's method of order 3, or Heun's method.
        scheme: The existing scheme, of a plugin of models.

    Raises:
        ConfigError: The name is none, Python's or stabzoo's, or taken by an installed plugin, package, scheme, branch,
            evaluation or model; the coefficients or the scheme are not of the kind; there is no such scheme, or it has
            no models.
    """

    name: str
    kind: Kind = "multistep"
    method: LinearMultistep | RungeKutta | None = None
    scheme: str | None = None

    def __post_init__(self) -> None:
        _refuse_bad_name(self.name, self.kind)
        if (self.kind == "models") != (self.scheme is not None):
            if self.kind == "models":
                raise ConfigError("--kind models: expected --scheme, the scheme of the models")
            raise ConfigError(f"--scheme needs --kind models, got --kind {self.kind}; leave it out")
        if self.kind == "models" and not self.models:
            raise ConfigError(f"--scheme {self.scheme}: it has no models to use as a pattern")
        if self.method is None:
            return
        accepted = {"multistep": LinearMultistep, "runge-kutta": RungeKutta}.get(self.kind)
        if accepted is None or not isinstance(self.method, accepted):
            takes = {"multistep": "--alpha and --beta", "runge-kutta": "--a and --b"}.get(self.kind, "no coefficients")
            raise ConfigError(f"--kind {self.kind} takes {takes}; got those of {self.method}")
        if isinstance(self.method, RungeKutta) and not self.method.is_explicit:
            raise ConfigError(
                f"--a: expected an explicit tableau, zero from its diagonal on; got that of {self.method}"
            )

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
    def card(self) -> StabilityCard | None:
        """What is proved of the method, and will be claimed; None of a plugin without one."""
        if self.scheme is not None:
            return card(get_scheme(self.scheme))
        return card(self.method or DEFAULTS[self.kind]) if self.kind in DEFAULTS else None

    @property
    def command(self) -> str:
        """The command line that writes it."""
        words = ["stabzoo", "new-plugin", self.name]
        words += [] if self.kind == "multistep" else ["--kind", self.kind]
        words += [] if self.scheme is None else ["--scheme", self.scheme]
        if isinstance(self.method, RungeKutta):
            rows = [",".join(map(str, row)) for row in _rows(self.method)[1:]]
            words += [*(["--a", *rows] if rows else []), "--b", *map(str, self.method.b)]
        elif self.method is not None:
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
        formula, base, coefficients = self._code()
        tested = {"branch": "check that stabzoo has for a branch", "evaluation": "check that stabzoo has for one"}
        tested["models"] = "model"
        values = {
            "name": self.name,
            "kind": self.kind,
            "registered": _registered(self.name, self.kind),
            "distribution": self.distribution,
            "package": self.package,
            "model": self.model,
            "first": next(iter(self.models), f"{self.model}20"),
            "title": self.name.replace("_", " ").capitalize(),
            "class": _class_name(self.name),
            "what": f"models of {self.scheme}" if self.kind == "models" else WHAT[self.kind],
            "tested": f"every {tested.get(self.kind, 'check that stabzoo has for a scheme')}",
            "base": base,
            "coefficients": coefficients,
            "method": formula if self.kind == "block" or self.card is None else str(self.card.method),
            "stages": self.card.method.stages if self.card and isinstance(self.card.method, RungeKutta) else 0,
            "order": self.card.order if self.card else None,
            "summary": formula,
            "scheme": self.scheme,
            "models": {name: _flow(config) for name, config in self.models.items()},
            "claims": self._claims() if self.kind in DEFAULTS else "",
            "command": self.command,
            "stabzoo": ".".join(version("stabzoo").split(".")[:2]),
        }
        templates = {
            "pyproject.toml": "pyproject.toml.j2",
            "README.md": "README.md.j2",
            **{f"{self.package}/{path.format(name=self.name)}": name for path, name in PACKAGE[self.kind].items()},
            f"{self.package}/registry.yaml": "registry.yaml.j2",
            f"tests/test_{self.name}.py": TESTS.get(self.kind, "test.py.j2"),
        }
        return {path: environment.get_template(name).render(values) for path, name in templates.items()}

    def _code(self) -> tuple[str, str, str]:
        """The formula, the base class, and the line of coefficients."""
        method = self.card.method if self.card else None
        if self.kind == "multistep" and isinstance(method, LinearMultistep):
            alpha, beta = _tuple(method.alpha), _tuple(_trimmed(method.beta))
            if method.is_explicit:
                return FORMULAS["explicit"], "ExplicitMultistep", f"alpha, beta = {alpha}, {beta}"
            line = f"alpha, beta, beta_next = {alpha}, {beta}, {_number(method.beta_next)}"
            return FORMULAS["implicit"], "ImplicitMultistep", line
        if self.kind == "runge-kutta" and isinstance(method, RungeKutta):
            rows = ", ".join(map(_tuple, _rows(method)))
            line = f"a, b = ({rows}{',' if method.stages == 1 else ''}), {_tuple(method.b)}"
            return FORMULAS["runge-kutta"], "ExplicitRungeKutta", line
        return FORMULAS.get(self.kind, ""), "ExplicitMultistep", ""

    def _claims(self) -> str:
        proved = self.card
        assert proved is not None
        explicit = proved.method.is_explicit
        multistep = f'"multistep, {"explicit" if explicit else "implicit"}"'  # quoted, for the comma
        family = multistep if self.kind == "multistep" else "Runge-Kutta"
        claims = {"family": family, "order": proved.order or "null", "stability": proved.status}
        if not explicit:
            claims |= {"a_stable": str(proved.is_A_stable).lower(), "l_stable": str(proved.is_L_stable).lower()}
        return "{" + ", ".join(f"{key}: {value}" for key, value in claims.items()) + "}"


def write_plugin(plugin: NewPlugin, folder: Path) -> Path:
    """Write a plugin's distribution into a new folder below ``folder``, and return that.

    Raises:
        ConfigError: ``folder`` is not a folder, or the new one exists.
        OSError: it cannot be written; nothing is left.
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


def _registered(name: str, kind: Kind) -> str:
    """What the registry calls it: kinds of evaluations have hyphens."""
    return name.replace("_", "-") if kind == "evaluation" else name


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _refuse_bad_name(name: str, kind: Kind) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        suggested = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:LONGEST].strip("_")
        hint = f"; e.g. {suggested}" if NAME.fullmatch(suggested) else ""
        raise ConfigError(
            f"the name {name[:80]!r}: expected at most {LONGEST} lower-case letters, digits and single underscores, "
            f"a letter first{hint}"
        )
    if is_reserved(name) or name in sys.stdlib_module_names or keyword.issoftkeyword(name) or _is_installed(name):
        raise ConfigError(f"the name {name!r} is Python's, stabzoo's or an installed package's; choose another")
    if is_reserved(taken := _class_name(name)) or taken in IMPORTED:
        raise ConfigError(f"the name {name!r}: its class would have the name {taken}, of another; choose another")
    found = catalogue()
    if owner := next((plugin for plugin in found.plugins if plugin.name == name), None):
        raise ConfigError(f"the name {name!r} is taken by {owner}; choose another")
    owners = {
        "scheme": {scheme: plugin for scheme, (plugin, _) in found.schemes.items()},
        "branch": {branch: plugin for branch, (plugin, _) in found.branches.items()},
        "evaluation": {**dict.fromkeys(SHIPPED, "stabzoo itself"), **found.evaluations},
        "study": {**dict.fromkeys(_our_studies(), "stabzoo itself"), **{n: p for n, (p, _) in found.studies.items()}},
    }
    brought = {"branch": ("branch",), "evaluation": ("evaluation", "study")}.get(kind, ("scheme",))
    for what in brought:
        registered = name if what == "study" else _registered(name, kind)
        if registered in owners[what]:
            raise ConfigError(
                f"the name {name!r} is taken: {what} {registered!r} of {owners[what][registered]}; choose another"
            )
    if find_spec(f"stabzoo_{name}") is not None:
        raise ConfigError(f"the name {name!r}: a package stabzoo_{name} is installed already; choose another")
    prefix = f"{name}_" if name[-1].isdigit() else name
    for model, (owner, _) in found.models.items():
        if re.fullmatch(rf"{prefix}\d+", model):
            raise ConfigError(f"the name {name!r}: its model {model} is taken by {owner}; choose another")


def _our_studies() -> list[str]:
    return [path.stem for path in STUDIES.glob("*.yaml")]


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


def _rows(method: RungeKutta) -> list[tuple[Fraction, ...]]:
    """The rows of an explicit tableau, below its diagonal."""
    return [row[:i] for i, row in enumerate(method.a)]


def _number(value: Fraction) -> str:
    text = str(value)
    return f'"{text}"' if "/" in text else text


def _tuple(numbers: tuple[Fraction, ...]) -> str:
    inner = ", ".join(map(_number, numbers))
    return f"({inner},)" if len(numbers) == 1 else f"({inner})"
