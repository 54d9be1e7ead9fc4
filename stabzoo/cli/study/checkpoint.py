"""``stabzoo study checkpoint``: the best run of a network of a study, as a folder of its own."""

from __future__ import annotations

from pathlib import Path

from stabzoo.cli.console import output
from stabzoo.cli.study.phrases import RUNS
from stabzoo.config import file_name
from stabzoo.deploy.opening import open_deployed
from stabzoo.deploy.publishing import write_repository
from stabzoo.errors import ConfigError
from stabzoo.evaluation.spec import Clean
from stabzoo.registry.catalogue import unknown_name
from stabzoo.study.analysis.phrases import command_text
from stabzoo.study.spec import load_study
from stabzoo.study.store.records import Record
from stabzoo.study.store.run_folder import RunFolder
from stabzoo.study.store.run_index import RunIndex
from stabzoo.terminal import say

__all__ = ["export_checkpoint"]


def export_checkpoint(name: str, label: str, scale: str, *, folder: Path | None, to: Path | None) -> None:
    """Write the repository of the best of the finished runs.

    Raises:
        ConfigError: the study has no such network, none of its runs has finished, or its folder is gone.
    """
    index = RunIndex(folder or RUNS, needed=True)
    study = index.as_recorded(load_study(name, scale, recorded=True))
    labels = [network.label for network in study.networks]
    if label not in labels:
        raise unknown_name("network", label, labels)
    records, status = index.look(study)
    mine = {run.key: records[run.key] for run in status.runs if run.label == label and run.key in records}
    if not mine:
        raise ConfigError(f"{index.path}: no run of {label} has finished; {command_text(study)} trains them")
    key = max(mine, key=lambda key: _top1(mine[key]))
    source = RunFolder((folder or RUNS) / "work", key).path
    to = to or RUNS / file_name(f"{study.folder_name}-{label}".replace("/", "-"))
    write_repository(open_deployed(source), to)
    top1 = f", top-1 {_top1(mine[key]):.2f}" if _top1(mine[key]) >= 0 else ""
    say(output(), f"{to}: seed {mine[key].run.seed}{top1}, the best of {len(mine)}")


def _top1(record: Record) -> float:
    """On the test images; below that of any other where it was not measured."""
    return next((m.value for m in record.measured if isinstance(m.evaluation, Clean) and m.value is not None), -1.0)
