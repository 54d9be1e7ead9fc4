"""``stabzoo show`` and ``stabzoo analyze``: everything that is proved of one method, and the proof."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel
from rich.console import Console

from stabzoo.claims import SchemeReport, condition_claims, prove
from stabzoo.cli.arguments.settings import parse_settings
from stabzoo.cli.card_text import LABEL_WIDTH, card_rows, certificate_sentences, coefficients_text
from stabzoo.cli.console import STYLES, brief, full, output, print_json
from stabzoo.discretization import Discretization
from stabzoo.errors import ConfigError, PluginError
from stabzoo.families import named_method
from stabzoo.methods import NOT_DECIDED, NotDecided, method_of
from stabzoo.methods.multistep import HasCoefficients, LinearMultistep
from stabzoo.registry.catalogue import catalogue, unknown_name
from stabzoo.registry.discovery import Plugin
from stabzoo.registry.guard import plugin_code
from stabzoo.registry.loading import scheme_class
from stabzoo.registry.proofs import ConditionCheck, check_condition
from stabzoo.registry.schema import SchemeClaim
from stabzoo.schemes import LearnableMultistep
from stabzoo.stability import StabilityCard, as_float, card, growth_curve, verify_certificate
from stabzoo.stability.properties.effective_depth import EffectiveDepth, effective_depth, network_methods
from stabzoo.stability.root_condition import rational_text

__all__ = ["coefficients_of", "print_method", "show_method", "show_named"]


def show_named(name: str, settings: Iterable[str], *, as_json: bool, plot: Path | None) -> None:
    """Print the card of a scheme, or of a model's scheme, with some of its parameters set.

    Raises:
        ConfigError: nothing has this name, a setting is not valid, or the plot cannot be written.
        PluginError: the plugin that provides the scheme is broken.

    """
    known = catalogue()
    if name not in known.schemes and name not in known.models:
        raise unknown_name("scheme or model", name, [*known.schemes, *known.models])
    model = None if name in known.schemes else known.models[name]
    scheme_name = model[1].scheme if model else name
    given = {**(model[1].parameters if model else {}), **parse_settings(settings, scheme_class(scheme_name))}
    scheme, proved = prove(scheme_name, given)
    plugin, claim = known.schemes[scheme_name]
    parameters = _parameters(scheme, given)
    called = _called(scheme_name, parameters)
    blocks = cache(lambda: _blocks(name, model[0], given, scheme) if model else "no network")
    grown = cache(lambda: growth_curve(found) if not isinstance(found := blocks(), str) else found)
    deep = cache(lambda: _depth_of_model(blocks()) if model else effective_depth(network_methods(scheme)))
    if plot is not None:
        curve = grown()
        _draw(proved, plot, called, () if isinstance(curve, str) else [as_float(size) for size in curve])
    trained = scheme.parameter if isinstance(scheme, LearnableMultistep) else None
    if as_json:
        print_json(
            {
                "name": name,
                "kind": "model" if model else "scheme",
                "plugin": plugin.name,
                "distribution": plugin.distribution,
                "scheme": scheme_name,
                "parameters": parameters,
                "trained_parameter": trained,
                **_card_json(proved),
                "effective_depth": _depth_json(deep()),
                "model": model
                and {
                    "plugin": model[0].name,
                    **model[1].model_dump(mode="json"),
                    **_growth_json(grown()),
                },
                "claim": claim.model_dump(mode="json"),
                "conditions": [check.to_dict() for check in _conditions(scheme_name, plugin, claim)],
            }
        )
        return
    console = output()
    if model:
        console.print(f"{name}: {model[1].form} network of depth {model[1].depth}, {model[0]}", style="bold")
        if model[1].options:
            console.print(", ".join(f"{option} = {value}" for option, value in model[1].options.items()), style="bold")
    console.print(f"scheme {called}, {plugin}", style="bold")
    if trained:
        console.print(f"coefficients at initialisation; every block trains its own {trained}", style="yellow")
    _print_card(console, proved, chain(_growth_rows(grown) if model else (), _depth_rows(deep)))
    if not model and not given:
        for sentence in SchemeReport(name, plugin, claim, scheme, proved).false_claims:
            _print_wrapped(console, "registry.yaml ", sentence, STYLES["broken"])
    _print_literature(console, claim, _conditions(scheme_name, plugin, claim))


def coefficients_of(
    name: str | None, alpha: Sequence[str], beta: Sequence[str], beta_next: str | None
) -> LinearMultistep:
    """Return the method that is named, or has these coefficients.

    Raises:
        ConfigError: they are not the coefficients of a method, it is no name, or both are given, or neither.

    """
    try:
        if name is not None:
            if alpha or beta or beta_next is not None:
                raise ValueError(f"expected {name} or coefficients, got both")
            return named_method(name)
        if not (alpha and beta):
            raise ValueError("expected --alpha and --beta, or a named method, e.g. 'bdf(3)'")
        return LinearMultistep(_numbers(alpha), _numbers(beta), beta_next or 0)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def show_method(method: LinearMultistep, *, as_json: bool, plot: Path | None) -> None:
    """Print the card of a linear multistep method.

    Raises:
        ConfigError: the plot cannot be written.

    """
    proved = card(method)
    if plot is not None:
        _draw(proved, plot, coefficients_text(method))
    if as_json:
        print_json({**_card_json(proved), "effective_depth": _depth_json(effective_depth(network_methods(method)))})
        return
    print_method(proved)


def print_method(proved: StabilityCard) -> None:
    """Print the card of a linear multistep method, for people."""
    console, steps = output(), proved.method.steps
    console.print(f"linear multistep method, {steps} step{'s' if steps > 1 else ''}", style="bold")
    _print_card(console, proved, _depth_rows(lambda: effective_depth(network_methods(proved.method))))


def _numbers(given: Sequence[str]) -> list[str]:
    """Numbers that are separated by spaces or by commas: ``1/3 5/9`` and ``1/3,5/9`` are the same."""
    return [text for part in given for text in part.strip().removesuffix(",").split(",")]


def _print_card(console: Console, proved: StabilityCard, further: Iterable[tuple[str, str]] = ()) -> None:
    """Print each row as soon as it is known: some take longer than others."""
    console.print(f"\n  {proved.method}\n", soft_wrap=True)
    for label, text in chain(card_rows(proved), further):
        style = STYLES[proved.status] if label == "zero stability" else ""
        _print_wrapped(console, label.ljust(LABEL_WIDTH + 2), text, style)
    verified = verify_certificate(proved.method, proved.certificate)
    words = "verified: rho is rebuilt from it" if verified else "DOES NOT VERIFY"
    console.print(f"\ncertificate ({words})", style="" if verified else STYLES["broken"])
    for sentence in certificate_sentences(proved.certificate):
        _print_wrapped(console, "- ", sentence)


def _conditions(scheme: str, plugin: Plugin, claim: SchemeClaim) -> list[ConditionCheck]:
    """What is claimed of all values of a parameter, and proved."""
    claimed = condition_claims(claim).items()
    return [check_condition(plugin, scheme, text, name) for name, text in claimed if isinstance(text, str)]


def _print_literature(console: Console, claim: SchemeClaim, conditions: Iterable[ConditionCheck]) -> None:
    console.print()
    for check in conditions:
        label = f"{check.name} exactly when  "
        if check.false_claim:
            _print_wrapped(console, label, f"registry.yaml {check.false_claim}", STYLES["broken"])
        else:
            _print_wrapped(console, label, f"{check.condition}  ({check.how})")
    for what, condition in claim.certified.items():
        _print_wrapped(console, f"certified {what}  ", condition)
    if claim.reference:
        _print_wrapped(console, "reference  ", claim.reference)
    if claim.corrections:
        console.print("\ncorrections to the literature")
    for correction in claim.corrections:
        _print_wrapped(console, "- ", correction)


def _print_wrapped(console: Console, label: str, text: str, style: str = "") -> None:
    """Print ``text`` with a hanging indent as wide as its label."""
    width = max(console.width, len(label) + 20)
    lines = textwrap.fill(
        text,
        width,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print(lines, style=style, soft_wrap=True)


def _draw(proved: StabilityCard, path: Path, title: str, growth: Sequence[float] = ()) -> None:
    from stabzoo.plotting.scheme import write_scheme_plot  # imports matplotlib

    write_scheme_plot(proved, path, title, growth)


def _parameters(scheme: Discretization, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters that were given, else the scheme's defaults, as it has understood them."""
    if not isinstance(scheme, BaseModel):
        return given
    return scheme.model_dump(mode="json", exclude_unset=bool(given), exclude_none=True)


def _growth_json(curve: tuple[Fraction, ...] | str) -> dict[str, Any]:
    """The largest product norm, exactly, and the curve along the depth in floats, null where none is large enough."""
    if isinstance(curve, str):
        return {"growth": None, "growth_curve": None}
    floats = [as_float(size) for size in curve]
    return {
        "growth": rational_text(max(curve)),
        "growth_curve": [size if math.isfinite(size) else None for size in floats],
    }


def _growth_rows(grown: Callable[[], tuple[Fraction, ...] | str]) -> Iterator[tuple[str, str]]:
    curve = grown()
    if isinstance(curve, str):
        yield "growth", f"not decided: {curve}"
        return
    yield "growth", f"max ||C_n ... C_m||_inf = {full(max(curve))}, over its own blocks m to n"
    if len(set(curve)) > 1:
        last = len(curve) - 1
        marks = sorted({*(round(last * i / 6) for i in range(7)), curve.index(max(curve))})
        yield "along the depth", ", ".join(f"{brief(curve[n])} at block {n}" for n in marks)


def _depth_of_model(blocks: Sequence[HasCoefficients] | str) -> EffectiveDepth | NotDecided:
    return NOT_DECIDED if isinstance(blocks, str) else effective_depth([method_of(block) for block in blocks])


def _depth_rows(deep: Callable[[], EffectiveDepth | NotDecided]) -> Iterator[tuple[str, str]]:
    yield "effective depth", str(deep())


def _depth_json(found: EffectiveDepth | NotDecided) -> object:
    return str(found) if found is NOT_DECIDED else found.to_dict()


def _blocks(model: str, plugin: Plugin, given: dict[str, Any], scheme: Discretization) -> list[HasCoefficients] | str:
    """The methods of the model's own blocks: the first, and those that change shape, are others than the scheme's.

    Blocks that train their coefficients have the scheme's, which are those at initialisation.  Where the plugin's
    blocks fail, or state no coefficients, it is said why there is none: the card stands without it.
    """
    import timm  # and torch, which only models need

    from stabzoo.networks.steps import trained_coefficients

    try:
        with plugin_code(f"{plugin}: model {model!r}"):
            network: Any = timm.create_model(model, device="meta", **given)
            found = [(getattr(block, "step", None), getattr(block, "starting", False)) for block in network.blocks()]
    except PluginError as error:
        return str(error)
    multistep = isinstance(method_of(scheme), LinearMultistep)
    methods = [
        scheme
        if trained_coefficients(step) or (hasattr(step, "coefficients") and not (starting or multistep))
        else step
        for step, starting in found
    ]
    if not all(isinstance(method, HasCoefficients) for method in methods):
        return "its blocks state no coefficients"
    return cast(list[HasCoefficients], methods)


def _called(name: str, parameters: dict[str, Any]) -> str:
    """A scheme with its parameters: ``zerosnet(lam=-9/5)``, ``multistep(alpha=(1, 0), beta=(3/2, -1/2))``."""
    texts = [
        f"{key}={f'({chr(44).join(map(str, value))})' if isinstance(value, list) else value}"
        for key, value in parameters.items()
    ]
    return f"{name}({', '.join(texts)})" if texts else name


def _card_json(proved: StabilityCard) -> dict[str, Any]:
    return {
        "formula": str(proved.method),
        "card": proved.to_dict(),
        "certificate_verified": verify_certificate(proved.method, proved.certificate),
    }
