"""``stabzoo new-plugin``: what it writes passes its own tests untouched; what it refuses, and that nothing is left."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import timm
import yaml

import stabzoo
from fixtures.commands import Run
from fixtures.messages import raises, refuses, says
from stabzoo.errors import ConfigError
from stabzoo.methods import RungeKutta
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.registry.catalogue import catalogue
from stabzoo.scaffold import Kind, NewPlugin, write_plugin
from stabzoo.testing import CHECKS

WRITTEN = {
    "adams": [],
    "zig_zag_2": ["--alpha", "4/3", "-1/3", "--beta-next", "2/3"],
    "tableau": ["--kind", "runge-kutta"],
    "one_stage": ["--kind", "runge-kutta", "--b", "1"],
    "stages": ["--kind", "block"],
    "gated": ["--kind", "branch"],
    "dropped_pixels_2": ["--kind", "evaluation"],
    "wide": ["--kind", "models", "--scheme", "zerosnet_opt"],
    "growing": ["--alpha", "3", "-1", "--beta", "1"],  # unstable and not consistent: claimed so
}


@pytest.mark.slow
def test_what_is_written_passes_its_own_tests(tmp_path: Path) -> None:
    """Installed by pip from the folders as they are, in a fresh interpreter, with warnings as errors."""
    site, folder = tmp_path / "site", tmp_path / "plugins"
    folder.mkdir()
    for name, options in WRITTEN.items():
        command = [sys.executable, "-m", "stabzoo", "new-plugin", name, *options, "--folder", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    folders = sorted(map(str, folder.iterdir()))
    assert [Path(f).name for f in folders] == sorted(f"stabzoo-{name.replace('_', '-')}" for name in WRITTEN)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]  # fmt: skip
    subprocess.run([*pip, "--target", str(site), *folders], check=True, capture_output=True)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def does(*module: str) -> str:
        command = [sys.executable, "-W", "error", "-m", *module]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        return done.stdout

    last = does("pytest", "-q", "-p", "no:cacheprovider", *folders).splitlines()[-1]
    cases = {part.split()[1]: int(part.split()[0]) for part in last.partition(" in ")[0].split(", ")}
    assert sum(cases.values()) == 6 * len(CHECKS) + 4, "each check of every scheme; a branch, an evaluation, two models"
    assert cases.keys() == {"passed", "skipped"}
    says(does("stabzoo", "study", "show", "dropped_pixels_2"), "dropped-pixels-2 share = 0.25")
    says(does("stabzoo", "check"), "all true")


def test_the_command_says_what_it_wrote(run: Run, tmp_path: Path) -> None:
    """The files, what is proved of the coefficients, and what to do next; the registry claims the same."""
    result = run(f"new-plugin leapfrog --alpha 0 1 --beta 2 0 --folder {tmp_path}")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    made = tmp_path / "stabzoo-leapfrog"
    assert {Path(line) for line in lines[: lines.index("")]} == {p for p in made.rglob("*") if p.is_file()}
    says(lines[-2], "y[n+1] = y[n-1] + 2 h f[n]", "order 2", "weak")
    says(lines[-1], f"cd {made} && pip install -e '.[test]' && pytest")
    registry = yaml.safe_load((made / "stabzoo_leapfrog" / "registry.yaml").read_text())
    claims = {"family": "multistep, explicit", "order": 2, "stability": "weak"}
    assert registry["leapfrog"]["schemes"] == {"leapfrog": claims}


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ("Leap-Frog", ("name 'Leap-Frog'", "40", "lower-case", "leap_frog")),
        ("2nd", ("name '2nd'", "40", "letter first", "nd")),
        ("../evil", ("name '../evil'", "40", "lower-case", "evil")),
        ("x" * 41, (f"name '{'x' * 41}'", "40", "x" * 40)),
        ("zerosnet", ("name 'zerosnet'", "by plugin 'zerosnet' (stabzoo 0.1.0)")),
        ("trapezoidal", ("name 'trapezoidal'", "scheme", "plugin 'theta' (stabzoo 0.1.0)")),
        ("preresnet", ("name 'preresnet'", "model preresnet20", "by plugin 'euler' (stabzoo 0.1.0)")),
        *(
            (name, (f"name '{name}'", "Python's", "stabzoo's", "installed"))
            for name in ("torch", "class", "json", "match", "card", "study", "numpy", "default_cfgs", "pytest")
        ),
        ("implicit_multistep", ("name 'implicit_multistep'", "class")),
        ("explicit_multistep --kind block", ("name 'explicit_multistep'", "class")),
        ("literal --kind evaluation", ("name 'literal'", "class", "Literal")),
        ("none --kind evaluation", ("name 'none'", "class", "None")),
        ("strict --kind branch", ("name 'strict'", "class", "Strict")),
        ("se --kind branch", ("name 'se'", "branch", "plugin 'residuals' (stabzoo 0.1.0)")),
        ("clean --kind evaluation", ("name 'clean'", "evaluation", "stabzoo itself")),
        ("quickstart --kind evaluation", ("name 'quickstart'", "study", "stabzoo itself")),
        ("mine --kind models", ("--kind models", "--scheme")),
        ("mine --scheme euler", ("--scheme", "--kind models", "--kind multistep")),
        ("mine --kind models --scheme zerosnt", ("scheme 'zerosnt'", "zerosnet")),
        ("mine --kind models --scheme euler --alpha 1 --beta 1", ("--kind models", "no coefficients")),
        ("mine --kind branch --alpha 1 --beta 1", ("--kind branch", "no coefficients")),
        ("mine --kind runge-kutta --alpha 1 --beta 1", ("--kind runge-kutta", "--a and --b")),
        ("mine --a 1 --b 0 1", ("--kind multistep", "--alpha and --beta")),
        ("mine --alpha 1 --b 1", ("--alpha", "--a and --b", "both")),
        ("mine --kind runge-kutta --a 1", ("--a", "--b")),
        ("mine --kind runge-kutta --a 1,1 --b 0 1", ("--a", "explicit")),
        ("mine --kind runge-kutta --a 1 --b 1 1 1", ("coefficients", "3 rows")),
        ("mine --kind fractional", ("--kind", "runge-kutta")),
        ("mine --beta 1", ("--beta and --beta-next", "--alpha")),
        ("mine --alpha one", ("coefficients", "alpha", "'one'")),
        ("mine --alpha 1 --beta 1 2", ("coefficients", "betas", "alphas (1)", "got 2", "zeros")),
        ("mine --kind block --alpha 1 --beta 1", ("--kind block", "no coefficients")),
        ("mine --folder nowhere", ("--folder nowhere", "stabzoo-mine")),
    ],
)
def test_what_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, facts: tuple[str, ...]
) -> None:
    """In a sentence, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    refuses(run(f"new-plugin {arguments}"), *facts)
    assert list(tmp_path.iterdir()) == []


def test_models_alone_need_no_code(run: Run, tmp_path: Path, install: Callable[..., Path]) -> None:
    """Of a scheme in the usual network, and of one with a network of its own; what is written is built."""
    for name, scheme, models in (
        ("wide", "zerosnet_opt", {"wide20": (3, 3, 3), "wide32": (5, 5, 5)}),
        ("wide_2", "resnet_s", {"wide_2_11": (3, 3, 3), "wide_2_20": (6, 6, 6)}),
    ):
        assert run(f"new-plugin {name} --kind models --scheme {scheme} --folder {tmp_path}").status == 0
        package = tmp_path / f"stabzoo-{name.replace('_', '-')}" / f"stabzoo_{name}"
        assert len(package.joinpath("__init__.py").read_text().splitlines()) == 1
        install(name, (package / "__init__.py").read_text(), (package / "registry.yaml").read_text())
        stabzoo.refresh()
        assert {model: catalogue().models[model][1].layers for model in models} == models
        network: Any = timm.create_model(next(iter(models)), device="meta")
        assert (network.scheme.name, network.feature_info[0]["num_chs"]) == (scheme, 32)
    plugin = NewPlugin("mine", "models", scheme="euler")
    assert plugin.command == "stabzoo new-plugin mine --kind models --scheme euler"


def test_a_folder_of_the_name_is_no_package(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without code, which Python could import, but nobody does."""
    (tmp_path / "leapfrog").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert NewPlugin("leapfrog").package == "stabzoo_leapfrog"


def test_an_existing_folder_is_left_alone(run: Run, tmp_path: Path) -> None:
    """Empty, a file, or a link to nowhere."""
    target = tmp_path / "stabzoo-mine"
    for make in (target.mkdir, target.touch, lambda: target.symlink_to("nowhere")):
        make()
        refuses(run(f"new-plugin mine --folder {tmp_path}"), target, "exists", "--folder")
        assert list(tmp_path.iterdir()) == [target]
        target.rmdir() if target.is_dir() else target.unlink()


def test_an_installed_package_is_not_shadowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the name, be it a plugin or not."""
    (tmp_path / "stabzoo_mine").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    with raises(ConfigError, "package stabzoo_mine", "installed"):
        NewPlugin("mine")


def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up while the files are written."""
    original, written = Path.write_text, []

    def fails(self: Path, *arguments: str, **options: str) -> int:
        written.append(self)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(self))
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OSError, match="No space left"):
        write_plugin(NewPlugin("mine"), tmp_path)
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_command_that_is_written_down_gives_the_same_files() -> None:
    """Coefficients in whatever notation become one."""
    plugin = NewPlugin("mine", "multistep", LinearMultistep(("0.5", "1/2"), ("0.25", 0), "1e0"))
    assert plugin.command == "stabzoo new-plugin mine --alpha 1/2 1/2 --beta 1/4 --beta-next 1"
    again = NewPlugin("mine", "multistep", LinearMultistep(("1/2", "1/2"), ("1/4",), 1))
    assert plugin.files() == again.files()
    tableau = NewPlugin("mine", "runge-kutta", RungeKutta(((), ("0.5",), (0, 1)), (0, "1/2", "0.5")))
    assert tableau.command == "stabzoo new-plugin mine --kind runge-kutta --a 1/2 0,1 --b 0 1/2 1/2"


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_it_brings_is_registered(run: Run, tmp_path: Path, kind: str) -> None:
    """Under the plugin's name, in a package whose every line fits."""
    option = "--scheme euler" if kind == "models" else ""
    assert run(f"new-plugin my_own --kind {kind} {option} --folder {tmp_path}").status == 0
    made = tmp_path / "stabzoo-my-own"
    registry = yaml.safe_load((made / "stabzoo_my_own" / "registry.yaml").read_text())["my_own"]
    parts = {"branch": {"branches", "families"}, "evaluation": {"evaluations"}, "models": {"models"}}
    assert set(registry) == parts.get(kind, {"schemes", "families"})
    for path in made.rglob("*.py"):
        ast.parse(path.read_text())
        assert max(map(len, path.read_text().splitlines())) <= 120
