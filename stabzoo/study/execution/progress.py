"""How far the runs of a study are, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from stabzoo.terminal import Bar, say

__all__ = ["RunProgress"]


class RunProgress(Bar):
    """How far the runs of a study are: a bar on a terminal, one plain line a finished run anywhere else."""

    def __init__(self, console: Console, runs: int, done: int, epochs: Mapping[str, int]) -> None:
        """Of ``runs`` are ``done``; ``epochs`` are those of the rest, by the key of the run."""
        super().__init__(console, "training", "{task.fields[runs]} runs{task.fields[unsolved]}")
        self._runs, self._done, self._epochs = runs, done, epochs
        self._trained: dict[str, int] = {}  # epochs by the key of the run
        self._unsolved: dict[str, int] = {}  # equations by the key of the run
        self._completed = self._total_unsolved = 0
        self._task = self._bar.add_task("", total=sum(epochs.values()), runs=f"{done}/{runs}", unsolved="")

    def epoch(self, key: str, epoch: int, unsolved: int = 0) -> None:
        """The run ``key`` has trained ``epoch`` epochs, in which ``unsolved`` equations were not solved."""
        self._total_unsolved += unsolved - self._unsolved.get(key, 0)
        self._unsolved[key] = unsolved
        if self._total_unsolved:
            self._bar.update(self._task, unsolved=f", {self._total_unsolved} equations not solved")
        self._set(key, epoch)

    def finish(self, key: str, line: str) -> None:
        """The run ``key`` is over, with a result or without; ``line`` says which and how."""
        self._done += 1
        self._set(key, self._epochs[key])
        if not self._console.is_terminal:
            say(self._console, f"[{self._done}/{self._runs}] {line}")

    def _set(self, key: str, epochs: int) -> None:
        self._completed += epochs - self._trained.get(key, 0)
        self._trained[key] = epochs
        self._bar.update(self._task, completed=self._completed, runs=f"{self._done}/{self._runs}")
