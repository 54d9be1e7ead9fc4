"""What a training shows while it runs: a bar on a terminal, one plain line per epoch anywhere else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from stabzoo.implicit.report import BlockReport
from stabzoo.terminal import Bar, say

if TYPE_CHECKING:
    from stabzoo.training.spec import Job

__all__ = ["TrainingProgress"]


class TrainingProgress(Bar):
    """Epochs, throughput, time left, and of implicit networks evaluations per solve and failures."""

    def __init__(
        self, console: Console, job: Job, reports: list[BlockReport], images: int, steps: int, *, enabled: bool
    ) -> None:
        super().__init__(console, "{task.fields[where]}", "{task.fields[what]}", enabled=enabled)
        self._job, self._reports, self._enabled = job, reports, enabled
        self._epochs, self._steps, self._images = job.training.epochs, steps, images
        self._started, self._done, self._solves = time.perf_counter(), 0, ""
        self._task = self._bar.add_task("", total=self._epochs * steps, where="", what="")

    def start(self, done: int, damaged: list[Path], layout: torch.memory_format, *, compiled: bool) -> None:
        """``done`` steps are done already; ``damaged`` checkpoints were passed over."""
        self._started, self._done = time.perf_counter(), done
        if not self._enabled:
            return
        for path in damaged:
            say(self._console, f"{path}: damaged, passed over", style="yellow")
        job = self._job
        epochs = f"{self._epochs} epoch{'s' if self._epochs > 1 else ''}"
        where = f", from step {done} of {self._epochs * self._steps}" if done else ""
        how = ", channels_last" if layout == torch.channels_last else ""
        if compiled:
            how += ", compiled" if done else ", compiled, which takes a minute or more before the first step"
        say(self._console, f"{job.model} on {job.data.title}, {epochs}, seed {job.seed}, {job.device}{how}{where}")

    def step(self, done: int) -> None:
        """``done`` steps are done."""
        if self._bar.disable:
            return
        elapsed = time.perf_counter() - self._started
        what = f"{(done - self._done) / elapsed * self._images / self._steps:.0f} images/s"
        if solves := sum(report.solves for report in self._reports):
            evaluations = sum(report.evaluations for report in self._reports) / solves
            failed = sum(report.failures.total() for report in self._reports)
            self._solves = f", {evaluations:.1f} evaluations per solve, {failed} not solved"
        self._bar.update(
            self._task,
            completed=done,
            where=f"epoch {min(done // self._steps + 1, self._epochs)}/{self._epochs}",
            what=what + self._solves,  # at the end of an epoch the counts are zero: the last ones stay
        )

    def epoch(self, note: dict[str, Any]) -> None:
        """An epoch is over, with what was noted of it."""
        if not self._enabled:
            return
        line = f"epoch {note['epoch']}/{self._epochs}: loss {note['loss']:.4f}, top-1 {note['top1']:.2f}"
        if note.get("largest_product") is not None:
            line += f", {note['unstable_blocks']} unstable blocks, products up to {note['largest_product']:.3g}"
        if "evaluations_a_solve" in note:
            line += f", {note['evaluations_a_solve']:.1f} evaluations per solve, {note['not_solved']} not solved"
            line += f", {note['proved']} of {note['equations']} equations proved to have one solution"
        if note.get("unchecked"):
            line += f", {note['unchecked']} compiled steps that nothing has checked"
        if note.get("largest_real_part") is not None:
            line += f", Re w F' up to {note['largest_real_part']:.3g} in the others"
        say(self._console, line)

    def warn(self, troubles: list[str], epoch: int) -> None:
        """What is wrong with the network in ``epoch``, a line each."""
        if self._enabled:
            for text in troubles:
                say(self._console, f"warning: epoch {epoch}: {text}", style="yellow")
