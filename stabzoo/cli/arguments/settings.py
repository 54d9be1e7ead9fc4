"""Parameters of a scheme as written on the command line: ``lam=-9/5``, ``beta=paper``, ``alpha=1/3,5/9,1/9``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from stabzoo.errors import ConfigError

__all__ = ["parse_arguments", "parse_settings"]

DECIMAL = re.compile(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?")
INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
WORDS = {"true": True, "false": False, "null": None}


def parse_arguments(arguments: Iterable[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` arguments of a model, as `parse_settings` reads a scheme's parameters.

    A decimal is the float that timm's arguments are; schemes read a float as the decimal it is written as.

    Raises:
        ConfigError: an argument is not of this form, or a name is given twice.
    """
    return {name: _floats(value) for name, value in parse_settings(arguments, object, "--arg").items()}


def _floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _floats(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_floats(entry) for entry in value]
    return float(value) if isinstance(value, str) and DECIMAL.fullmatch(value) else value


def parse_settings(settings: Iterable[str], scheme: type, option: str = "--set") -> dict[str, Any]:
    """Read ``NAME=VALUE`` settings.

    A value is a whole number, ``true``, ``false``, ``null``, a list (``1,1/2`` or ``[1, "1/2"]``), the
    fields of an object (``{"fixed_iterations": 1}``), or text, which may
    be any exact number.  One number is a list of one where the parameter of ``scheme`` is a list.  ``option`` is what a
    message calls the setting by.

    Raises:
        ConfigError: a setting is not of this form, or a name is set twice.

    """
    parameters: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not (name.isidentifier() and equals and text):
            raise ConfigError(f"{option} {setting}: expected NAME=VALUE, e.g. {option} lam=-9/5")
        if name in parameters:
            raise ConfigError(f"{option} {setting}: {name} is set twice; leave one")
        value = _value(text, f"{option} {setting}")
        field = getattr(scheme, "model_fields", {}).get(name)
        is_scalar = not isinstance(value, list) and value is not None
        parameters[name] = [value] if field is not None and is_scalar and _is_list(field.annotation) else value
    return parameters


def _is_list(annotation: Any) -> bool:
    """Whether a parameter is a list of values, or may be one."""
    return get_origin(annotation) in (tuple, list) or any(
        get_origin(part) in (tuple, list) for part in get_args(annotation)
    )


def _value(text: str, setting: str) -> Any:
    if text.startswith(("[", "{")):
        try:
            return json.loads(text, parse_float=str, parse_int=_scalar)
        except (ValueError, RecursionError) as error:
            kind, cure = ("list", '1,1/2,0 or [1, "1/2", 0]') if text[0] == "[" else ("object", '{"rtol": 1e-6}')
            raise ConfigError(f"{setting}: not a JSON {kind} ({error}); write it as {cure}") from None
    if "," in text and not text.endswith(")"):  # ssp(3, 2) is one value
        return [_scalar(part.strip()) for part in text.removesuffix(",").split(",")]
    return _scalar(text)


def _scalar(text: str) -> Any:
    if INTEGER.fullmatch(text):
        return int(text)
    return WORDS.get(text, text)
