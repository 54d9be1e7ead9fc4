"""Studies of implicit networks: the paper's regularisers in the training, and every solve counted."""

import io
import warnings
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from rich.console import Console

from fixtures.messages import raises, says
from stabzoo import perturbation_penalty, residual_penalty
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.evaluation.spec import Clean
from stabzoo.implicit.report import ConvergenceWarning
from stabzoo.study import load_study, run_study
from stabzoo.study.execution.networks import build
from stabzoo.study.execution.progress import RunProgress
from stabzoo.study.execution.worker import EvaluationRequest, execute
from stabzoo.study.measures import Solver
from stabzoo.study.spec import Run
from stabzoo.study.store.records import Record
from stabzoo.study.store.run_folder import Progress, RunFolder
from stabzoo.training.penalties import forward
from stabzoo.training.spec import FixedPointTerm, PerturbationTerm, Training

FEW = Digits(name="digits", size=8, test_images=1697, split_seed=0)
TRAINING = Training(
    epochs=1, batch_size=50, optimizer="momentum", lr=0.05, momentum=0.9, weight_decay=0.0, schedule="one-cycle"
)

pytestmark = pytest.mark.usefixtures("one_thread")


def run_of(model: str, training: Training) -> Run:
    """A run of a narrow network."""
    return Run(model=model, args={"width": 4}, data=FEW, training=training, seed=0, software={})


def test_the_terms_are_the_penalties() -> None:
    """Weighted, of the batch that is trained on; noise is on the pixels; the logits are those of the clean images."""
    fixed_point = FixedPointTerm(weight=0.5, iterations=2, power=2)
    noise = PerturbationTerm(weight=0.25, sigma=0.1, streams=2, power=0)
    training = TRAINING.model_copy(update={"fixed_point": fixed_point, "perturbation": noise})
    images = load_images(FEW)
    network, pixels = build(run_of("implicit_resnet20", training), images).eval(), images.train[:6]
    torch.manual_seed(3)
    logits, penalty = forward(network, network, pixels, training)
    torch.manual_seed(3)
    with residual_penalty(network, iterations=2, power=2) as residuals:
        expected, spread = perturbation_penalty(
            network, pixels, lambda x: x + 0.1 * torch.randn_like(x), streams=2, power=0, blocks=network.blocks()
        )
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(penalty, 0.5 * residuals.total + 0.25 * spread)
    torch.testing.assert_close(logits, network(pixels), rtol=1e-4, atol=1e-4)
    plain, nothing = forward(network, network, pixels, TRAINING)
    assert nothing == 0
    torch.testing.assert_close(plain, network(pixels))


def test_a_network_without_blocks_has_no_states_to_keep_together() -> None:
    """The message says which term."""
    training = TRAINING.model_copy(update={"perturbation": PerturbationTerm(weight=1, sigma=0.1)})
    images = load_images(FEW)
    run = run_of("resnet18", training).model_copy(update={"args": {}})
    network = build(run, images)
    with raises(ValueError, "training.perturbation", "blocks()"):
        forward(network, network, images.train[:2], training)


def test_terms_that_are_left_out_leave_the_key_alone() -> None:
    """A run without regularisers is the run that it was before there were any."""
    with_term = TRAINING.model_copy(update={"fixed_point": FixedPointTerm(weight=1)})
    assert run_of("implicit_resnet20", TRAINING).key != run_of("implicit_resnet20", with_term).key
    assert "fixed_point" not in TRAINING.model_dump(exclude_defaults=True)


def test_every_solve_of_a_study_is_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A table and a sentence: a solver that cannot succeed is told by how many equations it left open."""
    content = {
        "title": "Tiny",
        "description": "Three networks.",
        "networks": [
            {"label": "explicit", "model": "preresnet20", "args": {"width": 4}},
            {"label": "implicit", "model": "implicit_resnet20", "args": {"width": 4}},
            {"label": "hasty", "model": "implicit_resnet20", "args": {"width": 4, "solver": {"max_evaluations": 1}}},
        ],
        "data": FEW.model_dump(mode="json"),
        "training": {**TRAINING.model_dump(mode="json"), "fixed_point": {"weight": 0.01, "iterations": 1}},
        "seeds": [0],
        "evaluations": [{"kind": "clean"}],
        "diagnostics": [{"kind": "solver"}],
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    result = run_study(load_study(path), tmp_path / "runs", workers=1, console=Console(record=True, width=200))
    assert result.ok
    (finding,) = result.report.findings
    explicit, implicit, hasty = finding.rows
    assert explicit == ("explicit", "explicit", "–", "–", "–", "–", "–")
    assert implicit[1] == hasty[1] == "700"  # 100 images, one epoch, 7 implicit blocks
    assert float(implicit[2]) > 2
    assert implicit[5] == "2.0"
    assert "max_evaluations" in hasty[6]
    says(finding.sentence, "not solved", "1 400")
    assert "ConvergenceWarning" not in capfd.readouterr().err
    assert load_study("implicit").diagnostics[0].kind == "solver"


@pytest.mark.parametrize("diagnostics", [(), (Solver(kind="solver"),)])
def test_unsolved_equations_are_told_while_it_trains(
    diagnostics: tuple[Solver, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With each epoch, those up to it, whoever else counts them; the bar has their sum over the runs."""
    told: list[Progress] = []
    monkeypatch.setattr(RunFolder, "report", lambda folder, progress: told.append(progress))
    training = TRAINING.model_copy(update={"epochs": 2})
    args = {"width": 4, "solver": {"max_evaluations": 1, "rtol": 1e-9, "on_failure": "fallback"}}
    run = run_of("implicit_resnet20", training).model_copy(update={"args": args})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of the adjoint equations
        record = execute(run, EvaluationRequest((Clean(kind="clean"),), diagnostics), tmp_path)
    assert isinstance(record, Record)
    first, both = (progress.unsolved for progress in told)
    assert first > 0
    assert 1.5 * first < both < 3 * first
    for entry in record.diagnosed:
        blocks = [block for epoch in cast(Any, entry.result["history"]) for block in epoch["blocks"]]
        counted = sum(sum(block["failures"].values()) + sum(block["backward_failures"].values()) for block in blocks)
        assert counted == both
    screen = io.StringIO()
    with RunProgress(Console(file=screen, force_terminal=True, width=120), 2, 0, {"one": 2, "other": 2}) as bar:
        for key in ("one", "other"):
            for progress in told:
                bar.epoch(key, progress.epoch, progress.unsolved)
    assert f"{2 * both} equations not solved" in screen.getvalue()
