"""What a training shows while it runs: a bar on a terminal, one plain line an epoch anywhere else."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from stabzoo.implicit.report import BlockReport, solver_report
from stabzoo.study.terminal import say

if TYPE_CHECKING:
    from stabzoo.training.job import Job

__all__ = ["TrainingProgress"]


class TrainingProgress:
    """Epochs, throughput, time left, and of implicit networks evaluations a solve and failures."""

    def __init__(self, console: Console, job: Job, images: int, steps: int, *, enabled: bool) -> None:
        self._console, self._job, self._enabled = console, job, enabled
        self._epochs, self._steps, self._images = job.training.epochs, steps, images
        self._started, self._done = time.perf_counter(), 0
        self._reports: list[BlockReport] | None = None
        self._bar = Progress(
            TextColumn("{task.fields[where]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not (enabled and console.is_terminal),
            expand=True,
        )
        self._task = self._bar.add_task("", total=self._epochs * steps, where="", what="")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, done: int, damaged: list[Path]) -> None:
        """``done`` steps are done already; ``damaged`` checkpoints were passed over."""
        self._started, self._done = time.perf_counter(), done
        if not self._enabled:
            return
        for path in damaged:
            say(self._console, f"{path}: damaged, passed over", style="yellow")
        job = self._job
        where = f", from step {done} of {self._epochs * self._steps}" if done else ""
        say(
            self._console,
            f"{job.model} on {job.data.name}, {self._epochs} epochs, seed {job.seed}, {job.device}{where}",
        )

    def step(self, done: int, total: float, network: nn.Module) -> None:
        """``done`` steps are done."""
        if self._bar.disable:
            return
        if self._reports is None:
            self._reports = solver_report(network)
        elapsed = time.perf_counter() - self._started
        what = f"{(done - self._done) / elapsed * self._images / self._steps:.0f} images/s"
        if solves := sum(report.solves for report in self._reports):
            evaluations = sum(report.evaluations for report in self._reports) / solves
            failed = sum(report.failures.total() for report in self._reports)
            what += f", {evaluations:.1f} evaluations a solve, {failed} not solved"
        self._bar.update(
            self._task,
            completed=done,
            where=f"epoch {min(done // self._steps + 1, self._epochs)}/{self._epochs}",
            what=what,
        )

    def epoch(self, note: dict[str, Any]) -> None:
        """An epoch is over, with what was noted of it."""
        if not self._enabled:
            return
        line = f"epoch {note['epoch']}/{self._epochs}: loss {note['loss']:.4f}, top-1 {note['top1']:.2f}"
        if "evaluations_a_solve" in note:
            line += f", {note['evaluations_a_solve']:.1f} evaluations a solve, {note['not_solved']} not solved"
        say(self._console, line)
