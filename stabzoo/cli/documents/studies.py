"""Documents about studies: ``results.json``, and those of ``study list``, ``show``, ``status`` and ``diff``."""

from __future__ import annotations

from pydantic import JsonValue, create_model

from stabzoo.cli.documents.schemes import Card
from stabzoo.cli.documents.values import Estimated, Interval, Verdict
from stabzoo.config import Strict
from stabzoo.evaluation.kinds import AnyEvaluation
from stabzoo.metric import Metric
from stabzoo.study.spec import Study
from stabzoo.study.store.records import Record
from stabzoo.study.store.run_index import State

__all__ = ["Correlated", "Differing", "Results", "ShownStudy", "Statuses", "Studies"]


class RunOf(Record):
    """A finished run; a loss that was not finite is null."""

    key: str
    losses: tuple[float | None, ...]  # pyright: ignore[reportIncompatibleVariableOverride] of the file alone


class MeasuredOf(Strict):
    """A network under one evaluation, over its seeds."""

    evaluation: AnyEvaluation
    metric: Metric
    evidence: str
    mean: float
    std: float | None
    interval: Interval


class NetworkOf(Strict):
    """A network: what is proved of it, what was measured of it, and its runs."""

    label: str
    proved: Card | None
    measured: list[MeasuredOf]
    runs: list[RunOf]


class ComparisonOf(Strict):
    """Zero-stable against unstable networks under one evaluation."""

    evaluation: AnyEvaluation
    stable_mean: float
    unstable_mean: float
    worst_stable: float
    best_unstable: float
    gap: Estimated
    margin: Estimated
    correlation: float | None
    largest_correlation: float | None


class FindingOf(Strict):
    """One diagnostic over all networks, as it is reported."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    sentence: str


class AgreementOf(Strict):
    """One column of a published table beside what was measured."""

    column: str
    pairs: int
    same_order: int
    confirmed: int
    contradicted: int
    published_gap: float | None
    gap: Estimated | None
    sign: Verdict


class PublishedOf(Strict):
    """A published table beside what was measured."""

    reference: str
    setting: str
    columns: list[AgreementOf]


class FailureOf(Strict):
    """A run that did not finish."""

    label: str
    seed: int
    reason: str
    traceback: str


class Results(Strict):
    """``results.json``, what a study leaves in its folder."""

    format: int
    sentence: str
    study: Study
    networks: list[NetworkOf]
    comparisons: list[ComparisonOf]
    findings: list[FindingOf]
    published: list[PublishedOf]
    failures: list[FailureOf]
    environment: dict[str, str]


class ScaleOf(Strict):
    """How much of a study is finished at one of its scales."""

    scale: str
    runs: int
    finished: int


class StudyOf(Strict):
    """A study that comes with stabzoo, or with a plugin."""

    name: str
    title: str
    plugin: str | None
    scales: list[ScaleOf]


class Studies(Strict):
    """Of ``stabzoo study list --json``."""

    results: str
    studies: list[StudyOf]
    problems: list[str]


class KeyOf(Strict):
    """A run and its key."""

    network: str
    seed: int
    key: str


ShownStudy = create_model(  # a study's fields and these, without its rules, which are of its file
    "ShownStudy",
    __base__=Strict,
    __doc__="Of ``stabzoo study show --json``.",
    runs=(list[KeyOf], ...),
    command=(str, ...),
    plugin=(str | None, ...),
    **{name: (field.annotation, field) for name, field in Study.model_fields.items()},  # pyright: ignore[reportArgumentType, reportCallIssue]
)


class StateOf(Strict):
    """How a run stands."""

    label: str
    seed: int | None
    key: str
    state: State
    epoch: int | None
    epochs: int | None
    reason: str | None


class StatusOf(Strict):
    """How the runs of a study stand."""

    study: str
    scale: str
    finished: int
    running: int
    failed: int
    damaged: int
    missing: int
    runs: list[StateOf]


class Statuses(Strict):
    """Of ``stabzoo study status --json``."""

    results: str
    studies: list[StatusOf]


class Side(ScaleOf):
    """One of the two studies."""

    name: str


class Setting(Strict):
    """A setting that differs."""

    setting: str
    first: JsonValue
    second: JsonValue


class Contrasted(Strict):
    """A network of both studies under one evaluation."""

    label: str
    evaluation: str
    first: list[float]
    second: list[float]
    difference: Estimated | None


class Differing(Strict):
    """Of ``stabzoo study diff --json``."""

    studies: list[Side]
    settings: list[Setting]
    accuracies: list[Contrasted]


class PredictionOf(Strict):
    """How a quantity of the schemes orders the networks (`stabzoo.study.analysis.prediction.Prediction`)."""

    quantity: str
    correlation: float | None
    low: float | None
    high: float | None
    partial: float | None
    stable: float | None
    unstable: float | None
    held_out: float | None


class SelectionOf(Strict):
    """How often each quantity is the best in half of the schemes, and how the best one does in the other half."""

    chosen: dict[str, float]
    held_out: float | None


class Correlated(Strict):
    """Of ``stabzoo study correlate --json``."""

    studies: list[str]
    scale: str
    published: bool
    evaluation: str
    networks: int
    schemes: int
    predictions: list[PredictionOf]
    selection: SelectionOf
