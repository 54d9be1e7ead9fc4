"""Tens of thousands of damaged inputs: each is accepted or refused in a sentence; no traceback, no wrong verdict.

The same inputs every time; ``python tests/registry/test_fuzz.py 10000`` tries that many times `TOGETHER` others of each kind.
"""

import copy
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import stabzoo
from fixtures import ROOT
from stabzoo.config import load_yaml, validate
from stabzoo.errors import ConfigError
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.registry.schema import Registry
from stabzoo.study import shipped_studies
from stabzoo.study.spec import Study

STUDIES = ROOT / "stabzoo" / "study" / "studies"
TOGETHER = 25  # inputs of one example: hypothesis draws where to begin, and finds the smallest number that fails

NASTY: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**63,
    -(10**400),
    10**1200,
    0.0,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    "",
    " ",
    "x",
    "nan",
    "-inf",
    "1/0",
    "1/3",
    "-0.75",
    "1e999999999",
    "1e-999999999",
    "9" * 5000,
    "0x10",
    "1_000",
    "١",
    "\u0000",
    "\ud800",
    "a" * 10_000,
    "{depth}",
    "../../etc/passwd",
    "!!python/object/apply:os.system [true]",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"a": {"b": {"c": {}}}},
    [1, "2", 3.5, "4/5"],
    ["1"] * 70,
    b"bytes",
    (1, 2),
    {1, 2},
    object(),
    Ellipsis,
]


def damaged(value: Any, chance: random.Random) -> Any:
    """A copy of nested dicts and lists with one to three places changed."""
    found = copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 2, 3))):
        found = _changed(found, chance)
    return found


def _changed(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        match chance.randrange(6):
            case 0:
                del value[key]
            case 1:
                value[chance.choice(("unknown", "Name", "", 7, None, f"{key}s"))] = value[key]
            case 2:
                value[f"{key}x"] = value.pop(key)
            case _:
                value[key] = _changed(value[key], chance)
        return value
    if isinstance(value, list | tuple) and value and chance.random() < 0.85:
        items = list(value)
        place = chance.randrange(len(items))
        match chance.randrange(5):
            case 0:
                del items[place]
            case 1:
                items.insert(place, copy.deepcopy(items[place]))
            case _:
                items[place] = _changed(items[place], chance)
        return items
    match chance.randrange(4):
        case 0:
            return [value]
        case 1 if isinstance(value, str) and value:
            place = chance.randrange(len(value))
            return value[:place] + chance.choice("x0-/.[]{}'\"\n\t ,:#&*!|>%@`é") + value[place + chance.randrange(2) :]
        case 2 if isinstance(value, int) and not isinstance(value, bool):
            return chance.choice((-value, value * 10**6, value + 1, [value]))
        case _:
            return chance.choice(NASTY)


def answered(act: Callable[[], object]) -> bool:
    """Whether it was accepted; refused means a ConfigError of one readable message, and nothing else may be raised."""
    try:
        act()
    except ConfigError as error:
        message = str(error)
        assert message.strip()
        assert len(message) < 15_000, message
        for trace in ("Traceback", "errors.pydantic.dev", 'File "'):
            assert trace not in message, message
        return False
    return True


def sections() -> list[Any]:
    """What the registry says of each of our plugins."""
    return list(load_yaml(ROOT / "registry.yaml").values())


def batches(count: int) -> Callable[[Any], Any]:
    """A property of ``count`` damaged inputs, `TOGETHER` an example."""

    def decorate(test: Any) -> Any:
        options = settings(max_examples=count // TOGETHER, derandomize=True)
        return options(given(st.integers(0, 2**32))(test))

    return decorate


@batches(8000)
def test_registries(seed: int) -> None:
    """Sections of registry.yaml with names, numbers and structure changed; what passes can be expanded to models."""
    chance = random.Random(seed)
    valid = sections()

    def read(section: Any) -> None:
        validate(Registry, section, "registry.yaml: fuzz").expanded_models()

    for _ in range(TOGETHER):
        section = damaged(chance.choice(valid), chance)
        answered(lambda section=section: read(section))


@batches(5000)
def test_studies(seed: int) -> None:
    """Study files with anything changed; what passes has keys for its runs."""
    chance = random.Random(seed)

    def read(data: Any) -> None:
        study = validate(Study, {"name": "fuzz", **data} if isinstance(data, dict) else data, "fuzz.yaml")
        keys = [study.run(network, s).key for network in study.networks for s in study.seeds]
        assert all(len(key) == 16 for key in keys)

    for _ in range(TOGETHER):
        data = damaged(chance.choice(small_studies()), chance)
        answered(lambda data=data: read(data))


def small_studies() -> list[Any]:
    """The shipped ones, with a few networks each."""
    if not _STUDIES:
        for name in shipped_studies()[::4]:
            data = dict(load_yaml(STUDIES / f"{name}.yaml"))
            labels = [network["label"] for network in data["networks"][:2]]
            data["networks"] = data["networks"][:2]
            for published in data.get("published", ()):
                published["values"] = {k: v for k, v in published["values"].items() if k in labels}
            data["scales"] = {"small": {"seeds": [0], "training": {"lr": 0.5}}}
            _STUDIES.append(data)
    return _STUDIES


_STUDIES: list[Any] = []

PARAMETERS: dict[str, dict[str, Any]] = {
    "euler": {"weight": "1/2"},
    "lm": {"k": "1/2", "beta": "paper"},
    "lm_resnet": {"k_n": 1},
    "multistep": {"alpha": ["1/3", "5/9", "1/9"], "beta": ["16/9"]},
    "zerosnet": {"lam": "-9/5"},
    "theta": {"theta": "1/2"},
}


@batches(4000)
def test_schemes(seed: int) -> None:
    """Parameters of schemes as timm.create_model hands them on; every verdict is checked by its certificate."""
    chance = random.Random(seed)
    for _ in range(TOGETHER):
        name, valid = chance.choice(list(PARAMETERS.items()))
        given_ = damaged(valid, chance)
        if not isinstance(given_, dict) or not all(isinstance(key, str) for key in given_):
            continue

        def make(name: str = name, parameters: dict[str, Any] = given_) -> None:
            proved(stabzoo.get_scheme(name, **parameters).coefficients())

        answered(make)


def proved(method: LinearMultistep) -> None:
    """The verdict is that of the certificate, which is checked independently of how it was found."""
    certificate = stabzoo.card(method).certificate
    assert stabzoo.verify_certificate(method.alpha, certificate)
    assert stabzoo.is_zero_stable(method.alpha) == stabzoo.card(method).is_zero_stable


PIECES = (
    "0",
    "1",
    "9",
    "5",
    "3",
    "-",
    "+",
    "/",
    ".",
    "e",
    "E",
    " ",
    "_",
    "x",
    "nan",
    "inf",
    "٣",
    "",
    "00",
    "1e3",
    "1/3",
)


@batches(4000)
def test_numbers(seed: int) -> None:
    """Coefficients put together from pieces of numbers, one to six steps."""
    chance = random.Random(seed)
    for _ in range(TOGETHER):
        alpha = ["".join(chance.choices(PIECES, k=chance.randrange(1, 5))) for _ in range(chance.randrange(1, 7))]
        if chance.random() < 0.1:
            alpha[0] += chance.choice(("e99999999", "/" + "7" * 5000, "0" * 100_000))
        try:
            method = LinearMultistep(tuple(alpha), (1,))
        except ValueError as error:
            reason = str(error)
        else:
            proved(method)
            continue
        assert 10 < len(reason) < 1000


@batches(3000)
def test_files(seed: int) -> None:
    """The text of a YAML file with bytes changed, lines moved, and pieces of YAML's rarer syntax put in."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzz.yaml"
        read_damaged(path, chance)


def read_damaged(path: Path, chance: random.Random) -> None:
    """Write and read `TOGETHER` damaged files."""
    for _ in range(TOGETHER):
        text = bytearray(TEXT)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(text))
            piece = chance.choice(
                (b"*a", b"&a ", b"!!set ", b"<<: ", b"\t", b"\x00", b"\xff", b"- ", b"? ", b"{", b"]", b"|\n", b"'")
            )
            text[place : place + chance.randrange(4)] = piece
        path.write_bytes(bytes(text))
        answered(lambda: load_yaml(path))


TEXT = yaml.safe_dump(sections()[-1], sort_keys=False).encode()


if __name__ == "__main__":
    for test in (test_registries, test_studies, test_schemes, test_numbers, test_files):
        for seed in range(2**33, 2**33 + int(sys.argv[1])):
            test.hypothesis.inner_test(seed)  # type: ignore[attr-defined]  # pyright: ignore
        sys.stdout.write(f"{test.__name__}: {int(sys.argv[1]) * TOGETHER} inputs\n")
