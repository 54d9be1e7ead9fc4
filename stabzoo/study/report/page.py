"""Studies as data: every run of a store with what was measured, what is proved, and what is published."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stabzoo.errors import ConfigError
from stabzoo.methods import NOT_DECIDED, OwnStep
from stabzoo.metric import ACCURACY
from stabzoo.stability import StabilityCard, as_float
from stabzoo.study.analysis import phrases
from stabzoo.study.analysis.comparison import Row, mean_of
from stabzoo.study.analysis.quantities import curve, measured
from stabzoo.study.measures import Curve
from stabzoo.study.report.nearby import method_of_network
from stabzoo.study.report.report import Report
from stabzoo.study.report.summary import numbers
from stabzoo.study.spec import FULL, all_studies, load_study
from stabzoo.study.store.run_index import RunIndex
from stabzoo.study.store.store import DATABASE

__all__ = ["studies_of", "study_data"]


def studies_of(stores: Sequence[Path], files: Sequence[Path] = ()) -> tuple[list[dict[str, Any]], list[str]]:
    """The studies of stores that have finished runs, and of others the names and why they are not shown.

    A store is a results.sqlite, or the folder that it is in, and knows a study by its name: your own study is
    shown by its YAML file, one of ``files``, as it is now.

    Raises:
        ConfigError: a store or file is none, or cannot be read; or no store has runs of the study of a file.
        PluginError: the plugin that an evaluation of a file is from is broken.
    """
    own = {load_study(file, recorded=True).name: file for file in files}
    asked: set[str] = set()
    found: list[dict[str, Any]] = []
    hidden: list[str] = []
    for store in stores:
        if store.is_file() and store.name != DATABASE:
            raise ConfigError(f"{store}: expected a store, which is called {DATABASE}, or its folder")
        index = RunIndex(store.parent if store.name == DATABASE else store, needed=True)
        asked |= {name for name, _ in index.asked}
        for name, scale in sorted(index.asked):
            file = own.get(name, name)
            if name not in (*own, *all_studies()) or scale not in (FULL, *load_study(file, recorded=True).scales):
                hidden.append(f"{name} ({scale}) in {store}, which is not installed: give its file, with --study")
                continue
            study = index.as_recorded(load_study(file, scale, recorded=True))
            if records := index.records(study):
                found.append({**study_data(Report.of(study, records, ())), "store": str(store)})
            else:
                hidden.append(
                    f"{name} ({scale}) in {store}, of which no run has finished with the settings that it has now"
                )
    for name in own.keys() - asked:
        raise ConfigError(f"{own[name]}: no store has runs of the study {name!r}; say with --store where it was done")
    return found, hidden


def study_data(report: Report) -> dict[str, Any]:
    """Everything that the page shows of a study; numbers as floats, what is not finite or not known as None."""
    study = report.study
    names = list(dict.fromkeys(name for row in report.rows for name in measured(study, row.records)))
    metrics = {evaluation.title: evaluation for evaluation in study.evaluations}
    return {
        "name": study.name,
        "scale": study.scale,
        "title": study.title,
        "description": study.description,
        "sentence": report.sentence,
        "command": phrases.command_text(study),
        "limits": list(study.limits),
        "measures": [
            {
                "name": name,
                "unit": metrics[name].metric.unit if name in metrics else "",
                "isAccuracy": name in metrics and metrics[name].metric == ACCURACY,
                "evidence": metrics[name].evidence if name in metrics else "measured",
                "higherIsBetter": metrics[name].metric.higher_is_better if name in metrics else None,
            }
            for name in names
        ],
        "networks": [_network(report, row) for row in report.rows],
        "published": [
            {
                "reference": table.reference,
                "setting": table.setting,
                "columns": list(table.columns),
                "sameExperiment": table.same_experiment,
                "values": {
                    label: [None if value is None else mean_of(value) for value in values]
                    for label, values in table.values.items()
                },
            }
            for table in study.published
        ],
        "csv": numbers(report),
    }


def _network(report: Report, row: Row) -> dict[str, Any]:
    tested = [diagnostic for diagnostic in report.study.diagnostics if isinstance(diagnostic, Curve)]
    losses = [record.losses for record in row.records]
    longest = max(map(len, losses), default=0)
    return {
        "label": row.network.label,
        "model": row.network.model,
        "status": row.card.status if row.card else "not decided",
        "reason": row.card.reason if row.card else "",
        "method": method_of_network(row.network) if row.card and not isinstance(row.card.method, OwnStep) else None,
        "card": _card(row.card),
        "runs": [
            {
                "seed": record.run.seed,
                "values": {
                    name: _finite(sample.values[0])
                    for name, sample in measured(report.study, [record]).items()
                    if sample.values
                },
            }
            for record in row.records
        ],
        "curves": {
            "training loss": [
                _finite(statistics.fmean(run[i] for run in losses if len(run) > i)) for i in range(longest)
            ],
            **({"test accuracy (%)": list(map(_finite, curve(tested[0], row.records)))} if tested else {}),
        },
    }


def _card(card: StabilityCard | None) -> dict[str, float | None]:
    """What is proved of a scheme in numbers."""
    if card is None:
        return {}
    exact = {
        "parasitic radius": card.parasitic_radius,
        "order": card.order,
        "steps": card.method.steps,
        "error constant": card.error_constant,
        "real interval": card.real_interval,
        "imaginary interval": card.imaginary_interval,
        "stability constant": card.stability_constant,
    }
    return {
        name: _finite(float(value) if isinstance(value, int) else as_float(value))
        for name, value in exact.items()
        if value is not None and value is not NOT_DECIDED
    }


def _finite(value: float) -> float | None:
    """To six digits, which a picture does not tell apart."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
