"""The zoo as data: every scheme and model with what is proved of it, and the proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stabzoo.claims import ModelReport, SchemeReport
from stabzoo.methods import NOT_DECIDED, GeneralLinear, OneLeg, OwnNetwork
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.page.families import intervals, stability_function
from stabzoo.stability import StabilityCard, as_float, rational_text
from stabzoo.stability.properties.effective_depth import effective_depth, network_methods

__all__ = ["model_row", "scheme_row"]


def scheme_row(report: SchemeReport) -> dict[str, Any]:
    """A scheme with its default parameters: its card, its certificate, and what its registry says."""
    claim = report.claim
    return {
        "name": report.name,
        "what": "scheme",
        "plugin": report.plugin.name,
        "distribution": report.plugin.distribution,
        "family": claim.family,
        "reference": claim.reference,
        "corrections": list(claim.corrections),
        "certified": dict(claim.certified),
        "condition": claim.condition,
        "learnable": report.is_learnable,
        "effectiveDepth": str(effective_depth(network_methods(report.scheme))) if report.scheme else None,
        "falseClaims": list(report.false_claims),
        "error": report.error,
        **_card(report.card),
        "certificate": report.card.certificate.to_dict() if report.card and _method(report.card) else None,
    }


def model_row(report: ModelReport, cost: Mapping[str, float]) -> dict[str, Any]:
    """A model: its scheme, its network and what it costs, and the card of its scheme with its parameters."""
    config = report.config
    return {
        "name": report.name,
        "what": "model",
        "plugin": report.plugin.name,
        "distribution": report.plugin.distribution,
        "scheme": config.scheme,
        "depth": config.depth,
        "network": f"{config.form}, {config.block} blocks, {' + '.join(map(str, config.layers))}",
        "settings": {**config.parameters, **config.options},
        "cost": dict(cost),
        "error": report.error,
        **_card(report.card),
    }


def _card(card: StabilityCard | None) -> dict[str, Any]:
    """The columns of the table."""
    if card is None:
        return {"status": "broken"}
    return {
        "status": card.status,
        "reason": card.reason,
        "kind": card.method.kind,
        "steps": card.method.steps,
        "order": "none" if card.order is None else str(card.order),
        "radius": as_float(card.parasitic_radius),
        "formula": str(card.method),
        "intervals": intervals(card),
        "method": _method(card),
        "aStable": "not decided" if card.is_A_stable is NOT_DECIDED else "yes" if card.is_A_stable else "no",
    }


def _method(card: StabilityCard) -> dict[str, Any] | None:
    """What the browser draws and typesets; of a matrix it does not."""
    method, coefficients = card.method, card.coefficients
    if isinstance(method, GeneralLinear | OwnNetwork):
        return None
    return {
        "kind": method.kind,
        "alpha": [rational_text(a) for a in coefficients.alpha],
        "beta": [rational_text(b) for b in coefficients.beta],
        "betaNext": rational_text(coefficients.beta_next),
        "isOwn": type(method) not in (LinearMultistep, OneLeg),
        "stabilityFunction": stability_function(method),
    }
