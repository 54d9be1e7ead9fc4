"""The errors and warnings of stabzoo, and how a value is quoted in one line."""

from __future__ import annotations

__all__ = ["ConfigError", "PluginError", "PluginWarning", "UnknownParameterError"]


class ConfigError(ValueError):
    """A file or a parameter is not what stabzoo accepts; the message says where, why and what to do."""


LONGEST_LINE = 600
"""Characters of one of them, which may quote a value of any length."""


def shortened(text: str) -> str:
    """``text`` without its middle, if it is longer than `LONGEST_LINE`."""
    half = LONGEST_LINE // 2
    return text if len(text) <= LONGEST_LINE else f"{text[:half]} ... {text[-half:]}"


def quoted(value: object, length: int = 80) -> str:
    """``repr`` of what was given, cut to ``length``, also of what has none: an integer of 10^5 digits."""
    try:
        return repr(value)[:length]
    except Exception:
        return f"a {type(value).__name__} that cannot be written"


class PluginError(RuntimeError):
    """A plugin is broken; the message names it."""


class PluginWarning(UserWarning):
    """A plugin, or a part of one, is left out; the message names it."""


class UnknownParameterError(ConfigError, TypeError):
    """A parameter that neither the scheme nor the network knows."""
