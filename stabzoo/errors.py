"""The errors and warnings of stabzoo, and how a value or foreign text is quoted in one."""

from __future__ import annotations

__all__ = ["CertificateError", "ConfigError", "PluginError", "PluginWarning", "UnknownParameterError", "printable"]

OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of what a terminal obeys instead of showing it: controls, ESC among them, formats (bidirectional
ones and those without width), surrogates, and separators of lines."""


def printable(text: str) -> str:
    r"""``text`` with everything that a terminal would obey written as its escape, but for newlines and tabs.

    Whatever stabzoo prints, and every message of its errors and warnings, has gone through here: the names, titles and
    sentences in them may be a stranger's.

    >>> print(printable("\x1b]0;owned\a \u202etxt"))
    \x1b]0;owned\x07 \u202etxt
    """
    if text.isprintable():
        return text
    from unicodedata import category  # few texts need it

    return "".join(c if c in "\n\t" or category(c) not in OBEYED else ascii(c)[1:-1] for c in text)


class ConfigError(ValueError):
    """stabzoo does not accept a file or a parameter; the message says where, why and what to do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


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


SHOWN = 3
"""Names or counterexamples that a message has at most."""


def enumeration(names: list[str]) -> str:
    """The first `SHOWN` names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


class PluginError(RuntimeError):
    """A plugin is broken; the message names it."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc", "create a primitive")
"""What torch, CUDA, the C library and oneDNN say; torch has a type of its own for CUDA alone."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was too little memory.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    True
    """
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)


class CertificateError(RuntimeError):
    """A network does what a bound of it says that it cannot; the message names the module."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class PluginWarning(UserWarning):
    """A plugin, or a part of one, is left out; the message names it."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class UnknownParameterError(ConfigError, TypeError):
    """A parameter that neither the scheme nor the network knows."""
