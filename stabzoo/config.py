"""Validated configuration: exact numbers, strict models, YAML files, and errors a user understands.

Everything a person writes (registry files, study files, parameters of ``timm.create_model``) passes through here, so
that every mistake is reported the same way: where it stands, what was expected, what was got, and what to do.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import to_json

from stabzoo.errors import ConfigError, quoted, shortened
from stabzoo.files import open_regular
from stabzoo.methods.multistep import exact

if TYPE_CHECKING:
    from zipfile import Path as ZipPath

__all__ = [
    "FileName",
    "Rational",
    "Seed",
    "Strict",
    "explain",
    "file_name",
    "json_text",
    "load_json",
    "load_yaml",
    "validate",
]


Rational = Annotated[
    Fraction,
    BeforeValidator(exact),
    PlainSerializer(str),
    WithJsonSchema({"type": ["number", "string"], "description": 'an exact number: 2, "1/3", "-0.75"'}),
]
"""A pydantic field for an exact number, written as ``2``, ``"1/3"``, ``"-0.75"`` or a float (its shortest decimal)."""


class Strict(BaseModel):
    """A frozen pydantic model that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_default=True, allow_inf_nan=False
    )


Model = TypeVar("Model", bound=BaseModel)

MAX_MISTAKES = 20
"""Lines of an error message; a list of the wrong kind has one mistake an entry."""


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _derived(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and all that are derived from it: a field may hold any of them, told by a tag."""
    return [model, *(found for cls in model.__subclasses__() for found in _derived(cls))]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field may hold, in a container, an option or a union."""
    if _is_model(annotation):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _accepted(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields accepted beside ``location`` (empty when the place is not a model's)."""
    here: Any = model
    for key in location[:-1]:
        fields = here.model_fields if _is_model(here) else None
        if fields is None or (key not in fields and here.__subclasses__()):  # a container's key, or a tag that chose
            models = _models(here)
            tagged = [
                found
                for model in models
                for found in _derived(model)
                if any(key in get_args(field.annotation) for field in found.model_fields.values())
            ]
            here = tagged[-1] if tagged else models[0] if len(models) == 1 else here
        elif key in fields:
            here = fields[key].annotation
        else:
            return []
    fields = here.model_fields if _is_model(here) else {}
    return [name for name, field in fields.items() if field.repr]  # one that is not shown is filled in


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


def validate(model: type[Model], data: Any, source: str, context: Mapping[str, Any] | None = None) -> Model:
    """Validate ``data`` against ``model``, in pydantic's ``context``.

    Raises:
        ConfigError: with ``source`` (a file, a plugin, a model name) and one line per mistake.
    """
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        reasons = explain(error, model)
        indented = reasons.replace("\n", "\n  ")
        raise ConfigError(f"{source}: {reasons}" if reasons == indented else f"{source}:\n  {indented}") from None


MAX_BYTES, MAX_DEPTH, MAX_VALUES = 2**20, 50, 100_000  # of a YAML file

# What plain text in a YAML file is, as the core schema of YAML 1.2 (section 10.3.2) has it.  PyYAML knows version 1.1,
# so it is asked for the tree alone, and text that 1.1 takes for a number or a switch and 1.2 for something else is
# refused: one of two readers would be wrong about it in silence.
NULL = re.compile(r"~|null|Null|NULL|")
SWITCH = re.compile(r"true|True|TRUE|false|False|FALSE")
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(?i:inf)|\.(?i:nan)")
AMBIGUOUS = re.compile(
    r"(?i:yes|no|on|off)|=|<<"
    r"|[-+]?0[0-9_]+|[-+]?0b[01_]+|0o[0-7]+"  # 010, octal or not, and binary
    r"|[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?"  # 1_000
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"  # 1:30 is 90
)
PLAIN, STANDARD = "plain", "tag:yaml.org,2002:"


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # pyright: ignore
    """Of which the tree of nodes is taken; plain text without a tag has the tag `PLAIN`."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {None: [(PLAIN, re.compile(""))]}


class _Values:
    """The values of a tree of YAML nodes, aliases written out."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, node: yaml.Node, levels: int = 1) -> Any:
        """The value of ``node``, which is ``levels`` deep in the file.

        Raises:
            yaml.MarkedYAMLError: with the place and what is wrong there.
        """
        self.count += 1
        if self.count > MAX_VALUES or levels > MAX_DEPTH:
            limit = f"{MAX_VALUES} values" if self.count > MAX_VALUES else f"{MAX_DEPTH} levels"
            raise _refusal(node, f"more than {limit}, with all aliases expanded; does an alias contain itself?")
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        kind = "seq" if isinstance(node, yaml.SequenceNode) else "map"
        if node.tag != STANDARD + kind:
            raise _refusal(node, f"the tag {node.tag!r} is not supported; write the value without it")
        if isinstance(node, yaml.SequenceNode):
            return [self.of(part, levels + 1) for part in node.value]
        found: dict[str | int, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else f"a {key_node.id}"
            if not isinstance(key_node, yaml.ScalarNode) or not isinstance(key, str | int):
                raise _refusal(key_node, f"a key must be a name, got {key!r}")
            if key in found:
                raise _refusal(key_node, f"the key {quoted(key)} is written twice")
            found[key] = self.of(value_node, levels + 1)
        return found


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    """Text, quoted or tagged as such, as it is; plain text as the core schema reads it."""
    text, tag = node.value, node.tag
    if tag == STANDARD + "str":
        return text
    if tag != PLAIN:
        raise _refusal(node, f"the tag {tag!r} is not supported; write the value without it")
    if NULL.fullmatch(text):
        return None
    if SWITCH.fullmatch(text):
        return text in ("true", "True", "TRUE")
    if INTEGER.fullmatch(text):
        return int(text, 0)
    if AMBIGUOUS.fullmatch(text):
        raise _refusal(
            node,
            f"{text} means different things in YAML 1.1 and 1.2; write a decimal number, true or false, or quote it",
        )
    if not (decimal := DECIMAL.fullmatch(text)) and not NOT_FINITE.fullmatch(text):
        return text
    value = float(text) if decimal else math.nan
    if not math.isfinite(value) or (value == 0 and re.match(r"[-+.0]*[1-9]", text)):
        raise _refusal(node, f"expected a finite number, and no smaller than the least float, got {quoted(text)}")
    return value


def _refusal(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, shortened(problem), node.start_mark)


def load_yaml(path: Path | ZipPath) -> Mapping[str, Any]:
    """Read a YAML mapping safely: plain text as in YAML 1.2, finite numbers, no duplicate keys.

    Raises:
        ConfigError: when the file is missing, unreadable, larger than `MAX_BYTES`, not YAML, deeper than `MAX_DEPTH`,
            of more than `MAX_VALUES` values, or not a mapping; the message has the file and the line.
    """
    try:
        text = _content(path, MAX_BYTES).decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}); expected a YAML file there") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); expected a YAML file") from None
    try:
        node = yaml.compose(text, Loader=_Loader)
        data = None if node is None else _Values().of(node)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of names to values at the top, got {type(data).__name__}")
    return data


def load_json(path: Path, most: int = 2**28) -> Any:
    """Read a JSON file of finite numbers that stabzoo has written.

    Raises:
        OSError: it cannot be read.
        ConfigError: it is larger than ``most`` bytes, or not JSON.
    """
    try:
        return json.loads(_content(path, most), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # of a UTF-8 or JSON error, or of a list in a list in a list ...
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: is damaged ({error}); restore it from a copy, or remove its folder") from None


def json_text(data: Any, indent: int) -> str:
    r"""``data`` as JSON that everybody can read: ASCII, with null for a number that is not finite.

    What JSON has no type for is written as its text.

    >>> print(json_text({"loss": float("nan"), "label": "\u202e\u03bb", "lam": Fraction(1, 3)}, 0))
    {"loss":null,"label":"\u202e\u03bb","lam":"1/3"}
    """
    text = to_json(data, indent=indent or None, inf_nan_mode="null", fallback=str).decode()
    return re.sub(r"[^\x00-\x7e]", lambda found: json.dumps(found[0])[1:-1].replace("\x7f", r"\u007f"), text)


def _no_number(text: str) -> None:
    raise ValueError(f"expected finite numbers, got {text}")


def _content(path: Path | ZipPath, most: int) -> bytes:
    with open_regular(path) if isinstance(path, Path) else path.open("rb") as file:  # or a zipfile.Path, in an archive
        content = file.read(most + 1)
    if len(content) > most:
        raise ConfigError(f"{path}: expected at most {most} bytes; is this the right file?")
    return content


def file_name(text: str) -> str:
    """``text``, which is to become the name of a file or a folder.

    Raises:
        ValueError: it is a path, hidden, too long, or has letters that are not seen.
    """
    if not text or not text.isprintable() or text != text.strip() or text[0] == "." or {"/", "\\"} & {*text}:
        raise ValueError(f"expected a file name of letters, digits, spaces, -, _ and dots; got {quoted(text)}")
    if len(text.encode()) > MAX_NAME:
        raise ValueError(f"expected at most {MAX_NAME} bytes, got {len(text.encode())}: {quoted(text)}")
    return text


MAX_NAME = 150
"""Bytes of a `FileName`; file systems take 255, and something is put before or behind it."""

FileName = Annotated[str, AfterValidator(file_name)]
"""A pydantic field for a name that becomes a file's or a folder's: no path, nothing hidden, nothing invisible."""

Seed = Annotated[int, Field(ge=0, lt=2**32)]
