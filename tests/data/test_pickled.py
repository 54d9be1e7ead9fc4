"""CIFAR's pickles as data: what numpy writes is read, and nothing that a pickle may ask for is done."""

from __future__ import annotations

import io
import pickle
import pickletools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.messages import raises
from stabzoo.data.cifar import _batch
from stabzoo.data.pickled import read_pickled
from stabzoo.errors import ConfigError

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
PYTHON_2 = (  # as cPickle of Python 2 wrote the published files: strings of bytes, and _reconstruct
    b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x06K\x09eU\x04dataq\x04cnumpy.core.multiarray\n_reconstruct\nq\x05"
    b"cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07(K\x01K\x02K\x01\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09"
    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02ABtbu."
)
POINTER = (
    b"\x80\x03}(C\x06labels"
    + b"cnumpy\nndarray\n((K\x01tcnumpy\ndtype\n(X\x01\x00\x00\x00OtRC\x08AAAAAAAAtR"
    + b"C\x04data](K\x00eu."
)


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        """What the pickle asks for."""
        return self.called


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("pixels", [PIXELS, np.asfortranarray(PIXELS), PIXELS[:0]], ids=["rows", "columns", "empty"])
def test_what_pickle_writes_is_read(protocol: int, pixels: np.ndarray) -> None:
    """Every protocol that has bytes."""
    batch = {
        b"data": pixels,
        b"labels": list(range(len(pixels))),
        b"filenames": [b"a.png"] * 3,
        "more": (1, None, True),
    }
    found = read_pickled(pickle.dumps(batch, protocol=protocol))
    assert (found[b"data"] == pixels).all()
    assert {key: value for key, value in found.items() if key != b"data"} == {
        k: v for k, v in batch.items() if k != b"data"
    }


def test_what_python_2_wrote_is_read() -> None:
    """The published files are of Python 2."""
    found = read_pickled(PYTHON_2)
    assert found[b"labels"] == [6, 9]
    assert found[b"data"].tolist() == [[65], [66]]


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (POINTER, ("'O'", "uint8")),
        (pickle.dumps({b"data": np.array([[print]], dtype=object)}), ("'O8'", "uint8")),
        (pickle.dumps({b"data": np.zeros((1, 3072), "M8[s]")}), ("'M8'", "uint8")),
        (pickle.dumps({b"data": np.zeros((1, 3072), [("a", "u1")])}), ("'V1'", "uint8")),
        (pickle.dumps({b"data": np.zeros((1, 3072))}), ("'f8'", "uint8")),
        (pickle.dumps(Calls(Path, "x")), ("pathlib",)),
        (pickle.dumps(Calls(eval, "1")), ("eval",)),
        (pickle.dumps(Calls(np.ndarray, (1,), np.dtype("u1"))), ("REDUCE",)),
        (b"cos\nsystem\n(S'true'\ntR.", ("os system",)),
        (b"\x80\x02]r\xff\xff\xff\x7f.", ("dict", "list")),  # a number of the memo that pickle makes 16 GB for
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", ("bytes",)),
        (b"\x80\x02(((((.", ("STOP",)),
        (b"\x80\x02}q\x00h\x01.", ("BINGET",)),
        (b"\x80\x02}]}s.", ("SETITEM",)),
        (b"", ("STOP",)),
        (PYTHON_2[:-1], ("STOP",)),
        (PYTHON_2.replace(b"K\x02K\x01\x86c", b"K\x03K\x01\x86c"), ("2 bytes", "[3, 1]")),
        (pickle.dumps([1]), ("dict", "list")),
        (b"\x80\x02}X\x01\x00\x00\x00a(" + b"c_codecs\nencode\nX\x40\x00\x00\x00" + b"a" * 64 + b"X\x06\x00\x00\x00latin1\x86q\x01R"
         + b"c_codecs\nencode\nh\x01R" * 99 + b"ls.", ("repeats",)),
    ],
    ids=range(19),
)  # fmt: skip
def test_what_is_no_data_is_refused(content: bytes, facts: tuple[str, ...]) -> None:
    """Before anything is made of it: no call, no object, no memory that the file does not have."""
    with raises(ValueError, *facts):
        read_pickled(content)


@pytest.mark.parametrize(
    ("batch", "facts"),
    [
        ({b"labels": [0]}, ("data", "labels")),
        ({b"data": PIXELS, b"labels": [0, 1]}, ("(2, 3072)", "(3, 3072)")),
        ({b"data": PIXELS, b"labels": [0, 1, b"x"]}, ("whole numbers",)),
        ({b"data": PIXELS, b"labels": [0, 1, 10]}, ("0 to 9", "10")),
        ({b"data": b"x", b"labels": [0]}, ("array",)),
    ],
)
def test_a_batch_that_does_not_fit_is_named(batch: dict[Any, Any], facts: tuple[str, ...]) -> None:
    """With its file."""
    with raises(ConfigError, "x/data_batch_1", *facts):
        _batch(Path("x/data_batch_1"), pickle.dumps(batch), b"labels", 10)


def test_damaged_pickles_are_read_or_refused() -> None:
    """Bytes changed, removed, put in and copied; with coverage, atheris has tried 10^5 more and found nothing else."""
    whole = [pickle.dumps({b"data": PIXELS[:, :20], b"labels": [1, 2, 3]}, protocol=p) for p in (2, 3, 4, 5)] + [
        PYTHON_2
    ]
    chance = random.Random(0)
    for _ in range(10_000):
        content = bytearray(chance.choice(whole))
        for _ in range(chance.randrange(1, 5)):
            place, other = chance.randrange(len(content)), chance.randrange(len(content))
            pieces = (chance.randbytes(1), chance.randbytes(3), content[other : other + chance.randrange(1, 40)], b"")
            content[place : place + chance.randrange(3)] = chance.choice(pieces) or b"."
        try:
            found = read_pickled(bytes(content))
        except ValueError:
            continue
        assert all(isinstance(key, str | bytes) for key in found)


def test_the_operations_are_those_of_pickle() -> None:
    """Each that is read is one that pickletools knows: a name that is misspelt would never be met."""
    source = (Path(__file__).parents[2] / "stabzoo" / "data" / "pickled.py").read_text()
    known = {operation.name for operation in pickletools.opcodes}
    cases = [line for line in io.StringIO(source) if line.strip().startswith('case "')]
    named = {word for line in cases for word in line.split('"')[1::2] if word.isupper()}
    assert named
    assert named <= known
