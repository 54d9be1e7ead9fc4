"""What a plugin's names, metadata and moods cost: the plugin itself, or a part of it, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import timm

import stabzoo
from fixtures.commands import Run
from fixtures.messages import raises, refuses, says, warns
from fixtures.plugins import GOOD_CODE, GOOD_REGISTRY
from fixtures.waiting import wait_until
from stabzoo.claims import check_claims
from stabzoo.errors import ConfigError, PluginError, PluginWarning
from stabzoo.registry.catalogue import catalogue
from stabzoo.registry.loading import forget, one_command
from stabzoo.zoo import ENTRIES

Install = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("only_guests_are_tried")
PLUGIN = "plugin 'leapfrog' (stabzoo-leapfrog 9.0)"


def named(*models: str, scheme: str = "leapfrog") -> str:
    """A registry with models of these names, and leapfrog20."""
    listed = "".join(f", {model}: {{scheme: {scheme}, depth: 20}}" for model in models)
    return GOOD_REGISTRY.replace("depth: 20}}", f"depth: 20}}{listed}}}")


def all_is_well() -> None:
    """Of stabzoo and timm."""
    assert stabzoo.card(stabzoo.get_scheme("euler")).status == "strong"
    assert callable(stabzoo.refresh)
    assert timm.create_model("zerosnet20_opt", device="meta").num_classes == 10


# names


@pytest.mark.parametrize(
    "name",
    [
        "card",
        "refresh",
        "get_scheme",
        "list_models",
        "hookimpl",
        "study",
        "zoo",
        "timm",
        "default_cfgs",
        "class",
        "lambda",
    ],
)
def test_a_reserved_name_costs_that_model(install: Install, name: str) -> None:
    """Public names, submodules, keywords, and what timm reads beside the models."""
    install(registry=named(name))
    with warns(PluginWarning, PLUGIN, f"model name {name!r}", "reserved"):
        stabzoo.refresh()
    assert name not in stabzoo.list_models()
    assert "leapfrog20" in stabzoo.list_models()
    all_is_well()


@pytest.mark.parametrize("name", ["torch", "match", "create_model", "stabzoo", "sys"])
def test_a_name_that_meets_no_other_is_a_models(install: Install, name: str) -> None:
    """The entry functions have a module of their own."""
    install(registry=named(name))
    stabzoo.refresh()
    assert callable(timm.create_model(name, device="meta"))
    assert timm.model_entrypoint(name) is getattr(ENTRIES, name)
    assert not hasattr(getattr(stabzoo, name, None), "depth")
    all_is_well()


def test_no_name_of_stabzoo_is_a_models() -> None:
    """Registration leaves the package as it is."""
    assert set(stabzoo.list_models()).isdisjoint(vars(stabzoo))
    assert set(stabzoo.list_models()).isdisjoint(stabzoo.__all__)
    assert set(stabzoo.list_models()) == set(ENTRIES.__all__) == set(timm.list_models(module="stabzoo"))


def test_a_name_that_is_none_costs_the_plugin(install: Install) -> None:
    """As any other mistake in a registry."""
    install(registry=named("__getattr__"))
    with warns(PluginWarning, PLUGIN, "'__getattr__'", "registry.yaml"):
        stabzoo.refresh()
    assert "leapfrog20" not in stabzoo.list_models()
    all_is_well()


def test_timm_is_imported_whatever_a_model_is_called(install: Install) -> None:
    """In an interpreter of its own, where the models are registered while timm is imported."""
    folder = install(registry=named("default_cfgs", "card")).parent
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import stabzoo, timm; print(timm.is_model('leapfrog20'))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


SAME = dedent(GOOD_CODE).replace('"leapfrog"', '"same"')


def test_of_two_schemes_of_one_name_the_losers_models_are_left_out(install: Install, run: Run) -> None:
    """They are never built from the winner's coefficients, models of a family neither; other models stay."""
    claims = "schemes: {same: {order: 2, stability: weak}"
    install("aaa", SAME, f"aaa: {{{claims}}}, models: {{aaa20: {{scheme: same, depth: 20}}}}}}")
    models = (
        "models: {bbb20: {scheme: same, depth: 20}, bbb26: {scheme: own, depth: 26}, bbb32: {scheme: euler, depth: 32}}"
    )
    families = "families: {'bbbf{depth}': {scheme: same, cifar: {basic: [20, 26, 32, 38]}}}"
    code = SAME.replace("(0, 1), (2, 0)", "(1,), (1,)").replace(
        "return [Leapfrog]", "return [Leapfrog, type('Own', (Leapfrog,), {'name': 'own'})]"
    )
    install("bbb", code, f"bbb: {{{claims}, own: {{order: 1, stability: strong}}}}, {models}, {families}}}")
    facts = "plugin 'bbb'", "scheme 'same'", "plugin 'aaa'", "models bbb20, bbbf20, bbbf26 and 2 more"
    with warns(PluginWarning, *facts):
        stabzoo.refresh()
    assert [model for model in stabzoo.list_models() if model[:3] in ("aaa", "bbb")] == ["aaa20", "bbb26", "bbb32"]
    own: Any = timm.create_model("bbb26", device="meta")
    assert own.scheme.coefficients().order == 1
    says("\n".join(check_claims().problems), *facts)


def test_models_of_another_plugins_scheme_are_welcome(install: Install, run: Run) -> None:
    """A plugin may bring models only, and needs no code."""
    install(
        code='"""Nothing."""', registry="leapfrog: {models: {wide20: {scheme: zerosnet_opt, depth: 20, width: 32}}}"
    )
    stabzoo.refresh()
    model: Any = timm.create_model("wide20", device="meta")
    assert (model.scheme.name, model.num_features) == ("zerosnet_opt", 128)
    assert not [text for text in check_claims().problems if "leapfrog" in text]


# metadata


def info_of(folder: Path, version: str = "9.0") -> Path:
    """Where the installer says what it has installed."""
    return folder.parent / f"{folder.name}-{version}.dist-info"


def a_leftover(info: Path) -> Path:
    """An empty folder of an older version."""
    left = info.with_name(info.name.replace("9.0", "8.0"))
    left.mkdir()
    return left


def a_looping_leftover(info: Path) -> Path:
    """A link to itself."""
    left = info.with_name(info.name.replace("9.0", "8.0"))
    left.symlink_to(left.name)
    return left


def a_leftover_with_entry_points(info: Path) -> Path:
    """But without METADATA."""
    shutil.copy(info / "entry_points.txt", a_leftover(info))
    return info


def one_byte(info: Path) -> Path:
    """Of Latin-1."""
    with (info / "METADATA").open("ab") as file:
        file.write(b"Summary: caf\xe9\n")
    return info


def a_link_to_itself(info: Path) -> Path:
    """For METADATA."""
    (info / "METADATA").unlink()
    (info / "METADATA").symlink_to("METADATA")
    return info


def a_marker_of_nothing(info: Path) -> Path:
    """Which packaging refuses to evaluate."""
    with (info / "METADATA").open("a") as file:
        file.write("Requires-Dist: stabzoo; python_version ~= 'x'\n")
    return info


def a_byte_in_the_entry_points(info: Path) -> Path:
    """Of Latin-1."""
    (info / "entry_points.txt").write_bytes(b"[stabzoo]\nleapfrog = stabzoo_leapfrog\n# caf\xe9\n")
    return info


@pytest.mark.parametrize(
    ("damage", "is_usable"),
    [
        (a_leftover, True),
        (a_looping_leftover, True),
        (one_byte, False),
        (a_link_to_itself, False),
        (a_byte_in_the_entry_points, False),
    ],
)
def test_damaged_metadata_costs_that_plugin_and_names_the_folder(
    install: Install, damage: Callable[[Path], Path], is_usable: bool
) -> None:
    """What an interrupted upgrade leaves behind costs nothing."""
    place = damage(info_of(install()))
    forget()
    with warns(PluginWarning, "plugin", place):
        assert ("leapfrog" in stabzoo.list_schemes()) == is_usable
    all_is_well()
    if is_usable:
        assert stabzoo.get_scheme("leapfrog").coefficients().order == 2


@pytest.mark.parametrize("damage", [a_leftover_with_entry_points, a_marker_of_nothing])
def test_metadata_of_any_kind_costs_nobody_else(install: Install, damage: Callable[[Path], Path]) -> None:
    """Whether the plugin itself can be used or not."""
    damage(info_of(install()))
    forget()
    with pytest.warns(PluginWarning) as caught:
        stabzoo.list_schemes()
    assert all(str(warning.message).startswith("plugin 'leapfrog' (") for warning in caught)
    all_is_well()


@pytest.mark.parametrize("name", ["stabzoo evil", "", "stabzoo\n x"])
def test_a_distribution_of_a_name_like_ours_is_not_ours(install: Install, name: str) -> None:
    """It does not read our registry, and ours are what they were."""
    info = info_of(install())
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    forget()
    assert next(plugin for plugin in catalogue().plugins if plugin.name == "leapfrog").is_ours is False
    all_is_well()


def test_a_registry_that_is_a_link_to_itself(install: Install) -> None:
    """Is missing."""
    folder = install()
    (folder / "registry.yaml").unlink()
    (folder / "registry.yaml").symlink_to("registry.yaml")
    forget()
    with warns(PluginWarning, PLUGIN, folder / "registry.yaml"):
        all_is_well()


def test_a_finder_that_fails_costs_the_plugin_that_is_looked_for(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finders of other packages run when a plugin's folder is looked for."""

    class Odd:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
            if name == "stabzoo_leapfrog":
                raise SystemExit(5)

    info = info_of(install())
    monkeypatch.setattr(sys, "meta_path", [Odd, *sys.meta_path])
    with warns(PluginWarning, PLUGIN, info, "SystemExit: 5"):
        all_is_well()


# archives


@pytest.mark.parametrize("kind", ["zip", "egg"])
def test_a_zipped_distribution(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Python imports from archives on its path; so its registry is read from there."""
    folder = install()
    info = "EGG-INFO" if kind == "egg" else info_of(folder).name
    archive = tmp_path / f"stabzoo_leapfrog.{kind}"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            if path.is_file():
                file.write(path, f"{folder.name}/{path.name}")
        for path in info_of(folder).iterdir():
            file.write(path, f"{info}/{'PKG-INFO' if kind == 'egg' and path.name == 'METADATA' else path.name}")
    shutil.rmtree(folder)
    shutil.rmtree(info_of(folder))
    monkeypatch.syspath_prepend(str(archive))
    stabzoo.refresh()
    assert stabzoo.get_scheme("leapfrog").coefficients().order == 2
    assert timm.create_model("leapfrog20", device="meta").num_classes == 10
    assert str(sys.modules["stabzoo_leapfrog"].__file__).startswith(str(archive))


def test_an_archive_without_a_registry(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place in it is named."""
    folder = install(registry=None)
    archive = tmp_path / "made.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(folder / "__init__.py", f"{folder.name}/__init__.py")
    shutil.rmtree(folder)
    monkeypatch.syspath_prepend(str(archive))
    with warns(PluginWarning, PLUGIN, archive, "registry.yaml", "missing"):
        stabzoo.refresh()


# interrupts


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN], ids=["foreground", "background"])
@pytest.mark.parametrize(
    "code", ["raise KeyboardInterrupt", GOOD_CODE.replace("return [", "raise KeyboardInterrupt('x')\n        return [")]
)
def test_an_interrupt_of_the_plugins_own_is_its_failure(install: Install, run: Run, code: str, handler: Any) -> None:
    """Nobody has pressed Ctrl-C, which a job that a shell has put into the background ignores."""
    install(code=code)
    before = signal.signal(signal.SIGINT, handler)
    try:
        with raises(PluginError, PLUGIN, "KeyboardInterrupt"):
            stabzoo.get_scheme("leapfrog")
        refuses(run("show leapfrog"), PLUGIN, "KeyboardInterrupt")
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    all_is_well()


def test_an_interrupt_of_the_plugins_own_in_another_thread(install: Install) -> None:
    """Where Python raises none of its own."""
    from concurrent.futures import ThreadPoolExecutor

    install(code="raise KeyboardInterrupt")
    with ThreadPoolExecutor(1) as threads, raises(PluginError, PLUGIN, "KeyboardInterrupt"):
        threads.submit(stabzoo.get_scheme, "leapfrog").result()


@pytest.mark.parametrize("ours", [True, False])
def test_ctrl_c_says_what_it_has_interrupted(install: Install, tmp_path: Path, ours: bool) -> None:
    """The user's own ends the command, and names the plugin; also where another handler of the signal is set."""
    begun = tmp_path / "begun"
    folder = install(code=f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(600)").parent
    # Python's own has to be set where the tests run in the background of a shell, which ignores the signal
    own = "signal.default_int_handler"
    handler = f"signal.signal(signal.SIGINT, {own if ours else f'lambda *_: {own}(*_)'}); "
    code = f"import signal, sys; {handler}from stabzoo.cli import main; sys.exit(main(['show', 'leapfrog']))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=env)
    wait_until(begun.exists, lambda: process.poll() is None)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    says(err, "stabzoo: ", PLUGIN, "interrupted")
    assert err.count("\n") == 1


# settings


@pytest.mark.parametrize(
    ("text", "is_strict"),
    [("1", True), ("true", True), ("YES", True), (" on ", True), ("0", False), ("false", False), ("Off", False), ("", False)],
)  # fmt: skip
def test_strict_is_yes_or_no(install: Install, monkeypatch: pytest.MonkeyPatch, text: str, is_strict: bool) -> None:
    """However it is written."""
    install(registry="frog: {}")
    monkeypatch.setenv("STABZOO_STRICT", text)
    if is_strict:
        with raises(PluginError, PLUGIN, "got frog"):
            stabzoo.list_schemes()
    else:
        with warns(PluginWarning, PLUGIN, "got frog"):
            stabzoo.list_schemes()


@pytest.mark.parametrize("text", ["2", "ja", "strict", "\x1b[2J"])
def test_strict_that_is_neither(run: Run, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Is refused although no plugin is broken."""
    forget()
    monkeypatch.setenv("STABZOO_STRICT", text)
    refuses(run("list"), "STABZOO_STRICT", "1", "true", "0", "false", f"got {text!r}")


# failures that pass, and code that is edited


def test_a_failure_is_remembered_no_longer_than_a_command(install: Install, run: Run, tmp_path: Path) -> None:
    """Within one the code is imported once, whatever is asked of it; afterwards it is tried again."""
    needed, log = tmp_path / "needed", tmp_path / "log"
    code = (
        "from pathlib import Path\n"
        f"log = Path({str(log)!r})\nlog.write_text(log.read_text() + 'x')\nPath({str(needed)!r}).read_text()\n"
    ) + dedent(GOOD_CODE)
    log.touch()
    models = "".join(f", m{i}: {{scheme: leapfrog, depth: 20, width: {i}}}" for i in range(1, 5))
    install(code=code, registry=GOOD_REGISTRY.replace("depth: 20}}", f"depth: 20}}{models}}}"))
    with raises(PluginError, PLUGIN, "FileNotFoundError"):
        stabzoo.get_scheme("leapfrog")
    assert log.read_text() == "x"
    says(run("list leapfrog").out, "broken", "FileNotFoundError")
    assert log.read_text() == "xx"
    with one_command():
        for _ in range(3):
            with pytest.raises(PluginError):
                stabzoo.get_scheme("leapfrog")
    assert log.read_text() == "xxx"
    needed.touch()
    assert stabzoo.get_scheme("leapfrog").coefficients().order == 2
    assert run("show leapfrog").status == 0
    assert log.read_text() == "xxxx"


def test_what_a_failed_import_has_left_is_imported_anew(install: Install) -> None:
    """Modules of the package that came before the one that failed."""
    folder = install(code="from stabzoo_leapfrog import part\nfrom stabzoo_leapfrog.part import Leapfrog\n")
    (folder / "part.py").write_text("broken = True\n")
    with raises(PluginError, PLUGIN, "ImportError"):
        stabzoo.get_scheme("leapfrog")
    assert "stabzoo_leapfrog.part" not in sys.modules
    (folder / "part.py").write_text(dedent(GOOD_CODE))
    (folder / "__init__.py").write_text("from stabzoo_leapfrog.part import stabzoo_discretizations\n")
    assert stabzoo.get_scheme("leapfrog").coefficients().order == 2


@pytest.mark.parametrize("file", ["__init__.py", "part.py"])
def test_edited_code_is_reloaded(install: Install, file: str) -> None:
    """By `refresh`, whichever module was edited; what was not edited stays what it is."""
    folder = install(code=GOOD_CODE if file == "__init__.py" else "from stabzoo_leapfrog.part import *")
    (folder / "part.py").write_text(dedent(GOOD_CODE))
    install("other", GOOD_CODE.replace("leapfrog", "other"), GOOD_REGISTRY.replace("leapfrog", "other"))
    stabzoo.refresh()
    before, other = stabzoo.get_scheme("leapfrog"), stabzoo.get_scheme("other")
    (folder / file).write_text(dedent(GOOD_CODE).replace("(0, 1), (2, 0)", "(1,), (1,)"))
    assert type(stabzoo.get_scheme("leapfrog")) is type(before)
    stabzoo.refresh()
    assert stabzoo.get_scheme("leapfrog").coefficients().order == 1
    assert before.coefficients().order == 2
    assert type(stabzoo.get_scheme("other")) is type(other)


# models that cannot be built

NETWORK = """
    from stabzoo import ExplicitMultistep, hookimpl

    class Leapfrog(ExplicitMultistep):
        name = "leapfrog"
        alpha, beta = (0, 1), (2, 0)

        {method}
            {body}

    @hookimpl
    def stabzoo_discretizations():
        return [Leapfrog]
"""
CLASS = "import torch\n            class Net(torch.nn.Module):\n                {}\n            return Net"
BUILDS = {
    "network() returns a number": ("@classmethod\n        def network(cls):", "return 42", "got 42"),
    "network() returns a module": (
        "@classmethod\n        def network(cls):",
        "import torch; return torch.nn.Identity()",
        "got Identity()",
    ),
    "network() returns another class": ("@classmethod\n        def network(cls):", "return dict", "<class 'dict'>"),
    "network() needs an argument": ("@classmethod\n        def network(cls, size):", "return 42", "size"),
    "network() raises": ("@classmethod\n        def network(cls):", "raise ZeroDivisionError", "ZeroDivisionError"),
    "network() exits": ("@classmethod\n        def network(cls):", "raise SystemExit(9)", "SystemExit: 9"),
    "a network without arguments": (
        "@classmethod\n        def network(cls):",
        CLASS.format("def __init__(self): super().__init__()"),
        "TypeError",
    ),
    "a network that exits": (
        "@classmethod\n        def network(cls):",
        CLASS.format("def __init__(self, scheme, layers, width, **options): raise SystemExit(8)"),
        "SystemExit: 8",
    ),
    "block() without f": ("def block(self):", "return None", "TypeError"),
    "block() that raises": ("def block(self, f):", "return f.no_such_thing", "no_such_thing"),
    "starting_block() without f": ("def starting_block(self):", "return None", "TypeError"),
}


@pytest.mark.parametrize("mistake", BUILDS)
def test_a_model_that_cannot_be_built_is_named(install: Install, run: Run, mistake: str) -> None:
    """By timm's factory, `check` and `doctor`."""
    method, body, reason = BUILDS[mistake]
    install(code=NETWORK.format(method=method, body=body))
    stabzoo.refresh()
    with raises(PluginError, PLUGIN, "model 'leapfrog20'", reason) as caught:
        timm.create_model("leapfrog20")
    assert "\n" not in str(caught.value)
    (problem,) = (text for text in check_claims().problems if "leapfrog20" in text)
    says(problem, PLUGIN, "model leapfrog20", reason)


def test_stages_that_do_not_fit_the_form(install: Install, run: Run) -> None:
    """Each of another kind is built; the rest of the plugin is well."""
    sizes = "st_a: {scheme: leapfrog, depth: 20, stages: [2, 2, 2]}, st_c: {scheme: leapfrog, depth: 20, stages: [2, 2, 2, 2]}"
    more = "st_d: {scheme: leapfrog, depth: 20, stages: [2, 2]}, st_e: {scheme: nothere, depth: 20}, st_f: {scheme: leapfrog, depth: 20, width: 65536}"
    install(registry=GOOD_REGISTRY.replace("depth: 20}}", f"depth: 20}}, {sizes}, {more}}}"))
    stabzoo.refresh()
    with raises(PluginError, PLUGIN, "model 'st_c'", "ValueError"):
        timm.create_model("st_c")
    problems = [text for text in check_claims().problems if "leapfrog" in text]
    assert sorted(name for name in ("st_a", "st_c", "st_d", "st_e", "st_f") if name in "\n".join(problems)) == [
        "st_c",
        "st_d",
        "st_e",
    ]
    examined = run("doctor --json")
    assert examined.status == 1
    says(examined.out, "st_c", "st_d", "st_e", "ValueError", "unknown scheme 'nothere'")


def test_a_network_with_keyword_arguments_is_called_as_its_base_class_is(install: Install) -> None:
    """With the form and the kind of blocks, which it hands on."""
    body = "Base = super().network()\n            class Net(Base):\n                def __init__(self, *args, **kwargs):\n                    super().__init__(*args, **kwargs)\n            return Net"
    registry = GOOD_REGISTRY.replace(
        "20}}",
        "20}, b29: {scheme: leapfrog, depth: 29, block: bottleneck}, i18: {scheme: leapfrog, depth: 18, form: imagenet}}",
    )
    install(code=NETWORK.format(method="@classmethod\n        def network(cls):", body=body), registry=registry)
    stabzoo.refresh()
    networks: list[Any] = [timm.create_model(name, device="meta", in_chans=1) for name in ("leapfrog20", "b29", "i18")]
    assert [network.num_features for network in networks] == [64, 256, 512]
    with raises(ConfigError, "unknown parameter 'wdth'", "norm", "drop_path_rate"):
        timm.create_model("leapfrog20", wdth=3)


def test_an_argument_that_a_network_refuses_is_in_the_message() -> None:
    """Whose fault it is cannot be told, so plugin and argument are named."""
    with raises(PluginError, "plugin 'zerosnet' (stabzoo 0.1.0)", "model 'zerosnet20_opt'", "in_chans"):
        timm.create_model("zerosnet20_opt", in_chans="three")
    with raises(ConfigError, "norm", "'often'"):
        timm.create_model("zerosnet20_opt", norm="often")


# claims


CHECKED = ["a > 0 and b > 0", "-1 < a < 1 or b == a"]


@pytest.mark.parametrize("condition", ["a < b", "a + b < 1", "0 < a < 1 and b > 0 and c > 0", *CHECKED])
@pytest.mark.parametrize("claim", ["condition", "a_stable", "l_stable"])
def test_a_condition_in_several_parameters_costs_that_claim(install: Install, claim: str, condition: str) -> None:
    """It is said that it cannot be checked, or, of two, is false; the scheme and its models are there."""
    install(registry=GOOD_REGISTRY.replace("weak}", f"weak, {claim}: {condition}}}"))
    stabzoo.refresh()
    assert stabzoo.get_scheme("leapfrog").coefficients().order == 2
    assert "leapfrog20" in stabzoo.list_models()
    (problem,) = (text for text in check_claims().problems if "leapfrog" in text)
    why = "no parameter 'a'" if condition in CHECKED else "cannot be checked"
    says(problem, PLUGIN, "scheme 'leapfrog'", condition, why)
