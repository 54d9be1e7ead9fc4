"""Studies on Dask: workers that are killed, a driver that is killed, clusters that are not what they should be."""

import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from rich.console import Console

from fixtures import ROOT
from fixtures.messages import raises, says
from fixtures.waiting import LONG, PATIENCE, wait_until
from stabzoo.errors import ConfigError
from stabzoo.study import load_study, run_study
from stabzoo.study.execution import executors
from stabzoo.study.execution.executors import open_executor, worker_died
from stabzoo.study.execution.private_cluster import private_cluster
from stabzoo.study.store.run_folder import RunFolder

EPOCHS = 12
STUDY: dict[str, Any] = {
    "title": "A tiny study",
    "description": "Seconds, not minutes.",
    "networks": [
        {"label": "stable", "model": "zerosnet20", "args": {"lam": "-9/5", "width": 4}},
        {"label": "unstable", "model": "zerosnet20", "args": {"alpha": [1, 1, 1], "beta": [1], "width": 4}},
    ],
    "data": {"name": "digits", "size": 8, "test_images": 1697, "split_seed": 0},
    "training": {
        "epochs": EPOCHS,
        "batch_size": 50,
        "optimizer": "momentum",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "schedule": "cosine",
    },
    "seeds": [0, 1],
    "evaluations": [{"kind": "clean"}, {"kind": "constant", "mu": 0.25}],
}
DRIVER = """
import sys
from pathlib import Path
from stabzoo.study import load_study, run_study
run_study(load_study(sys.argv[1]), Path(sys.argv[2]), workers=2, engine="dask")
"""


def process_id(seconds: float = 0) -> int:
    """Take a while."""
    time.sleep(seconds)
    return os.getpid()


def die_first(file: Path, times: int) -> int:
    """Kill the process of the first so many calls with this file."""
    with file.open("a") as opened:
        opened.write("x")
    if file.stat().st_size <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return file.stat().st_size


def test_deaths_of_workers_and_the_end_of_a_local_cluster(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """A call outlives two deaths and not a third; leaving drops what waits, ends what runs, and prints nothing."""
    with open_executor("dask", 2) as executor:
        survives = executor.submit(die_first, tmp_path / "twice", 2)
        assert survives.result(timeout=PATIENCE) == 3
        dies = executor.submit(die_first, tmp_path / "always", 99)
        error = dies.exception(timeout=PATIENCE)
        assert error is not None
        assert worker_died(error)
        says(str(error), "3 times", "worker")
        assert re.search(r"tls://127\.0\.0\.1:\d+", str(error))
        raises = executor.submit(int, "no number").exception(timeout=PATIENCE)
        assert isinstance(raises, ValueError)
        assert not worker_died(raises)
        process = psutil.Process(executor.submit(process_id).result(timeout=PATIENCE))
        waiting = [executor.submit(process_id, LONG) for _ in range(4)]
        left = time.monotonic()
    assert time.monotonic() - left < PATIENCE  # nobody waited for the calls that sleep
    assert all(future.cancelled() for future in waiting)
    process.wait(timeout=PATIENCE)
    assert capfd.readouterr() == ("", "")


STRANGER = """
import sys
from distributed import Client
from distributed.security import Security
for security in (None, Security.temporary()):
    try:
        client = Client(sys.argv[1], security=security, timeout=5)
        print("RAN", client.run(lambda: 1))
    except Exception as error:
        print(type(error).__name__)
"""


def listening() -> set[tuple[int, str, int]]:
    """The process, address and port of every socket on which this process or a descendant of it listens."""
    this = psutil.Process()
    return {
        (process.pid, found.laddr.ip, found.laddr.port)
        for process in (this, *this.children(recursive=True))
        for found in process.net_connections()
        if found.status == psutil.CONN_LISTEN
    }


def test_nobody_else_reaches_a_cluster_of_this_machine():
    """Without its key nothing is executed, in the clear or with another key; no port is open beyond this machine."""
    before = listening()  # what other tests of this process have left open
    with private_cluster(1) as client:
        assert client.submit(process_id).result(timeout=PATIENCE) != os.getpid()
        address = client.scheduler.address
        line = [sys.executable, "-c", STRANGER, address]
        told = subprocess.run(line, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout.split()
        assert len(told) == 2
        assert "RAN" not in told
        opened = listening() - before
        assert {ip for _, ip, _ in opened} == {"127.0.0.1"}
        assert 8787 not in {port for _, _, port in opened}
        assert len(opened) == 3  # scheduler, nanny, worker: no pages
        scratch = client.run(lambda dask_worker: dask_worker.local_directory)
        assert all(Path(folder).parents[1].stat().st_mode & 0o077 == 0 for folder in scratch.values())


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_every_process_sees_a_gpu_of_its_own(engine: executors.Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """As torch reports the GPUs, and as CUDA_VISIBLE_DEVICES numbers them."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5,7")
    with open_executor(engine, 2, device="cuda") as executor:
        waiting = [executor.submit(visible_gpus, tmp_path, 2) for _ in range(2)]
        assert sorted(future.result(timeout=PATIENCE) for future in waiting) == ["3", "GPU-5"]


def visible_gpus(meeting: Path, processes: int) -> str:
    """What this process sees, told when so many processes have come to the meeting."""
    (meeting / str(os.getpid())).touch()
    wait_until(lambda: len(list(meeting.iterdir())) == processes)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_importing_the_engines_imports_neither_torch_nor_dask():
    """`stabzoo study list` is quick."""
    code = "import sys, stabzoo.study.execution.executors; sys.exit('torch' in sys.modules or 'distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ({"engine": "local", "scheduler": "tcp://here:1"}, ("scheduler", "dask", "'tcp://here:1'")),
        ({"engine": "dask", "scheduler": "here"}, ("scheduler here", "missing port number")),
        ({"engine": "dask", "scheduler": "xyz://here:1"}, ("scheduler xyz://here:1", "unknown address")),
        ({"engine": "dask", "scheduler": "tcp://127.0.0.1:1"}, ("tcp://127.0.0.1:1", "Timed out", "`dask scheduler`")),
    ],
)
def test_what_cannot_be_opened(arguments: dict[str, Any], facts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    """A sentence each."""
    monkeypatch.setattr(executors, "SECONDS", 0.2)
    with raises(ConfigError, *facts), open_executor(workers=1, **arguments):
        pass


def test_missing_gpu_and_missing_dask(monkeypatch: pytest.MonkeyPatch):
    """What to install is said."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for engine in ("local", "dask"):
        with raises(ConfigError, "torch", "no GPU"), open_executor(engine, 1, device="cuda"):
            pass
    monkeypatch.delitem(sys.modules, private_cluster.__module__)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with raises(ConfigError, "pip install 'stabzoo[dask]'"), open_executor("dask", 1):
        pass


class Cluster:
    """A scheduler and workers, started as a user starts them, each with its log in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        found = self.start("scheduler", "--host", "127.0.0.1", "--port", "0", ready=r"Scheduler at:\s+(tcp://\S+)")
        self.address = found.group(1)

    def start(self, command: str, *arguments: str, ready: str, path: Path | None = None) -> re.Match[str]:
        """Start a process and wait for what it logs when it is ready."""
        log = self.folder / f"log-{len(self.processes)}"
        paths = os.pathsep.join([*([str(path)] if path else []), str(Path(__file__).parent), str(ROOT / "tests")])
        line = [sys.executable, "-m", f"distributed.cli.dask_{command}", *arguments, "--no-dashboard"]
        with log.open("w") as file:
            self.processes.append(
                subprocess.Popen(line, stderr=file, text=True, env={**os.environ, "PYTHONPATH": paths})
            )
        wait_until(lambda: re.search(ready, log.read_text()))
        found = re.search(ready, log.read_text())
        assert found is not None
        return found

    def add_worker(self, *arguments: str, path: Path | None = None) -> None:
        """Start a worker, with ``path`` before all others, and wait until the scheduler has it."""
        self.start("worker", self.address, *arguments, ready="Registered to", path=path)

    def end(self, number: int = -1) -> None:
        """End the process with that number, in the order of their starts."""
        process = self.processes.pop(number)
        process.terminate()
        process.wait(timeout=PATIENCE)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """One without workers, ended after the test."""
    made = Cluster(tmp_path)
    yield made
    while made.processes:
        made.end()


@pytest.mark.slow
def test_a_cluster_that_was_there_before(cluster: Cluster, tmp_path: Path):
    """Its workers are used and outlive the study; those that cannot give the same numbers are refused; it may end."""
    cluster.add_worker("--nthreads", "2")
    with raises(ConfigError, "2 threads", "--nthreads 1"), using(cluster):
        pass
    cluster.end()
    info = tmp_path / "torch-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.0.1\n")
    cluster.add_worker("--nthreads", "1", path=tmp_path)
    with raises(ConfigError, "torch 0.0.1", version("torch")), using(cluster):
        pass
    cluster.end()
    cluster.add_worker("--nthreads", "1", "--resources", "GPU=1")
    with using(cluster) as executor:
        process = psutil.Process(executor.submit(process_id).result(timeout=PATIENCE))
    assert process.is_running()
    with using(cluster) as executor:
        assert executor.submit(process_id).result(timeout=PATIENCE) == process.pid
        waiting = [executor.submit(process_id, LONG) for _ in range(2)]
        cluster.end(0)
        for future in waiting:
            with raises(ConfigError, cluster.address, "scheduler", "ended"):
                future.result(timeout=PATIENCE)


def using(cluster: Cluster) -> AbstractContextManager[Executor]:
    """An executor that asks for GPUs, of which this machine has none."""
    return open_executor("dask", 1, scheduler=cluster.address, device="cuda")


def recorded(folder: Path) -> dict[str, tuple[str, float]]:
    """Weights and seconds of each finished run."""
    if not (folder / "results.sqlite").exists():
        return {}
    with closing(sqlite3.connect(folder / "results.sqlite", timeout=10)) as connection:
        try:
            rows = connection.execute("SELECT key, weights_sha256, seconds FROM runs").fetchall()
        except sqlite3.OperationalError:  # the file is there and its tables are not yet
            return {}
    return {key: (weights, seconds) for key, weights, seconds in rows}


def workers_of(driver: psutil.Process) -> list[psutil.Process]:
    """The spawned processes below it."""
    found = []
    for child in driver.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # which a zombie is too
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def in_mid_training(driver: psutil.Process, folder: Path) -> list[psutil.Process]:
    """The workers that have the lock of a run of which some epochs are trained."""
    found = []
    for worker in workers_of(driver):
        with suppress(psutil.NoSuchProcess):
            for file in worker.open_files():
                run = Path(file.path).parent
                progress = RunFolder(run.parent, run.name).progress() if file.path.endswith(".lock") else None
                if progress and 0 < progress.epoch < EPOCHS and run.parent.parent == folder:
                    found.append(worker)
    return found


@pytest.mark.slow
def test_worker_and_driver_are_killed_and_the_results_are_those_of_the_local_engine(tmp_path: Path):
    """A study on two Dask workers, one killed in mid training, then the driver; done again, nothing is lost or other."""
    file, folder = tmp_path / "tiny.yaml", tmp_path / "dask"
    file.write_text(yaml.safe_dump(STUDY))
    command = [sys.executable, "-c", DRIVER, file, folder]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        try:
            process = psutil.Process(driver.pid)
            wait_until(lambda: len(workers_of(process)) == 2 and in_mid_training(process, folder), process.is_running)
            killed = in_mid_training(process, folder)[0]
            killed.kill()
            wait_until(lambda: recorded(folder) and in_mid_training(process, folder), process.is_running)
            left = workers_of(process)
            assert killed not in left
            assert left
        finally:
            driver.kill()
    _, alive = psutil.wait_procs(left, timeout=PATIENCE)
    assert not alive
    kept = recorded(folder)
    assert 1 <= len(kept) < 4
    printed = io.StringIO()
    result = run_study(load_study(file), folder, 1, Console(file=printed, width=100), engine="dask")
    assert result.ok, printed.getvalue()
    assert f"{4 - len(kept)} of 4 runs to train, by dask" in printed.getvalue()
    assert kept.items() <= recorded(folder).items()
    run_study(load_study(file), tmp_path / "local", 1, Console(file=io.StringIO()))
    weights, expected = (
        {key: weights for key, (weights, _) in recorded(place).items()} for place in (folder, tmp_path / "local")
    )
    assert len(expected) == 4
    assert weights == expected


def test_script_and_study_of_the_page_on_clusters(tmp_path: Path):
    """docs/cluster.md's script is Python, and its study one, of three networks that are timed."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    compile(script, "on_slurm.py", "exec")
    (study,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "three-depths.yaml"
    file.write_text(study)
    loaded = load_study(file)
    assert [network.model for network in loaded.networks] == ["zerosnet32_opt", "zerosnet44_opt", "zerosnet56_opt"]
    assert [diagnostic.kind for diagnostic in loaded.diagnostics] == ["cost"]


def test_a_cluster_that_does_not_start(monkeypatch: pytest.MonkeyPatch):
    """A process that is killed meanwhile is told, and what to do."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr("stabzoo.study.execution.private_cluster.SpecCluster", fail)
    with raises(ConfigError, "dask", "Nanny failed", "--workers"), open_executor("dask", 1):
        pass
