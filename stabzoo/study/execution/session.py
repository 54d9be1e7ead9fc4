"""The training of a study's run: a `stabzoo.training.session.Session` that is observed and reports how far it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stabzoo.study.measures import Diagnostic
from stabzoo.study.store.run_folder import Progress, RunFolder
from stabzoo.training.loop import Trained, Trainer
from stabzoo.training.process import processor
from stabzoo.training.session import Session

if TYPE_CHECKING:
    from stabzoo.diagnostics.wellposed import WellPosedness
    from stabzoo.study.execution.observers import Observer

__all__ = ["RunSession"]

SECONDS = 600.0
"""Between checkpoints within an epoch."""


class RunSession(Session):
    """The training of one run, with what is observed of it; a checkpoint also every `SECONDS`.

    Attributes:
        seconds: How long it has trained, in all processes that were at it.
        warnings: What was wrong with the network, and since which epoch.
    """

    def __init__(
        self, trainer: Trainer, observers: Sequence[Observer], diagnostics: Sequence[Diagnostic], folder: RunFolder
    ) -> None:
        super().__init__(trainer, folder.path)
        self.folder = folder
        self.observers = {
            diagnostic.model_dump_json(): observer for diagnostic, observer in zip(diagnostics, observers, strict=True)
        }
        self.unsolved_so_far = self.counted = 0
        self.seconds, self.last = 0.0, time.perf_counter()
        self.warnings: list[str] = []

    def run(self) -> Trained:
        """Train to the end; the last checkpoint alone stays."""
        trained = super().run()
        if trained.diverged:
            self.warn(self.trainer.progress.epoch + 1)
        for old in self.checkpoints.files()[1:]:
            old.unlink(missing_ok=True)
        return trained

    def is_due(self) -> bool:
        """Every `SECONDS`."""
        return time.perf_counter() - self.last > SECONDS

    def after_epoch(self, epoch: int) -> None:
        """Observe the network, and report how far it is."""
        self.unsolved_so_far += self.unsolved() - self.counted
        for observer in self.observers.values():
            observer.after_epoch(self.trainer.network, epoch)
        self.counted = self.unsolved()  # an observer may count from zero
        equations = self.equations()
        if not epoch:
            self.proved = {step.name for step in equations if step.proof}
        else:
            self.warn(epoch, equations)
            epochs = self.trainer.training.epochs
            self.folder.report(Progress(epoch=epoch, epochs=epochs, unsolved=self.unsolved_so_far, anew=self.anew))

    def warn(self, epoch: int, equations: Sequence[WellPosedness] = ()) -> None:
        """Note what is wrong with the network in ``epoch`` and was not before."""
        self.warnings += [f"epoch {epoch}: {text}" for text in self.troubles(equations)]

    def obstacle(self, state: dict[str, Any]) -> str | None:
        """That other instructions computed it, or that an observer which must see each epoch was not there.

        With the instructions of two processors the numbers would be of neither.
        """
        there, here = state.get("processor"), processor(self.trainer.process.device.type)
        if there != here:
            return f"its checkpoint was computed with the instructions {there}, this processor has {here}"
        unseen = [name for name, each in self.observers.items() if each.watches and name not in state["observers"]]
        return f"its checkpoint knows nothing of {unseen[0]}, which watches every epoch" if unseen else None

    def state(self) -> dict[str, Any]:
        """The trainer's, and what was observed."""
        now = time.perf_counter()
        self.seconds, self.last = self.seconds + now - self.last, now
        return {
            "trainer": super().state(),
            "observers": {name: observer.state for name, observer in self.observers.items()},
            "unsolved": self.unsolved_so_far,
            "seconds": self.seconds,
            "warnings": self.warnings,
            "processor": processor(self.trainer.process.device.type),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue, and keep observing."""
        super().load(state["trainer"])
        for name, observer in self.observers.items():
            observer.state = state["observers"].get(name, observer.state)
        self.unsolved_so_far, self.seconds = state["unsolved"], state["seconds"]
        self.warnings = state.get("warnings", [])
