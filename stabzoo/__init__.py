"""A timm-native zoo in which every residual network is a numerical method for an ODE, with its stability proved.

>>> import stabzoo, timm
>>> model = timm.create_model("zerosnet20_opt")
>>> stabzoo.card(model.scheme).status
'strong'

Importing stabzoo imports neither torch nor timm; the models are registered with timm when timm is imported, before or
after.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stabzoo.config import Rational, Strict, load_yaml, validate
    from stabzoo.designing import Design, design, load_design
    from stabzoo.diagnostics.bounds.joint import Kernel, ReluStep, joint_sensitivity
    from stabzoo.diagnostics.bounds.network import forward_bounds
    from stabzoo.diagnostics.bounds.rules.normalization import fold_batch_norm
    from stabzoo.diagnostics.bounds.step_bound import StepBound
    from stabzoo.diagnostics.layers import conv_norm, operator_norm
    from stabzoo.diagnostics.measurement import Measurement
    from stabzoo.diagnostics.spectra.operators import ConvOperator
    from stabzoo.diagnostics.spectra.periodic import periodic_norms
    from stabzoo.discretization import BranchKind, Discretization, Place, Shape
    from stabzoo.errors import ConfigError
    from stabzoo.families import adams_bashforth, adams_moulton, bdf, milne_simpson, named_method, nystrom, ssp
    from stabzoo.hookspecs import hookimpl
    from stabzoo.implicit.regularizers import ResidualPenalty, perturbation_penalty, residual_penalty
    from stabzoo.implicit.report import ConvergenceWarning
    from stabzoo.implicit.settings import SolverSettings
    from stabzoo.implicit.step import ImplicitStep, solver_report
    from stabzoo.methods import (
        GeneralLinear,
        Method,
        OneLeg,
        PartitionedRungeKutta,
        RungeKutta,
        SecondOrderMultistep,
        Splitting,
        StabilityFunction,
        TruncatedSolve,
    )
    from stabzoo.methods.multistep import NOT_DECIDED, LinearMultistep
    from stabzoo.metric import Evaluation, Metric
    from stabzoo.networks.branch import BranchSite, adjoint_for_hooks, is_hooked, pulled_back, tells_kernel
    from stabzoo.networks.checkpoints import checkpoint_filter_fn
    from stabzoo.networks.fusion import fuse
    from stabzoo.networks.past import Past
    from stabzoo.networks.staged import StagedNetwork
    from stabzoo.networks.steps import MultistepStep, PartitionedStep
    from stabzoo.registry.catalogue import list_branches, list_models, list_schemes
    from stabzoo.registry.loading import get_branch, get_scheme
    from stabzoo.schemes import (
        ExplicitFamily,
        ExplicitMultistep,
        ExplicitRungeKutta,
        ImplicitFamily,
        ImplicitMultistep,
        LearnableMultistep,
        StableRange,
    )
    from stabzoo.stability import card, is_zero_stable, stable_set, sweep, verify_certificate
    from stabzoo.zoo import refresh

__version__ = "0.1.0"

_PUBLIC = {
    "BranchKind": "discretization",
    "BranchSite": "networks.branch",
    "ConfigError": "errors",
    "ConvOperator": "diagnostics.spectra.operators",
    "ConvergenceWarning": "implicit.report",
    "Design": "designing",
    "design": "designing",
    "Discretization": "discretization",
    "Evaluation": "metric",
    "ExplicitFamily": "schemes",
    "ExplicitMultistep": "schemes",
    "ExplicitRungeKutta": "schemes",
    "ImplicitFamily": "schemes",
    "ImplicitMultistep": "schemes",
    "ImplicitStep": "implicit.step",
    "GeneralLinear": "methods",
    "Kernel": "diagnostics.bounds.joint",
    "LearnableMultistep": "schemes",
    "LinearMultistep": "methods",
    "load_design": "designing",
    "Measurement": "diagnostics.measurement",
    "Method": "methods",
    "Metric": "metric",
    "MultistepStep": "networks.steps",
    "NOT_DECIDED": "methods",
    "OneLeg": "methods",
    "PartitionedRungeKutta": "methods",
    "PartitionedStep": "networks.steps",
    "Past": "networks.past",
    "Place": "discretization",
    "Rational": "config",
    "ReluStep": "diagnostics.bounds.joint",
    "ResidualPenalty": "implicit.regularizers",
    "RungeKutta": "methods",
    "SecondOrderMultistep": "methods",
    "Shape": "discretization",
    "SolverSettings": "implicit.settings",
    "Splitting": "methods",
    "StabilityFunction": "methods",
    "StableRange": "schemes",
    "StagedNetwork": "networks.staged",
    "StepBound": "diagnostics.bounds.step_bound",
    "Strict": "config",
    "TruncatedSolve": "methods",
    "adams_bashforth": "families",
    "adams_moulton": "families",
    "adjoint_for_hooks": "networks.branch",
    "bdf": "families",
    "card": "stability",
    "checkpoint_filter_fn": "networks.checkpoints",
    "conv_norm": "diagnostics.layers",
    "fold_batch_norm": "diagnostics.bounds.rules.normalization",
    "fuse": "networks.fusion",
    "forward_bounds": "diagnostics.bounds.network",
    "get_branch": "registry.loading",
    "get_scheme": "registry.loading",
    "hookimpl": "hookspecs",
    "is_hooked": "networks.branch",
    "is_zero_stable": "stability",
    "joint_sensitivity": "diagnostics.bounds.joint",
    "list_branches": "registry.catalogue",
    "list_models": "registry.catalogue",
    "list_schemes": "registry.catalogue",
    "load_yaml": "config",
    "milne_simpson": "families",
    "named_method": "families",
    "nystrom": "families",
    "operator_norm": "diagnostics.layers",
    "periodic_norms": "diagnostics.spectra.periodic",
    "perturbation_penalty": "implicit.regularizers",
    "pulled_back": "networks.branch",
    "refresh": "zoo",
    "residual_penalty": "implicit.regularizers",
    "solver_report": "implicit.step",
    "ssp": "families",
    "stable_set": "stability",
    "sweep": "stability",
    "tells_kernel": "networks.branch",
    "validate": "config",
    "verify_certificate": "stability",
}

__all__ = [  # a literal, for type checkers
    "NOT_DECIDED",
    "BranchKind",
    "BranchSite",
    "ConfigError",
    "ConvOperator",
    "ConvergenceWarning",
    "Design",
    "Discretization",
    "Evaluation",
    "ExplicitFamily",
    "ExplicitMultistep",
    "ExplicitRungeKutta",
    "GeneralLinear",
    "ImplicitFamily",
    "ImplicitMultistep",
    "ImplicitStep",
    "Kernel",
    "LearnableMultistep",
    "LinearMultistep",
    "Measurement",
    "Method",
    "Metric",
    "MultistepStep",
    "OneLeg",
    "PartitionedRungeKutta",
    "PartitionedStep",
    "Past",
    "Place",
    "Rational",
    "ReluStep",
    "ResidualPenalty",
    "RungeKutta",
    "SecondOrderMultistep",
    "Shape",
    "SolverSettings",
    "Splitting",
    "StabilityFunction",
    "StableRange",
    "StagedNetwork",
    "StepBound",
    "Strict",
    "TruncatedSolve",
    "adams_bashforth",
    "adams_moulton",
    "adjoint_for_hooks",
    "bdf",
    "card",
    "checkpoint_filter_fn",
    "conv_norm",
    "design",
    "fold_batch_norm",
    "forward_bounds",
    "fuse",
    "get_branch",
    "get_scheme",
    "hookimpl",
    "is_hooked",
    "is_zero_stable",
    "joint_sensitivity",
    "list_branches",
    "list_models",
    "list_schemes",
    "load_design",
    "load_yaml",
    "milne_simpson",
    "named_method",
    "nystrom",
    "operator_norm",
    "periodic_norms",
    "perturbation_penalty",
    "pulled_back",
    "refresh",
    "residual_penalty",
    "solver_report",
    "ssp",
    "stable_set",
    "sweep",
    "tells_kernel",
    "validate",
    "verify_certificate",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(import_module(f"stabzoo.{_PUBLIC[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'stabzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


def _register_models() -> None:
    import_module("stabzoo.zoo").register_models()


class _WhenTimmIsImported:
    """A finder on `sys.meta_path` that has the models registered after ``import timm``, by whomever.

    The loader that the other finders find is taken, and put back before it runs: nobody sees another.  Who only asks
    where timm is, as `importlib.util.find_spec` does, leaves all as it is.  wrapt's import hooks do the same, and
    importing wrapt takes four times as long as importing stabzoo.
    """

    looking = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "timm" or self.looking:
            return None
        self.looking = True
        try:
            spec = import_module("importlib.util").find_spec(name)
        finally:
            self.looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec


class _Loader:
    """timm's own loader, which also registers the models."""

    def __init__(self, loader: Any, finder: _WhenTimmIsImported) -> None:
        self._loader, self._finder = loader, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        _register_models()


if "timm" in sys.modules:
    _register_models()
else:
    sys.meta_path.insert(0, _WhenTimmIsImported())
