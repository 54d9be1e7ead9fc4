"""A study's diagnostics: measured in the workers, kept with the runs, told in tables and sentences that follow from them."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from fixtures.messages import says
from fixtures.records import STABLE, make_record
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.diagnostics.measurement import Measurement
from stabzoo.study import load_study, run_study
from stabzoo.study.analysis.comparison import Row
from stabzoo.study.analysis.findings import Finding, findings_of
from stabzoo.study.execution.driver import StudyResult
from stabzoo.study.execution.networks import build
from stabzoo.study.execution.observers import observers_of
from stabzoo.study.measures import Angles, Constraints, Cost, Curve, Generalization, Sensitivity
from stabzoo.study.spec import Run
from stabzoo.study.store.records import Diagnosed
from stabzoo.training.loop import Progress, Trainer
from stabzoo.training.spec import Training

FEW = Digits(name="digits", size=8, test_images=1497, split_seed=0)
TRAINING = Training(
    epochs=2, batch_size=50, optimizer="adamw", lr=0.002, momentum=0.9, weight_decay=0.0, schedule="step",
    milestones=(0.5,), regularization=1e-4, logit_scale=30,
)  # fmt: skip


def study_file(place: Path, **changes: Any) -> Path:
    """A study of two narrow networks, one with constraints."""
    content = {
        "title": "Tiny",
        "description": "Two networks.",
        "networks": [
            {
                "label": "certified",
                "model": "stable_resnet_s11_cert",
                "args": {"width": 8, "global_pool": "avg", "downsampling": "mean"},
            },
            {"label": "plain", "model": "preresnet20", "args": {"width": 4}},
        ],
        "data": FEW.model_dump(mode="json"),
        "training": TRAINING.model_dump(mode="json"),
        "seeds": [0, 1],
        "evaluations": [{"kind": "clean"}, {"kind": "structured", "epsilon": 0.5, "image": 3}],
        "diagnostics": [
            {"kind": "constraints"},
            {"kind": "sensitivity", "starts": 3, "rounds": 1, "seed": 0},
            {"kind": "angles"},
        ],
        "published": [
            {
                "reference": "r",
                "setting": "s",
                "columns": ["a", "b", "c"],
                "values": {"plain": [91.25, [90, 0.5], None]},
            }
        ],
        **changes,
    }
    path = place / "tiny.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyResult, str]:
    """The tiny study, run: its file, its result, what it printed."""
    place = tmp_path_factory.mktemp("findings")
    console = Console(record=True, width=200)
    result = run_study(load_study(study_file(place)), place / "runs", workers=2, console=console)
    return place, result, console.export_text()


def test_every_diagnostic_is_a_table_and_a_sentence(done: tuple[Path, StudyResult, str]) -> None:
    """On the terminal, on the page and in the results; the figure of the angles is a file too."""
    place, result, printed = done[0], done[1], " ".join(done[2].split())
    constraints, sensitivity, angles = result.report.findings
    assert constraints.rows == (
        ("certified", "2 x ||A|| <= 1, 7 x ||A|| <= 1.414, 2 x ||A|| <= 0.5", "6", "0"),
        ("plain", "none", "6", "0"),
    )
    says(constraints.sentence, "6 checks")
    assert [row[0] for row in sensitivity.rows] == ["certified", "plain"]
    says(sensitivity.sentence, "No attack", "bound")
    assert {row[1] for row in angles.rows} == {"stages.0", "stages.1", "stages.2", "penultimate"}
    page = (place / "runs" / "report.html").read_text(encoding="utf-8")
    results = (place / "runs" / "results.json").read_text(encoding="utf-8")
    assert (place / "runs" / "angles.png").stat().st_size > 10_000
    for finding in result.report.findings:
        assert finding.title in printed
        assert finding.sentence in page
        assert finding.title in [entry["title"] for entry in json.loads(results)["findings"]]
    for text in ("91.25", "90.00±0.50"):
        assert text in page
        assert text in printed


def test_bounds_lie_above_attacks(done: tuple[Path, StudyResult, str]) -> None:
    """In every run, with the constraints checked before training and after both epochs."""
    for row in done[1].report.rows:
        for record in row.records:
            found = {entry.diagnostic.kind: entry.result for entry in record.diagnosed}
            certified, attacked = (float(found["sensitivity"][k]["value"]) for k in ("certified", "attacked"))  # type: ignore[index,call-overload]  # pyright: ignore
            assert 0 < attacked <= certified
            assert found["constraints"]["checks"] == 3
            epochs = [entry["epoch"] for entry in found["angles"]["history"]]  # type: ignore[index,union-attr,call-overload]  # pyright: ignore
            assert epochs == [0, 1, 2]


def test_nothing_is_measured_twice_and_a_new_diagnostic_is(done: tuple[Path, StudyResult, str]) -> None:
    """The same study trains nothing; one that asks for more of the same runs measures that."""
    place = done[0]
    console = Console(record=True, width=200)
    run_study(load_study(study_file(place)), place / "runs", workers=1, console=console)
    assert "nothing to train" in console.export_text()
    more = [{"kind": "sensitivity", "starts": 1, "rounds": 1, "seed": 1}]
    single = {"networks": [{"label": "plain", "model": "preresnet20", "args": {"width": 4}}], "seeds": [0]}
    changed = load_study(study_file(place, diagnostics=more, published=[], **single))
    result = run_study(changed, place / "runs", workers=1, console=console)
    assert "1 of 1 runs to train" in console.export_text()
    kept = result.report.rows[0].records[0].diagnosed
    assert len(kept) == 4  # with the three found before


@pytest.mark.usefixtures("one_thread")
def test_a_violated_constraint_is_named() -> None:
    """By the network and the weight, when something other than the projection changed it."""
    run = Run(model="stable_resnet_d18", args={"width": 4}, data=FEW, training=TRAINING, seed=0, software={})
    images = load_images(FEW)
    network = build(run, images)
    (observer,) = observers_of([Constraints(kind="constraints")], images)
    assert network.violations() == []  # from the start
    Trainer(network, images, TRAINING, 0).run(lambda epoch: observer.after_epoch(network, epoch))
    assert observer.result(network, Progress())["violations"] == []
    network.network.get_parameter("stages.0.blocks.0.conv2.weight").data[0, 0, 0, 0] = -1
    observer.after_epoch(network, 3)
    assert observer.result(network, Progress())["violations"] == ["epoch 3: stages.0.blocks.0.conv2.weight: K >= 0"]


def test_constraints_by_parametrization_are_checked_too() -> None:
    """Such a weight is no parameter; what the network computes with satisfies its constraint."""
    args = {"width": 4, "parametrize": True}
    network = build(
        Run(model="stable_resnet_s11_cert", args=args, data=FEW, training=TRAINING, seed=0, software={}),
        load_images(FEW),
    )
    network.network.stem.conv.parametrizations.weight.original.data.mul_(100)
    assert len(network.constraints()) == 11
    assert network.violations() == []


def test_sentences_say_what_went_wrong(done: tuple[Path, StudyResult, str]) -> None:
    """A violated constraint, an exceeded bound and a refused one are not hidden."""
    report = done[1].report
    row = report.rows[1]
    diagnosed = {
        "constraints": {"constraints": ["1 x K >= 0"], "checks": 3, "violations": ["epoch 1: w: K >= 0"]},
        "sensitivity": {
            "certified": {"value": 1.0, "kind": "certified_upper"},
            "attacked": {"value": 2.0, "kind": "certified_lower"},
            "evaluations": 1000,
            "paper": None,
            "refused": ["block: why", "other: why"],
        },
    }
    diagnostics = tuple(d for d in report.study.diagnostics if d.kind != "angles")
    record = row.records[0].model_copy(
        update={"diagnosed": tuple(Diagnosed(diagnostic=d, result=diagnosed[d.kind]) for d in diagnostics)}  # type: ignore[arg-type]  # pyright: ignore
    )
    study = report.study.model_copy(update={"diagnostics": diagnostics})
    constraints, sensitivity = findings_of(study, [Row(row.network, row.card, (record,))])
    assert constraints.sentence == "Constraints were violated 1 times, first: plain: epoch 1: w: K >= 0."
    assert sensitivity.sentence == "A certified bound was exceeded, of plain: please report this."
    assert sensitivity.rows[0][-2:] == ("refused", "block: why (and 1 more)")


def findings(diagnostic: Any, *results: list[dict[str, Any]], images: int = 540) -> Finding:
    """Of made-up networks ``a``, ``b``, ..., each with what was found of its runs, seed by seed."""
    study = load_study("quickstart").model_copy(update={"diagnostics": (diagnostic,)})
    rows = []
    for name, found in zip("abc", results, strict=False):
        network = study.networks[0].model_copy(update={"label": name})
        records = [
            make_record(study.run(network, seed), STABLE).model_copy(
                update={"diagnosed": (Diagnosed(diagnostic=diagnostic, result=result),), "test_images": images}
            )
            for seed, result in enumerate(found)
        ]
        rows.append(Row(network, None, tuple(records)))
    return findings_of(study, rows)[0]


def test_generalization_gaps_are_compared_by_their_intervals() -> None:
    """Of 0.2 and of 4 points between networks; the training images are given, and add no error."""

    def runs(training: float, test: float) -> list[dict[str, Any]]:
        return [{"training": training, "test": test + 0.1 * seed} for seed in range(3)]

    kind = Generalization(kind="generalization")
    says(
        findings(kind, runs(100, 90), runs(100, 90.2)).sentence, "a comes first", "b comes last", "not decided by these"
    )
    far = findings(kind, runs(100, 90), runs(100, 94)).sentence
    assert far == (
        "a has the largest generalization gap (9.9 points, +4.0 [+0.8, +7.3] from the next) and b has the smallest (5.9 "
        "points, +4.0 [+0.8, +7.3] from the next)."
    )
    says(findings(kind, runs(100, 90)).sentence, "a is the only network")
    says(findings(kind, runs(100, 90)[:1], runs(100, 10)[:1]).sentence, "no interval: one seed", "not decided")


def test_the_best_in_the_course_of_training_is_decided() -> None:
    """Between three networks a lead must hold against all others at once: 4 points do, 3.5 are enough for two only."""

    def runs(last: float) -> list[dict[str, Any]]:
        return [{"history": [50.0, last + 0.1 * seed]} for seed in (-1, 0, 1)]

    kind = Curve(kind="curve")
    says(findings(kind, runs(90), runs(93.5)).sentence, "In the last epoch b is best (93.5 %, +3.5 [")
    says(findings(kind, runs(90), runs(93.5), runs(89)).sentence, "b comes first", "whether it is best is not decided")
    says(findings(kind, runs(90), runs(94.5), runs(89)).sentence, "b is best")
    assert findings(kind, [{"history": []}]).sentence == "No run has finished an epoch."


def test_times_are_compared_by_ratios_with_intervals() -> None:
    """Of the runs; parameters are the same in all of them, and a single run has no interval."""

    def runs(parameters: int, seconds: list[float]) -> list[dict[str, Any]]:
        return [{"parameters": parameters, "epochs": [value], "test": 1.0} for value in seconds]

    kind = Cost(kind="cost")
    found = findings(
        kind, runs(100, [10.0, 10.1, 9.9]), runs(150, [20.0, 20.2, 19.8]), runs(200, [15.0, 14.0, 16.0])
    ).sentence
    says(found, "1.50 to 2.00 times the parameters", "times the training time", "1.00 times the test time of a")
    slower, faster = re.findall(r"([0-9.]+) \[([0-9.]+), ([0-9.]+)\]", found)[::-1]
    assert [float(value) for value in slower] == pytest.approx([2.0, 1.93, 2.07], abs=0.011)
    assert float(faster[1]) < 1.5 < float(faster[2])
    one = findings(kind, runs(100, [10.0]), runs(150, [20.0])).sentence
    says(one, "1.50 times the parameters", "2.00 (no interval: one seed) times the training time")


def test_angles_rise_or_fall_beyond_the_spread_of_the_seeds() -> None:
    """From the first epoch to the last; what did not change alike in all seeds is not decided."""

    def runs(*changes: float) -> list[dict[str, Any]]:
        def angles(within: float, between: float) -> dict[str, Any]:
            found = {
                "within": {"0": Measurement(math.radians(within), "exact").to_dict()},
                "between": {"0,1": Measurement(math.radians(between), "exact").to_dict()},
            }
            return {"layers": {"stage": found, "penultimate": found}}

        return [
            {"history": [{"epoch": i, **angles(40 + c * (i == 2), 50 - 10 * (i == 2) - 0.1 * c)} for i in range(3)]}
            for c in changes
        ]

    kind = Angles(kind="angles")
    decided = findings(kind, runs(4.0, 5.0, 6.0)).sentence
    says(
        decided, "in a the angle within classes rose (+5.0 [+2.5, +7.5])", "between them it fell (-10.0 [-10.0, -10.0])"
    )
    says(decided, "seeds", "these test images")
    says(
        findings(kind, runs(-4.0, 5.0, 6.0)).sentence, "within classes rose or fell, which is not decided by these runs"
    )
    says(findings(kind, runs(5.0)).sentence, "not decided by these runs (+5.0 (no interval: one seed))")
    says(findings(kind, runs(math.nan, 5.0)).sentence, "not defined in every run")


def test_observers_follow_their_diagnostics() -> None:
    """One each, in order."""
    images = load_images(FEW)
    wanted = [Angles(kind="angles"), Sensitivity(kind="sensitivity", starts=2, rounds=1, seed=0)]
    assert [type(observer).__name__ for observer in observers_of(wanted, images)] == ["_Angles", "_Sensitivity"]
