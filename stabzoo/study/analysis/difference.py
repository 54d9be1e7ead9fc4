"""Two studies beside each other: which settings differ, and what that did to the accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stabzoo.study.analysis.comparison import Row
from stabzoo.study.analysis.phrases import places_of
from stabzoo.study.analysis.uncertainty import Estimate, Sample, contrast
from stabzoo.study.spec import Network, Study
from stabzoo.training.spec import differences

__all__ = ["Change", "Contrast", "changes", "contrasts"]


@dataclass(frozen=True)
class Change:
    """A setting that two studies have otherwise; None where one does not have it."""

    setting: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Contrast:
    """A network of two studies under one evaluation: what was found of the finished runs, one number per seed."""

    label: str
    evaluation: str
    first: Sample
    second: Sample
    places: int = 1

    @property
    def difference(self) -> Estimate | None:
        """Mean of the second minus mean of the first; None unless both have runs."""
        return contrast([self.second], [self.first]) if self.first.values and self.second.values else None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-safe values."""
        return {
            "label": self.label,
            "evaluation": self.evaluation,
            "first": list(self.first.values),
            "second": list(self.second.values),
            "difference": self.difference and self.difference.to_dict(),
        }


def changes(first: Study, second: Study) -> list[Change]:
    """The settings that decide numbers and differ, in the order of a study's file; titles and limits do not.

    What every network that both have has otherwise in the same way is one change, of "every network".
    """
    networks = [{network.label: network for network in study.networks} for study in (first, second)]
    found = [*_only(networks[0], networks[1], "network")]
    shared = [(network, networks[1][label]) for label, network in networks[0].items() if label in networks[1]]
    found += _of_networks(shared)
    settings = [study.model_dump(mode="json", include={"data", "training"}) for study in (first, second)]
    found += _differing(*settings)
    if first.seeds != second.seeds:
        found.append(Change("seeds", list(first.seeds), list(second.seeds)))
    evaluations = [{e.title: e.model_dump(mode="json") for e in study.evaluations} for study in (first, second)]
    diagnostics = [{d.kind: d.model_dump(mode="json") for d in study.diagnostics} for study in (first, second)]
    for what, pair in (("evaluation", evaluations), ("diagnostic", diagnostics)):
        found += _only(pair[0], pair[1], what)
        for name, settings in pair[0].items():
            if name in pair[1]:
                found += _differing({f"{what} {name}": settings}, {f"{what} {name}": pair[1][name]})
    return found


def contrasts(first: tuple[Study, Sequence[Row]], second: tuple[Study, Sequence[Row]]) -> list[Contrast]:
    """Of two studies with their rows, the networks whose label both have, under evaluations whose title both have."""
    others = {row.network.label: row for row in second[1]}
    titled = {evaluation.title: evaluation for evaluation in second[0].evaluations}
    return [
        Contrast(
            row.network.label,
            evaluation.heading,
            row.sample(evaluation),
            others[row.network.label].sample(titled[evaluation.title]),
            places_of(evaluation, row.values(evaluation)),
        )
        for row in first[1]
        if row.network.label in others
        for evaluation in first[0].evaluations
        if evaluation.title in titled and evaluation.metric == titled[evaluation.title].metric
    ]


def _only(first: Mapping[str, Any], second: Mapping[str, Any], what: str) -> list[Change]:
    missing = [Change(f"{what} {name}", "there", None) for name in first if name not in second]
    return missing + [Change(f"{what} {name}", None, "there") for name in second if name not in first]


def _of_networks(pairs: Sequence[tuple[Network, Network]]) -> list[Change]:
    found = {one.label: _differing(one.model_dump(mode="json"), other.model_dump(mode="json")) for one, other in pairs}
    everywhere = [change for change in next(iter(found.values()), []) if all(change in of for of in found.values())]
    if len(found) == 1:
        everywhere = []
    return [Change(f"{change.setting} of every network", change.first, change.second) for change in everywhere] + [
        Change(f"{change.setting} of {label}", change.first, change.second)
        for label, of in found.items()
        for change in of
        if change not in everywhere
    ]


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Change]:
    return [Change(*found) for found in differences(first, second)]
