"""`stabzoo study`: one small study is done, and everything is asked of what it left."""

import csv
import io
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import yaml

import stabzoo.study
from fixtures.commands import Run
from fixtures.messages import refuses, says
from fixtures.records import edit, whole_record
from stabzoo.cli import main
from stabzoo.study import load_study
from stabzoo.study.analysis.comparison import rows_of
from stabzoo.study.analysis.difference import Change, Contrast, changes
from stabzoo.study.analysis.uncertainty import Sample, wilson
from stabzoo.study.store.records import Measured, Record
from stabzoo.study.store.run_folder import Progress, RunFolder
from stabzoo.study.store.store import DATABASE, Store

QUICKSTART = Path(stabzoo.study.__file__).parent / "studies" / "quickstart.yaml"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, module_run: Any) -> Path:
    """A folder in which the examples of the help were run, one after the other."""
    folder = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        out = module_run("study --help")
        examples = [line.strip() for line in out.partition("Examples:")[2].splitlines() if line.strip()]
        assert len(examples) == 10
        for example in examples:
            module_run(example.removeprefix("stabzoo "))
    return folder


@pytest.fixture(scope="module")
def module_run() -> Any:
    """Run a command in this process, which must succeed, and return what it printed."""

    def call(line: str) -> str:
        with redirect_stdout(io.StringIO()) as out:
            assert main(shlex.split(line)) == 0
        return out.getvalue()

    return call


@pytest.fixture
def here(done: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, which is the current one."""
    monkeypatch.chdir(done)
    return done


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; what only reads leaves it empty."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def record_of(study_and_scale: tuple[str, str], label: str, seed: int, accuracy: float) -> Record:
    """A made-up finished run of a study, with one accuracy under all evaluations."""
    study = load_study(*study_and_scale)
    (network,) = (network for network in study.networks if network.label == label)
    measured = tuple(Measured(evaluation=evaluation, value=accuracy) for evaluation in study.evaluations)
    return whole_record().model_copy(update={"run": study.run(network, seed), "measured": measured})


def fill(folder: Path, study: str, accuracies: dict[str, list[float]], scale: str = "full") -> None:
    """A store with made-up runs of a study, of some networks, by seed."""
    store, asked = Store(folder), load_study(study, scale)
    store.ask(study, scale, [(n.label, asked.run(n, seed)) for n in asked.networks for seed in asked.seeds])
    for label, values in accuracies.items():
        for seed, accuracy in enumerate(values):
            store.save(record_of((study, scale), label, seed, accuracy))


# run


def test_a_model_that_does_not_exist_is_told_with_names_once(run: Run, tmp_path: Path) -> None:
    """Also those that are among ours and among timm's."""
    path = tmp_path / "mine.yaml"
    path.write_text(QUICKSTART.read_text().replace("model: zerosnet20\n", "model: zerosnet8\n", 1))
    told = run(f"study show {path}")
    refuses(told, "zerosnet8", "did you mean")
    names = re.findall(r"zerosnet\d+", told.err.partition("did you mean")[2])
    assert len(names) == len(set(names)) > 1


def test_a_study_is_done_as_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its name alone as well; a failed run is status 1, Ctrl-C is status 130."""
    calls: list[Any] = []

    def record(study: Any, *arguments: Any, **options: Any) -> Any:
        folder, workers, _, data, store = arguments
        calls.append((study.name, study.scale, folder, workers, data, store, options))
        return SimpleNamespace(ok=workers is None)

    monkeypatch.setattr(stabzoo.study, "run_study", record)
    runs, data, local = Path("runs"), Path("data"), {"engine": "local", "scheduler": None, "device": "cpu"}
    for command in ("study quickstart", "study run quickstart"):
        assert run(command).status == 0
        assert calls.pop() == ("quickstart", "full", runs / "quickstart", None, data, runs, local)
    assert run("study quickstart --scale smoke").status == 0
    assert calls.pop()[1:3] == ("smoke", runs / "quickstart-smoke")
    options = "--engine dask --scheduler tcp://host:8786 --device cuda"
    assert run(f"study run quickstart --folder {tmp_path} --workers 3 --root sets {options}").status == 1
    on_cluster = {"engine": "dask", "scheduler": "tcp://host:8786", "device": "cuda"}
    assert calls.pop() == ("quickstart", "full", tmp_path, 3, Path("sets"), tmp_path, on_cluster)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stabzoo.study, "run_study", interrupt)
    assert run("study quickstart") == (130, "", "stabzoo: interrupted\n")


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("run nothing", ("no study 'nothing'", "dynamical-system-figure-2")),
        ("show nothing", ("no study 'nothing'", "dynamical-system-figure-2")),
        ("show root-scan --scale big", ("root-scan", "no scale 'big'", "full, smoke")),
        ("status root-scan --scale big", ("root-scan", "no scale 'big'", "full, smoke")),
        ("report root-scan", ("runs/results.sqlite", "no such file")),
        ("list --folder elsewhere", ("elsewhere/results.sqlite", "no such file")),
        ("status --folder elsewhere", ("elsewhere/results.sqlite", "no such file")),
        ("diff quickstart quickstart --other elsewhere", ("elsewhere/results.sqlite", "no such file")),
        ("diff root-scan root-scan@big", ("root-scan", "no scale 'big'", "full, smoke")),
        ("diff root-scan@smoke nothing@smoke", ("no study 'nothing'",)),
        ("export a.csv", ("runs/results.sqlite", "no such file")),
        ("run quickstart --engine ray", ('"ray"', "--engine")),
    ],
)
def test_mistakes_are_told_in_a_sentence(line: str, facts: tuple[str, ...], run: Run, empty: Path) -> None:
    """Status 2, and nothing is made by reading."""
    status, out, err = run(f"study {line}")
    assert (status, out) == (2, "")
    assert err.startswith("stabzoo: ")
    says(err, *facts)


# list and show


def test_list_imports_no_torch_and_makes_nothing(empty: Path) -> None:
    """Nor anything else that is slow to import."""
    heavy = {"torch", "timm", "matplotlib", "sklearn", "scipy"}
    code = (
        "import sys; from stabzoo.cli import main; main(['study', 'list']); "
        f"sys.exit(', '.join({heavy} & {{*sys.modules}}) or 0)"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 2 + len(stabzoo.study.shipped_studies())


def test_list_counts_what_is_finished(here: Path, run: Run) -> None:
    """Of every scale; a study that has a run in common with one that was done has it too."""
    lines = {line.split()[0]: line for line in run("study list").out.splitlines()}
    assert lines["root-scan"].split()[:4] == ["root-scan", "21", "smoke", "2/2"]
    assert lines["quickstart"].split()[:3] == ["quickstart", "15", "-"]
    data = json.loads(run("study list --json").out)
    assert data["results"] == "runs/results.sqlite"
    entries = {entry["name"]: entry for entry in data["studies"]}
    assert list(entries) == stabzoo.study.shipped_studies()
    assert entries["root-scan"]["title"] == load_study("root-scan").title
    assert entries["root-scan"]["scales"] == [
        {"scale": "full", "runs": 21, "finished": 0},
        {"scale": "smoke", "runs": 2, "finished": 2},
    ]


def test_show_says_all_that_is_in_the_file(run: Run, empty: Path) -> None:
    """Of every study that comes with stabzoo, at every scale; the keys are those of its runs."""
    for name in stabzoo.study.shipped_studies():
        for scale in ("full", *load_study(name).scales):
            study = load_study(name, scale)
            out = run(f"study show {name} --scale {scale}").out
            texts = [study.title, study.description, *study.limits, *(f"- {each}: " for each in study.scales)]
            texts += [entry.title for entry in study.evaluations] + [entry.kind for entry in study.diagnostics]
            texts += [text for table in study.published for text in (table.reference, table.setting)]
            keys = [entry.key for _, entry in study.runs()]
            for text in (*texts, *keys, *(network.label for network in study.networks), study.data.title):
                assert text in out
    data = json.loads(run("study show zerosnet-table-1 --scale laptop --json").out)
    study = load_study("zerosnet-table-1", "laptop")
    assert data["command"] == "stabzoo study zerosnet-table-1 --scale laptop"
    assert data["training"]["epochs"] == study.training.epochs
    assert [entry["key"] for entry in data["runs"]] == [entry.key for _, entry in study.runs()]


# status


def test_status_tells_how_every_run_stands(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished, running in another process, failed with its reason, stopped, missing."""
    monkeypatch.chdir(tmp_path)
    status, out, err = run("study status")
    assert (status, err, out.count("\n")) == (0, "", 1)
    says(out, "No study", "runs")
    fill(Path("runs"), "root-scan", {"r = 0": [90.0, 91.0]})
    study, work = load_study("root-scan"), Path("runs/work")
    folders = [RunFolder(work, study.run(study.networks[1], seed).key) for seed in range(3)]
    for folder in folders:
        folder.path.mkdir(parents=True)
    folders[0].report(Progress(epoch=1, epochs=4))
    folders[1].fail("ValueError: no")
    folders[2].report(Progress(epoch=3, epochs=4))
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    trainer = subprocess.Popen(
        [sys.executable, "-c", hold, str(folders[0].path / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == b"held\n"
        out = run("study status").out
        (entry,) = json.loads(run("study status --json").out)["studies"]
        detail = run("study status root-scan").out
    finally:
        trainer.communicate(b"\n")
    lines = [line.split() for line in out.splitlines()]
    assert ["root-scan", "full", "21", "2", "1", "1", "17"] in lines
    assert (entry["finished"], entry["running"], entry["failed"], entry["missing"]) == (2, 1, 1, 17)
    for facts in (("running", "epoch 1 of 4"), ("failed", "ValueError: no"), ("missing", "epoch 3 of 4")):
        for text in (out, detail):
            (told,) = (line for line in text.splitlines() if facts[1] in line)
            says(told, *facts)
    assert detail.count("finished") == 3  # a heading and two runs
    states = {(run["label"], run["seed"]): run for run in entry["runs"]}
    assert states["r = 1/2", 0]["state"] == "running"
    assert states["r = 1/2", 1]["reason"] == "ValueError: no"
    assert (states["r = 1/2", 2]["state"], states["r = 1/2", 2]["epoch"]) == ("missing", 3)
    assert [line.split() for line in run("study status quickstart").out.splitlines()][2] == [
        *("quickstart", "full", "15", "-", "-", "-", "15")
    ]


def test_status_of_a_study_of_ones_own(run: Run, tmp_path: Path) -> None:
    """What was asked for is known without its file; with it, what it asks for now."""
    file = tmp_path / "mine.yaml"
    content = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**content, "seeds": [0], "scales": {}}), encoding="utf-8")
    study, store = load_study(file), Store(tmp_path)
    asked = [(network.label, study.run(network, 0)) for network in study.networks]
    store.ask("mine", "full", asked)
    store.save(whole_record().model_copy(update={"run": asked[0][1]}))
    (entry,) = json.loads(run(f"study status --json --folder {tmp_path}").out)["studies"]
    assert (entry["study"], entry["finished"], entry["missing"]) == ("mine", 1, 4)
    assert {run["seed"] for run in entry["runs"]} == {0, None}
    (entry,) = json.loads(run(f"study status {file} --json --folder {tmp_path}").out)["studies"]
    assert (entry["finished"], entry["missing"]) == (0, 5)  # one evaluation of five was measured


# report


def test_report_is_what_the_study_wrote(here: Path, run: Run, tmp_path: Path) -> None:
    """The same numbers and pages, without training; with the page and the table to keep."""
    written = Path("runs/root-scan-smoke/results.json").read_bytes()
    Path("runs/root-scan-smoke/results.json").unlink()
    status, out, err = run("study report root-scan --scale smoke --keep " + shlex.quote(str(tmp_path / "kept")))
    assert (status, err) == (0, "")
    assert Path("runs/root-scan-smoke/results.json").read_bytes() == written
    assert "missing" not in out
    assert "runs/root-scan-smoke/report.html\n" in out
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert names >= {"summary.md", "results.csv", "plot.png", "plot.pdf"}
    with (tmp_path / "kept" / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["network"] for row in rows} == {"r = 0", "r = 3"}


def test_report_of_a_part(run: Run, tmp_path: Path) -> None:
    """Says how much is missing and what failed; status 1 where there is nothing to report, and nothing is written."""
    fill(tmp_path, "quickstart", {})
    status, out, err = run(f"study report quickstart --folder {tmp_path}")
    assert (status, err, out.count("\n")) == (1, "", 1)
    says(out, "15 of 15 runs", "missing", tmp_path / DATABASE, "stabzoo study quickstart")
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE]
    fill(tmp_path, "quickstart", {"λ = -9/5": [97.0, 98.0]})
    study = load_study("quickstart")
    RunFolder(tmp_path / "work", study.run(study.networks[1], 2).key).fail("RuntimeError: no memory")
    status, out, _ = run(f"study report quickstart --folder {tmp_path}")
    assert status == 0
    says(out, "13 of 15 runs", "missing", tmp_path / DATABASE)
    (told,) = (line for line in out.splitlines() if "RuntimeError" in line)
    says(told, "failed", study.networks[1].label, "seed 2", "RuntimeError: no memory")
    data = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [len(network["runs"]) for network in data["networks"]] == [2, 0, 0, 0, 0]


def test_runs_of_a_gpu_are_found_by_the_study(run: Run, tmp_path: Path) -> None:
    """A study is what it was done on last."""
    study = load_study("root-scan", "smoke")
    store, on_gpu = Store(tmp_path), [study.run(network, 0, "cuda") for network in study.networks]
    store.ask(study.name, study.scale, list(zip((n.label for n in study.networks), on_gpu, strict=True)))
    for network, gpu_run in zip(study.networks, on_gpu, strict=True):
        record = record_of(("root-scan", "smoke"), network.label, 0, 50.0).model_copy(update={"run": gpu_run})
        assert store.save(record).run.key != study.run(network, 0).key
    (entry,) = json.loads(run(f"study status root-scan --json --folder {tmp_path}").out)["studies"]
    assert (entry["scale"], entry["finished"]) == ("smoke", 2)
    records = {gpu_run.key: store.load(gpu_run) for gpu_run in on_gpu}
    assert [len(row.records) for row in rows_of(study, {k: r for k, r in records.items() if r})] == [1, 1]


# diff


def test_diff_has_settings_and_accuracies(run: Run, tmp_path: Path) -> None:
    """A line a setting; means, their difference with its interval, and what that decides."""
    first = {"λ = -9/5": [90.0, 90.1, 90.2], "λ = 10": [50.0, 55.0, 60.0], "(1, 1, 1 | 1)": [90.0]}
    second = {"λ = -9/5": [93.6, 93.7, 93.8], "λ = 10": [46.0, 51.0, 56.0], "(1, 1, 1 | 1)": [20.0]}
    fill(tmp_path / "a", "quickstart", first)
    fill(tmp_path / "b", "quickstart", second)
    line = f"study diff quickstart quickstart --folder {tmp_path / 'a'} --other {tmp_path / 'b'}"
    status, out, err = run(line)
    assert (status, err) == (0, "")
    (first_line,) = (line for line in out.splitlines() if line.startswith("A: "))
    says(first_line, "quickstart", tmp_path / "a", "7 of 15 runs")
    says(out, "settings are the same", "95 % intervals")
    (entries,) = [json.loads(run(f"{line} --json").out)["accuracies"]]
    found = {entry["label"]: entry for entry in entries if entry["evaluation"] == "clean"}
    rows = [line.split("  ") for line in out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    for label, a, b, verdict in (
        ("λ = -9/5", "90.1±0.1", "93.7±0.1", "higher"),  # by 3.6; their interval is 3.3 below it
        ("λ = 10", "55.0±5.0", "51.0±5.0", "not decided"),
        ("(1, 1, 1 | 1)", "90.0", "20.0", "not decided"),
    ):
        difference = found[label]["difference"]
        text = "-70.0 (no interval: one seed)"
        if difference["low"] is not None:
            text = f"{difference['value']:+.1f} [{difference['low']:+.1f}, {difference['high']:+.1f}]"
        assert [label, "clean", a, b, text, verdict] in cells
    assert found["λ = -9/5"]["first"] == [90.0, 90.1, 90.2]
    assert found["λ = -9/5"]["difference"]["verdict"] == "above"
    assert 0 < found["λ = -9/5"]["difference"]["low"] < 0.5
    data = json.loads(run(f"{line} --json").out)
    assert data["settings"] == []
    assert [entry["finished"] for entry in data["studies"]] == [7, 7]


def test_diff_of_scales(here: Path, run: Run) -> None:
    """What a scale replaces is what differs; what every network has otherwise is one line."""
    out = run("study diff root-scan root-scan@smoke").out
    lines = [line.split() for line in out.splitlines()]
    assert ["args.width", "of", "every", "network", "8", "4"] in lines
    assert ["training.epochs", "4", "1"] in lines
    assert ["network", "r", "=", "2", "there", "-"] in lines
    assert ["seeds", "0,1,2", "0"] in lines
    assert "no run" in out
    assert changes(load_study("root-scan"), load_study("root-scan")) == []
    found = changes(load_study("zerosnet-table-3", "laptop"), load_study("zerosnet-table-3"))
    assert Change("training.schedule", "one-cycle", "step") in found
    assert Change("data.name", "digits", "cifar10") in found


def test_a_network_without_a_run_has_no_difference() -> None:
    """And none of one is decided."""
    one, two, none = (Sample.of_accuracies(values, 540) for values in ((1.0,), (3.0, 4.0), ()))
    difference = Contrast("a", "clean", one, two).difference
    assert difference is not None
    assert (difference.value, difference.verdict) == (2.5, "not decided")
    assert Contrast("a", "clean", none, two).difference is None


# export


def test_export_is_the_view(here: Path, run: Run, tmp_path: Path) -> None:
    """As CSV, the same as pandas reads from the database; of one study; as Parquet."""
    file = tmp_path / "all.csv"
    assert run(f"study export {file}") == (0, f"{file}: 8 rows\n", "")
    with closing(sqlite3.connect("runs/results.sqlite")) as connection:
        cursor = connection.execute("SELECT * FROM results")
        rows, columns = cursor.fetchall(), [column[0] for column in cursor.description]
    with file.open(encoding="utf-8", newline="") as opened:
        read = list(csv.reader(opened))
    assert [row[:-3] for row in read] == [columns, *([str(value) for value in row] for row in rows)]
    assert read[0][-3:] == ["value_low", "value_high", "level"]
    for row in (dict(zip(read[0], values, strict=True)) for values in read[1:]):
        assert row["level"] == {"clean": ""}.get(row["evaluation"], row["evaluation"].rpartition(" = ")[2])
        low, high = wilson(float(row["value"]), int(row["test_images"]))
        assert (float(row["value_low"]), float(row["value_high"])) == (low, high)
    assert Path("results.csv").read_bytes() == file.read_bytes()  # the help's example
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run(f"study export {tmp_path / 'all.parquet'} --study root-scan").status == 0
    table = parquet.read_table(tmp_path / "all.parquet")
    assert table.column_names == read[0]
    assert table.column("value").to_pylist() == [row[columns.index("value")] for row in rows]


def test_pandas_reads_the_results_in_one_line(here: Path) -> None:
    """As docs/studies.md has it, without another library."""
    pd = pytest.importorskip("pandas")
    with closing(sqlite3.connect("runs/results.sqlite")) as connection:
        frame = pd.read_sql("select * from results", connection)
    assert set(frame["study"]) == {"root-scan"}
    assert len(frame) == 8


def test_export_refuses(here: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other file, a study that is not there, a missing pyarrow or folder; nothing is written."""
    for file, got in (("a.xlsx", "'.xlsx'"), ("a", "'no extension'")):
        refuses(run(f"study export {tmp_path / file}"), file, ".csv or .parquet", got)
    refuses(run(f"study export {tmp_path / 'no' / 'a.csv'}"), tmp_path / "no", "no folder")
    refused = run(f"study export {tmp_path / 'a.csv'} --study quickstart")
    refuses(refused, "runs/results.sqlite", "study 'quickstart'", "root-scan")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'stabzoo[parquet]'" in run(f"study export {tmp_path / 'a.parquet'}").err
    assert list(tmp_path.iterdir()) == []


# the database


def test_reading_takes_no_lock_and_leaves_nothing(here: Path, run: Run) -> None:
    """While another driver is writing."""
    with closing(sqlite3.connect("runs/results.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM runs")
        assert len(json.loads(run("study status --json").out)["studies"][0]["runs"]) == 2
        connection.execute("ROLLBACK")
    before = sorted(path.name for path in Path("runs").iterdir())
    assert run("study list").status == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == before


def test_reading_in_a_folder_that_cannot_be_written(here: Path) -> None:
    """Root, who may write anywhere, becomes another user for it."""
    code = """
import os, sqlite3, sys
from pathlib import Path
import stabzoo.study.store.run_index
os.geteuid() or os.setuid(65534)
place = Path(sys.argv[1])
assert not os.access(place, os.W_OK)
print(len(stabzoo.study.store.run_index.RunIndex(place).store.results()[1]))
"""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        shutil.copy("runs/results.sqlite", place)
        (place / DATABASE).chmod(0o444)
        place.chmod(0o555)
        read = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
        place.chmod(0o755)
        assert (read.stdout, read.stderr) == ("8\n", "")
        assert [path.name for path in place.iterdir()] == [DATABASE]


def test_a_damaged_or_older_database_is_named(run: Run, tmp_path: Path) -> None:
    """Reading neither repairs nor migrates."""
    (tmp_path / DATABASE).write_bytes(b"not a database, but long enough to be taken for one" * 100)
    says(run(f"study status --folder {tmp_path}").err, tmp_path / DATABASE, "damaged")
    (tmp_path / DATABASE).write_bytes(b"")
    says(run(f"study status --folder {tmp_path}").err, tmp_path / DATABASE, "schema 0", "older")
    assert (tmp_path / DATABASE).read_bytes() == b""


def test_a_damaged_run_is_said_to_be(run: Run, tmp_path: Path) -> None:
    """It is done again when the study is; it is not missing."""
    fill(tmp_path, "quickstart", {"λ = -9/5": [97.0, 98.0]})
    edit(tmp_path, "UPDATE runs SET losses = 'x' WHERE seed = 1")
    (entry,) = json.loads(run(f"study status quickstart --json --folder {tmp_path}").out)["studies"]
    assert (entry["finished"], entry["damaged"], entry["missing"]) == (1, 1, 13)
    (damaged,) = [each for each in entry["runs"] if each["state"] == "damaged"]
    says(damaged["reason"], damaged["key"], "damaged")
    says(run(f"study status quickstart --folder {tmp_path}").out, "damaged", damaged["key"])
    says(run(f"study report quickstart --folder {tmp_path}").out, "14 of 15", "1 of them damaged")


def test_a_checkpoint_is_the_best_run(here: Path, run: Run, tmp_path: Path) -> None:
    """A folder that timm opens, of the run with the highest top-1; wrong names are refused with what there is."""
    folder = here / "runs" / "root-scan-smoke-r = 0"
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert str(model.scheme.coefficients().alpha[0]) == "1"
    study = load_study("root-scan", "smoke")
    keys = [study.run(study.networks[0], seed).key for seed in study.seeds]
    stored = {path.name: path for path in (here / "runs" / "work").iterdir()}
    top1 = json.loads((folder / "config.json").read_text())["stabzoo"]["measured"]["top1"]
    assert top1 == max(
        json.loads((stored[key] / "config.json").read_text())["stabzoo"]["measured"]["top1"] for key in keys
    )
    refuses(run(f"study checkpoint root-scan 'r = 0' --scale smoke --to '{folder}'"), folder, "empty")
    refuses(run(f"study checkpoint root-scan 'r = O' --scale smoke --to '{tmp_path / 'x'}'"), "r = O", "r = 0")
    refuses(run(f"study checkpoint root-scan 'r = 0' --to '{tmp_path / 'x'}'"), "no run of r = 0")


@pytest.mark.parametrize("command", ["show", "status", "run"])
def test_models_that_do_not_exist(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Are told before anything is done, with the names that were meant; those of timm exist."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "own.yaml"
    content = yaml.safe_load(QUICKSTART.read_text())
    content["networks"] = [{"label": "theirs", "model": "resnet18"}, {"label": "ours", "model": "zerosnet20_optt"}]
    content["scales"] = {}
    content.pop("published", None)
    path.write_text(yaml.safe_dump(content))
    refuses(run(f"study {command} {path}"), "networks.1 (ours)", "zerosnet20_optt", "zerosnet20_opt")
