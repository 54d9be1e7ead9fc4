"""Every way for a plugin to be broken, with what is said of it; whatever it is, everything else works.

The ways and the messages are in failures.yaml, the only file with these sentences.
"""

import ast
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import timm
import torch
import yaml

import stabzoo
import stabzoo.networks.resnet
from fixtures.commands import Run
from fixtures.messages import raises, says
from fixtures.plugins import GOOD_CODE, GOOD_REGISTRY
from stabzoo.errors import ConfigError, PluginError, PluginWarning
from stabzoo.registry.catalogue import catalogue
from stabzoo.registry.guard import failure_text, plugin_code
from stabzoo.registry.loading import load_plugin
from stabzoo.zoo import ENTRIES

Install = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("only_guests_are_tried")

HOOK = "from stabzoo import ExplicitMultistep, hookimpl\n@hookimpl\ndef stabzoo_discretizations():\n    "
OURS = ["euler", "forward", "multistep", "theta", "zerosnet"]
SCHEME = """
from stabzoo import ExplicitMultistep, hookimpl

class Leapfrog(ExplicitMultistep):
    name = "leapfrog"
    alpha, beta = (0, 1), (2, 0)
    def coefficients(self):
        {}
@hookimpl
def stabzoo_discretizations():
    return [Leapfrog]
"""
STEP = """
    import torch
    from torch import nn
    from stabzoo import ExplicitMultistep, hookimpl

    class Step(nn.Module):
        def __init__(self, f):
            super().__init__()
            self.f = f
            self.calls = []

        def forward(self, y, history):
            self.calls.append(self.training)
            {body}

    class Leapfrog(ExplicitMultistep):
        name = "leapfrog"
        alpha, beta = (0, 1), (2, 0)

        def block(self, f):
            return {block}

    @hookimpl
    def stabzoo_discretizations():
        return [Leapfrog]
"""
GOOD_STEP = "return [history[1] + 2 * self.f(y)]"

FILE = Path(__file__).with_name("failures.yaml")
FAILURES: dict[str, Any] = yaml.safe_load(FILE.read_text())
PLUGIN, WHERE = FAILURES.pop("plugin"), FAILURES.pop("where")


@dataclass(frozen=True)
class Case:
    """One way to be broken, and what is said of it: an entry of failures.yaml, whose beginning describes the fields."""

    code: str = ""
    hook: str = ""
    coefficients: str = ""
    step: str = ""
    block: str = ""
    requires: str = ""
    entry_point: str = ""
    says: str = ""
    begins: str = ""
    ends: str = ""

    @property
    def python(self) -> str:
        """The plugin's ``__init__.py``."""
        if self.hook:
            return HOOK + self.hook
        if self.coefficients:
            return SCHEME.format(self.coefficients)
        if self.step or self.block:
            return STEP.format(body=self.step or GOOD_STEP, block=self.block or "Step(f)")
        return self.code

    def check(self, text: str, **values: object) -> None:
        """Assert that the text is this message, in which the values stand for their names in braces."""
        values = {"plugin": PLUGIN, "where": WHERE, "version": stabzoo.__version__, **values}
        says, begins, ends = self.says, self.begins, self.ends
        for name, value in values.items():
            says, begins, ends = (part.replace(f"{{{name}}}", str(value)) for part in (says, begins, ends))
        if says:
            assert text == says
        else:
            assert begins
            assert text.startswith(begins)
            assert text.endswith(ends)


def case(name: str, group: str = "") -> Case:
    """The case of this name."""
    return Case(**(FAILURES[group][name] if group else FAILURES[name]))


def cases(group: str) -> list[Any]:
    """The cases of a group, for a parametrized test."""
    return [pytest.param(Case(**entry), id=name) for name, entry in FAILURES[group].items()]


def test_no_case_is_unused() -> None:
    """Every group and every single case of failures.yaml is asked for in this file, and nothing else is."""
    asked = {
        call.args[0].value
        for call in ast.walk(ast.parse(Path(__file__).read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in ("case", "cases")
        and isinstance(call.args[0], ast.Constant)
        and len(call.args) == 1
    }
    assert asked == set(FAILURES)
    said = [
        entry
        for group in FAILURES.values()
        for entry in ([group] if "says" in group or "begins" in group else group.values())
    ]
    assert all(Case(**entry).says or Case(**entry).begins for entry in said if "requires" not in entry)


def everything_else_works(run: Run) -> list[str]:
    """And what `stabzoo doctor` says of the rest."""
    listed = run("list --json")
    assert listed.status == 0
    schemes = {entry["name"]: entry for entry in json.loads(listed.out)["schemes"]}
    assert {"euler", "lm_resnet", "theta", "zerosnet_opt"} <= {
        name for name, s in schemes.items() if not s.get("error")
    }
    assert run("list").status == run("show zerosnet_opt").status == run("show preresnet20").status == 0
    model: Any = timm.create_model("zerosnet20_opt", device="meta")
    assert model.scheme.name == "zerosnet_opt"
    examined = run("doctor --json")
    found = json.loads(examined.out)
    states = {entry["name"]: entry["state"] for entry in found["plugins"]}
    assert [states[name] for name in OURS] == ["ok"] * len(OURS)
    assert examined.status == int(bool(found["problems"]))
    return found["problems"]


# code


@pytest.mark.parametrize("failure", cases("code"))
def test_code(failure: Case, install: Install, run: Run) -> None:
    """The message has the plugin, its distribution and the reason; scheme, model and `show` say the same."""
    install(code=failure.python)
    said = []
    for call in (lambda: stabzoo.get_scheme("leapfrog"), lambda: timm.create_model("leapfrog20")):
        stabzoo.refresh()
        with pytest.raises(PluginError) as caught:
            call()
        said.append(str(caught.value))
    assert said[0] == said[1]
    failure.check(said[0])
    assert len(said[0]) < 1000
    assert "\n" not in said[0]
    assert run("show leapfrog") == (2, "", f"stabzoo: {said[0]}\n")
    problems = everything_else_works(run)
    if not failure.coefficients:  # doctor imports, `stabzoo check` computes
        assert problems == [said[0]]
    assert run("check").status == 1


def test_a_registered_model_of_a_scheme_that_refuses_its_defaults(install: Install, run: Run) -> None:
    """A ValueError of coefficients() is an answer about the parameters, not a broken plugin."""
    failure = case("refuses its defaults")
    install(code=failure.python)
    stabzoo.refresh()
    with pytest.raises(ConfigError) as caught:
        timm.create_model("leapfrog20")
    failure.check(str(caught.value))
    (problem,) = everything_else_works(run)
    says(problem, PLUGIN, "model leapfrog20", "scheme 'leapfrog'", "no such numbers")


# time


@pytest.fixture
def half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of plugins."""
    monkeypatch.setenv("STABZOO_PLUGIN_SECONDS", "0.5")


@pytest.mark.parametrize("failure", cases("loops"))
@pytest.mark.usefixtures("half_a_second")
def test_an_infinite_loop_is_ended(failure: Case, install: Install, run: Run) -> None:
    """After the limit, in the main thread."""
    install(code=failure.python)
    with pytest.raises(PluginError) as caught:
        stabzoo.get_scheme("leapfrog")
    failure.check(str(caught.value), seconds=0.5)
    assert stabzoo.get_scheme("euler").coefficients().steps == 1
    if failure == case("at import", "loops"):
        assert everything_else_works(run) == [str(caught.value)]


@pytest.mark.usefixtures("half_a_second")
def test_an_infinite_loop_in_another_thread_is_ended(install: Install) -> None:
    """No alarm there: the exception is raised from a second thread."""
    failure = case("at import", "loops")
    install(code=failure.python)
    said: list[str] = []

    def ask() -> None:
        try:
            stabzoo.get_scheme("leapfrog")
        except PluginError as error:
            said.append(str(error))
        said.append(str(stabzoo.get_scheme("euler").coefficients().steps))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(30)
    told, steps = said
    failure.check(told, seconds=0.5)
    assert steps == "1"


def test_an_alarm_of_the_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handler and its time are kept; the limit holds all the same; without a limit there is no end."""
    import signal
    import time

    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        monkeypatch.setenv("STABZOO_PLUGIN_SECONDS", "0.6")
        started = time.monotonic()
        with raises(PluginError, "a loop", "0.6 s"), plugin_code("a loop"):
            while time.monotonic() < started + 20:
                pass
        assert 0.5 < time.monotonic() - started < 20  # the loop's own end
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
    monkeypatch.setenv("STABZOO_PLUGIN_SECONDS", "0")
    with plugin_code("one"), plugin_code("within another"):
        pass
    assert signal.getsignal(signal.SIGALRM) is before


@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "1e9"])
def test_a_limit_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said, not guessed."""
    monkeypatch.setenv("STABZOO_PLUGIN_SECONDS", text)
    with raises(ConfigError, "STABZOO_PLUGIN_SECONDS", "seconds", "0", f"'{text}'"):
        stabzoo.get_scheme("euler")


def test_failures_of_any_length_are_one_line() -> None:
    """Also of exceptions that cannot be written."""
    assert failure_text(ValueError("a\n  b")) == "ValueError: a b"
    assert failure_text(KeyError()) == "KeyError"
    assert len(failure_text(ValueError("x" * 10**6))) < 700


# what a plugin prints, in processes of their own


def program(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command with what is installed in ``folder``."""
    env = {**os.environ, "PYTHONPATH": str(folder), **environment}
    return subprocess.run(
        [sys.executable, "-m", "stabzoo", *arguments], capture_output=True, text=True, env=env, check=False
    )


def test_what_a_plugin_prints_is_no_result(install: Install) -> None:
    """At import, in the hook and in its coefficients: on standard error; the JSON document stays one."""
    code = """
        print("at import")
        from stabzoo import ExplicitMultistep, LinearMultistep, hookimpl

        class Leapfrog(ExplicitMultistep):
            name = "leapfrog"

            def coefficients(self):
                print("in coefficients")
                return LinearMultistep((0, 1), (2, 0))

        @hookimpl
        def stabzoo_discretizations():
            print("in the hook")
            return [Leapfrog]
    """
    folder = install(code=code).parent
    done = program("list", "leapfrog", "--json", folder=folder)
    assert done.returncode == 0
    (scheme,) = json.loads(done.stdout)["schemes"]
    assert (scheme["name"], scheme["error"]) == ("leapfrog", None)
    assert {"at import", "in the hook", "in coefficients"} <= set(done.stderr.splitlines())


def test_a_plugin_that_hangs_or_exits_does_not_take_the_command_with_it(install: Install) -> None:
    """Two at once, in the installed command."""
    install("hanging", "while True: pass", GOOD_REGISTRY.replace("leapfrog", "hanging"))
    folder = install("leaving", "raise SystemExit(7)", GOOD_REGISTRY.replace("leapfrog", "leaving")).parent
    done = program("list", "--json", folder=folder, STABZOO_PLUGIN_SECONDS="0.5")
    assert (done.returncode, done.stderr) == (0, "")
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["schemes"]}
    assert {"euler", "hanging", "leaving", "zerosnet_opt"} <= set(found)


# registry and installation


def dist_info(folder: Path, version: str = "9.0") -> Path:
    """Where the installer says what it has installed."""
    return folder.parent / f"{folder.name}-{version}.dist-info"


def forget() -> None:
    """What was discovered."""
    catalogue.cache_clear()
    load_plugin.cache_clear()


def problems_of(run: Run) -> list[str]:
    """What is said of the installation, at the first reading and by the doctor; everything else works."""
    with pytest.warns(PluginWarning) as caught:
        catalogue()
    said = [str(warning.message) for warning in caught]
    assert everything_else_works(run) == said
    return said


def test_a_plugin_that_provides_nothing(install: Install, run: Run) -> None:
    """It was installed for a reason."""
    folder = install(registry="leapfrog: {schemes: {}}")
    (said,) = problems_of(run)
    case("provides nothing").check(said, registry=folder / "registry.yaml")


@pytest.mark.parametrize("failure", cases("requires"))
def test_a_plugin_for_another_stabzoo(failure: Case, install: Install, run: Run) -> None:
    """By its requirement, before its registry is read, which may say what this stabzoo does not know."""
    folder = install(registry="leapfrog: {inventions: 3}" if failure.says else GOOD_REGISTRY)
    with (dist_info(folder) / "METADATA").open("a") as file:
        file.write(f"Requires-Dist: {failure.requires}\n")
    forget()
    if not failure.says:
        assert "leapfrog" in stabzoo.list_schemes()
        return
    (said,) = problems_of(run)
    failure.check(said)
    with raises(ConfigError, "unknown scheme 'leapfrog'"):
        stabzoo.get_scheme("leapfrog")


def test_two_versions_in_one_folder(install: Install, run: Run) -> None:
    """The code is of one of them, nobody knows which; it is used, and said."""
    folder = install(version="9.0")
    install(version="9.1")
    (said,) = problems_of(run)
    case("two versions").check(said, folder=folder.parent)
    assert stabzoo.get_scheme("leapfrog").coefficients().order == 2


def test_one_version_before_another_on_the_path(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a virtual environment covers the system's packages: the first is meant."""
    folder = install()
    behind = tmp_path / "behind"
    behind.mkdir()
    for path in (folder, dist_info(folder)):
        target = behind / path.name.replace("9.0", "8.0")
        target.mkdir()
        for file in path.iterdir():
            if file.is_file():
                (target / file.name).write_text(file.read_text().replace("Version: 9.0", "Version: 8.0"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(behind)])
    forget()
    assert [str(plugin) for plugin in catalogue().plugins if not plugin.is_ours] == [PLUGIN]


@pytest.mark.parametrize("failure", cases("entry points"))
def test_an_entry_point_that_names_no_package(failure: Case, install: Install, run: Run) -> None:
    """Nothing is imported to find out."""
    folder = install()
    (dist_info(folder) / "entry_points.txt").write_text(f"[stabzoo]\nleapfrog = {failure.entry_point}\n")
    forget()
    (said,) = problems_of(run)
    failure.check(said)


def test_a_plugin_inside_a_package_that_fails(install: Install) -> None:
    """The package around it is not imported to read the registry."""
    failure = case("inside a package that fails")
    folder = install("outer", failure.python, None)
    inner = folder / "leapfrog"
    inner.mkdir()
    (inner / "__init__.py").write_text(dedent(GOOD_CODE))
    (inner / "registry.yaml").write_text(dedent(GOOD_REGISTRY))
    (dist_info(folder) / "entry_points.txt").write_text("[stabzoo]\nleapfrog = stabzoo_outer.leapfrog\n")
    forget()
    assert "leapfrog" in stabzoo.list_schemes()
    with pytest.raises(PluginError) as caught:
        stabzoo.get_scheme("leapfrog")
    failure.check(str(caught.value))


def test_damaged_metadata(install: Install, run: Run) -> None:
    """Ours to say where it declares a plugin, not where it does not; no METADATA is no reason to fail."""
    folder = install()
    (dist_info(folder) / "entry_points.txt").write_text("[stabzoo]\nleapfrog\n")
    forget()
    (said,) = problems_of(run)
    case("damaged entry points").check(said, folder=dist_info(folder))
    (dist_info(folder) / "entry_points.txt").write_bytes(b"[console_scripts]\n\xff\xfe")
    forget()
    assert all(plugin.is_ours for plugin in catalogue().plugins)
    (dist_info(folder) / "METADATA").unlink()
    (dist_info(folder) / "entry_points.txt").write_text("[stabzoo]\nleapfrog = stabzoo_leapfrog\n")
    forget()
    assert "leapfrog" in stabzoo.list_schemes()


def test_a_name_of_timm_is_not_listed_as_ours(install: Install, run: Run) -> None:
    """It stays timm's."""
    install(registry=GOOD_REGISTRY.replace("leapfrog20", "resnet18"))
    with pytest.warns(PluginWarning) as caught:
        stabzoo.refresh()
    (said,) = (str(warning.message) for warning in caught)
    case("a name of timm").check(said)
    assert "resnet18" not in stabzoo.list_models()
    assert everything_else_works(run) == [said]


# while the process runs


def test_a_plugin_that_is_removed_while_the_process_runs(install: Install) -> None:
    """Its models leave timm and stabzoo; a network that exists goes on working; installed anew, it is back."""
    folder = install()
    stabzoo.refresh()
    model = timm.create_model("leapfrog20")
    assert "leapfrog20" in timm.list_models(module="stabzoo")
    assert callable(ENTRIES.leapfrog20)
    info, away = dist_info(folder), folder.parent / "away"
    info.rename(away)
    stabzoo.refresh()
    assert not timm.is_model("leapfrog20")
    assert "leapfrog20" not in {*timm.list_models(module="stabzoo"), *stabzoo.list_models(), *ENTRIES.__all__}
    assert "leapfrog20" not in timm.list_pretrained()
    assert not hasattr(ENTRIES, "leapfrog20")
    assert "stabzoo_leapfrog" not in sys.modules
    with raises(RuntimeError, "Unknown model", "leapfrog20"):
        timm.create_model("leapfrog20")
    with raises(ConfigError, "unknown scheme 'leapfrog'"):
        stabzoo.get_scheme("leapfrog")
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    away.rename(info)
    stabzoo.refresh()
    assert callable(timm.create_model("leapfrog20", device="meta"))


def test_a_plugin_that_is_upgraded_while_the_process_runs(install: Install) -> None:
    """Its new code and its new models are those that are used."""
    folder = install()
    stabzoo.refresh()
    assert stabzoo.get_scheme("leapfrog").coefficients().steps == 2
    info = dist_info(folder, "9.0.1")
    dist_info(folder).rename(info)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stabzoo-leapfrog\nVersion: 9.0.1\n")
    (folder / "__init__.py").write_text(dedent(GOOD_CODE).replace("(0, 1), (2, 0)", "(1,), (1,)"))
    (folder / "registry.yaml").write_text(
        "leapfrog:\n  schemes: {leapfrog: {order: 1, stability: strong}}\n"
        "  models: {leapfrog20: {scheme: leapfrog, depth: 26}}\n"
    )
    stabzoo.refresh()
    model: Any = timm.create_model("leapfrog20", device="meta")
    assert (len(model.blocks()), model.scheme.coefficients().steps) == (12, 1)


def test_nothing_changes_without_a_change() -> None:
    """Functions and classes stay the same objects."""
    before: Any = ENTRIES.zerosnet20_opt, type(stabzoo.get_scheme("zerosnet_opt"))
    stabzoo.refresh()
    assert before == (ENTRIES.zerosnet20_opt, type(stabzoo.get_scheme("zerosnet_opt")))


# a step of the plugin's own


@pytest.mark.parametrize("failure", cases("steps"))
def test_a_step_that_returns_rubbish(failure: Case, install: Install) -> None:
    """Said when the network is built, with the scheme and the block; on the meta device all but the values."""
    install(code=failure.python)
    stabzoo.refresh()
    with pytest.raises(PluginError) as caught:
        timm.create_model("leapfrog20")
    failure.check(str(caught.value))
    if failure in (case("no value finite", "steps"), case("some values not finite", "steps")):
        assert timm.create_model("leapfrog20", device="meta")
    else:
        with pytest.raises(PluginError):
            timm.create_model("leapfrog20", device="meta")
    assert timm.create_model("zerosnet20_opt", device="meta")


def test_a_block_that_is_no_module(install: Install) -> None:
    """Of the scheme."""
    failure = case("a block that is no module")
    install(code=failure.python)
    stabzoo.refresh()
    with pytest.raises(PluginError) as caught:
        timm.create_model("leapfrog20")
    failure.check(str(caught.value))


def test_a_step_of_its_own_is_tried_once_a_shape_and_nothing_is_left_of_it(install: Install) -> None:
    """Five shapes; modes, weights and random numbers are those of a network that was not tried."""
    install(code=STEP.format(body=GOOD_STEP, block="Step(f)"))
    stabzoo.refresh()
    torch.manual_seed(0)
    model: Any = timm.create_model("leapfrog20")
    after = torch.rand(1)
    steps = [block.step for block in model.blocks()[1:]]
    assert [len(step.calls) for step in steps] == [1, 0, 1, 1, 0, 1, 1, 0]
    assert not any(mode for step in steps for mode in step.calls)
    assert all(module.training for module in model.modules())
    assert model(torch.rand(2, 3, 32, 32)).isfinite().all()
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stabzoo.networks.resnet, "check_step", lambda *_: None)
        untried: Any = timm.create_model("leapfrog20")
    assert torch.equal(after, torch.rand(1))
    state = model.eval().state_dict()
    assert all(
        torch.equal(value, state[name])
        for name, value in untried.state_dict().items()
        if "running" not in name and "tracked" not in name
    )
