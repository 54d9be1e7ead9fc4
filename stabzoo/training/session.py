"""A training that outlives its process: it goes on from its newest checkpoint, and writes one after every epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stabzoo.implicit.step import solver_report
from stabzoo.training.checkpoint import Checkpoints
from stabzoo.training.loop import Trained, Trainer

__all__ = ["Session"]


class Session:
    """One training in its folder; `stabzoo train` and a study's run each add to it what they note and keep.

    Args:
        trainer: The training, at its beginning.
        folder: Where its checkpoints lie.
        writes: Whether this process writes them; of several that share a training, one does.

    Attributes:
        reports: What the solves of each implicit block did, since the reports were last set to zero.
    """

    def __init__(self, trainer: Trainer, folder: Path, *, writes: bool = True) -> None:
        self.trainer, self.writes = trainer, writes
        self.checkpoints = Checkpoints(folder)
        self.reports = solver_report(trainer.network)
        self.saved_steps = 0

    def resume(self) -> list[Path]:
        """Go on from the newest checkpoint that is whole and serves; return the damaged files that are newer."""
        state, damaged = self.checkpoints.newest()
        if state is not None and self.serves(state):
            self.load(state)
            self.saved_steps = self.trainer.progress.steps
        return damaged

    def run(self) -> Trained:
        """Train to the end; the last checkpoint stays."""
        trained = self.trainer.run(self.after_epoch, self.after_step)
        if trained.diverged or not self.checkpoints.files():
            self.saved_steps = -1
        self.save()
        return trained

    def save(self) -> None:
        """Write a checkpoint, unless there is one of this step."""
        steps = self.trainer.progress.steps
        if self.writes and steps != self.saved_steps:
            self.checkpoints.save(steps, self.state())
            self.saved_steps = steps

    def unsolved(self) -> int:
        """How many equations of implicit steps and their adjoints were not solved since the reports were at zero."""
        return sum(report.failures.total() + report.backward_failures.total() for report in self.reports)

    # what a kind of session adds

    def serves(self, state: dict[str, Any]) -> bool:
        """Whether the training can go on from this `state`."""
        return True

    def state(self) -> dict[str, Any]:
        """All that is kept in a checkpoint."""
        return self.trainer.state()

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.trainer.load(state)

    def is_due(self) -> bool:
        """Whether a checkpoint is due within an epoch."""
        return False

    def after_epoch(self, epoch: int) -> Any:
        """Called by `Trainer.run`; what it returns is noted of the epoch."""

    def after_step(self) -> None:
        """Called by `Trainer.run` after every update of the weights."""
        if self.trainer.progress.updates == 0 or self.is_due():
            self.save()
