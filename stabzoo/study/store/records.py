"""What is kept of a finished run."""

from __future__ import annotations

from pydantic import JsonValue, PositiveInt, model_validator

from stabzoo.config import Rational, Strict
from stabzoo.evaluation.kinds import AnyEvaluation
from stabzoo.metric import ACCURACY, Evaluation, Metric
from stabzoo.study.measures import Diagnostic
from stabzoo.study.spec import Run

__all__ = ["Coefficients", "DamagedRecordError", "Diagnosed", "Measured", "Record", "Unmeasured"]


class DamagedRecordError(RuntimeError):
    """What is recorded of a run cannot be read, or is another run's; the run is done again when its study is."""


class Coefficients(Strict):
    """Exact coefficients of a network's scheme, newest step first; ``beta_next`` is zero for an explicit one."""

    alpha: tuple[Rational, ...]
    beta: tuple[Rational, ...]
    beta_next: Rational


class Measured(Strict):
    """The number found under one evaluation, and what it is: an accuracy in percent unless the evaluation says else."""

    evaluation: AnyEvaluation
    value: float
    metric: Metric = ACCURACY

    @model_validator(mode="after")
    def _in_its_range(self) -> Measured:
        if self.metric == ACCURACY and not 0 <= self.value <= 100:
            raise ValueError(f"value: expected an accuracy in percent, got {self.value:g}")
        return self


class Unmeasured(Strict):
    """An evaluation of a plugin that raised something instead of giving a number; it is tried again with the study."""

    evaluation: AnyEvaluation
    reason: str


class Diagnosed(Strict):
    """What was found of one diagnostic, as its observer gives it."""

    diagnostic: Diagnostic
    result: dict[str, JsonValue]


class Record(Strict):
    """A finished run: its specification and everything it gave.

    ``coefficients`` is None for a network without a scheme; ``losses`` are the mean training losses of the finished
    epochs; ``warnings`` say what was wrong with the network and since which epoch: it died, or an equation of its
    implicit steps lost its proof; ``unmeasured`` are those that failed at it;
    ``cpu`` is the instruction set torch used, which may change the last digits;
    ``test_images`` is the number of images that every accuracy was counted on, None in a record from before that.
    """

    run: Run
    coefficients: Coefficients | None
    parameters: int
    losses: tuple[float, ...]
    diverged: bool
    warnings: tuple[str, ...] = ()
    weights_sha256: str
    measured: tuple[Measured, ...]
    unmeasured: tuple[Unmeasured, ...] = ()
    test_images: PositiveInt | None
    diagnosed: tuple[Diagnosed, ...] = ()
    seconds: float
    cpu: str

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """What was measured."""
        return tuple(entry.evaluation for entry in self.measured)

    def holds(self, evaluations: tuple[Evaluation, ...], diagnostics: tuple[Diagnostic, ...]) -> bool:
        """Whether all of these were measured."""
        diagnosed = [entry.diagnostic for entry in self.diagnosed]
        return all(entry in self.evaluations for entry in evaluations) and all(d in diagnosed for d in diagnostics)

    def tried(self, evaluations: tuple[Evaluation, ...], diagnostics: tuple[Diagnostic, ...]) -> bool:
        """Whether all of these were measured, or have failed at it."""
        failed = [entry.evaluation for entry in self.unmeasured]
        return self.holds(tuple(entry for entry in evaluations if entry not in failed), diagnostics)

    def found(self, diagnostic: Diagnostic) -> dict[str, JsonValue]:
        """What was found of ``diagnostic``, which must be one of those measured."""
        return next(entry.result for entry in self.diagnosed if entry.diagnostic == diagnostic)

    def value(self, evaluation: Evaluation) -> float | None:
        """What was found under ``evaluation``, an accuracy in percent or another number; None if it was not."""
        return next((entry.value for entry in self.measured if entry.evaluation == evaluation), None)
