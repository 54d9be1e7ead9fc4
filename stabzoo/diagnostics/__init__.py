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
    from stabzoo.diagnostics.bounds.certificate import certificate
    from stabzoo.diagnostics.bounds.network import forward_bounds
    from stabzoo.diagnostics.conditioning.blocks import block_conditioning, module_conditioning
    from stabzoo.diagnostics.conditioning.condition_number import condition_number
    from stabzoo.diagnostics.growth import perturbation_growth
    from stabzoo.diagnostics.layers import conv_norm, layer_norms, singular_values
    from stabzoo.diagnostics.measurement import Measurement
    from stabzoo.diagnostics.report.figures import layer_norms_figure
    from stabzoo.diagnostics.report.measuring import diagnose
    from stabzoo.diagnostics.spectra.operators import ConvOperator
    from stabzoo.diagnostics.spectra.periodic import periodic_norms
    from stabzoo.diagnostics.spectra.smallest import smallest_singular_value
    from stabzoo.diagnostics.spectra.zero_padding import enclose_norm

_MODULES = {
    "ConvOperator": "spectra.operators",
    "Measurement": "measurement",
    "PrincipalAngles": "angles",
    "block_conditioning": "conditioning.blocks",
    "certificate": "bounds.certificate",
    "class_angles": "angles",
    "condition_number": "conditioning.condition_number",
    "conv_norm": "layers",
    "diagnose": "report.measuring",
    "enclose_norm": "spectra.zero_padding",
    "forward_bounds": "bounds.network",
    "layer_angles": "angles",
    "layer_norms": "layers",
    "layer_norms_figure": "report.figures",
    "median_angle": "angles",
    "module_conditioning": "conditioning.blocks",
    "periodic_norms": "spectra.periodic",
    "perturbation_growth": "growth",
    "sensitivity_attack": "attack",
    "singular_values": "layers",
    "smallest_singular_value": "spectra.smallest",
}

__all__ = [  # a literal, for type checkers
    "ConvOperator",
    "Measurement",
    "PrincipalAngles",
    "block_conditioning",
    "certificate",
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
