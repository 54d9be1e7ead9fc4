"""A study file, a folder of results and a text from a stranger: names, keys, links and what a program would obey."""

from __future__ import annotations

import csv
import html
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from fixtures.commands import Run
from fixtures.messages import raises, refuses, says
from fixtures.records import LAYERS, edit, finished, whole_record
from stabzoo.config import FileName, validate
from stabzoo.errors import ConfigError
from stabzoo.files import exclusive, is_locked, open_regular, write_atomically
from stabzoo.study.report.export import csv_text, export
from stabzoo.study.report.latex import SPECIAL, latex
from stabzoo.study.report.report import Report
from stabzoo.study.report.summary import write_summary
from stabzoo.study.spec import Study, load_study
from stabzoo.study.store.run_folder import RunFolder
from stabzoo.study.store.run_index import RunIndex
from stabzoo.study.store.store import Store

KEY = "0123456789abcdef"


def study_of(**changes: Any) -> Study:
    """The quickstart at its smallest, with other fields."""
    return validate(Study, {**load_study("quickstart", "smoke").model_dump(exclude={"scales"}), **changes}, "s.yaml")


# names that become paths


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../../escaped", "a/b", "/tmp/x", "a\\b", ".hidden", "a\nb", "a\0b", "a\x1bb", "a\u202eb", " a", "a ", "\ud800", "ü" * 80, "a" * 151],
)  # fmt: skip
def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    """Of a study, and wherever a name becomes a file's."""
    with pytest.raises(ValidationError):
        TypeAdapter(FileName).validate_python(name)
    with raises(ConfigError, "s.yaml", "name"):
        study_of(name=name)


@pytest.mark.parametrize("name", ["a", "root-scan", "A study of mine, 2", "v1.2", "étude", "研究", "a" * 150])
def test_other_names_are_taken(name: str) -> None:
    """Of any language."""
    assert study_of(name=name).folder_name.startswith(name)


def test_a_study_writes_nothing_beside_its_folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its name nor that of a scale, a model or a file leads out of it."""
    monkeypatch.chdir(tmp_path)
    content = study_of().model_dump(mode="json", exclude={"scales", "scale"})
    for changes in (
        {"name": "../../escaped"},
        {"scales": {"a" * 51: {"seeds": [0]}}},
        {"scales": {"../x": {"seeds": [0]}}},
    ):
        Path("s.yaml").write_text(yaml.safe_dump({**content, **changes}))
        refuses_all(run, "study run s.yaml", "s.yaml")
    refuses_all(run, "train ../../zerosnet20_opt --set epochs=0 --set schedule=cosine", "name", "--folder")
    refuses_all(run, "train hf-hub:me/mine", "name", "--folder")
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


def refuses_all(run: Run, line: str, *facts: str) -> None:
    """Status 2, nothing printed, and one message."""
    result = run(line)
    assert (result.status, result.out) == (2, ""), result
    says(result.err, *facts)


# keys that become paths


@pytest.mark.parametrize("key", ["", "..", "/etc", KEY[:-1], KEY + "0", KEY.upper(), KEY + "\n", "../" + KEY, "x" * 16])
def test_a_key_that_is_none_names_no_folder(key: str, run: Run, tmp_path: Path) -> None:
    """Neither for who trains nor, from a database, for who looks."""
    with raises(ConfigError, "key"):
        RunFolder(tmp_path, key)
    Store(tmp_path)
    edit(tmp_path, "INSERT INTO requests VALUES ('e', 'full', 'x', ?)", key)
    refuses(run(f"study status --folder {tmp_path}"), tmp_path / "results.sqlite", "damaged", "key")


@pytest.mark.parametrize("values", [(b"e", "full", "x", KEY), ("e", 1.5, b"x", KEY), ("e", "full", "x", b"\xff")])
def test_requests_of_another_kind_are_damaged(values: tuple[object, ...], run: Run, tmp_path: Path) -> None:
    """SQLite holds anything in any column."""
    Store(tmp_path)
    edit(tmp_path, "INSERT INTO requests VALUES (?, ?, ?, ?)", *values)
    refuses(run(f"study status --folder {tmp_path}"), tmp_path / "results.sqlite", "damaged")


def test_the_folder_of_a_run_reaches_no_other(tmp_path: Path) -> None:
    """A link in the place of the folder is refused, and one of a file in it is not read, locked or followed."""
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in (".lock", "failure.txt", "progress.json"):
        (secret / name).write_text("precious")
    (tmp_path / KEY).symlink_to(secret)
    with raises(ConfigError, tmp_path / KEY, "link"):
        RunFolder(tmp_path, KEY)
    (tmp_path / KEY).unlink()
    (tmp_path / KEY).mkdir()
    for name in (".lock", "failure.txt", "progress.json"):
        (tmp_path / KEY / name).symlink_to(secret / name)
    folder = RunFolder(tmp_path, KEY)
    assert (folder.failure(), folder.progress(), folder.locked()) == (None, None, False)
    with pytest.raises(OSError, match="symbolic link"), folder.lock():
        pass
    folder.fail("of ours")
    assert (folder.failure(), (secret / "failure.txt").read_text()) == ("of ours", "precious")
    (tmp_path / KEY / "failure.txt").write_bytes(b"\xff" * 10**6)
    assert len(folder.failure() or "") < 10**5


# locks and files


def test_a_lock_is_not_followed_made_or_emptied(tmp_path: Path) -> None:
    """What a lock's name stands for keeps its content, and who only asks writes nothing."""
    victim, lock = tmp_path / "victim", tmp_path / ".lock"
    victim.write_text("precious")
    assert not is_locked(lock)
    assert not lock.exists()
    lock.symlink_to(victim)
    assert not is_locked(lock)
    with pytest.raises(OSError, match="symbolic link"), exclusive(lock):
        pass
    assert victim.read_text() == "precious"
    with exclusive(victim) as mine:
        assert mine
        ask = f"from stabzoo.files import *; from pathlib import Path; p = Path({str(victim)!r})\n"
        ask += "with exclusive(p) as mine: print(is_locked(p), mine)"
        told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
        assert told.stdout.split() == ["True", "False"]
    assert (victim.read_text(), is_locked(victim)) == ("precious", False)
    lock.unlink()
    os.mkfifo(lock)
    assert not is_locked(lock)
    with pytest.raises(OSError, match="regular"), exclusive(lock):
        pass


def test_what_is_no_file_is_not_waited_for(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO, a device that never ends, a socket, a folder, a name that no file can have: whatever reads says so."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo.yaml")
    os.symlink("/dev/zero", "device.yaml")
    os.mknod("socket.yaml", 0o140644)
    os.mkdir("folder.yaml")
    for name in ("fifo.yaml", "device.yaml", "socket.yaml", "folder.yaml", "a\0.yaml", "\udcff.yaml"):
        with pytest.raises(OSError, match=r"regular|directory|null|No such"):
            open_regular(Path(name))
    for name in ("fifo", "device", "socket", "folder"):
        refuses(run(f"study show {name}.yaml"), f"{name}.yaml", "regular file" if name != "socket" else "read")
        refuses(run(f"train zerosnet20_opt --recipe {name}.yaml"), f"{name}.yaml")
        refuses(run(f"train zerosnet20_opt --data {name}.yaml"), f"{name}.yaml")
    os.rename("fifo.yaml", "weights.pt")
    refuses(run("diagnose zerosnet20_opt --checkpoint weights.pt"), "weights.pt", "regular file")


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664), (0o027, 0o640)])
def test_files_have_the_modes_that_the_umask_leaves(umask: int, mode: int, tmp_path: Path) -> None:
    """Written whole, as a lock, and as a database."""
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", b"x")
        write_atomically(tmp_path / "a", b"y")
        with exclusive(tmp_path / "b"):
            pass
        Store(tmp_path).save(whole_record())
    finally:
        os.umask(before)
    allowed = mode & 0o644 if umask else mode
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == (allowed if path.suffix == ".sqlite" else mode), path


READING = (
    "list", "show zerosnet", "check --json", "study list", "study show quickstart", "study status", "study status quickstart",
    "study report quickstart", "study diff quickstart@smoke quickstart",
)  # fmt: skip

AUDITED = """
import os, sys
from stabzoo.cli import main
opened = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        opened.append(arguments[0])
    elif event in ("os.remove", "os.rename", "os.truncate", "os.rmdir", "os.symlink", "os.link"):
        opened.append(f"{event} {arguments[0]}")
import shlex
for line in sys.argv[1:]:
    if not opened:
        main(shlex.split(line))  # caches of what is imported are written once
sys.addaudithook(watch)
status = [main(shlex.split(line)) for line in sys.argv[1:]]
sys.stderr.write(repr([name for name in opened if "__pycache__" not in name and name != os.devnull]))
"""


def test_who_only_reads_writes_nothing(tmp_path: Path) -> None:
    """No file is opened for writing, made, removed or renamed, but the files of the report that is asked for."""
    study = load_study("quickstart", "smoke")
    store = Store(tmp_path / "runs")
    for record in list(finished(study).values())[:1]:
        store.save(record)
    store.ask(study.name, study.scale, [(network.label, study.run(network, 0)) for network in study.networks])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path.parent)}
    told = subprocess.run(
        [sys.executable, "-c", AUDITED, *READING],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr.endswith("[]"), told.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# text that a program would obey

TITLE = 'T \x1b]0;pwn\a\u202e<script>alert(1)</script> [x](javascript:y) `c` ![i](http://x/y) $\\foo$ & "q"'
LABELS = (
    "=cmd|'/C calc'!A0\nsecond line | <b>\x1b[31m", "@SUM(1)\t$x$\u2066", "+1-2 <img src=x onerror=alert(1)>", "-2+3\r# h", "\t=1", "1. $\\frac{1}$ {% x %}{{ 7*7 }}",
)  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """A hostile study, and the folder with everything that is written of it."""
    folder = tmp_path_factory.mktemp("hostile")
    network = load_study("quickstart", "smoke").networks[0]
    study = study_of(
        title=TITLE,
        description=f"# {TITLE}",
        limits=(TITLE, "- nested"),
        networks=[{"label": label, "model": network.model, "args": {**network.args, "width": i + 1}} for i, label in enumerate(LABELS)],
        published=[{"reference": TITLE, "setting": TITLE, "columns": ["clean"], "values": {label: [1.5] for label in LABELS}}],
    )  # fmt: skip
    records = finished(study)
    store = Store(folder)
    for record in records.values():
        store.save(record)
    store.ask(study.name, study.scale, [(n.label, study.run(n, seed)) for n in study.networks for seed in study.seeds])
    report = Report.of(study, records, ())
    report.write(folder)
    write_summary(report, folder)
    export(RunIndex(folder), folder / "all.csv")
    return study, folder


def test_every_number_of_a_diagnostic_is_exported(tmp_path: Path) -> None:
    """Angles of every epoch, layer and class, as radians."""
    study = load_study("dynamical-system-figure-2")
    store = Store(tmp_path)
    records = finished(study)
    for record in records.values():
        store.save(record)
    export(RunIndex(tmp_path), tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if row["metric"] == "angles"]
    found = {row["evaluation"]: float(row["value"]) for row in rows}
    assert found["angles: history.3.layers.stages.0.within.0.value"] == math.radians(31)
    assert len(rows) == len(records) * 4 * (1 + 2 * len(LAYERS))  # an epoch's number, and two angles of each layer


def test_latex_prints_the_text(kept: tuple[Study, Path]) -> None:
    """No command, no comment, no column and no line's end comes from it."""
    study, _ = kept
    text = latex(Report.of(study, finished(study), ()))
    commands = {"begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule", "ensuremath"}
    commands |= {name for symbol in SPECIAL.values() for name in re.findall(r"\\([a-z]+)", symbol)}
    body = text.partition("\n")[2]
    assert set(re.findall(r"\\([A-Za-z]+)", body)) <= commands
    assert not re.search(r"(?<!\\)[%$#_^~]", re.sub(r"\\label\{.*\}", "", body))
    assert unseen(text) == set()
    for table in body.split(r"\begin{table}")[1:]:
        columns = len(re.search(r"\{tabular\}\{(l?r*)\}", table)[1])  # type: ignore[index]  # pyright: ignore
        rows = [line for line in table.splitlines() if line.endswith(r" \\")]
        assert {len(re.split(r"(?<!\\)&", line)) for line in rows} == {columns}


def unseen(text: str) -> set[str]:
    """Letters that are not seen, but for newlines."""
    return {letter for letter in text if not letter.isprintable()} - {"\n"}


def test_html_shows_the_text(kept: tuple[Study, Path]) -> None:
    """No element, no attribute and no direction of writing comes from it, and templates are not filled twice."""
    page = (kept[1] / "report.html").read_text()
    assert unseen(page) <= {"\t"}
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "{{ 7*7 }}" in html.unescape(page)
    assert "<script>alert(1)</script>" in html.unescape(page)


def test_markdown_shows_the_text(kept: tuple[Study, Path]) -> None:
    """A label stays in its cell; nothing is a link, an image, an element, a heading or a nested item."""
    page = (kept[1] / "summary.md").read_text()
    assert not unseen(page)
    assert not re.search(r"<(?!br>)", page)
    assert not re.search(r"(?<!\\)\]\((?!plot|curves|noise|radius|angles)", page)
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert len([line for line in headings if "script" in line]) == 1  # the title
    assert not any(line.startswith(("second line", "- -", "1. ")) for line in page.splitlines())
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in tables if "second line" in line}) <= 2
    assert "\\`c\\`" in page


def test_csv_has_no_formulas(kept: tuple[Study, Path]) -> None:
    """Numbers are numbers, and what a spreadsheet would calculate is text."""
    for name in ("results.csv", "all.csv"):
        text = (kept[1] / name).read_text()
        assert not unseen(text) - {"\n"}
        rows = list(csv.reader(text.splitlines(keepends=True)))
        assert len({len(row) for row in rows}) == 1
        cells = [cell for row in rows for cell in row]
        assert any(cell.startswith("'=cmd") for cell in cells)
        for cell in cells:
            assert not re.match(r"\s*[=+@]", cell), cell
            assert not cell.startswith("-") or re.fullmatch(r"-[0-9.]+(e[-+][0-9]+)?", cell), cell
    assert csv_text(["a"], [["-1.5"], ["+2"], ["-1+1"], [-3], [None], ["2-1"]]) == 'a\n-1.5\n+2\n\'-1+1\n-3\n""\n2-1\n'


def test_json_is_the_text_itself(kept: tuple[Study, Path]) -> None:
    """In ASCII, and with finite numbers only."""
    content = (kept[1] / "results.json").read_text()
    assert content.isascii()
    assert not unseen(content)
    found = json.loads(content, parse_constant=pytest.fail)
    assert (found["study"]["title"], [each["label"] for each in found["networks"]]) == (TITLE, list(LABELS))


def test_figures_show_the_text(kept: tuple[Study, Path]) -> None:
    """A title that is no formula is drawn; that it is drawn at all is the test, a bad formula raises."""
    for name in ("plot.png", "plot.pdf", "curves.png"):
        assert (kept[1] / name).stat().st_size > 1000


def test_parquet_is_the_text_itself(kept: tuple[Study, Path], tmp_path: Path) -> None:
    """It has types, and no cell of it is calculated."""
    parquet = pytest.importorskip("pyarrow.parquet")
    export(RunIndex(kept[1]), tmp_path / "all.parquet")
    assert set(parquet.read_table(tmp_path / "all.parquet")["label"].to_pylist()) == set(LABELS)
