"""The runs a folder holds, one JSON file each, none of them ever half written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import Field, JsonValue, ValidationError

from stabzoo.config import Rational, Strict
from stabzoo.study.diagnostics import Diagnostic
from stabzoo.study.evaluations import Evaluation
from stabzoo.study.spec import Run

__all__ = ["Coefficients", "Diagnosed", "Measured", "Record", "Store", "write_atomically"]


class Coefficients(Strict):
    """Exact coefficients of a network's scheme, newest step first; ``beta_next`` is zero for an explicit one."""

    alpha: tuple[Rational, ...]
    beta: tuple[Rational, ...]
    beta_next: Rational


class Measured(Strict):
    """Accuracy in percent under one evaluation."""

    evaluation: Evaluation
    accuracy: float = Field(ge=0, le=100)


class Diagnosed(Strict):
    """What was found of one diagnostic, as its observer gives it."""

    diagnostic: Diagnostic
    result: dict[str, JsonValue]


class Record(Strict):
    """A finished run: its specification and everything it gave.

    ``coefficients`` is None for a network without a scheme; ``losses`` are the mean training losses of the finished
    epochs; ``cpu`` is the instruction set torch used, which may change the last digits.
    """

    run: Run
    coefficients: Coefficients | None
    parameters: int
    losses: tuple[float, ...]
    diverged: bool
    weights_sha256: str
    measured: tuple[Measured, ...]
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

    def found(self, diagnostic: Diagnostic) -> dict[str, JsonValue]:
        """What was found of ``diagnostic``, which must be one of those measured."""
        return next(entry.result for entry in self.diagnosed if entry.diagnostic == diagnostic)

    def accuracy(self, evaluation: Evaluation) -> float:
        """Accuracy in percent under ``evaluation``, which must be one of those measured."""
        return next(entry.accuracy for entry in self.measured if entry.evaluation == evaluation)


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` is, at any moment and after a crash, the old file or the whole new one."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep a shared folder's other readers out
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


class Store:
    """Finished runs under ``folder``/runs, each in the file its key names.

    Two studies may write one folder at the same time: a run's file depends on the run alone and is replaced whole.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "runs"
        self._folder.mkdir(parents=True, exist_ok=True)

    def path(self, run: Run) -> Path:
        """The file ``run`` has once it is finished."""
        return self._folder / f"{run.key}.json"

    def load(self, run: Run) -> Record | None:
        """The record of ``run``, or None when it has not finished.

        Raises:
            ValueError: when the file is damaged or another run's.
        """
        try:
            content = self.path(run).read_bytes()
        except FileNotFoundError:
            return None
        try:
            record = Record.model_validate_json(content)
        except ValidationError:
            raise ValueError(f"{self.path(run)} is damaged") from None
        if record.run != run:
            raise ValueError(f"{self.path(run)} holds another run")
        return record

    def save(self, record: Record) -> Record:
        """Write ``record`` to the disk, for good, and return it with what was measured of the same weights before."""
        try:
            earlier = self.load(record.run)
        except ValueError:
            earlier = None
        if earlier and earlier.weights_sha256 == record.weights_sha256:
            besides = tuple(entry for entry in earlier.measured if entry.evaluation not in record.evaluations)
            diagnosed = [entry.diagnostic for entry in record.diagnosed]
            further = tuple(entry for entry in earlier.diagnosed if entry.diagnostic not in diagnosed)
            record = record.model_copy(
                update={"measured": record.measured + besides, "diagnosed": record.diagnosed + further}
            )
        write_atomically(self.path(record.run), record.model_dump_json(indent=1).encode() + b"\n")
        return record
