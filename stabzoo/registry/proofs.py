"""Conditions that a registry claims of a scheme's parameter, beside the exact set of values at which they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product

from stabzoo.errors import SHOWN, PluginError
from stabzoo.methods import NOT_DECIDED, Method, NotDecided, method_of
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.registry.conditions import Condition, SeveralParametersError, parse_condition
from stabzoo.registry.discovery import Plugin
from stabzoo.registry.guard import failure_text, plugin_code
from stabzoo.registry.loading import get_scheme, parameter_names, scheme_class
from stabzoo.stability.parameters.stable_set import (
    SAMPLED,
    VERDICTS,
    Cell,
    Property,
    StableSet,
    stable_set,
)

__all__ = ["ConditionCheck", "check_condition"]

TITLES: dict[Property, str] = {"zero-stable": "zero stability", "A-stable": "A-stable", "L-stable": "L-stable"}


@dataclass(frozen=True)
class ConditionCheck:
    """How one claim, that a scheme has a property exactly when a condition holds, fared.

    Attributes:
        name: Of what.
        condition: What is claimed.
        values: At how many values of the parameter the scheme was evaluated.
        refused: How many further values it does not accept.
        proved: The exact set, and what it is proved of; None where the coefficients are not known to be rational
            functions of the parameter, so that the claim was checked at the values and no further.
        left_out: Parts of the line where the claim differs, but the scheme accepts none of the values tried.
        false_claim: What is false, in a sentence.

    """

    name: Property
    condition: str
    values: int
    refused: int
    proved: StableSet | None = None
    left_out: tuple[str, ...] = ()
    false_claim: str | None = None

    @property
    def how(self) -> str:
        """How far it holds: what the proof is about, or at how many values it was checked."""
        refused = f", {self.refused} refused" if self.refused else ""
        if self.proved is None:
            return f"checked at {self.values} values{refused}, not proved"
        text = self.proved.proof(parse_condition(self.condition).parameters[0])
        if self.left_out:
            text += f"; left out {', '.join(self.left_out)}, where the scheme accepts no value tried"
        return text

    def to_dict(self) -> dict[str, object]:
        """Return what is claimed and what is so as JSON-safe values; ``proved`` is null where it was only sampled."""
        return {
            "property": self.name,
            "claimed": self.condition,
            "proved": self.proved and self.proved.text(parse_condition(self.condition).parameters[0]),
            "how": self.how,
            "values": self.values,
            "values_refused": self.refused,
        }


def check_condition(plugin: Plugin, scheme: str, condition: str, name: Property) -> ConditionCheck:
    """Compare the condition with the exact set of values at which the scheme has the property."""
    claimed = f"claims {TITLES[name]} exactly when {condition}"
    try:
        parsed = parse_condition(condition)
    except SeveralParametersError as error:
        return ConditionCheck(name, condition, 0, 0, false_claim=f"{claimed}, which cannot be checked: {error}")
    accepted = parameter_names(scheme_class(scheme))
    if unknown := [parameter for parameter in parsed.parameters if parameter not in accepted]:
        takes = f"its parameters: {', '.join(accepted)}" if accepted else "it has no parameters"
        text = f"{claimed}, but has no parameter {unknown[0]!r}; {takes}"
        return ConditionCheck(name, condition, 0, 0, false_claim=text)
    family, proved = _family(plugin, scheme, parsed.parameters), None
    is_line = len(parsed.parameters) == 1
    values = list(dict.fromkeys((*parsed.probes(), *SAMPLED))) if is_line else parsed.grid()
    methods: dict[tuple[Fraction, ...], Method] = {}
    refused = 0
    try:
        for place in product(values, repeat=len(parsed.parameters)):
            try:
                methods[place] = family(*place)
            except ValueError:  # also ConfigError: no values of these parameters
                refused += 1
        if methods and is_line and _decided_by_coefficients(methods.values(), name):
            proved = stable_set(family, name, cuts=parsed.bounds, values=values)
    except PluginError as error:
        return ConditionCheck(name, condition, len(methods), refused, false_claim=f"{claimed}, but {error}")
    except ValueError:  # no rational functions, or with coefficients beyond what a method may have
        pass
    if not methods:
        text = f"{claimed}, but accepts none of the {refused} values tried"
        return ConditionCheck(name, condition, 0, refused, false_claim=text)
    if proved is None:
        wrong, left_out = _wrong_values(methods, parsed, name), []
    else:
        wrong, left_out = _wrong_cells(proved, parsed, family, [value for (value,) in methods])
    text = None
    if wrong:
        so = f"exactly when {proved.text(parsed.parameters[0])}; " if proved else ""
        more = f"; {len(wrong)} counterexamples" if len(wrong) > SHOWN else ""
        text = f"{claimed}; proved: {so}{'; '.join(wrong[:SHOWN])}{more}"
    return ConditionCheck(name, condition, len(methods), refused, proved, tuple(left_out), text)


def _family(plugin: Plugin, scheme: str, parameters: tuple[str, ...]) -> Callable[..., Method]:
    """The scheme as a function of its parameters; its code runs under guard, and once a value."""

    @cache
    def method(*values: Fraction) -> Method:
        try:
            with plugin_code(f"{plugin}: scheme {scheme!r}", passes=(ValueError,)):
                return method_of(get_scheme(scheme, **dict(zip(parameters, values, strict=True))))
        except PluginError as error:
            failure = failure_text(error.__cause__ or error)
            raise PluginError(
                f"fails at {_place(parameters, values)} ({failure}); refuse such a value by a ValueError"
            ) from error

    return method


def _decided_by_coefficients(methods: Iterable[Method], name: Property) -> bool:
    """Whether rho and sigma are all there is to know: always of zero stability; else of multistep and one-leg ones."""
    return name == "zero-stable" or all(isinstance(method, LinearMultistep) for method in methods)


def _wrong_values(methods: dict[tuple[Fraction, ...], Method], condition: Condition, name: Property) -> list[str]:
    verdicts = {values: VERDICTS[name](method) for values, method in methods.items()}
    return [
        _counterexample(_place(condition.parameters, values), name, holds=holds)
        for values, holds in verdicts.items()
        if holds is not condition.holds(*values)
    ]


def _place(parameters: tuple[str, ...], values: tuple[Fraction, ...]) -> str:
    return ", ".join(f"{parameter} = {value}" for parameter, value in zip(parameters, values, strict=True))


def _wrong_cells(
    proved: StableSet,
    condition: Condition,
    family: Callable[[Fraction], Method],
    values: Sequence[Fraction],
) -> tuple[list[str], list[str]]:
    """A counterexample of each cell where the claim differs, and the cells where the scheme takes no value."""
    (parameter,) = condition.parameters
    wrong: list[str] = []
    left_out: list[str] = []
    for cell in proved.cells:
        if cell.holds is None or cell.holds == condition.holds(cell.sample):
            continue
        if cell.is_point and cell.lower is not None and cell.lower.rational is None:
            place = cell.text(parameter).replace("==", "=")
        else:
            value = next((v for v in _candidates(cell, values) if _takes(family, v)), None)
            if value is None:
                left_out.append(cell.text(parameter))
                continue
            place = _place(condition.parameters, (value,))
        wrong.append(_counterexample(place, proved.name, holds=cell.holds))
    return wrong, left_out


def _candidates(cell: Cell, values: Sequence[Fraction]) -> Iterator[Fraction]:
    yield cell.sample
    yield from (value for value in values if cell.contains(value))


def _takes(family: Callable[[Fraction], Method], value: Fraction) -> bool:
    try:
        family(value)
    except (ValueError, PluginError):
        return False
    return True


def _counterexample(place: str, name: Property, *, holds: bool | NotDecided) -> str:
    if holds is NOT_DECIDED:
        return f"at {place} it is not decided"
    return f"{place} is {'' if holds else 'not '}{name}"
