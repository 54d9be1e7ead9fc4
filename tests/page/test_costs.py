"""Costs of models in the zoo: timm's tables, read; what is no such table, or no number in it, named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures import ROOT
from fixtures.messages import raises
from stabzoo.claims import model_reports
from stabzoo.cli import main
from stabzoo.errors import ConfigError
from stabzoo.page.costs import read_costs

HEAD = "model,infer_samples_per_sec,infer_step_time,infer_batch_size,infer_img_size,infer_gmacs,infer_macts,param_count"


def table(path: Path, *rows: str) -> Path:
    """As timm's benchmark.py writes it."""
    path.write_text("\n".join([HEAD, *rows, ""]), encoding="utf-8")
    return path


def test_our_own_table() -> None:
    """Parameters and multiplications of every model, as they stand there; it has no speed."""
    models = model_reports()
    costs = read_costs([ROOT / "benchmarks" / "results.csv"], models)
    assert {model.name for model in models} == costs.keys()
    assert costs["preresnet20"] == {"parameters": 0.272, "macs": 0.0408}


def test_speed_is_beside_the_preresnet_of_one_file(tmp_path: Path) -> None:
    """With the same blocks, at the same size; of another file, machine or size there is none. The later file counts."""
    one = table(
        tmp_path / "one.csv",
        'preresnet20,"1,000.0",0.25,256,32,0.0408,0.2,0.272',
        "zerosnet20,800,0.25,256,32,0.05,0.2,0.28",
        "zerosnet32,500,0.25,256,32,0.09,0.2,0.48",
        "lmresnet20,900,0.25,256,64,0.05,0.2,0.27",
        "resnet50,1,1,1,224,4,11,25",
    )
    two = table(tmp_path / "two.csv", "preresnet32,700,0.25,256,32,,,", "zerosnet20,80,0.25,256,32,,,0.281")
    costs = read_costs([one, two], model_reports())
    assert costs["preresnet20"] == {"parameters": 0.272, "macs": 0.0408, "speed": 1}
    assert costs["zerosnet20"] == {"parameters": 0.281, "macs": 0.05, "speed": 0.8}
    assert "speed" not in costs["zerosnet32"]
    assert "speed" not in costs["lmresnet20"]
    assert "resnet50" not in costs


def test_tables_that_are_none(tmp_path: Path) -> None:
    """Say what was expected."""
    with raises(ConfigError, "nowhere.csv"):
        read_costs([tmp_path / "nowhere.csv"], [])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with raises(ConfigError, "other.csv", "param_count", "a, b"):
        read_costs([tmp_path / "other.csv"], [])
    (tmp_path / "binary.csv").write_bytes(b"model,gmacs\n\xff,1\n")
    with raises(ConfigError, "binary.csv", "UTF-8"):
        read_costs([tmp_path / "binary.csv"], [])
    for value in ("fast", "-1", "inf", "nan"):
        wrong = table(tmp_path / "wrong.csv", f"preresnet20,{value},1,1,32,1,1,1")
        with raises(ConfigError, "wrong.csv, line 2", "infer_samples_per_sec", value):
            read_costs([wrong], [])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Takes them, and without a table the page has no such column."""
    given = table(tmp_path / "one.csv", "preresnet20,1000,0.25,256,32,0.0408,0.2,0.272")
    for arguments, count in ((["--benchmark", str(given)], 1), ([], 0)):
        assert main(["page", "--out", str(tmp_path), *arguments]) == 0
        text = (tmp_path / "zoo.html").read_text(encoding="utf-8")
        assert len(re.findall('"macs":', text)) == count
    assert main(["page", "--out", str(tmp_path), "--benchmark", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
