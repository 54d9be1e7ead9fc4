"""Code on pages works: Python runs and prints what it says, YAML is valid, and commands and their options exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cyclopts.exceptions import CycloptsError

import stabzoo
from fixtures import ROOT
from fixtures.pages.markdown import WRITTEN, Block, Page, page_of
from stabzoo.cli import prepared
from stabzoo.cli.commands import app
from stabzoo.config import validate
from stabzoo.registry.schema import Registry
from stabzoo.study.spec import Study, all_studies
from stabzoo.training.spec import Training
from stabzoo.zoo import PRETRAINED

LANGUAGES = {"bash", "python", "yaml", "text", "{toctree}"}
RUN_BY = {"docs/tutorial.md": "tests/docs/test_tutorial.py", "docs/serve.md": "tests/deploy/test_serve.py"}
"""Pages whose code another test runs, as a reader would."""

PROGRAMS = {
    *("cd", "codespell", "curl", "dask", "echo", "export", "git", "lint-imports", "mv", "pip"),
    *("proselint", "pyright", "pytest", "ruff", "sed", "sphinx-build", "uvicorn"),
}
"""Programs that pages name, beside Python, stabzoo and files of this repository."""

PYTHON = [page for page in WRITTEN if page not in RUN_BY and any(b.language == "python" for b in page_of(page).blocks)]


def blocks_of(name: str, language: str) -> list[Block]:
    """The blocks of a page in one language."""
    return [block for block in page_of(name).blocks if block.language == language]


@pytest.mark.parametrize("name", WRITTEN)
def test_every_block_is_of_a_language_that_is_checked(name: str) -> None:
    """It is fenced, and says which; one that cannot run names the package that it lacks, and is Python all the same."""
    for block in page_of(name).blocks:
        assert block.language in LANGUAGES, f"{name}:{block.line}: expected a fence of {sorted(LANGUAGES)}"
        if block.mark:
            package = block.mark.removeprefix("not run: needs ")
            assert re.search(rf"^(from|import) {package}\b", block.code, flags=re.M), (
                f"{name}:{block.line}: {block.mark}"
            )
            assert package.replace("_", "-") not in (ROOT / "pyproject.toml").read_text()
            ast.parse(block.code)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trainings that pages speak of."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "runs").mkdir()
    for data in ("digits", "photos"):
        (folder / "runs" / f"zerosnet20_opt-{data}-0").symlink_to(PRETRAINED / "zerosnet20_opt.digits")
    return folder


@pytest.mark.parametrize("name", PYTHON)
def test_the_python_of_a_page_runs(
    name: str, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Block by block, in one namespace: what is printed is what the comments say."""
    monkeypatch.chdir(trained)
    capsys.readouterr()
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks_of(name, "python"):
        if not block.mark:
            assert ">>>" not in block.code, "write print(...), and below it # -> what it prints"
            exec(compile(block.code, f"{name}:{block.line}", "exec"), namespace)
            shown = re.findall(r"^# -> (.*)$", block.code, flags=re.M)
            assert capsys.readouterr().out.splitlines() == shown, f"{name}:{block.line}"


@pytest.mark.parametrize(("name", "test"), RUN_BY.items())
def test_pages_run_elsewhere(name: str, test: str) -> None:
    """By a test that reads them."""
    assert Path(name).name in (ROOT / test).read_text()


@pytest.mark.parametrize("name", [page for page in WRITTEN if blocks_of(page, "yaml")])
def test_the_yaml_of_a_page_is_valid(name: str) -> None:
    """A study, a recipe, a list of evaluations, or the registry of a plugin; the models it names may be the page's."""
    for block in blocks_of(name, "yaml"):
        written = yaml.safe_load(block.code)
        if "title" in written:
            validate(Study, {"name": "page", **written}, name)
        elif "evaluations" in written:
            assert all("kind" in evaluation for evaluation in written["evaluations"])
        elif "optimizer" in written:
            validate(Training, written, name)
        else:
            for section in written.values():
                validate(Registry, section, name)


def commands(code: str) -> Iterator[list[str]]:
    """The simple commands of a script, as words."""
    for line in code.replace("\\\n", " ").splitlines():
        words: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;"):
                if words and words[0] not in ("for", "done"):
                    yield words[1:] if words[0] == "do" else words
                words = []
            else:
                words.append(word)


def wrong(words: list[str], page: str = "") -> str:
    """Why a command cannot be given, or nothing."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    program, *rest = words or ["cd"]
    if program in ("python", "torchrun"):
        return _wrong_python(rest, page)
    if program == "stabzoo":
        return _wrong_stabzoo(rest, page)
    return "" if program in PROGRAMS or program.startswith((".", "`")) else f"which program is {program}?"


def _wrong_python(words: list[str], page: str) -> str:
    while words and words[0] != "-m" and not words[0].endswith(".py") and not (ROOT / words[0]).is_dir():
        words = words[1:]
    if not words:
        return "expected -m MODULE, a folder or a file"
    if words[:2] == ["-m", "stabzoo"]:
        return _wrong_stabzoo(words[2:], page)
    if words[0] == "-m":
        return "" if importlib.util.find_spec(words[1]) else f"no module {words[1]}"
    if f"`{words[0]}`" in page:  # the reader has written it
        return ""
    file = ROOT / words[0] / "__main__.py" if (ROOT / words[0]).is_dir() else ROOT / words[0]
    if not file.is_file():
        return f"no file {words[0]}"
    options = {word.strip("[]") for word in words[1:] if word.strip("[]").startswith("--")}
    known = re.findall(r"(?<!\w)--[\w-]+", file.read_text())
    return ", ".join(f"no option {option}" for option in sorted(options - set(known)))


def _wrong_stabzoo(words: list[str], page: str) -> str:
    if not words or words == ["--help"]:
        return ""
    try:
        command, bound, _ = app.parse_args(prepared(words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return " ".join(str(error).split())
    name = str(bound.arguments.get("name") or "")
    if command.__name__.startswith("study_") and re.fullmatch(r"[a-z][a-z0-9-]*", name):
        return "" if name in all_studies() else f"no study {name}"
    if command.__name__ == "train" and re.fullmatch(r"[a-z]+_?\w*\d+\w*", name):
        made = re.findall(r"stabzoo new-plugin (\w+)", page)
        return "" if name in stabzoo.list_models() or name.startswith(tuple(made)) else f"no model {name}"
    return ""


def scripts(name: str) -> Iterator[list[str]]:
    """All commands of a page: of its blocks, and those of stabzoo within its lines that are whole."""
    page = page_of(name)
    for block in page.blocks:
        if block.language == "bash":
            yield from commands(block.code)
    for span in page.spans:
        if re.match(r"(stabzoo|python -m stabzoo) [a-z-]+ ", span) and not re.search(r"\.\.\.|\[", span):
            yield from commands(span)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_commands_of_a_page_exist(name: str) -> None:
    """With their options and the kinds of their values; studies and models by name. None is run."""
    text = (ROOT / name).read_text()
    found = [(" ".join(words), why) for words in scripts(name) if (why := wrong(words, text))]
    named = "requires an argument"  # a command that a sentence names, without all it takes
    assert [(command, why) for command, why in found if not (named in why and f"`{command}" in text)] == []


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("stabzoo teach zerosnet20_opt", "teach"),
        ("stabzoo train zerosnet20_opt --epochs 3", "--epochs"),
        ("stabzoo train zerosnet20_opt --seed one", "one"),
        ("stabzoo train zerosnet21_opt", "no model zerosnet21_opt"),
        ("stabzoo study zerosnet-table-33", "no study zerosnet-table-33"),
        ("OMP_NUM_THREADS=1 python unwritten.py", "no file unwritten.py"),
        ("python benchmarks/speed.py --none", "no option --none"),
        ("python -m stabzoo.none", "no module stabzoo.none"),
        ("cd here && unheard-of --option", "unheard-of"),
    ],
)
def test_a_wrong_command_is_found(command: str, why: str) -> None:
    """One of each kind."""
    problems = [problem for words in commands(command) if (problem := wrong(words))]
    assert len(problems) == 1
    assert why in problems[0]


def test_blocks_are_found() -> None:
    """Fenced and indented, with the mark above, also behind a list."""
    page = Page("- a list\n\n<!-- not run: needs nothing -->\n```python\nx = 1\n```\n\ntext\n\n    indented\n")
    assert [(b.language, b.code, b.mark) for b in page.blocks] == [
        ("python", "x = 1\n", "not run: needs nothing"),
        ("", "indented\n", ""),
    ]
