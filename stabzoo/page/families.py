"""Schemes as data: what a browser needs to compute the method of any value of a parameter, exactly."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction
from itertools import product
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from stabzoo.claims import SchemeReport
from stabzoo.discretization import Discretization
from stabzoo.errors import ConfigError, PluginError
from stabzoo.methods import (
    NOT_DECIDED,
    GeneralLinear,
    Method,
    OneLeg,
    OscillatorMatrix,
    OscillatorPolynomial,
    OwnNetwork,
    StabilityFunction,
    method_of,
)
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.registry.guard import plugin_code
from stabzoo.registry.loading import get_scheme
from stabzoo.stability import StabilityCard, card, real_to_json
from stabzoo.stability.parameters.coefficients import Coefficients, recover
from stabzoo.stability.parameters.stable_set import SAMPLED
from stabzoo.stability.root_condition import rational_text

__all__ = ["family", "intervals", "stability_function"]

MOST_VARIANTS = 64
"""Combinations of choices that are tried: of more a scheme is shown with its defaults."""


def family(report: SchemeReport) -> dict[str, Any] | None:
    """The family that a scheme's parameters span; None where no value of them gives a method.

    Parameters with few values (a truth value, one of several names, a small integer) are choices; of each combination
    there is a variant for every rational parameter that the coefficients depend on, as polynomials in it.
    """
    if report.scheme is None:
        return None
    options, rationals = _parameters(type(report.scheme))
    if len(combinations := list(product(*options.values()))) > MOST_VARIANTS:
        options, combinations = {}, [()]
    variants: list[dict[str, Any]] = []
    for values in combinations:
        chosen = dict(zip(options, values, strict=True))
        for parameter in rationals or [None]:
            variants += _variant(report, chosen, parameter)
    options = _used(options, variants)
    kept = {_key(variant, options): variant for variant in reversed(variants)}
    if not kept:
        return None
    defaults = {name: getattr(report.scheme, name) for name in (*options, *rationals)}
    return {
        "name": report.name,
        "choices": {name: [_plain(value) for value in values] for name, values in options.items()},
        "defaults": {name: _plain(value) for name, value in defaults.items()},
        "variants": [
            {**variant, "choices": {name: variant["choices"][name] for name in options}}
            for variant in reversed(kept.values())
        ],
    }


class _WithoutDefaults(GenerateJsonSchema):
    """Of a fraction older pydantics have no JSON, and warn."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def _parameters(cls: type[Discretization]) -> tuple[dict[str, list[Any]], list[str]]:
    """The parameters with few values, and the rational ones."""
    options: dict[str, list[Any]] = {}
    rationals: list[str] = []
    if not issubclass(cls, BaseModel):
        return options, rationals
    for name, schema in cls.model_json_schema(schema_generator=_WithoutDefaults).get("properties", {}).items():
        kind = schema.get("type")
        if kind == ["number", "string"]:
            rationals.append(name)
        elif kind == "boolean":
            options[name] = [False, True]
        elif "enum" in schema:
            options[name] = list(schema["enum"])
        elif kind == "integer" and {"minimum", "maximum"} <= set(schema):
            options[name] = list(range(schema["minimum"], schema["maximum"] + 1))
    return options, rationals


def _variant(report: SchemeReport, chosen: Mapping[str, Any], parameter: str | None) -> Iterator[dict[str, Any]]:
    """What the coefficients are as functions of the parameter, if they are rational functions of it."""
    values = SAMPLED if parameter else (Fraction(0),)
    methods: dict[Fraction, Method] = {}
    refused: list[str] = []
    for value in values:
        try:
            with plugin_code(f"{report.plugin}: scheme {report.name!r}", passes=(ValueError,)):
                scheme = get_scheme(report.name, **chosen, **({parameter: value} if parameter else {}))
                methods[value] = method_of(scheme)
        except (ValueError, PluginError, ConfigError):
            refused.append(rational_text(value))
    kinds = {method.kind for method in methods.values()}
    known = _known({value: method.coefficients() for value, method in methods.items()})
    if known is None or len(kinds) > 1 or kinds <= {GeneralLinear.kind, OwnNetwork.kind}:
        return  # of the last two the coefficients do not decide zero stability
    method = next(iter(methods.values()))
    depends = any(p.degree() > 0 for p in (*known.rho, *known.sigma))
    yield {
        "choices": dict(chosen),
        "parameter": parameter if depends else None,
        "kind": method.kind,
        "rho": [[str(c) for c in p.coeffs()] for p in known.rho],
        "sigma": [[str(c) for c in p.coeffs()] for p in known.sigma],
        "refused": refused if depends else [],
        "intervals": _intervals(methods.values() if depends else [method]),
        **_stated(methods.values(), depends=depends),
    }


def _known(samples: Mapping[Fraction, LinearMultistep]) -> Coefficients | None:
    if len(samples) == 1:  # nothing to recover: the same at as many values as are asked for
        (method,) = samples.values()
        samples = {Fraction(i): method for i in range(3)}
    return recover(samples)


def _stated(methods: Collection[Method], *, depends: bool) -> dict[str, Any]:
    """What is decided of methods that is not what their coefficients alone say, where it is the same of all."""
    method = next(iter(methods))
    if type(method) in (LinearMultistep, OneLeg):
        return {}
    orders = {"none" if each.order is None else str(each.order) for each in methods}
    constants = {"none" if each.error_constant is None else str(each.error_constant) for each in methods}
    return {
        "formula": None if depends else str(method),
        "order": _one(orders),
        "errorConstant": _one(constants),
        "stabilityFunction": None if depends else stability_function(method),
    }


def stability_function(method: Method) -> dict[str, list[str]] | None:
    """R(z) of a one-step method, where it is that which decides the step on y' = lambda y."""
    linear = method.linear
    if not isinstance(linear, StabilityFunction):
        return None
    return {name: [rational_text(c) for c in getattr(linear, name)] for name in ("numerator", "denominator")}


def _intervals(methods: Collection[Method]) -> dict[str, Any] | None:
    """Of methods that do not depend on a parameter, or of which none is decided; the page decides those of others."""
    first, *others = (card(each) for each in methods)
    found = intervals(first)
    return found if not others or set(found.values()) == {str(NOT_DECIDED)} else None


def intervals(card: StabilityCard) -> dict[str, Any]:
    """The lengths of the real and the imaginary interval, or of that on the oscillator, which page and card show."""
    if isinstance(card.method.linear, OscillatorMatrix | OscillatorPolynomial):
        return {"oscillator": real_to_json(card.imaginary_interval)}
    return {"real": real_to_json(card.real_interval), "imaginary": real_to_json(card.imaginary_interval)}


def _one(texts: set[str]) -> str:
    return texts.pop() if len(texts) == 1 else "depends on the parameter"


def _used(options: dict[str, list[Any]], variants: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The choices on which what is shown depends."""

    def depends(name: str) -> bool:
        seen: dict[str, str] = {}
        for variant in variants:
            others = {key: value for key, value in variant["choices"].items() if key != name}
            shown = repr({key: value for key, value in variant.items() if key != "choices"})
            if seen.setdefault(repr((others, variant["parameter"])), shown) != shown:
                return True
        return False

    return {name: values for name, values in options.items() if depends(name)}


def _key(variant: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    return repr(([variant["choices"][name] for name in options], variant["parameter"]))


def _plain(value: Any) -> Any:
    return rational_text(value) if isinstance(value, Fraction) else value
