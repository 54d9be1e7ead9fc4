"""Pickles of bytes, whole numbers, lists and arrays of bytes, parsed as data: nothing that they name is called.

`pickle` is a machine that calls what a file names.  Here its operations, as `pickletools` reads them, are carried out
on plain values; the few calls that an array of bytes is written as are recognised by their names, and every other is
refused before anything is made of its arguments.  Protocols 2 to 5, of Python 2 and 3.
"""

from __future__ import annotations

import math
import pickletools
import warnings
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

__all__ = ["read_pickled"]

NUMPY = ("numpy.core", "numpy._core")  # of numpy 1 and 2
DTYPE, NDARRAY = "numpy dtype", "numpy ndarray"
ENCODE, NO_BYTES = "_codecs encode", "__builtin__ bytes"  # bytes of Python 3 in protocol 2
RECONSTRUCT = {f"{core}.multiarray _reconstruct" for core in NUMPY}
FROM_BUFFER = {f"{core}.numeric _frombuffer" for core in NUMPY}
UNSIGNED_BYTES = ("u1", "|u1", "uint8", b"u1", b"|u1")


@dataclass(frozen=True)
class _Named:
    """A function or a class that a pickle names: "module name"; it is never looked up."""

    name: str


class _Bytes:
    """The type of an array of unsigned bytes."""


class _Array:
    """An array, whose numbers come after it was put on the stack."""

    def __init__(self) -> None:
        self.content: np.ndarray | None = None


Value: TypeAlias = "int | str | bytes | list[Any] | dict[Any, Any] | tuple[Any, ...] | _Named | _Bytes | _Array | None"


def read_pickled(content: bytes) -> dict[Any, Any]:
    """The dict that ``content`` is a pickle of; arrays in it are uint8.

    Raises:
        ValueError: it is no pickle, or of something else.
    """
    found = _Machine(len(content)).run(content)
    if not isinstance(found, dict):
        raise ValueError(f"expected a dict, got a {type(found).__name__}")
    return {key: value.content if isinstance(value, _Array) else value for key, value in found.items()}


class _Machine:
    """Values on a stack, those below each open mark, and those that are used again by their numbers."""

    def __init__(self, most: int) -> None:
        self.stack: list[Value] = []
        self.below: list[list[Value]] = []
        self.memo: dict[int, Value] = {}
        self.left = most  # bytes that text may be copied into

    def run(self, content: bytes) -> Value:
        """Carry out the operations of ``content`` to the end."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd letters in text that is refused
            for operation, argument, _ in pickletools.genops(content):
                try:
                    if operation.name == "STOP":
                        return self.pop()
                    self.carry_out(operation.name, argument)
                except (LookupError, AttributeError, TypeError) as error:
                    raise ValueError(f"its operation {operation.name} does not fit ({error})") from None
        raise ValueError("it ends too early")

    def pop(self) -> Any:
        """Take the last value."""
        return self.stack.pop()

    def since_mark(self) -> list[Value]:
        """Take what was put on the stack since the last mark."""
        found, self.stack = self.stack, self.below.pop()
        return found

    def carry_out(self, operation: str, argument: Any) -> None:
        """Change the stack as ``operation`` of `pickletools` says."""
        match operation:
            case "PROTO" | "FRAME":
                return
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "APPEND" | "APPENDS":
                values = [self.pop()] if operation == "APPEND" else self.since_mark()
                _of(list, self.stack[-1]).extend(values)
            case "SETITEM" | "SETITEMS":
                values = [self.pop(), self.pop()][::-1] if operation == "SETITEM" else self.since_mark()
                for key, value in zip(values[::2], values[1::2], strict=True):
                    _of(dict, self.stack[-1])[_of((str, bytes), key)] = value
            case "BUILD":
                state = _of(tuple, self.pop())
                if isinstance(self.stack[-1], _Array):
                    _, shape, kind, columns_first, content = state
                    self.stack[-1].content = _array(content, kind, shape, columns_first=bool(columns_first))
                else:  # of a type: its alignment and byte order, which bytes have none of
                    _of(_Bytes, self.stack[-1])
            case _:
                value = self.value(operation, argument)  # which may put another stack in the place of this one
                self.stack.append(value)

    def value(self, operation: str, argument: Any) -> Value:
        """What ``operation`` puts on the stack."""
        match operation:
            case "NONE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE" | "SHORT_BINUNICODE":
                return argument
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                return bytes(argument)
            case "BINSTRING" | "SHORT_BINSTRING":  # bytes of Python 2
                return argument.encode("latin-1")
            case "NEWTRUE" | "NEWFALSE":
                return operation == "NEWTRUE"
            case "EMPTY_LIST":
                return []
            case "EMPTY_DICT":
                return {}
            case "EMPTY_TUPLE":
                return ()
            case "LIST":
                return self.since_mark()
            case "TUPLE":
                return tuple(self.since_mark())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                return tuple(self.pop() for _ in range(int(operation[-1])))[::-1]
            case "BINGET" | "LONG_BINGET":
                return self.memo[argument]
            case "GLOBAL":
                return _named(argument)
            case "STACK_GLOBAL":
                name, module = _of(str, self.pop()), _of(str, self.pop())
                return _named(f"{module} {name}")
            case "REDUCE":
                arguments, called = _of(tuple, self.pop()), _of(_Named, self.pop())
                return self.called(called.name, arguments)
            case _:
                raise ValueError(f"it has the operation {operation}, which plain data do not need")

    def called(self, name: str, arguments: tuple[Any, ...]) -> Value:
        """What a call stands for."""
        if name == DTYPE:
            if arguments[0] not in UNSIGNED_BYTES:
                raise ValueError(f"it has an array of {arguments[0]!r:.40}; expected unsigned bytes, uint8")
            return _Bytes()
        if name in RECONSTRUCT and arguments[0] == _Named(NDARRAY):
            return _Array()
        if name in FROM_BUFFER:
            content, kind, shape, order = arguments
            array = _Array()
            array.content = _array(content, kind, shape, columns_first=order == "F")
            return array
        if name == ENCODE:
            text, encoding = arguments
            if encoding not in ("latin1", "latin-1"):
                raise ValueError(f"it has text in {encoding!r:.40}; expected latin1")
            self.left -= len(_of(str, text))
            if self.left < 0:
                raise ValueError("it repeats the same text too often")
            return text.encode("latin-1")
        if name == NO_BYTES and not arguments:
            return b""
        raise TypeError(f"{name} is called with unsupported arguments")


def _named(name: str) -> _Named:
    if name not in {DTYPE, NDARRAY, ENCODE, NO_BYTES, *RECONSTRUCT, *FROM_BUFFER}:
        raise ValueError(f"it asks for {name!r:.80}, which plain data do not need")
    return _Named(name)


def _array(content: Any, kind: Any, shape: Any, *, columns_first: bool) -> np.ndarray:
    _of(_Bytes, kind)
    sizes = [_of(int, size) for size in _of(tuple, shape)]
    if len(sizes) > 2 or min(sizes, default=0) < 0 or math.prod(sizes) != len(_of(bytes, content)):
        raise ValueError(f"it has {len(content)} bytes for an array of {sizes!r:.80}")
    return np.frombuffer(content, np.uint8).reshape(sizes, order="F" if columns_first else "C")


def _of(kind: Any, value: Any) -> Any:
    """``value``, which must be of a kind."""
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} is not allowed in its place")
    return value
