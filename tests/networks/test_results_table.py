"""The table of all models is of the models that there are, and its numbers are what they were counted as."""

import csv
import importlib.util
from types import ModuleType
from typing import Any

import pytest
import timm

from fixtures import ROOT


@pytest.fixture(scope="module")
def table() -> dict[str, dict[str, str]]:
    """Rows by model."""
    with (ROOT / "benchmarks" / "results.csv").open() as file:
        return {row["model"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """What writes it."""
    spec = importlib.util.spec_from_file_location("results_table", ROOT / "benchmarks" / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_model_has_a_row(table: dict[str, dict[str, str]], script: ModuleType) -> None:
    """Else: python benchmarks/results.py."""
    assert list(table) == list(script.names())
    assert {*timm.list_models(module="stabzoo"), *timm.list_models(module="stabzoo", pretrained=True)} == set(table)


@pytest.mark.parametrize("name", ["preresnet20", "zerosnet20_opt.digits", "stable_resnet_s11", "implicit_resnet20"])
def test_rows_are_what_is_counted(table: dict[str, dict[str, str]], script: ModuleType, name: str) -> None:
    """Now as then."""
    counted: dict[str, Any] = script.row(name)
    assert {column: str(counted.get(column, "")) for column in script.COLUMNS} == table[name]


def test_counts_are_those_of_the_literature(table: dict[str, dict[str, str]], script: ModuleType) -> None:
    """18 layers for ImageNet: 11.69 million parameters and 1.81e9 multiplications in torchvision's table, 2.48e6 outputs in timm's."""
    row = table["preresnet18"]
    assert float(row["param_count"]) == pytest.approx(11.69, abs=0.01)
    assert float(row["gmacs"]) == pytest.approx(1.81, abs=0.01)
    assert float(row["macts"]) == pytest.approx(2.48, abs=0.01)
    assert table["preresnet18"]["zero_stability"] == "strong"
