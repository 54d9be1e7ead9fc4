"""The arguments of a model as JSON has them, exact numbers as text: what timm saves beside weights, and takes again."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

__all__ = ["PlainArguments", "plain"]


def plain(value: Any) -> Any:
    """``value`` as JSON has it, so that `timm.create_model` makes the same network of it; what it cannot be, as it is.

    A fraction is its text, a tuple a list, settings a mapping of what is not their default, with their ``name`` where
    they have one, as kinds of branches do.

    >>> from stabzoo import SolverSettings
    >>> plain({"lam": Fraction(5, 2), "alpha": (Fraction(1, 3), 0.5), "solver": SolverSettings(rtol=1e-4)})
    {'lam': '5/2', 'alpha': ['1/3', 0.5], 'solver': {'rtol': 0.0001}}
    """
    if isinstance(value, BaseModel):
        name = {"name": value.name} if isinstance(getattr(type(value), "name", None), str) else {}  # pyright: ignore
        return name | plain({key: getattr(value, key) for key in value.model_fields_set})
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Fraction):
        return str(value)
    try:
        return to_jsonable_python(value, inf_nan_mode="constants")
    except PydanticSerializationError:
        return value


class PlainArguments:
    """An attribute of a network: the arguments that it was created with, made `plain` when they are written down."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.key = f"{name}_as_json"

    def __get__(self, network: Any, owner: type | None = None) -> dict[str, Any]:
        """The arguments.

        Raises:
            AttributeError: none were written down.
        """
        try:
            return vars(network)[self.key]
        except (KeyError, TypeError):
            raise AttributeError("the network was created without timm; it knows no arguments") from None

    def __set__(self, network: Any, arguments: Mapping[str, Any]) -> None:
        vars(network)[self.key] = plain(arguments)
