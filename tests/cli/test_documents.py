"""What is published of results.json and of every --json is so: each validates against the schema that is printed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cyclopts import App
from PIL import Image
from pydantic import TypeAdapter

from fixtures.commands import Run
from fixtures.messages import refuses
from fixtures.records import finished
from stabzoo.cli.commands import app
from stabzoo.cli.documents.schema import DOCUMENTS
from stabzoo.config import json_text
from stabzoo.study.report.report import Failure, Report
from stabzoo.study.spec import load_study
from stabzoo.study.store.store import Store

LINES = (
    "list",
    "list 'zerosnet*'",
    "show zerosnet --set lam=3",
    "show multistep --set alpha=1,1,1 --set beta=1",
    "show zerosnet20_opt",
    "show implicit_resnet20",
    "show lmresnet20",
    "show hamiltonian32",
    "analyze 'bdf(3)'",
    "analyze 'bdf(7)'",
    "analyze --alpha 1 1 1 --beta 1",
    "analyze --alpha 0 1 --beta 2 0",
    "check zerosnet",
    "design 3 2 --kind single-beta",
    "design 4 3 --objective ssp_coefficient --sign beta_1=0",
    "design 2 2 --kind bdf-like",
    "barriers --kind single-beta --steps 3",
    "oscillator --step 1/100 1/50",
    "study list",
    "study correlate zerosnet-table-1 --published",
    "study show quickstart",
    "study status quickstart",
    "study status --folder runs",
    "study diff quickstart@smoke quickstart",
    "study diff quickstart@smoke quickstart@smoke --folder runs",
    "evaluate trained",
    "evaluate diverged",
    "predict trained images",
    "predict trained images/3",
    "diagnose preresnet20 --images 24 --size 8",
    "audit lmresnet20 --images 8 --size 8",
    "audit resnet18 --images 4 --size 8",
    pytest.param("doctor", marks=pytest.mark.slow),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a study, two trainings, one of which diverged."""
    from stabzoo.cli import main

    place = tmp_path_factory.mktemp("documents")
    study = load_study("quickstart", "smoke")
    store, (first, *_) = Store(place / "runs"), finished(study).values()
    store.save(first)
    store.ask(study.name, study.scale, [(network.label, study.run(network, 0)) for network in study.networks])
    common = "--size 8 --arg width=4 --set batch_size=512 --set epochs=1 --set schedule=cosine --threads 1 --folder"
    for folder, lr in (("trained", 0.01), ("diverged", 1e30)):
        main(shlex.split(f"train zerosnet20_opt --set lr={lr} {common} {place / folder}"))
    (place / "images" / "3").mkdir(parents=True)
    Image.new("L", (8, 8)).save(place / "images" / "3" / "black.png")
    return place


@pytest.mark.parametrize("line", LINES)
def test_every_json_has_its_schema(line: str, place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more and no less than is published."""
    monkeypatch.chdir(place)
    words = shlex.split(line)
    name = " ".join(words[:2] if words[0] == "study" else words[:1])
    found = run(f"{line} --json")
    assert found.status in (0, 1), found.err
    conforms(name, json.loads(found.out, parse_constant=pytest.fail), schema_of(run, name))


def schema_of(run: Run, name: str) -> Any:
    """As it is printed."""
    return json.loads(run(f"schema {shlex.quote(name)}").out)


def conforms(name: str, document: Any, schema: Any) -> None:
    """By the schema, and by the model that it is made of."""
    jsonschema.Draft202012Validator(schema).validate(document)
    TypeAdapter(DOCUMENTS[name]).validate_json(json.dumps(document))


@pytest.mark.parametrize("name", ["quickstart", "forward-stability", "root-scan", "principal-angles"])
def test_results_have_their_schema(name: str, run: Run) -> None:
    """Of a study with and without a failure, a finding, a published table, and a run that diverged."""
    study = load_study(name).at("smoke")
    try:
        records = finished(study)
    except KeyError:  # diagnostics that nothing is made up for
        study = study.model_copy(update={"diagnostics": ()})
        records = finished(study)
    key, record = next(iter(records.items()))
    lost = record.model_copy(update={"losses": (1.0, float("nan")), "diverged": True, "warnings": ("epoch 2: died",)})
    records[key] = lost
    report = Report.of(study, records, [Failure(study.networks[0].label, 0, "out of memory", "")])
    document = json.loads(json_text(report.to_dict(), 1), parse_constant=pytest.fail)
    assert document["networks"][0]["runs"][0]["losses"] == [1.0, None]
    schema = schema_of(run, "results.json")
    conforms("results.json", document, schema)
    for change in ({"sentence": 1}, {"more": 1}, {"networks": [{}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**document, **change}, schema)


def test_every_command_with_json_has_a_schema(run: Run) -> None:
    """And nothing else; an unknown one is refused, with what is known."""
    names = run("schema").out.split("\n")[:-1]
    assert names == list(DOCUMENTS)
    assert {*names} == {*with_json(app)} | {"results.json"}
    refuses(run("schema stat"), "unknown document", "stat")


def with_json(commands: App, before: str = "") -> list[str]:
    """The commands that take --json."""
    found: list[str] = []
    for name in commands:
        if name.startswith("-"):
            continue
        command = commands[name]
        called = f"{before} {name}".strip()
        if any("--json" in argument.names for argument in command.assemble_argument_collection()):
            found.append(called)
        found += with_json(command, called)
    return found
