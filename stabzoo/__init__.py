"""A timm-native zoo in which every residual network is a numerical method for an ODE, with its stability proved.

>>> import stabzoo, timm
>>> model = timm.create_model("zerosnet20_opt")
>>> stabzoo.card(model.scheme).status
'strong'

Importing stabzoo imports neither torch nor timm; the models are registered with timm when timm is imported, before or
after.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from stabzoo.checkpoints import checkpoint_filter_fn
    from stabzoo.config import Rational, Strict, load_yaml, validate
    from stabzoo.diagnostics.bounds.joint import Kernel, ReluStep, joint_sensitivity
    from stabzoo.diagnostics.bounds.network import forward_bounds
    from stabzoo.diagnostics.bounds.parts import fold_batch_norm
    from stabzoo.diagnostics.bounds.step_bound import StepBound
    from stabzoo.diagnostics.layers import conv_norm
    from stabzoo.diagnostics.measurement import Measurement
    from stabzoo.diagnostics.spectra.periodic import periodic_norms
    from stabzoo.discretization import Discretization, ExplicitMultistep, ImplicitMultistep, LearnableMultistep
    from stabzoo.errors import ConfigError
    from stabzoo.hookspecs import hookimpl
    from stabzoo.implicit.regularizers import ResidualPenalty, perturbation_penalty, residual_penalty
    from stabzoo.implicit.report import ConvergenceWarning
    from stabzoo.implicit.settings import SolverSettings
    from stabzoo.implicit.step import ImplicitStep, solver_report
    from stabzoo.multistep import LinearMultistep
    from stabzoo.network import Shape, StagedNetwork
    from stabzoo.plugins import get_scheme, list_models, list_schemes, refresh
    from stabzoo.stability import card, is_zero_stable, sweep, verify_certificate

__version__ = "0.1.0"

_PUBLIC = {
    "ConfigError": "errors",
    "ConvergenceWarning": "implicit.report",
    "Discretization": "discretization",
    "ExplicitMultistep": "discretization",
    "ImplicitMultistep": "discretization",
    "ImplicitStep": "implicit.step",
    "Kernel": "diagnostics.bounds.joint",
    "LearnableMultistep": "discretization",
    "LinearMultistep": "multistep",
    "Measurement": "diagnostics.measurement",
    "Rational": "config",
    "ReluStep": "diagnostics.bounds.joint",
    "ResidualPenalty": "implicit.regularizers",
    "Shape": "network",
    "SolverSettings": "implicit.settings",
    "StagedNetwork": "network",
    "StepBound": "diagnostics.bounds.step_bound",
    "Strict": "config",
    "card": "stability",
    "checkpoint_filter_fn": "checkpoints",
    "conv_norm": "diagnostics.layers",
    "fold_batch_norm": "diagnostics.bounds.parts",
    "forward_bounds": "diagnostics.bounds.network",
    "get_scheme": "plugins",
    "hookimpl": "hookspecs",
    "is_zero_stable": "stability",
    "joint_sensitivity": "diagnostics.bounds.joint",
    "list_models": "plugins",
    "list_schemes": "plugins",
    "load_yaml": "config",
    "periodic_norms": "diagnostics.spectra.periodic",
    "perturbation_penalty": "implicit.regularizers",
    "refresh": "plugins",
    "residual_penalty": "implicit.regularizers",
    "solver_report": "implicit.step",
    "sweep": "stability",
    "validate": "config",
    "verify_certificate": "stability",
}

__all__ = [  # timm appends the names of the models; a literal, for type checkers
    "ConfigError",
    "ConvergenceWarning",
    "Discretization",
    "ExplicitMultistep",
    "ImplicitMultistep",
    "ImplicitStep",
    "Kernel",
    "LearnableMultistep",
    "LinearMultistep",
    "Measurement",
    "Rational",
    "ReluStep",
    "ResidualPenalty",
    "Shape",
    "SolverSettings",
    "StagedNetwork",
    "StepBound",
    "Strict",
    "card",
    "checkpoint_filter_fn",
    "conv_norm",
    "fold_batch_norm",
    "forward_bounds",
    "get_scheme",
    "hookimpl",
    "is_zero_stable",
    "joint_sensitivity",
    "list_models",
    "list_schemes",
    "load_yaml",
    "periodic_norms",
    "perturbation_penalty",
    "refresh",
    "residual_penalty",
    "solver_report",
    "sweep",
    "validate",
    "verify_certificate",
]

default_cfgs: dict[str, Any] = {}  # timm looks here for the pretrained_cfg of each model


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(import_module(f"stabzoo.{_PUBLIC[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'stabzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


@wrapt.when_imported("timm")
def _register_models(timm: Any) -> None:
    import_module("stabzoo.zoo").register_models()
