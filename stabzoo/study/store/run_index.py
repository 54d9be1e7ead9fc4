"""What a folder holds of studies: which of their runs are finished, running, failed or missing. Nothing is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from stabzoo.errors import ConfigError
from stabzoo.evaluation.kinds import Absent
from stabzoo.study.spec import FULL, Network, Run, Study, all_studies, load_study
from stabzoo.study.store.records import DamagedRecordError, Record
from stabzoo.study.store.run_folder import RunFolder
from stabzoo.study.store.store import DATABASE, Store

__all__ = ["RunIndex", "RunState", "State", "StudyStatus"]


State = Literal["finished", "running", "failed", "damaged", "missing"]
"""``damaged``: it has finished, but what is recorded of it cannot be read; it is done again when its study is."""


@dataclass(frozen=True)
class RunState:
    """How a run stands: ``epoch`` of ``epochs`` are trained, None where that is not known; ``reason`` of a failure.

    ``seed`` is None for a run that is not finished of a study that does not come with stabzoo.
    """

    label: str
    seed: int | None
    key: str
    state: State
    epoch: int | None = None
    epochs: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class StudyStatus:
    """How the runs of a study stand at one of its scales."""

    study: str
    scale: str
    runs: tuple[RunState, ...]

    def count(self, state: str) -> int:
        """How many runs are in ``state``."""
        return sum(run.state == state for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-safe values."""
        counts = {state: self.count(state) for state in get_args(State)}
        return {"study": self.study, "scale": self.scale, **counts, "runs": [asdict(run) for run in self.runs]}


class RunIndex:
    """The results in ``folder``, and the runs that are trained there; none where it has no database.

    Raises:
        ConfigError: there is no database and it is ``needed``, or it cannot be read.
    """

    def __init__(self, folder: Path, *, needed: bool = False) -> None:
        self.path = folder / DATABASE
        if needed and not self.path.is_file():
            raise ConfigError(
                f"{self.path}: there is no such file; expected the results that `stabzoo study run NAME` keeps; do a "
                "study first, or say with --folder where one was done"
            )
        self.store = Store(folder, read_only=True) if self.path.is_file() else None

    @cached_property
    def asked(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """Labels and keys of the runs of each study that was done here, by its name and scale."""
        return self.store.asked() if self.store else {}

    @cached_property
    def seeds(self) -> dict[str, int | None]:
        """The seeds of all finished runs, by their keys."""
        return self.store.seeds() if self.store else {}

    def runs(self, study: Study) -> dict[str, tuple[Network, Run]]:
        """The runs of ``study``, by their keys, on the device that it was last done on here.

        Where something that decides a run is not on this machine, a plugin or the data, the run that was done last with
        the same settings stands for it.
        """
        asked = {key for _, key in self.asked.get((study.name, study.scale), ())}
        here = study.runs()
        unknown = any(not run.is_known for _, run in here)
        done = {run.settings: run for run in self.store.runs(asked)} if self.store and unknown else {}

        def on(device: Literal["cpu", "cuda"]) -> dict[str, tuple[Network, Run]]:
            runs = [(network, run.model_copy(update={"device": device})) for network, run in here]
            runs = [(network, run if run.is_known else done.get(run.settings, run)) for network, run in runs]
            return {run.key: (network, run) for network, run in runs}

        runs = on("cpu")
        if asked and not asked & runs.keys():
            on_gpu = on("cuda")
            return on_gpu if asked & on_gpu.keys() else runs
        return runs

    def records(self, study: Study) -> dict[str, Record]:
        """The finished runs of ``study``, by their keys: those of which all is measured that it asks for."""
        return self.look(study)[0]

    def status(self, study: Study) -> StudyStatus:
        """How the runs of ``study`` stand."""
        return self.look(study)[1]

    def look(self, study: Study) -> tuple[dict[str, Record], StudyStatus]:
        """Both, from one look at the database."""
        runs = self.runs(study)
        recorded = [run for key, (_, run) in runs.items() if key in self.seeds]
        found = self.store.load_all(recorded) if self.store and recorded else {}
        records = {
            key: record
            for key, record in found.items()
            if isinstance(record, Record) and record.tried(study.evaluations, study.diagnostics)
        }
        states = [
            RunState(network.label, run.seed, key, "damaged", reason=str(damaged))
            if isinstance(damaged := found.get(key), DamagedRecordError)
            else RunState(network.label, run.seed, key, "failed", reason=reason)
            if (reason := _unmeasured(records.get(key)))
            else self._state(network.label, run.seed, key, key in records)
            for key, (network, run) in runs.items()
        ]
        return records, StudyStatus(study.name, study.scale, tuple(states))

    def as_recorded(self, study: Study) -> Study:
        """``study`` with what was recorded in the place of evaluations whose plugin is not installed any more."""
        absent = [evaluation for evaluation in study.evaluations if isinstance(evaluation, Absent)]
        if not absent or not self.store:
            return study
        found = self.store.load_all(run for _, run in self.runs(study).values()).values()
        kept = [evaluation for record in found if isinstance(record, Record) for evaluation in record.evaluations]
        evaluations = [
            next((old for old in kept if isinstance(entry, Absent) and entry.stands_for(old)), entry)
            for entry in study.evaluations
        ]
        return study.model_copy(update={"evaluations": tuple(evaluations)})

    def statuses(self) -> list[StudyStatus]:
        """How the runs of all studies stand that were done here, as they were then."""
        return [self._status(name, scale) for name, scale in sorted(self.asked)]

    def _status(self, name: str, scale: str) -> StudyStatus:
        asked = self.asked[name, scale]
        if name in all_studies() and scale in (FULL, *load_study(name, recorded=True).scales):
            study = self.as_recorded(load_study(name, scale, recorded=True))
            if set(self.runs(study)) == {key for _, key in asked}:
                return self.status(study)
        states = [self._state(label, self.seeds.get(key), key, key in self.seeds) for label, key in asked]
        return StudyStatus(name, scale, tuple(states))

    def _state(self, label: str, seed: int | None, key: str, finished: bool) -> RunState:
        if finished:
            return RunState(label, seed, key, "finished")
        folder = RunFolder(self.path.parent / "work", key)
        progress, reason = folder.progress(), folder.failure()
        running = folder.locked()
        state = "running" if running else "failed" if reason else "missing"
        done = (progress.epoch, progress.epochs) if progress else (None, None)
        return RunState(label, seed, key, state, *done, reason=None if running else reason)


def _unmeasured(record: Record | None) -> str:
    return record.unmeasured[0].reason if record and record.unmeasured else ""
