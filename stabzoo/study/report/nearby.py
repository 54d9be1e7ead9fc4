"""Clean accuracies by exact coefficients, published and measured: what was found near a scheme that is explored."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from stabzoo.errors import ConfigError, PluginError
from stabzoo.methods import OneLeg, method_of
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.registry.loading import scheme_of
from stabzoo.schemes import LearnableMultistep
from stabzoo.stability import rational_text
from stabzoo.study.analysis.comparison import mean_of
from stabzoo.study.spec import Network, all_studies, load_study

__all__ = ["measured_networks", "method_of_network"]

CLEAN = "clean"


def measured_networks(studies: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Every network with exact coefficients of which a paper or one of ``studies`` has a clean accuracy in percent.

    ``studies`` are those of `stabzoo.study.report.page.studies_of`; published are the tables of all studies that are
    installed, each number where it is the study's own experiment.
    """
    return [*_measured(studies), *_published()]


def method_of_network(network: Network) -> dict[str, Any] | None:
    """The coefficients that all blocks have; None where they are trained, or not all that a step is."""
    try:
        scheme = scheme_of(network.model, network.args)
        method = method_of(scheme)
    except (ConfigError, PluginError):
        return None
    if isinstance(scheme, LearnableMultistep) or type(method) not in (LinearMultistep, OneLeg):
        return None
    coefficients = method.coefficients()
    return {
        "kind": method.kind,
        "alpha": [rational_text(a) for a in coefficients.alpha],
        "beta": [rational_text(b) for b in coefficients.beta],
        "betaNext": rational_text(coefficients.beta_next),
    }


def _measured(studies: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for study in studies:
        for network in study["networks"]:
            values = [run["values"].get(CLEAN) for run in network["runs"]]
            known = [value for value in values if value is not None]
            if network["method"] and known:
                yield {
                    **network["method"],
                    "label": network["label"],
                    "study": study["name"],
                    "where": f"{study['name']}, {study['scale']}, in {study['store']}",
                    "accuracy": statistics.fmean(known),
                    "deviation": statistics.stdev(known) if len(known) > 1 else None,
                    "runs": len(known),
                }


def _published() -> Iterator[dict[str, Any]]:
    for name in all_studies():
        try:
            study = load_study(name, recorded=True)
        except (ConfigError, PluginError):
            continue  # a plugin's: `stabzoo check` says what is wrong with it
        networks = {network.label: method_of_network(network) for network in study.networks}
        for table in study.published:
            if not table.same_experiment or CLEAN not in table.columns:
                continue
            for label, values in table.values.items():
                value, method = values[table.columns.index(CLEAN)], networks[label]
                if value is not None and method:
                    yield {
                        **method,
                        "label": label,
                        "study": name,
                        "where": f"{table.setting}; {table.reference}",
                        "accuracy": mean_of(value),
                        "deviation": value[1] if isinstance(value, tuple) else None,
                        "runs": None,
                    }
