"""Validated configuration: exact numbers, strict models, YAML files, and errors a user understands.

Everything a person writes (registry files, study files, parameters of ``timm.create_model``) passes through here, so
that every mistake is reported the same way: where it stands, what was expected, what was got, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)

from stabzoo.errors import ConfigError, quoted, shortened
from stabzoo.multistep import exact

__all__ = ["Rational", "Seed", "Strict", "explain", "load_yaml", "validate"]


Rational = Annotated[
    Fraction,
    BeforeValidator(exact),
    PlainSerializer(str),
    WithJsonSchema({"type": ["number", "string"], "description": 'an exact number: 2, "1/3", "-0.75"'}),
]
"""A pydantic field for an exact number, written as ``2``, ``"1/3"``, ``"-0.75"`` or a float (its shortest decimal)."""


class Strict(BaseModel):
    """A frozen pydantic model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_default=True)


Model = TypeVar("Model", bound=BaseModel)

MAX_MISTAKES = 20
"""Lines of an error message; a list of the wrong kind has one mistake an entry."""


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field may hold, in a container, an option or a union."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _accepted(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields accepted beside ``location`` (empty when the place is not a model's)."""
    here: Any = model
    for key in location[:-1]:
        fields = getattr(here, "model_fields", None)
        if fields is None:  # the key of a container, or the tag that chose one of a union's models
            models = _models(here)
            tagged = [m for m in models if any(key in get_args(field.annotation) for field in m.model_fields.values())]
            here = tagged[0] if tagged else models[0] if len(models) == 1 else here
        elif key in fields:
            here = fields[key].annotation
        else:
            return []
    return list(getattr(here, "model_fields", {}))


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Turn a pydantic error into one line per mistake, up to `MAX_MISTAKES`: ``place: what is wrong (got ...)``."""
    lines: list[str] = []
    for entry in error.errors(include_url=False):
        location = tuple(entry["loc"])
        place = ".".join(str(part) for part in location)
        if entry["type"] == "extra_forbidden":
            accepted = _accepted(model, location)
            text = "unknown name" + (f"; accepted here: {', '.join(accepted)}" if accepted else "")
        elif entry["type"] == "missing":
            text = "is required"
        else:
            text = entry["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            if entry["type"] != "value_error":  # our own validators already quote what they got
                text = f"{text[:1].lower()}{text[1:]}, got {quoted(entry['input'])}"
        lines.append(shortened(f"{place}: {text}" if place else text))
    if len(lines) > MAX_MISTAKES:
        lines[MAX_MISTAKES:] = [f"and {len(lines) - MAX_MISTAKES} more"]
    return "\n".join(lines)


def validate(model: type[Model], data: Any, source: str) -> Model:
    """Validate ``data`` against ``model``.

    Raises:
        ConfigError: with ``source`` (a file, a plugin, a model name) and one line per mistake.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        reasons = explain(error, model)
        indented = reasons.replace("\n", "\n  ")
        raise ConfigError(f"{source}: {reasons}" if reasons == indented else f"{source}:\n  {indented}") from None


MAX_BYTES, MAX_DEPTH, MAX_VALUES = 2**20, 50, 100_000  # of a YAML file


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # pyright: ignore
    """YAML's safe loader; a key written twice is an error instead of a silent choice."""


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    seen: set[str | int] = set()
    for position, key in enumerate(keys):
        if not isinstance(key, str | int):
            raise yaml.constructor.ConstructorError(
                None, None, f"a key must be a name, got {key!r}", node.value[position][0].start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is written twice", node.value[position][0].start_mark
            )
        seen.add(key)
    return {key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _within_limits(root: yaml.Node | None) -> None:
    """Refuse documents that are too deep, or too large once their aliases are written out (a "YAML bomb").

    Raises:
        yaml.YAMLError: with the place and the limit.
    """
    sizes: dict[int, tuple[int, int]] = {}  # values and levels of a node with all below it, aliases written out
    above: set[int] = set()
    waiting = [root] if root is not None else []
    while waiting:
        node = waiting[-1]
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        children = [child for part in parts for child in (part if isinstance(part, tuple) else (part,))]
        if id(node) in sizes:  # an alias, done elsewhere
            waiting.pop()
        elif id(node) in above:  # its children are done
            waiting.pop()
            above.remove(id(node))
            below = [sizes[id(child)] for child in children]
            values, levels = 1 + sum(size for size, _ in below), 1 + max((level for _, level in below), default=0)
            if values > MAX_VALUES or levels > MAX_DEPTH:
                limit = f"{MAX_VALUES} values" if values > MAX_VALUES else f"{MAX_DEPTH} levels"
                raise yaml.MarkedYAMLError(None, None, f"more than {limit}, aliases written out", node.start_mark)
            sizes[id(node)] = values, levels
        else:
            above.add(id(node))
            if any(id(child) in above for child in children):
                raise yaml.MarkedYAMLError(None, None, "an alias of what it is a part of", node.start_mark)
            waiting += children


def load_yaml(path: Path) -> Mapping[str, Any]:
    """Read a YAML mapping, safely.

    Raises:
        ConfigError: when the file is missing, unreadable, larger than `MAX_BYTES`, not YAML, deeper than `MAX_DEPTH`,
            of more than `MAX_VALUES` values, or not a mapping; the message has the file and the line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{path}: expected at most {MAX_BYTES} bytes; is this a file of settings?")
        text = content.decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}); expected a YAML file there") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); expected a YAML file") from None
    try:
        _within_limits(yaml.compose(text, Loader=_Loader))
        data = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of names to values at the top, got {type(data).__name__}")
    return data


Seed = Annotated[int, Field(ge=0, lt=2**32)]
