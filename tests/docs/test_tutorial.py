"""docs/tutorial.md is done from the first line to the last, in a folder of its own and fresh interpreters."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fixtures import ROOT
from stabzoo.config import validate
from stabzoo.registry.schema import Registry
from stabzoo.testing import CHECKS

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
FILES = {"title": "compare.yaml", "evaluations": "conditions.yaml"}
"""Where a block of YAML is kept, by its first key; others are registries."""
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL, flags=re.M | re.S)


class Reader:
    """A reader who does what is written; pip installs into a folder of this test, what is there already is used."""

    def __init__(self, folder: Path) -> None:
        self.top = self.folder = folder
        site = folder / "site"
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PIP_TARGET": str(site),
            "PIP_UPGRADE": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip takes this for "do not isolate"
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "OMP_NUM_THREADS": "1",
            "MPLCONFIGDIR": str(folder / "matplotlib"),
        }
        self.said = ""

    def bash(self, code: str) -> None:
        """Run a block, and stay in the folder where it ends."""
        script = f"set -euo pipefail\n{code}\npwd > '{self.top}/where'\n"
        self.said = self._run(["bash", "-c", script])
        self.folder = Path((self.top / "where").read_text().strip())

    def python(self, code: str) -> None:
        """Run a block; what it prints stands below in comments."""
        shown = re.findall(r"^# -> (.*)$", code, flags=re.M)
        assert self._run([sys.executable, "-W", "error", "-c", code]).splitlines() == shown

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-3000:]}"
        return done.stdout


@pytest.mark.slow
def test_every_block_does_what_the_tutorial_says(tmp_path: Path) -> None:
    """Files are as shown, commands succeed, programs print what is written, a false claim is refuted in these words."""
    reader = Reader(tmp_path)
    for language, code in BLOCKS:
        if language == "bash":
            reader.bash(code)
        elif language == "text":
            assert code.strip() in reader.said
        elif language == "python" and "@hookimpl" in code:
            assert (reader.folder / "stabzoo_adams" / "__init__.py").read_text() == code
        elif language == "yaml" and code.startswith("#"):
            assert (reader.folder / "stabzoo_adams" / "registry.yaml").read_text() == code
        elif language == "yaml" and (kept := FILES.get(code.partition(":")[0])):
            (reader.folder / kept).write_text(code)
        elif language == "yaml":
            validate(Registry, yaml.safe_load(code).popitem()[1], "the tutorial")
        else:
            assert language == "python"
            reader.python(code)
    adams = reader.top / "stabzoo-adams"
    made = {path.name for path in (adams / "compare").iterdir()}
    assert {"results.json", "report.html"} <= made
    assert list((adams / "runs").glob("adams20-*/model.safetensors"))


def test_what_it_says_of_the_checks() -> None:
    """Their number, the name of each, and every kind of block that there is."""
    assert f"each of the {len(CHECKS)} checks of `stabzoo.testing`" in TUTORIAL
    named = re.findall(
        r"`(check_\w+)`", TUTORIAL.partition("checks of `stabzoo.testing`:")[2].partition("A check that")[0]
    )
    assert named == [check.name for check in CHECKS], "every check, in the order of the kit"
    assert {language for language, _ in BLOCKS} == {"bash", "python", "yaml", "text"}
    assert TUTORIAL.count("```") == 2 * len(BLOCKS)
