"""``stabzoo doctor``: what it finds in a sound installation and in broken ones."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import timm
import torch

import stabzoo
from fixtures.commands import Run
from fixtures.messages import says
from fixtures.plugins import GOOD_CODE

Install = Callable[..., Path]

OURS = [
    "adams_bdf",
    "euler",
    "forward",
    "fractional",
    "hamiltonian",
    "imex",
    "lipschitz",
    "momentum",
    "multistep",
    "optimal",
    "polynet",
    "residuals",
    "revnet",
    "runge_kutta",
    "theta",
    "zerosnet",
]


def examined(run: Run) -> tuple[int, dict[str, Any]]:
    """Exit status and the JSON document."""
    status, out, err = run("doctor --json")
    assert all(line.startswith("stabzoo: examining plugin ") for line in err.splitlines())
    return status, json.loads(out)


def test_a_sound_installation(run: Run) -> None:
    """Versions as they are, every plugin with its owner; nothing is wrong, and nothing is said twice."""
    status, found = examined(run)
    assert (status, found["ok"], found["problems"]) == (0, True, [])
    environment = found["environment"]
    assert (environment["torch"], environment["timm"]) == (torch.__version__.partition("+")[0], timm.__version__)
    plugins = {entry["name"]: entry for entry in found["plugins"]}
    assert list(plugins) == OURS
    assert sum(entry["models"] for entry in plugins.values()) == len(stabzoo.list_models())
    assert sum(entry["schemes"] for entry in plugins.values()) == len(stabzoo.list_schemes())
    assert {entry["distribution"] for entry in plugins.values()} == {f"stabzoo {stabzoo.__version__}"}
    printed = run("doctor")
    assert printed.status == 0
    says(printed.out.splitlines()[-1], f"{len(OURS)} plugins", "all well")


def test_a_slow_plugin_is_seen(install: Install, run: Run) -> None:
    """Import times are measured, of code that has not been imported before."""
    install(code="import time\ntime.sleep(0.3)\n" + dedent(GOOD_CODE))
    status, found = examined(run)
    assert status == 0
    assert 0.3 <= next(entry["seconds"] for entry in found["plugins"] if entry["name"] == "leapfrog") < 5


def test_broken_plugins_are_named_with_their_reasons(install: Install, run: Run) -> None:
    """One whose code fails and one without a registry; ours stay well."""
    install(code="import nothing_of_this_name")
    install("bare", registry=None)
    status, found = examined(run)
    assert (status, found["ok"]) == (1, False)
    states = {entry["name"]: entry["state"] for entry in found["plugins"]}
    assert states == dict.fromkeys(OURS, "ok") | {
        "bare": "broken",
        "leapfrog": "broken",
    }
    bare, leapfrog = found["problems"]
    says(bare, "plugin 'bare' (stabzoo-bare 9.0)", "registry.yaml", "missing", "__init__.py")
    says(leapfrog, "plugin 'leapfrog' (stabzoo-leapfrog 9.0)", "ModuleNotFoundError", "'nothing_of_this_name'")
    printed = run("doctor")
    assert printed.status == 1
    says(printed.out.splitlines()[-1], f"{len(OURS) + 2} plugins", "2 problems")


def test_a_torchvision_of_another_build(tmp_path: Path) -> None:
    """It fails at import; what to do is said, and nothing else of the environment is lost."""
    (tmp_path / "torchvision.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", "import sys; from stabzoo.cli import main; sys.exit(main())", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 1
    says(
        found["problems"][0],
        "torchvision",
        "operator torchvision::nms does not exist",
        "pip install --force-reinstall torch torchvision",
    )
    assert found["environment"]["torch"]
