"""The settings of the studies against a table of values with their places in the papers and releases."""

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest
import timm
import yaml

import stabzoo  # noqa: F401
from stabzoo.data.spec import Archived
from stabzoo.study import load_study, shipped_studies
from stabzoo.study.spec import Study
from stabzoo.training.spec import Training

TABLE = yaml.safe_load(Path(__file__).with_name("settings.yaml").read_text(encoding="utf-8"))
OWN = [name for group in TABLE for name in group.get("own", ())]
COEFFICIENTS = {"alpha", "beta", "lam", "k", "weight"}
BATCHES = {"cifar10": 391, "cifar100": 391, "mnist": 469}  # of 128 images


def expected(name: str) -> dict[str, dict[str, Any]]:
    """The table's settings of a study, which name none twice."""
    found: dict[str, dict[str, Any]] = {}
    for group in TABLE:
        if name in group.get("studies", ()):
            assert not set(found) & set(group["settings"]), name
            found |= group["settings"]
    return found


def of_training(study: Study, training: Training, names: set[str]) -> dict[str, Any]:
    """Settings of a training; milestones of data whose size is known as numbers of steps."""
    found = training.model_dump(mode="json", include=names)
    if "milestones" in found and isinstance(study.data, Archived):
        steps = training.epochs * BATCHES[study.data.name]
        found["milestones"] = [round(share * steps) for share in found["milestones"]]
    return found


def stated(study: Study) -> dict[str, Any]:
    """All that a study's file states, by dotted names; `` of LABEL`` where networks differ.

    But for the layout in memory, which is the machine's affair.
    """
    found: dict[str, Any] = {"seeds": list(study.seeds), "evaluations": [e.title for e in study.evaluations]}
    for name, value in study.data.model_dump(mode="json", exclude_unset=True).items():
        found |= (
            {f"data.{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {f"data.{name}": value}
        )
    for name, value in of_training(study, study.training, study.training.model_fields_set - {"layout"}).items():
        found[f"training.{name}"] = value
    for diagnostic in study.diagnostics:
        content = {k: v for k, v in diagnostic.model_dump(exclude_unset=True).items() if k != "kind"}
        found |= {f"diagnostics.{diagnostic.kind}.{k}": v for k, v in content.items()}
        if not content:
            found[f"diagnostics.{diagnostic.kind}"] = {}
    for network in study.networks:
        family = network.label.rpartition(" ")[0]
        for name, value in of_training(study, study.training_of(network), set(network.training)).items():
            assert found.setdefault(f"training.{name} of {family}", value) == value
        for name in set(network.args) - COEFFICIENTS:
            values = [other.args.get(name) for other in study.networks]
            alike = all(value == values[0] for value in values)
            found[f"args.{name}" if alike else f"args.{name} of {network.label}"] = network.args[name]
    return found


@pytest.mark.parametrize("name", [name for name in shipped_studies() if name not in OWN])
def test_settings_are_those_of_the_papers(name: str) -> None:
    """Every setting of the file is in the table with a place, or a limit says what was taken; and none is another."""
    study, table = load_study(name), expected(name)
    assert stated(study) == {setting: entry["value"] for setting, entry in table.items()}
    for setting, entry in table.items():
        assert entry.get("place") or entry.get("limit"), setting
        assert "printed" not in entry or entry["printed"] != entry["value"], setting
        if "printed" in entry or "limit" in entry:
            assert any(entry["limit"] in limit for limit in study.limits), (setting, entry["limit"])


@pytest.mark.parametrize("name", OWN)
def test_studies_of_no_paper_claim_none(name: str) -> None:
    """They are on data that come with stabzoo, and whatever is published beside them is called another experiment."""
    study = load_study(name)
    assert study.data.name in ("digits", "percolation")
    assert study.data.name in study.title + study.description or not study.published
    assert not any(published.same_experiment for published in study.published)


@pytest.mark.parametrize("name", ["forward-stability-table-4", "forward-stability-table-4-cifar100"])
def test_schedules_are_the_preprint_s(name: str) -> None:
    """Whole epochs nearest to Table 5.1's steps, the learning rate divided after its multiples."""
    study = load_study(name)
    schedule = next(table for table in study.published if table.reference.endswith("Table 5.1"))
    for network in study.networks:
        training = study.training_of(network)
        every, steps = (1000 * float(value) for value in schedule.values[network.label])  # type: ignore[arg-type]
        assert training.epochs == round(steps / 391)
        assert [round(share * 391 * training.epochs) for share in training.milestones] == [every, 2 * every]


def test_eq_8_is_made_consistent() -> None:
    """It prints the weight 2k + 1 of f where 1 + k is consistent; a limit of Table 2 says so."""
    study = load_study("zerosnet-table-2")
    for network in study.networks:
        args: dict[str, Any] = network.args
        method = cast(Any, timm.create_model(network.model, device="meta", **args)).scheme.coefficients()
        k = Fraction(str(network.args["k"]))
        assert (method.alpha, method.beta) == ((1 - k, k), (1 + k, 0))
    assert any("2k+1" in limit and "consistency needs 1+k, which is used here" in limit for limit in study.limits)


def test_runs_that_are_said_to_be_shared_are() -> None:
    """Figure 7 has the runs of Table 3, Table 6 and the attacks those of Table 3 with 56 layers, Figure 5 those of Figure 3."""

    def keys(name: str) -> set[str]:
        study = load_study(name)
        return {study.run(network, seed).key for network in study.networks for seed in study.seeds}

    assert keys("forward-stability-figure-7") == keys("forward-stability-table-3")
    assert keys("zerosnet-table-6") == keys("zerosnet-appendix-pgd") < keys("zerosnet-table-3")
    assert keys("dynamical-system-figure-5") == keys("dynamical-system-figure-3")
