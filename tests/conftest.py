"""Fixtures: third-party plugins, installed into a temporary folder on the path; commands; one thread."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, here and in all processes of the tests

import torch

import stabzoo
from fixtures.commands import Result, Run
from fixtures.plugins import GOOD_CODE, GOOD_REGISTRY
from stabzoo import claims
from stabzoo.cli import doctor, main
from stabzoo.registry.loading import forget

# a test is not wrong for being slow
settings.register_profile("busy machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Install a plugin: ``install("leapfrog", code, registry)``; removed after the test, with what it registered."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(
        name: str = "leapfrog",
        code: str = GOOD_CODE,
        registry: str | None = GOOD_REGISTRY,
        *,
        version: str = "9.0",
        package: str = "",
    ) -> Path:
        package = package or f"stabzoo_{name}"
        for module in [m for m in sys.modules if m.partition(".")[0] == package]:
            del sys.modules[module]  # of another test, from elsewhere
        folder = tmp_path / package
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text(dedent(code))
        if registry is not None:
            (folder / "registry.yaml").write_text(dedent(registry))
        info = tmp_path / f"{package}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[stabzoo]\n{name} = {package}\n")
        forget()
        return folder

    yield add
    monkeypatch.undo()
    for module in set(sys.modules) - before:
        if module.startswith("stabzoo_"):
            del sys.modules[module]
    forget()
    stabzoo.refresh()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process."""

    def call(line: str) -> Result:
        status = main(shlex.split(line))
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return call


@pytest.fixture
def only_guests_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` and `doctor` list our schemes and models, and prove and build those of others; all in their own tests."""
    on_trial, check_scheme = claims.on_trial, claims.check_scheme

    def guests_on_trial(reports: Sequence[claims.ModelReport]) -> list[claims.ModelReport]:
        built = {r.name: r for r in on_trial([report for report in reports if not report.plugin.is_ours])}
        return [built.get(report.name, report) for report in reports]

    def guests_checked(report: claims.SchemeReport) -> claims.SchemeCheck:
        return claims.SchemeCheck(report, 0, (), ()) if report.plugin.is_ours else check_scheme(report)

    monkeypatch.setattr(claims, "on_trial", guests_on_trial)
    monkeypatch.setattr(doctor, "on_trial", guests_on_trial)
    monkeypatch.setattr(claims, "check_scheme", guests_checked)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch computes on one thread, as the runs of studies do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
