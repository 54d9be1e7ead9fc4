"""Telling an experiment tracker what a training does: its settings once, its numbers after every epoch."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from stabzoo.errors import ConfigError

__all__ = ["Tracker", "TrackerName", "TrackingWarning", "guarded", "open_tracker"]

TrackerName: TypeAlias = Literal["tensorboard", "mlflow"]


class TrackingWarning(UserWarning):
    """A tracker has failed; the training continues without it."""


class Tracker(Protocol):
    """What a training calls."""

    def settings(self, values: Mapping[str, Any]) -> None:
        """What is trained, by dotted names; called before the first epoch, and again when a training resumes."""
        ...

    def epoch(self, number: int, scalars: Mapping[str, float]) -> None:
        """What was measured after epoch ``number``, from 1.  An epoch may come twice, with the same numbers."""
        ...

    def close(self) -> None:
        """The training is over, or was interrupted."""
        ...


class _TensorBoard:
    """Event files in FOLDER/tensorboard, for ``tensorboard --logdir``."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def settings(self, values: Mapping[str, Any]) -> None:
        rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
        self._writer.add_text("settings", f"| name | value |\n|---|---|\n{rows}")

    def epoch(self, number: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, number)
        self._writer.flush()  # a killed training has written what it told

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """A run in the store that MLFLOW_TRACKING_URI names, by default ./mlflow.db; it is kept when a training resumes."""

    def __init__(self, folder: Path) -> None:
        import mlflow  # pyright: ignore[reportMissingImports]

        self._client: Any = mlflow.MlflowClient()
        found = self._client.get_experiment_by_name("stabzoo")
        experiment = found.experiment_id if found else self._client.create_experiment("stabzoo")
        key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        runs = self._client.search_runs([experiment], f"tags.stabzoo_folder = '{key}'", max_results=1)
        tags = {"stabzoo_folder": key}
        run = runs[0] if runs else self._client.create_run(experiment, run_name=folder.name, tags=tags)
        self._run, self._known = run.info.run_id, set(run.data.params)
        self._client.update_run(self._run, status="RUNNING")

    def settings(self, values: Mapping[str, Any]) -> None:
        for name in values:
            if name not in self._known:  # a parameter cannot be written twice
                self._client.log_param(self._run, name, str(values[name])[:6000])

    def epoch(self, number: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._client.log_metric(self._run, name, value, step=number)

    def close(self) -> None:
        self._client.set_terminated(self._run)


TRACKERS: dict[str, Callable[[Path], Tracker]] = {"tensorboard": _TensorBoard, "mlflow": _MLflow}


def open_tracker(name: TrackerName, folder: Path) -> Tracker:
    """The tracker of that name, for the training in ``folder``; it never raises afterwards.

    Raises:
        ConfigError: its package is not installed.
    """
    try:
        return guarded(name, TRACKERS[name](folder))
    except ImportError as error:
        raise ConfigError(f"--log {name}: {error}; pip install 'stabzoo[{name}]'") from None
    except Exception as error:  # no connection, no space: as later
        _warn(name, error)
        return guarded(name, None)


def guarded(name: str, tracker: Tracker | None) -> Tracker:
    """``tracker`` until it raises; then a warning, once, and nothing."""
    return _Guarded(name, tracker)


class _Guarded:
    def __init__(self, name: str, tracker: Tracker | None) -> None:
        self._name, self._tracker = name, tracker

    def _call(self, act: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            act(self._tracker)
        except Exception as error:  # whatever a server, a disk or a package of anyone raises
            self._tracker = None
            _warn(self._name, error)

    def settings(self, values: Mapping[str, Any]) -> None:
        self._call(lambda tracker: tracker.settings(_flat(values)))

    def epoch(self, number: int, scalars: Mapping[str, float]) -> None:
        self._call(lambda tracker: tracker.epoch(number, scalars))

    def close(self) -> None:
        self._call(lambda tracker: tracker.close())


def _warn(name: str, error: Exception) -> None:
    text = str(error) or type(error).__name__
    warnings.warn(f"{name}: {text}; the training continues without it", TrackingWarning, stacklevel=2)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = json.dumps(value) if isinstance(value, list) else value
    return found
