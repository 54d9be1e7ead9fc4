"""The examples of docs/friends run, each in a fresh interpreter, and check their own results."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import ROOT

EXAMPLES = {
    "attributions": ("captum",),
    "detector": (),
    "int8": ("torchao",),
    "lightning_training": ("lightning",),
    "lora": ("peft",),
    "onnx_runtime": ("onnxruntime", "onnxscript"),
    "segmenter": (),
}
"""What each needs beside stabzoo: the extra `friends`."""


def test_every_example_is_run() -> None:
    """And has its line on the page."""
    page = (ROOT / "docs" / "friends.md").read_text()
    files = sorted((ROOT / "docs" / "friends").glob("*.py"))
    assert [file.stem for file in files] == sorted(EXAMPLES)
    assert all(f"(friends/{file.name})" in page for file in files)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example(name: str, tmp_path: Path) -> None:
    """It ends well: its last lines are assertions."""
    for package in EXAMPLES[name]:
        pytest.importorskip(package, reason=f"needs pip install 'stabzoo[friends]' ({package})", exc_type=ImportError)
    command = [sys.executable, "-W", "ignore", str(ROOT / "docs" / "friends" / f"{name}.py")]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert run.returncode == 0, run.stdout + run.stderr
