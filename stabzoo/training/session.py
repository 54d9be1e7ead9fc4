"""A training that outlives its process: it resumes from its newest checkpoint, and writes one after every epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from stabzoo.data.images import Batch
from stabzoo.diagnostics.failure import Failure, at_chance, failure_of, stall_of
from stabzoo.errors import ConfigError
from stabzoo.implicit.step import solver_report
from stabzoo.registry.guard import failure_text
from stabzoo.training.checkpoint import Checkpoints
from stabzoo.training.loop import Trained, Trainer

if TYPE_CHECKING:
    from stabzoo.diagnostics.wellposed import WellPosedness

__all__ = ["Session"]

LOOKED_AT = 32
"""Test images on which a network is asked after every epoch whether it still tells images apart."""

SOLVED = 2
"""Of them those at whose solutions eigenvalues are measured, where an equation is not proved to have one solution."""


class Session:
    """One training in its folder; `stabzoo train` and a study's run each add to it what they note and keep.

    Args:
        trainer: The training, at its beginning.
        folder: Where its checkpoints lie.
        writes: Whether this process writes them; of several that share a training, one does.

    Attributes:
        reports: What the solves of each implicit block did, since the reports were last set to zero.
        anew: Why the training did not resume from the existing checkpoint; None where it did, or where there is none.
    """

    def __init__(self, trainer: Trainer, folder: Path, *, writes: bool = True) -> None:
        self.trainer, self.writes = trainer, writes
        self.checkpoints = Checkpoints(folder)
        self.reports = solver_report(trainer.network)
        self.saved_steps = 0
        self.anew: str | None = None
        self.failure: Failure | None = None  # an epoch ago, as what follows, the names of implicit steps
        self.past: set[str] = set()
        self.proved: set[str] = set()

    def resume(self) -> list[Path]:
        """Go on from the newest checkpoint that is whole, unless there is an `obstacle`.

        The damaged files that are newer are returned.

        Raises:
            ConfigError: it is a whole one, but of another training.
        """
        state, damaged = self.checkpoints.newest()
        if state is None:
            return damaged
        try:
            self.anew = self.obstacle(state)
            if self.anew is None:
                self.load(state)
        except Exception as error:  # a state from elsewhere may be anything
            path = self.checkpoints.files()[len(damaged)]
            raise ConfigError(
                f"{path}: is not a checkpoint of this training ({failure_text(error)}); remove it to "
                "resume from the one before it, or to start from scratch"
            ) from error
        self.saved_steps = self.trainer.progress.steps if self.anew is None else -1  # what is there is another's
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

    @cached_property
    def looked_at(self) -> Batch:
        """What the network itself is given of some test images, and their labels."""
        trainer, device = self.trainer, self.trainer.process.device
        count = min(LOOKED_AT, trainer.images.test_count)
        ((pixels, labels),) = trainer.images.testing([torch.arange(count)])
        return trainer.network.normalise(pixels.to(device)), labels.to(device)

    def equations(self) -> list[WellPosedness]:
        """What is proved of the equations of the implicit steps, and measured where nothing is."""
        if not self.reports:
            return []
        from stabzoo.diagnostics.wellposed import well_posedness  # imports what explicit networks do not need

        images, _ = self.looked_at
        return well_posedness(self.trainer.network.network, tuple(images.shape[1:]), images[:SOLVED])

    def troubles(self, equations: Sequence[WellPosedness] = ()) -> list[str]:
        """What is wrong with the network now and was not an epoch ago, a sentence each.

        Its weights or outputs are not finite; it answers all images alike; its loss was that of equal probabilities for
        an epoch and the cause was found; or ``equations`` of its implicit steps may have no solution, or several.
        Learning slowly is no trouble.
        """
        texts = list[str]()
        found = self._failure()
        if found is not None and found != self.failure:
            texts.append(self._told(found))
        elif found is None and self.trainer.progress.diverged:
            texts.append("the loss is not finite, though in evaluation mode every weight and every output is")
        self.failure = found
        past = {s.name: s.abscissa.value for s in equations if s.abscissa and not s.abscissa.value < 1}
        if named := ", ".join(f"{name} ({value:.3g})" for name, value in past.items() if name not in self.past):
            texts.append(
                f"an eigenvalue of w F' has passed 1, by its real part, in {named}: y = b + w F(y) need not have one "
                "solution there, and its solves may diverge; lower lr or the step size, or raise weight_decay or the "
                "weight of fixed_point"
            )
        proved = {step.name for step in equations if step.proof}
        if named := ", ".join(sorted(self.proved - proved)):
            texts.append(f"y = b + w F(y) is no longer proved to have one solution in {named}")
        self.past, self.proved = set(past), proved
        return texts

    def _failure(self) -> Failure | None:
        training, progress = self.trainer.training, self.trainer.progress
        network, (images, labels) = self.trainer.network.network, self.looked_at
        found = failure_of(network, images)
        if found is None and not progress.diverged and at_chance(progress.losses[-1], self.trainer.images.classes):
            found = stall_of(network, images, labels, scale=training.logit_scale, lr=training.lr)
        return found

    def _told(self, found: Failure) -> str:
        match found.kind:
            case "not finite":
                return found.cause
            case "constant":
                lower = "lr" if self.trainer.training.logit_scale == 1 else "lr or logit_scale"
                return (
                    f"the network is dead, it answers all images alike: {found.cause}; lower {lower}, or train it again"
                )
            case "statistics":
                return f"in evaluation mode the network answers all images alike: {found.cause}"
            case _:
                classes = self.trainer.images.classes
                return f"the loss was ln({classes}) = {math.log(classes):.4f} for an epoch: {found.cause}"

    # what a kind of session adds

    def obstacle(self, state: dict[str, Any]) -> str | None:
        """Why the training cannot resume from this `state`; None where it can."""
        return None

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
