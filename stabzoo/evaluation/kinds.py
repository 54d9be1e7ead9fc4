"""The kinds of evaluations: ours, and those of plugins, whose code is imported when one is read.

A field of type `AnyEvaluation` holds an evaluation of any kind, written as a mapping with its ``kind``.  A list of
them, `Evaluations`, may have one entry for several ``radii``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    PrivateAttr,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from stabzoo.errors import PluginError, quoted
from stabzoo.evaluation import l2, spec
from stabzoo.evaluation.spec import RADII
from stabzoo.metric import SHIPPED, Evaluation, Metric
from stabzoo.registry.catalogue import catalogue, unknown_name
from stabzoo.registry.guard import plugin_code
from stabzoo.registry.loading import load_plugin

__all__ = [
    "RECORDED",
    "Absent",
    "AnyEvaluation",
    "Evaluations",
    "evaluation_adapter",
    "known_kinds",
    "owner",
    "recorded",
]

CLASSES: dict[str, type[Evaluation]] = {
    cls.model_fields["kind"].annotation.__args__[0]: cls  # pyright: ignore
    for cls in (
        spec.Clean,
        spec.Gaussian,
        spec.Uniform,
        spec.Constant,
        spec.Structured,
        spec.Corruption,
        spec.Fgsm,
        spec.Pgd,
        spec.AutoAttack,
        spec.Margin,
        l2.Certified,
        l2.Smoothed,
        l2.Abstentions,
    )
}
assert sorted(CLASSES) == sorted(SHIPPED)

RECORDED: dict[str, bool] = {"recorded": True}
"""The pydantic context of what was measured before: a kind that is not installed any more is an `Absent`."""


class Absent(Evaluation):
    """An evaluation of a plugin that is not installed, or in another version: what is kept of it can be reported."""

    model_config = ConfigDict(extra="allow")

    _title: str = PrivateAttr("")
    _metric: Metric | None = PrivateAttr(None)

    @property
    def title(self) -> str:
        """As it was recorded."""
        return self._title or super().title

    @property
    def metric(self) -> Metric:  # type: ignore[override]  # pyright: ignore
        """As it was recorded."""
        return self._metric or Evaluation.metric

    def stands_for(self, other: Evaluation) -> bool:
        """Whether ``other`` has all settings that this one has: a study leaves out those that have defaults."""
        theirs = other.model_dump(mode="json")
        return all(theirs.get(name) == value for name, value in self.model_dump(mode="json").items())


def recorded(evaluation: Evaluation, title: str, metric: Metric) -> Evaluation:
    """``evaluation`` as it was recorded; an absent one takes its title and its metric from there."""
    if isinstance(evaluation, Absent):
        evaluation._title, evaluation._metric = title, metric
    return evaluation


def known_kinds() -> list[str]:
    """All kinds, ours first."""
    return [*SHIPPED, *catalogue().evaluations]


def owner(evaluation: Evaluation) -> str:
    """The plugin that an evaluation is from, as messages name it."""
    found = catalogue().evaluations.get(evaluation.kind)
    return str(found) if found else f"plugin {evaluation.plugin}"


def _evaluation(data: Any, info: ValidationInfo) -> Any:
    if isinstance(data, Evaluation) or not isinstance(data, Mapping):
        return data  # which pydantic refuses, if it is anything else
    kind, is_recorded = data.get("kind"), bool(info.context and info.context.get("recorded"))
    if not isinstance(kind, str):
        raise ValueError(f"kind: expected one of {', '.join(known_kinds())}; got {quoted(kind)}")
    written = data.get("plugin", "")
    if kind in CLASSES and not written:
        return _of_class(CLASSES[kind], kind, data)
    plugin = catalogue().evaluations.get(kind)
    if plugin is None or written not in ("", plugin.distribution):
        if is_recorded:
            return Absent.model_validate(dict(data))
        if plugin is None:
            raise ValueError(f"{unknown_name('evaluation', kind, known_kinds())}{_hint(kind)}")
        raise ValueError(
            f"the evaluation {kind!r} is of {written}, but {plugin.distribution} is installed; install that, or leave "
            "out plugin"
        )
    cls = load_plugin(plugin.name, "evaluations")[kind]
    where = f"{plugin}: evaluation {kind!r}"
    try:
        with plugin_code(where, passes=(ValueError,)):
            found = _of_class(cls, kind, {**data, "plugin": plugin.distribution})
            if not isinstance(found.title, str) or not found.title or not isinstance(found.metric, Metric):
                raise TypeError(
                    f"expected title, a text, and metric, a stabzoo.Metric; got {found.title!r:.80} and "
                    f"{found.metric!r:.80}"
                )
    except PluginError:
        if is_recorded:  # what it measured before is no worse for it
            return Absent.model_validate({"plugin": plugin.distribution, **data})
        raise
    return found


def _of_class(cls: type[Evaluation], kind: str, data: Mapping[str, Any]) -> Evaluation:
    try:
        return cls.model_validate(data)
    except ValidationError as error:  # the place of a mistake has the kind in it, as that of a union has
        details: list[InitErrorDetails] = []
        for entry in error.errors(include_url=False):
            known = entry["type"] in ("value_error", "assertion_error")
            type_ = PydanticCustomError("value_error", "{text}", {"text": entry["msg"]}) if known else entry["type"]
            detail = InitErrorDetails(type=type_, loc=(kind, *entry["loc"]), input=entry["input"])
            if not known and "ctx" in entry:
                detail["ctx"] = entry["ctx"]
            details.append(detail)
        raise ValidationError.from_exception_data(error.title, details) from None


def _hint(kind: str) -> str:
    owners = catalogue().evaluations
    close = [name for name in owners if name.replace("_", "-") == kind.replace("_", "-")]
    broken = [str(plugin) for plugin in catalogue().plugins if plugin.registry is None]
    texts = [f"{name} is of {owners[name]}" for name in close]
    texts += [f"a plugin that may have it is broken: {', '.join(broken)}"] if broken and not close else []
    return "".join(f"; {text}" for text in texts)


AnyEvaluation = Annotated[
    SerializeAsAny[Evaluation],
    BeforeValidator(_evaluation),
    WithJsonSchema({"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]}),
]
"""A pydantic field for an evaluation of any kind."""


def _each_radius(entries: Any) -> Any:
    """An entry with ``radii`` is one for each of them, one of a certificate without any has the literature's."""
    if not isinstance(entries, list | tuple):
        return entries  # which pydantic refuses
    return [single for entry in entries for single in _singles(entry)]


def _singles(entry: Any) -> list[Any]:
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    cls = CLASSES.get(kind) if isinstance(kind, str) else None
    if cls is None or not cls.model_fields.keys() & {"radius", "epsilon"} or entry.get("plugin"):
        return [entry]
    name = "radius" if "radius" in cls.model_fields else "epsilon"
    radii = entry.get("radii", RADII if name == "radius" and "radius" not in entry else None)
    if radii is None:
        return [entry]
    if not isinstance(radii, list | tuple) or not radii or name in entry:
        raise ValueError(f"{kind}: expected a list of radii, or {name}, one of the two; got {quoted(dict(entry))}")
    rest = {key: value for key, value in entry.items() if key != "radii"}
    singles: list[Any] = [{**rest, name: radius if name == "radius" else _number(radius)} for radius in radii]
    return [*singles, {**rest, "kind": "abstentions"}] if kind == "smoothed" else singles


def _number(radius: Any) -> Any:
    return float(Fraction(radius)) if isinstance(radius, str) and FRACTION.fullmatch(radius) else radius


FRACTION = re.compile(r"[0-9]{1,9}/[1-9][0-9]{0,8}")


def _told_apart(found: tuple[Evaluation, ...]) -> tuple[Evaluation, ...]:
    """Numbers are kept by the titles of their evaluations."""
    first: dict[str, Evaluation] = {}
    for evaluation in found:
        other = first.setdefault(evaluation.title, evaluation)
        if other is evaluation:
            continue
        here, there = (x.model_dump(mode="json") for x in (evaluation, other))
        differing = [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]
        if not differing:
            raise ValueError(f"the evaluation {evaluation.title!r} is written twice")
        values = "; ".join(f"{name}: {there.get(name)} and {here.get(name)}" for name in differing)
        raise ValueError(
            f"two evaluations are called {evaluation.title!r}, which does not show {values}; leave out one of them"
        )
    return found


Evaluations = Annotated[tuple[AnyEvaluation, ...], BeforeValidator(_each_radius), AfterValidator(_told_apart)]
"""A pydantic field for a list of evaluations, no two of one title."""

evaluation_adapter: TypeAdapter[Evaluation] = TypeAdapter(AnyEvaluation)
