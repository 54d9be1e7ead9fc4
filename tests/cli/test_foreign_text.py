"""Nothing that a stranger has written reaches the terminal but as text; and where his code has failed can be seen."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unicodedata import category

import pytest

import stabzoo
from fixtures.commands import Run
from fixtures.messages import raises, says
from fixtures.plugins import GOOD_CODE
from stabzoo.config import load_yaml
from stabzoo.errors import ConfigError, PluginError, PluginWarning, printable
from stabzoo.registry.loading import forget
from stabzoo.terminal import new_console

Install = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("only_guests_are_tried")
EVIL = "\x1b]0;owned\a\x1b[2J\x9b31m \u202egnp.exe\u2066 \u200b \u2028 \x00\x7f\ud800 \r over"


def harmless(text: str) -> None:
    """Lines of letters, spaces and what else is shown."""
    assert {c for c in text if category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} <= {"\n"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, naïve, 漢字 ✓\n\ttext", "plain, naïve, 漢字 ✓\n\ttext"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]8;;http://evil\x1b\\", r"\x1b]8;;http://evil\x1b" "\\"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\bc\x00", r"a\rb\x08c\x00"),
        ("\u202eevil\u2069\u200f", r"\u202eevil\u2069\u200f"),
        ("\u2028\ud800\U000e0041", r"\u2028\ud800\U000e0041"),
        ("\xa0", "\xa0"),
    ],
)
def test_what_a_terminal_obeys_is_shown_as_its_escape(text: str, shown: str) -> None:
    """Once: an escape is plain text."""
    assert printable(text) == printable(printable(text)) == shown


@pytest.mark.parametrize("kind", [ConfigError, PluginError, PluginWarning])
def test_messages_are_harmless_without_the_command_line_too(kind: type[Exception]) -> None:
    """In a traceback or a warning of Python's."""
    harmless(str(kind(EVIL)))


def test_a_console_keeps_its_own_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours are written, others' are not."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = new_console(80)
    console.file = io.StringIO()
    console.print(f"x{EVIL}", style="red")
    written = console.file.getvalue()
    assert "\x1b[31m" in written
    harmless(written.replace("\x1b[31m", "").replace("\x1b[0m", ""))
    assert r"\x1b]0;owned" in written


REGISTRY = {
    "leapfrog": {
        "schemes": {
            "leapfrog": {
                "order": 1,
                "stability": "weak",
                "reference": EVIL.replace("\ud800", ""),
                "corrections": [EVIL.replace("\ud800", ""), "[bold]x[/bold] [link=http://evil]y[/link]"],
                "certified": {"growth": EVIL.replace("\ud800", "")},
            }
        },
        "models": {"leapfrog20": {"scheme": "leapfrog", "depth": 20}},
    }
}


def test_a_registry_of_escape_sequences(install: Install, run: Run) -> None:
    """In every command that shows it; the text itself can be read."""
    install(registry=json.dumps(REGISTRY))
    stabzoo.refresh()
    for line in ("show leapfrog", "show leapfrog20", "list leapfrog", "check leapfrog", "show leapfrog --json"):
        result = run(line)
        harmless(result.out + result.err)
    says(run("show leapfrog").out, r"\x1b]0;owned", r"\u202egnp.exe", "[bold]x[/bold]")


@pytest.mark.parametrize(
    "code",
    [
        f"raise ValueError({EVIL!r})",
        f"raise type({EVIL.replace(chr(0), '')!r}, (Exception,), {{}})",
        GOOD_CODE.replace('"leapfrog"', repr(EVIL)),
    ],
)
def test_an_exception_of_escape_sequences(install: Install, run: Run, code: str) -> None:
    """Its text, its type's name, and names that are quoted."""
    install(code=code)
    for line in ("show leapfrog", "list", "doctor", "check leapfrog", "show leapfrog --traceback"):
        result = run(line)
        harmless(result.out + result.err)
    with pytest.raises(PluginError) as caught:
        stabzoo.get_scheme("leapfrog")
    harmless(str(caught.value))


def test_metadata_of_escape_sequences(install: Install, run: Run) -> None:
    """The names of a distribution and of an entry point, its version and the module."""
    folder = install()
    info = folder.parent / f"{folder.name}-9.0.dist-info"
    evil = "\x1b]0;owned\a\u202e"
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: x{evil}\nVersion: 9{evil}\n")
    (info / "entry_points.txt").write_text(f"[stabzoo]\nleap{evil}frog = stabzoo_{evil}\n")
    forget()
    for line in ("list", "doctor", "check", "show euler"):
        result = run(line)
        harmless(result.out + result.err)


def test_paths_and_titles_of_escape_sequences(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A YAML file that is wrong, one that is not there, and a study with a title of its own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a\x1b[2J\u202e.yaml"
    path.write_text("a: [")
    with raises(ConfigError, r"a\x1b[2J\u202e.yaml", "line 2") as caught:
        load_yaml(path)
    harmless(str(caught.value))
    for name in (path.name, "none\x1b]0;x\a.yaml"):
        result = run(f"study run '{name}'")
        assert result.status == 2
        harmless(result.err)
    study = {
        "title": "Two \x1b[2J\u202e networks",
        "description": "\x1b]0;owned\a\u2066",
        "networks": [{"label": "Euler\x1b[31m", "model": "preresnet20"}],
        "data": {"name": "digits", "size": 8, "test_images": 540, "split_seed": 0},
        "seeds": [0],
        "training": {"epochs": 1, "batch_size": 64, "optimizer": "momentum", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005, "schedule": "one-cycle"},
        "evaluations": [{"kind": "clean"}],
    }  # fmt: skip
    (tmp_path / "two.yaml").write_text(json.dumps(study))
    for line in ("study show two.yaml", "study status two.yaml"):
        result = run(line)
        harmless(result.out + result.err)
    says(run("study show two.yaml").out, r"Two \x1b[2J\u202e networks")


# where code has failed


def test_a_traceback_shows_the_authors_file_and_line(
    install: Install, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --traceback or STABZOO_STRICT, from his first line on; without, the message is all."""
    folder = install(code="from stabzoo_leapfrog.step import x")
    (folder / "step.py").write_text("x = 1\ny = x / 0\n")
    assert run("show leapfrog").err.count("\n") == 1
    for line, strict in (("show leapfrog --traceback", ""), ("--traceback show leapfrog", ""), ("show leapfrog", "1")):
        monkeypatch.setenv("STABZOO_STRICT", strict)
        result = run(line)
        assert (result.status, result.out) == (2, "")
        says(result.err, f'File "{folder / "step.py"}", line 2', "y = x / 0", "ZeroDivisionError")
        first = next(line for line in result.err.splitlines() if line.startswith("  File "))
        assert str(folder / "__init__.py") in first
        assert result.err.splitlines()[-1].startswith("stabzoo: plugin 'leapfrog'")
    monkeypatch.delenv("STABZOO_STRICT")
    says(run("doctor --traceback").err, f'File "{folder / "step.py"}", line 2')


def test_no_python_has_no_line_of_the_authors_but_its_own(install: Install, run: Run) -> None:
    """A syntax error says where it is itself."""
    folder = install(code="x = (\n")
    says(run("show leapfrog --traceback").err, f'File "{folder / "__init__.py"}", line 1', "SyntaxError")


def test_doctor_says_the_name_before_the_import(install: Install) -> None:
    """A plugin that ends the process cannot hide who it was."""
    folder = install(code="import os\nos._exit(3)").parent
    env_code = f"import sys; sys.path.insert(0, {str(folder)!r}); from stabzoo.cli import main; main(['doctor'])"
    done = subprocess.run([sys.executable, "-c", env_code], capture_output=True, text=True)
    assert done.returncode == 3
    says(done.stderr.splitlines()[-1], "plugin 'leapfrog' (stabzoo-leapfrog 9.0)")
