"""Measured stability of any torch network: norms, bounds, attacks, condition numbers, principal angles, noise growth.

Every number says what kind it is: exact, certified_upper, certified_lower, converged or heuristic.

>>> import torch
>>> from stabzoo.diagnostics import layer_norms
>>> ring = torch.nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
>>> _ = torch.nn.init.constant_(ring.weight, 1 / 9)
>>> norm = layer_norms(ring, (1, 8, 8))[0].upper
>>> round(norm.value, 6), norm.kind
(1.0, 'exact')

The names are imported when they are first used, and torch with them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stabzoo.diagnostics.angles import PrincipalAngles, class_angles, layer_angles, median_angle
    from stabzoo.diagnostics.attack import sensitivity_attack
    from stabzoo.diagnostics.bounds import forward_bounds
    from stabzoo.diagnostics.conditioning import block_conditioning, condition_number, module_conditioning
    from stabzoo.diagnostics.diagnosis import diagnose
    from stabzoo.diagnostics.growth import perturbation_growth
    from stabzoo.diagnostics.layers import conv_norm, layer_norms, singular_values
    from stabzoo.diagnostics.layers_plot import layer_norms_figure
    from stabzoo.diagnostics.measurement import Measurement
    from stabzoo.diagnostics.operators import ConvOperator
    from stabzoo.diagnostics.periodic import periodic_norms
    from stabzoo.diagnostics.smallest import smallest_singular_value
    from stabzoo.diagnostics.zero_padding import enclose_norm

_MODULES = {
    "ConvOperator": "operators",
    "Measurement": "measurement",
    "PrincipalAngles": "angles",
    "block_conditioning": "conditioning",
    "class_angles": "angles",
    "condition_number": "conditioning",
    "conv_norm": "layers",
    "diagnose": "diagnosis",
    "enclose_norm": "zero_padding",
    "forward_bounds": "bounds",
    "layer_angles": "angles",
    "layer_norms": "layers",
    "layer_norms_figure": "layers_plot",
    "median_angle": "angles",
    "module_conditioning": "conditioning",
    "periodic_norms": "periodic",
    "perturbation_growth": "growth",
    "sensitivity_attack": "attack",
    "singular_values": "layers",
    "smallest_singular_value": "smallest",
}

__all__ = [  # a literal, for type checkers
    "ConvOperator",
    "Measurement",
    "PrincipalAngles",
    "block_conditioning",
    "class_angles",
    "condition_number",
    "conv_norm",
    "diagnose",
    "enclose_norm",
    "forward_bounds",
    "layer_angles",
    "layer_norms",
    "layer_norms_figure",
    "median_angle",
    "module_conditioning",
    "periodic_norms",
    "perturbation_growth",
    "sensitivity_attack",
    "singular_values",
    "smallest_singular_value",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'stabzoo.diagnostics' has no attribute {name!r}")
    value = getattr(import_module(f"stabzoo.diagnostics.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
