"""A scheme under test, and the checks of what it says: the protocol, exact coefficients, true claims, cheap imports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from stabzoo.claims import SchemeReport, check_scheme, prove
from stabzoo.discretization import Discretization, memory_of
from stabzoo.errors import ConfigError
from stabzoo.implicit.settings import SolverSettings
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.registry.catalogue import catalogue
from stabzoo.registry.discovery import Plugin
from stabzoo.registry.loading import get_scheme, parameter_names, scheme_class
from stabzoo.registry.schema import ModelConfig
from stabzoo.schemes import ExplicitFamily, ExplicitRungeKutta, ImplicitFamily, LearnableMultistep
from stabzoo.stability import verify_certificate
from stabzoo.testing.values import other_values

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NotApplicable", "Subject"]

WIDTH = 4  # channels of the networks that are built
PIXELS = 16  # a side of their images
STAGES = 3
IMPORT_SECONDS = 2.0  # beside what importing stabzoo itself takes, or four times that, whichever is more


class NotApplicable(Exception):  # noqa: N818 -- no error
    """A check does not apply to a scheme; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A registered scheme under test.

    Attributes:
        name: Its name in the registry.
        parameters: Its parameters; without any it has its defaults.

    Raises:
        ConfigError: no installed plugin provides it, or it does not accept the parameters.
        PluginError: its plugin is broken.
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def scheme(self) -> Discretization:
        """The scheme."""
        return self.scheme_with()

    def scheme_with(self, **settings: Any) -> Discretization:
        """The scheme with further settings."""
        return get_scheme(self.name, **{**self.parameters, **settings})

    def others(self) -> list[Subject]:
        """The same scheme with other parameters: those of its models, and values at which its claims are made."""
        fields = getattr(type(self.scheme), "model_fields", {})
        claim, found = catalogue().schemes[self.name][1], list[Subject]()
        for values in other_values(claim.condition, {name: info.get_default() for name, info in fields.items()}):
            found.append(Subject(self.name, values))
        for _, model in catalogue().models.values():
            if model.scheme == self.name and model.parameters:
                found.append(Subject(self.name, model.parameters))
        accepted: dict[str, Subject] = {}
        for other in found:
            with suppress(ConfigError):
                accepted.setdefault(repr(other.scheme), other)
        accepted.pop(repr(self.scheme), None)
        return list(accepted.values())

    @cached_property
    def method(self) -> LinearMultistep:
        """Its exact coefficients."""
        return self.scheme.coefficients()

    @property
    def plugin(self) -> Plugin:
        """The plugin that provides it."""
        scheme_class(self.name)  # whose message helps where there is none
        return catalogue().schemes[self.name][0]

    @property
    def has_own_block(self) -> bool:
        """Whether the scheme computes its step by itself, of which its coefficients are the part linear in f."""
        ours = (ExplicitFamily.block, ImplicitFamily.block, LearnableMultistep.block, ExplicitRungeKutta.block)
        return type(self.scheme).block not in ours

    @property
    def takes_solver(self) -> bool:
        """Whether the scheme has a parameter ``solver``: how its equations are solved."""
        return "solver" in parameter_names(type(self.scheme))

    def solved_to(self, settings: SolverSettings) -> Discretization:
        """The scheme, with these settings if it takes any."""
        return self.scheme_with(solver=settings) if self.takes_solver else self.scheme

    @property
    def has_own_network(self) -> bool:
        """Whether the scheme's networks are not stabzoo's own."""
        from stabzoo.networks.resnet import DiscretizedResNet

        return not issubclass(type(self.scheme).network(), DiscretizedResNet)

    @property
    def models(self) -> dict[str, ModelConfig]:
        """Its registered models, the shallowest first, those for small images before others.

        Raises:
            NotApplicable: there are none.
        """
        models = {name: model for name, (_, model) in catalogue().models.items() if model.scheme == self.name}
        if not models:
            raise NotApplicable("registry.yaml has no model of this scheme")
        return dict(sorted(models.items(), key=lambda item: (item[1].form, item[1].depth)))

    @property
    def model_name(self) -> str:
        """Its shallowest registered model, for small images if there is one."""
        return next(iter(self.models))

    def model(self, seed: int = 0, **arguments: Any) -> nn.Module:
        """That model, narrow, for small images, in evaluation mode, with the same weights every time.

        Raises:
            NotApplicable: the scheme has no model.
        """
        import timm
        import torch

        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            cfg = timm.get_pretrained_cfg(self.model_name)
            sized = {"img_size": PIXELS} if cfg and cfg.fixed_input_size else {}
            return timm.create_model(self.model_name, **{"width": WIDTH, **sized, **arguments}).eval()

    def network(self, blocks: int = 1, **arguments: Any) -> nn.Module:
        """A narrow network of so many blocks per stage, in evaluation mode, with the same weights every time."""
        import torch

        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            network = type(self.scheme).network()
            given = {"scheme": self.scheme, "layers": (blocks,) * STAGES, "width": WIDTH, **arguments}
            return network(**given).eval()


def check_protocol(subject: Subject) -> None:
    """The scheme has all that `stabzoo.Discretization` lists, and its network is a `stabzoo.StagedNetwork`."""
    from stabzoo.networks.staged import StagedNetwork

    scheme = subject.scheme
    assert isinstance(scheme, Discretization), (
        f"expected what stabzoo.Discretization lists, got a {type(scheme).__name__}; derive from ExplicitMultistep"
    )
    assert scheme.name == subject.name, f"expected the name {subject.name!r}, got {scheme.name!r}"
    assert scheme.at_downsampling in ("project", "restart"), (
        f'at_downsampling: expected "project" or "restart", got {scheme.at_downsampling!r}'
    )
    assert not scheme.needs_equal_shapes or scheme.at_downsampling == "restart", (
        'at_downsampling: a step that applies f to what f made needs equal shapes; expected "restart", got "project"'
    )
    memory_of(scheme)  # which says what is wrong with it
    rho = scheme.characteristic_polynomial()
    assert rho == subject.method.rho, f"characteristic_polynomial(): expected {subject.method.rho}, got {rho}"
    network = type(scheme).network()
    assert issubclass(network, StagedNetwork), f"network(): expected a subclass of StagedNetwork, got {network!r}"


def check_exactness(subject: Subject) -> None:
    """The coefficients are fractions, the same every time, and the certificate of their verdict verifies."""
    method, card = subject.method, prove(subject.name)[1]
    numbers = (*method.alpha, *method.beta, method.beta_next)
    assert all(type(number) is Fraction for number in numbers), f"expected fractions, got {numbers}"
    again = subject.scheme.coefficients()
    assert again == method, f"coefficients(): {method} at first, then {again}"
    assert verify_certificate(card.method, card.certificate), "the certificate of the zero stability does not verify"


def check_claims(subject: Subject) -> None:
    """What the plugin's ``registry.yaml`` claims is what is proved, as `stabzoo check` finds it."""
    plugin, claim = subject.plugin, catalogue().schemes[subject.name][1]
    checked = check_scheme(SchemeReport(subject.name, plugin, claim, *prove(subject.name)))
    assert not checked.false_claims, "; ".join(checked.false_claims)


def check_import_cost(subject: Subject) -> None:
    """Reading the registry does not import the plugin; importing it takes little time and does not import torch."""
    module = subject.plugin.module
    spec = find_spec(module)
    measured = _import(module, str(spec.origin) if spec else "")
    assert not measured["eager"], f"{module} is imported by `import stabzoo`"
    heavy = ", ".join(measured["heavy"])
    assert not heavy, f"{module} imports {heavy}; import it in the functions that need it"
    limit = max(IMPORT_SECONDS, 4 * measured["ours"])
    assert measured["seconds"] <= limit, (
        f"importing {module} takes {measured['seconds']:.1f} s; expected at most {limit:.1f}"
    )


IMPORT = """
import importlib, json, sys, time
start = time.perf_counter()
import stabzoo
from stabzoo import ExplicitMultistep  # what a plugin imports
stabzoo.list_models()
ours = time.perf_counter() - start
eager = sys.argv[1] in sys.modules
start = time.perf_counter()
importlib.import_module(sys.argv[1])
seconds = time.perf_counter() - start
heavy = [name for name in ("torch", "timm", "torchvision") if name in sys.modules]
print("\\n" + json.dumps({"ours": ours, "eager": eager, "seconds": seconds, "heavy": heavy}))
"""


@cache
def _import(module: str, origin: str) -> dict[str, Any]:
    """Import a module, found at ``origin``, in a fresh interpreter that finds what this one does; once for a plugin."""
    code = f"import sys; sys.path[:] = {sys.path!r}\n{IMPORT}"
    done = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (
        f"importing {module} ({origin}) in a fresh interpreter fails: {done.stderr.strip()[-500:]}"
    )
    return json.loads(done.stdout.splitlines()[-1])
