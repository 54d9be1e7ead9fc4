"""Trackers are told what a training does, and never stop it."""

import csv
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fixtures.commands import Run
from fixtures.messages import raises, says, warns
from stabzoo.errors import ConfigError
from stabzoo.training import tracking
from stabzoo.training.tracking import TrackingWarning, guarded, open_tracker

pytestmark = pytest.mark.usefixtures("one_thread")

LINE = "train zerosnet20_tra --arg width=4 --set epochs=2 --set batch_size=400 --threads 1"


def test_tensorboard_has_every_epoch(run: Run, tmp_path: Path) -> None:
    """The numbers of the history, trained coefficients among them, and the settings; a finished training adds none."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        assert run(f"{LINE} --folder {tmp_path} --log tensorboard").status == 0
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    names = [name for name in rows[0] if name != "epoch"]
    assert sorted(events.Tags()["scalars"]) == sorted(names)
    for name in names:
        scalars = events.Scalars(name)
        assert [scalar.step for scalar in scalars] == [1, 2]
        assert [scalar.value for scalar in scalars] == pytest.approx([float(row[name]) for row in rows], rel=1e-6)
    (tag,) = events.Tags()["tensors"]
    text = events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
    for line in ("| model | zerosnet20_tra |", "| training.epochs | 2 |", "| data.name | digits |"):
        assert line in text


class _Full:
    """A tracker on a full disk."""

    def __init__(self, folder: Path) -> None:
        self.calls: list[str] = []

    def settings(self, values: Mapping[str, Any]) -> None:
        self.calls.append("settings")

    def epoch(self, number: int, scalars: Mapping[str, float]) -> None:
        self.calls.append(f"epoch {number}")
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.calls.append("close")


def test_what_fails_is_told_once(tmp_path: Path) -> None:
    """A warning, and nothing more is asked of it."""
    broken = _Full(tmp_path)
    tracker = guarded("disk", broken)
    tracker.settings({"a": {"b": 1}})
    with warns(TrackingWarning, "disk: ", "No space left on device", "without it"):
        tracker.epoch(1, {"loss": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.epoch(2, {"loss": 1.0})
        tracker.close()
    assert broken.calls == ["settings", "epoch 1"]


@pytest.mark.filterwarnings("always::stabzoo.training.tracking.TrackingWarning")
def test_a_training_outlives_its_tracker(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights as without, and one line that says what failed; one that cannot even be opened, too."""

    def unreachable(folder: Path) -> tracking.Tracker:
        raise TimeoutError("no answer")

    assert run(f"{LINE} --folder {tmp_path / 'without'}").status == 0
    monkeypatch.setitem(tracking.TRACKERS, "tensorboard", _Full)
    monkeypatch.setitem(tracking.TRACKERS, "mlflow", unreachable)
    result = run(f"{LINE} --folder {tmp_path / 'with'} --log tensorboard --log mlflow")
    assert result.status == 0
    full, unreached = sorted(result.err.splitlines(), key=lambda line: "mlflow" in line)
    says(full, "tensorboard", "No space left on device")
    says(unreached, "mlflow", "no answer")
    for name in ("model.safetensors", "history.csv"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


def test_a_missing_package_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install; an unknown tracker by the command."""
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with raises(ConfigError, "--log mlflow", "pip install 'stabzoo[mlflow]'"):
        open_tracker("mlflow", tmp_path)
    assert run(f"{LINE} --log notebook").status == 2
