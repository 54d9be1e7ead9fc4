"""Registry files, conditions, and the errors of both."""

import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import timm
from hypothesis import given
from hypothesis import strategies as st

import stabzoo
from fixtures.commands import Run
from fixtures.messages import raises, says
from stabzoo.config import load_yaml, validate
from stabzoo.errors import ConfigError
from stabzoo.methods.multistep import exact
from stabzoo.registry.conditions import parse_condition
from stabzoo.registry.schema import ModelConfig, Registry


@given(st.fractions(min_value=-5, max_value=5))
def test_a_condition_means_what_it_says(value: Fraction) -> None:
    """Chains, or, and, fractions and signs."""
    assert parse_condition("lam <= -1 or lam > 1/3").holds(value) == (value <= -1 or value > Fraction(1, 3))
    assert parse_condition("-1 < k <= 1").holds(value) == (-1 < value <= 1)
    assert parse_condition("k > -1 and k < 1/2 or k >= 2").holds(value) == (-1 < value < Fraction(1, 2) or value >= 2)


def test_a_condition_on_two_parameters() -> None:
    """In the order in which they are named, compared with numbers and with each other."""
    condition = parse_condition("a > 0 and (b <= 1/2 or b < a)")
    assert condition.parameters == ("a", "b")
    assert condition.holds(Fraction(2), Fraction(1))
    assert not condition.holds(Fraction(1), Fraction(2))
    assert {Fraction(0), Fraction(1, 2), Fraction(501, 1000)} <= set(condition.grid())


def test_a_condition_is_probed_at_its_bounds_and_beside_them() -> None:
    """Both sides of each bound, closer than any float."""
    probes = parse_condition("lam <= -1 or lam > 1/3").probes()
    for bound in (Fraction(-1), Fraction(1, 3)):
        assert {bound, bound - Fraction(1, 10**30), bound + Fraction(1, 10**30)} <= set(probes)
    assert len(probes) > 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k",
        "k < j",
        "1 < 2",
        "k < 1.5",
        "k != 1",
        "f(k) < 1",
        "k < 1/0",
        "not k < 1",
        "i < j < k < 1",
        "k < True",
        "(" * 500,
        "k <",
    ],
)
def test_what_is_not_a_condition(text: str) -> None:
    """A sentence that states the grammar."""
    with raises(ValueError, "condition", "comparisons", "parameter", *([repr(text)] if len(text) < 100 else [])):
        parse_condition(text)


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        ({"depth": 57}, ("CIFAR", "basic", "6n+2", "56, 62", "got 57")),
        ({"depth": 2}, ("6n+2", "8, 14", "got 2")),
        ({"depth": 110, "block": "bottleneck"}, None),
        ({"depth": 165, "block": "bottleneck"}, ("bottleneck", "9n+2", "164, 173", "got 165")),
        ({"depth": 20, "form": "imagenet"}, ("ImageNet", "basic", "18, 34", "got 20")),
        ({"depth": "deep"}, ("depth", "'deep'")),
        (
            {"depth": 20, "widht": 8},
            ("widht", "unknown", "scheme, depth, form, stages, block, width, parameters"),
        ),
        ({}, ("depth", "required")),
    ],
)
def test_depths(data: dict, facts: tuple[str, ...] | None) -> None:
    """A depth is 6n+2 or 9n+2, or one of ImageNet's."""
    if facts is None:
        assert validate(ModelConfig, {"scheme": "euler", **data}, "here").layers == (12, 12, 12)
        return
    with raises(ConfigError, "here:", *facts):
        validate(ModelConfig, {"scheme": "euler", **data}, "here")


def test_a_family_is_one_model_a_depth() -> None:
    """Forms, kinds of blocks and parameters are handed on."""
    data = {
        "schemes": {"a": {"order": 1, "stability": "strong"}},
        "families": {
            "a{depth}_x": {
                "scheme": "a",
                "cifar": {"basic": [20, 26]},
                "imagenet": {"bottleneck": [50]},
                "parameters": {"lam": "1/3"},
            }
        },
    }
    models = validate(Registry, data, "here").expanded_models()
    assert {name: (m.form, m.block, m.layers) for name, m in models.items()} == {
        "a20_x": ("cifar", "basic", (3, 3, 3)),
        "a26_x": ("cifar", "basic", (4, 4, 4)),
        "a50_x": ("imagenet", "bottleneck", (3, 4, 6, 3)),
    }
    assert all(m.parameters == {"lam": "1/3"} for m in models.values())


@pytest.mark.parametrize(
    ("families", "facts"),
    [
        ({"a{depth}": {"scheme": "a", "cifar": {"basic": [21]}}}, ("families.a{depth}", "6n+2", "got 21")),
        ({"a{depth}": {"scheme": "a"}}, ("a{depth}", "family", "depths")),
        ({"A{depth}": {"scheme": "a", "cifar": {"basic": [20]}}}, ("'A20'", "name")),
        ({"a{depth}": {"scheme": "a", "cifar": {"basic": [20, 20]}}}, ("a20", "twice")),
    ],
)
def test_bad_families(families: dict, facts: tuple[str, ...]) -> None:
    """Found when the file is read, not when the model is built."""
    with raises(ConfigError, "here", *facts):
        validate(Registry, {"schemes": {"a": {"order": 1, "stability": "strong"}}, "families": families}, "here")


BOMB = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 30)
)
CHAIN = b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [*a%d]\n" % (i, i, i - 1) for i in range(1, 5000))


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"a: &x [1]\nb: *y\n", ("line 2", "YAML", "undefined alias")),
        (b"\xff\xfe\x00", ("UTF-8",)),
        (b"!!python/object/apply:os.system ['true']", ("YAML", "os.system")),
        (b"? [1, 2]\n: 3\n", ("key", "name")),
        (b"", ("mapping", "NoneType")),
        (b"[" * 5000, ("line", "not valid YAML")),  # some versions of libyaml name the nesting
        (BOMB, ("line", "YAML", "100000", "aliases")),
        (CHAIN, ("line", "YAML", "50 levels", "aliases")),
        (b"a: &a [*a]", ("line 1", "YAML", "alias", "itself")),
        (b"a: &a\n  <<: *a\n", ("line 2", "<<", "1.1")),
        (b"a: 1\nb: .inf", ("line 2", "finite", ".inf")),
        (b"a: .nan", ("line 1", "finite", ".nan")),
        (b"a: [-.INF]", ("line 1", "finite", "-.INF")),
        (b"a: 1e999", ("line 1", "finite", "1e999")),
        (b"a: on", ("line 1", "on", "1.1", "quote")),
        (b"a: {b: No}", ("line 1", "No", "1.1")),
        (b"a: 010", ("line 1", "010", "1.1")),
        (b"a: 1:30", ("line 1", "1:30", "1.1")),
        (b"a: 1_000", ("line 1", "1_000", "1.1")),
        (b"a: 0b11", ("line 1", "0b11", "1.1")),
        (b"a: {b: 1, b: 1}", ("line 1", "b", "twice")),
        (b"1: a\n'1': b\n1: c", ("line 3", "1", "twice")),
        *(
            (text, ("line 1", "YAML", "tag", tag))
            for text, tag in (
                (b"a: !!bool x", "bool"),
                (b"a: !!timestamp x", "timestamp"),
                (b"a: !!int ''", "int"),
                (b"a: !!float ''", "float"),
                (b"a: !!omap [1]", "omap"),
                (b"a: !!pairs x", "pairs"),
                (b"a: !!binary x", "binary"),
                (b"a: !!set {b}", "set"),
                (b"a: !!null x", "null"),
                (b"!!map [a]", "map"),
                (b"a: !mine x", "mine"),
            )
        ),
        (b"? !!omap {a: 1}\n: 1", ("line 1", "key")),
        (b"a: '" + b"x" * 2**20 + b"'", ("1048576",)),
    ],
)
def test_bad_files(tmp_path, content: bytes, facts: tuple[str, ...]) -> None:
    """The file, the line and the reason; nothing in it is executed."""
    path = tmp_path / "registry.yaml"
    path.write_bytes(content)
    with raises(ConfigError, path, *facts):
        load_yaml(path)


def test_aliases_within_the_limits_are_read(tmp_path) -> None:
    """Used twice, and many keys in no time."""
    path = tmp_path / "registry.yaml"
    path.write_text("base: &b {x: 1}\nlist: [*b, *b]\n" + "".join(f"k{i}: 0\n" for i in range(40_000)))
    data = load_yaml(path)
    assert data["list"] == [{"x": 1}, {"x": 1}]
    assert len(data) == 40_002


def test_plain_text_is_what_yaml_1_2_says(tmp_path) -> None:
    """The examples of its core schema, section 10.3.2, and what is quoted."""
    path = tmp_path / "registry.yaml"
    path.write_text(
        "nothing: [null, Null, ~, ]\nswitches: [true, True, FALSE]\nwhole: [0, -0, 3, -19, +12, 0x3A]\n"
        "decimal: [0., -0.0, .5, 12e03, -2E+05, 1e3]\ntext: ['on', \"010\", !!str 5, 1/3, 2020-01-01, y, tRUE, .5.1, 1e]\n"
    )
    assert load_yaml(path) == {
        "nothing": [None, None, None],
        "switches": [True, True, False],
        "whole": [0, 0, 3, -19, 12, 58],
        "decimal": [0.0, 0.0, 0.5, 12e3, -2e5, 1000.0],
        "text": ["on", "010", "5", "1/3", "2020-01-01", "y", "tRUE", ".5.1", "1e"],
    }


def test_a_yaml_bomb_is_refused_in_no_time(tmp_path) -> None:
    """9^29 values in 1 kB."""
    path = tmp_path / "registry.yaml"
    path.write_bytes(BOMB)
    with raises(ConfigError, path, "100000", "aliases"):
        load_yaml(path)  # written out, it would fill any memory


LONG = "9" * 100_000
NUMBERS = [LONG, f"1/{LONG}", f"0.{LONG}", "1e999999999", "-1e-999999999", "1e" + LONG, int("9" * 4000) ** 25, 10**100_000,
           Fraction(1, 10**100_000), Decimal("1e999999999"), Decimal("1e-999999999"), Decimal(LONG)]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NUMBERS)))
def test_numbers_of_any_length_are_refused_wherever_they_enter(number: int) -> None:
    """A stated limit, in no time, in a message of bounded length."""
    value: Any = NUMBERS[number]
    started = time.process_time()
    for enter in (
        lambda: exact(value),
        lambda: stabzoo.LinearMultistep((value,), (1,)),
        lambda: stabzoo.LinearMultistep((1,), (1,), value),
        lambda: stabzoo.is_zero_stable((1, value)),
        lambda: stabzoo.get_scheme("zerosnet", lam=value),
        lambda: stabzoo.get_scheme("multistep", alpha=(value,), beta=(1,)),
        lambda: parse_condition(f"k < {value if isinstance(value, str) else LONG}"),
    ):
        with pytest.raises(ValueError, match=r"1000 .*digits|500 characters|condition") as caught:
            enter()
        assert len(str(caught.value)) < 400
    assert time.process_time() - started < 60  # a power written out takes hours


@pytest.mark.parametrize("number", [n for n in NUMBERS if isinstance(n, str)], ids=lambda text: text[:12])
def test_long_numbers_on_the_command_line_and_in_files(number: str, run: Run, tmp_path: Path) -> None:
    """One line, status 2."""
    for line in (f"analyze --alpha {number} --beta 1", f"show zerosnet --set lam={number}"):
        status, out, err = run(line)
        assert (status, out) == (2, "")
        says(err, "1000", "digits", "alpha" if "alpha" in line else "lam")
        assert len(err) < 400
    path = tmp_path / "registry.yaml"
    path.write_text(f"euler: {{weight: {number}}}")
    if number.startswith("0."):  # YAML's own number, the float that is nearest
        assert load_yaml(path) == {"euler": {"weight": 1.0}}
        return
    with pytest.raises(ConfigError, match=r"1000 .*digits|Exceeds the limit|YAML") as caught:
        stabzoo.get_scheme("euler", **load_yaml(path)["euler"])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "width", [0, -1, 65537, 10**100_000, True, "8"], ids=["0", "-1", "65537", "long", "bool", "text"]
)
def test_a_width_out_of_range(width: Any) -> None:
    """Before torch is asked for so much memory."""
    got = f"got {width!r}" if width != 10**100_000 else "got"
    with raises(ConfigError, "width", "1", "65536", got):
        timm.create_model("zerosnet20_opt", width=width, device="meta")
    with raises(ConfigError, "here: width"):
        validate(ModelConfig, {"scheme": "euler", "depth": 20, "width": width if width != "8" else "x"}, "here")


def test_a_missing_file(tmp_path) -> None:
    """Says what was expected there."""
    with raises(ConfigError, tmp_path / "none.yaml", "No such file", "YAML"):
        load_yaml(tmp_path / "none.yaml")
