"""What many runs cost: `stabzoo study status` and `report` of studies of 100, 1000 and 10 000 made-up finished runs.

    python benchmarks/store.py [--runs 100 1000 10000] [--profile]

Each command runs in a process of its own.  Seconds and CPU seconds are shown with their ratio to those of the smallest
study: what a command costs beside its runs is in the latter.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from stabzoo.evaluation.spec import Clean
from stabzoo.study.spec import Study, load_study
from stabzoo.study.store import store as store_module
from stabzoo.study.store.records import Coefficients, Measured, Record
from stabzoo.study.store.store import Store

STABLE = Coefficients.model_validate({"alpha": ["1/3", "5/9", "1/9"], "beta": ["16/9"], "beta_next": 0})
UNSTABLE = Coefficients.model_validate({"alpha": [1, 1, 1], "beta": [1], "beta_next": 0})
NETWORKS = 10


def study_of(runs: int, folder: Path) -> Path:
    """A study of ``NETWORKS`` networks and so many runs."""
    quickstart = load_study("quickstart")
    content = quickstart.model_dump(mode="json", exclude={"scales", "scale", "published", "name"})
    network = content["networks"][0]
    content["networks"] = [{**network, "label": f"network {i}", "args": {"width": i + 1}} for i in range(NETWORKS)]
    content["seeds"] = list(range(runs // NETWORKS))
    path = folder / f"study-{runs}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def fill(study: Study, folder: Path) -> None:
    """Record every run, all of them in one transaction."""
    store = Store(folder)
    with store._database.transaction() as connection:
        for i, network in enumerate(study.networks):
            for seed in study.seeds:
                record = Record(
                    run=study.run(network, seed),
                    coefficients=UNSTABLE if i % 2 else STABLE,
                    parameters=70_000,
                    losses=tuple(2.0 / (epoch + 1) for epoch in range(study.training.epochs)),
                    diverged=False,
                    weights_sha256="0" * 64,
                    measured=tuple(
                        Measured(evaluation=entry, value=90.0 - 5 * position - (seed * 7919 + i) % 100 / 10)
                        for position, entry in enumerate((Clean(kind="clean"), *study.evaluations[1:]))
                    ),
                    seconds=1.5,
                    cpu="AVX2",
                )
                store_module._write(connection, record)
    store.ask(study.name, study.scale, [(n.label, study.run(n, seed)) for n in study.networks for seed in study.seeds])


def measured(line: list[str]) -> tuple[float, float]:
    """Seconds and CPU seconds of a command."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--profile", action="store_true", help="show where the time of the largest goes")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1")
    print("| runs | command | seconds | CPU seconds | ratio of CPU |\n|---|---|---|---|---|")
    smallest: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for runs in options.runs:
            path, folder = study_of(runs, Path(scratch)), Path(scratch, str(runs))
            fill(load_study(path), folder)
            for command in ("status", "report"):
                arguments = ["study", command, str(path), "--folder", str(folder)]
                seconds, cpu = measured([sys.executable, "-m", "stabzoo", *arguments])
                ratio = cpu / smallest.setdefault(command, cpu)
                print(f"| {runs} | {command} | {seconds:.1f} | {cpu:.1f} | {ratio:.2f} |", flush=True)
                if options.profile and runs == options.runs[-1]:
                    profile = ["-m", "cProfile", "-s", "cumulative", "-m", "stabzoo"]
                    told = subprocess.run([sys.executable, *profile, *arguments], capture_output=True, text=True)
                    print(told.stdout[-200_000:].partition("function calls")[2][:12_000])


if __name__ == "__main__":
    main()
