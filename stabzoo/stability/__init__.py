"""Zero stability and absolute stability of numerical methods, decided in exact arithmetic.

Importing this package needs neither numpy nor FLINT; they are imported when a number asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stabzoo.stability.certificate import Certificate
from stabzoo.stability.enclosure import Enclosure, Real, as_float, real_to_json
from stabzoo.stability.root_condition import is_zero_stable, rational_text
from stabzoo.stability.roots import Root
from stabzoo.stability.stability_card import StabilityCard, card
from stabzoo.stability.zero_stability import SecondOrderCertificate, certify, verify_certificate

if TYPE_CHECKING:
    from stabzoo.stability.growth import ProductGrowth, growth_curve, product_growth
    from stabzoo.stability.parameters.stable_set import StableSet, stable_set
    from stabzoo.stability.properties.effective_depth import EffectiveDepth, effective_depth
    from stabzoo.stability.region import boundary_locus, stability_region
    from stabzoo.stability.sweeps import SweepResult, sweep

_LAZY = {
    "EffectiveDepth": "properties.effective_depth",
    "effective_depth": "properties.effective_depth",
    "ProductGrowth": "growth",
    "growth_curve": "growth",
    "product_growth": "growth",
    "StableSet": "parameters.stable_set",
    "stable_set": "parameters.stable_set",
    "boundary_locus": "region",
    "stability_region": "region",
    "SweepResult": "sweeps",
    "sweep": "sweeps",
}

__all__ = [
    "Certificate",
    "EffectiveDepth",
    "Enclosure",
    "ProductGrowth",
    "Real",
    "Root",
    "SecondOrderCertificate",
    "StabilityCard",
    "StableSet",
    "SweepResult",
    "as_float",
    "boundary_locus",
    "card",
    "certify",
    "effective_depth",
    "growth_curve",
    "is_zero_stable",
    "product_growth",
    "rational_text",
    "real_to_json",
    "stability_region",
    "stable_set",
    "sweep",
    "verify_certificate",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"stabzoo.stability.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'stabzoo.stability' has no attribute {name!r}")
