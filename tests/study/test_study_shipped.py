"""Every study that comes with stabzoo: it is valid and can be built at each of its scales, and its smallest one runs."""

from pathlib import Path

import pytest
import timm
import torch

import stabzoo  # noqa: F401
from stabzoo.registry.catalogue import catalogue
from stabzoo.registry.loading import scheme_of
from stabzoo.study import load_study, shipped_studies
from stabzoo.study.analysis.quantities import quantities
from stabzoo.study.execution.worker import EvaluationRequest, execute
from stabzoo.study.report.report import Report
from stabzoo.study.spec import Study
from stabzoo.study.store.records import Record


def at_all_scales(name: str) -> list[Study]:
    """The study, and its smaller forms."""
    study = load_study(name)
    return [study, *(study.at(scale) for scale in study.scales)]


@pytest.mark.parametrize("name", shipped_studies())
def test_every_network_can_be_built(name: str) -> None:
    """At every scale, on a device without memory, where coefficients differ in number; the data decide channels."""
    built = set[str]()
    for study in at_all_scales(name):
        size = getattr(study.data, "size", 32)
        for network in study.networks:
            assert network.model not in catalogue().models or scheme_of(network.model, network.args)
            alike = {name: len(value) if isinstance(value, list) else value for name, value in network.args.items()}
            if (key := f"{network.model} {alike} {size}") not in built:
                built.add(key)
                fixed = timm.get_pretrained_cfg(network.model).fixed_input_size  # type: ignore[union-attr]
                args = ({"img_size": size} if fixed else {}) | network.args
                model = timm.create_model(network.model, in_chans=3, num_classes=7, device="meta", **args).eval()
                assert model(torch.zeros(1, 3, size, size, device="meta")).shape == (1, 7), network.label


def test_all_species_have_about_as_many_parameters() -> None:
    """As the study says, at its full scale; every family of the catalogue takes part."""
    study, counts = load_study("species"), list[int]()
    for network in study.networks:
        model = timm.create_model(network.model, in_chans=1, num_classes=10, device="meta", **network.args)
        counts.append(sum(p.numel() for p in model.parameters()))
    assert all(str(count) in study.description for count in (counts[0], min(counts), max(counts)))
    assert -0.05 < min(counts) / counts[0] - 1 < 0 < max(counts) / counts[0] - 1 < 0.05
    owners = catalogue()
    families = {owners.schemes[owners.models[network.model][1].scheme][1].family for network in study.networks}
    assert families == {claim.family for plugin, claim in owners.schemes.values() if plugin.is_ours}


def test_published_columns_are_measured_under_their_names() -> None:
    """All columns of a table of the same experiment, but for the paper's own GPU seconds."""
    for name in shipped_studies():
        study = load_study(name)
        names = {evaluation.title for evaluation in study.evaluations}
        names = names.union(*(quantities(diagnostic, []) for diagnostic in study.diagnostics))
        for published in study.published:
            if published.same_experiment and name != "zerosnet-table-9":
                assert set(published.columns) <= names, name


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_studies())
def test_the_smallest_scale_runs(name: str, tmp_path: Path) -> None:
    """Trained, evaluated, diagnosed and reported, with a sentence."""
    study = load_study(name, "smoke")
    wanted = EvaluationRequest(study.evaluations, study.diagnostics)
    runs = [study.run(network, seed) for network in study.networks for seed in study.seeds]
    outcomes = {run.key: execute(run, wanted, tmp_path / "work") for run in runs}
    records = {key: outcome for key, outcome in outcomes.items() if isinstance(outcome, Record)}
    report = Report.of(study, records, [])
    report.write(tmp_path)
    assert report.sentence
    assert len(report.rows) == len(study.networks)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert all(len(row.records) == len(study.seeds) for row in report.rows)
