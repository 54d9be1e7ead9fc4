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
    from stabzoo.config import Rational
    from stabzoo.discretization import Discretization, ExplicitMultistep, LearnableMultistep
    from stabzoo.hookspecs import hookimpl
    from stabzoo.multistep import LinearMultistep
    from stabzoo.network import Shape, StagedNetwork
    from stabzoo.plugins import get_scheme, list_models, list_schemes, refresh
    from stabzoo.stability import card, is_zero_stable, sweep, verify_certificate

__version__ = "0.1.0"

_PUBLIC = {
    "Discretization": "discretization",
    "ExplicitMultistep": "discretization",
    "LearnableMultistep": "discretization",
    "LinearMultistep": "multistep",
    "Rational": "config",
    "Shape": "network",
    "StagedNetwork": "network",
    "card": "stability",
    "checkpoint_filter_fn": "checkpoints",
    "get_scheme": "plugins",
    "hookimpl": "hookspecs",
    "is_zero_stable": "stability",
    "list_models": "plugins",
    "list_schemes": "plugins",
    "refresh": "plugins",
    "sweep": "stability",
    "verify_certificate": "stability",
}

__all__ = [  # timm appends the names of the models; a literal, for type checkers
    "Discretization",
    "ExplicitMultistep",
    "LearnableMultistep",
    "LinearMultistep",
    "Rational",
    "Shape",
    "StagedNetwork",
    "card",
    "checkpoint_filter_fn",
    "get_scheme",
    "hookimpl",
    "is_zero_stable",
    "list_models",
    "list_schemes",
    "refresh",
    "sweep",
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
