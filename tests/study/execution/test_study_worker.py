"""One run in its folder: killed at any moment it comes out the same; what is asked later needs no training."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.messages import raises, says
from stabzoo.data.spec import Digits
from stabzoo.evaluation.spec import Clean, Constant
from stabzoo.study.execution.pool import ProcessExecutor, WorkerDied
from stabzoo.study.execution.worker import EvaluationRequest, RunFailed, RunLocked, execute
from stabzoo.study.measures import Angles, Constraints, Cost, Curve, Diagnostic, Generalization, Solver
from stabzoo.study.spec import Run
from stabzoo.study.store.records import Record
from stabzoo.study.store.run_folder import Progress, RunFolder
from stabzoo.training.kept.loading import load_finished
from stabzoo.training.networks import weights_sha256
from stabzoo.training.spec import Training

CLEAN = Clean(kind="clean")
ALL: tuple[Diagnostic, ...] = (
    Constraints(kind="constraints"),
    Angles(kind="angles"),
    Solver(kind="solver"),
    Generalization(kind="generalization"),
    Curve(kind="curve"),
)
HOLDER = """
import sys, time
from pathlib import Path
from stabzoo.study.store.run_folder import RunFolder

with RunFolder(Path(sys.argv[1]), sys.argv[2]).lock() as mine:
    print(mine, flush=True)
    time.sleep(600)
"""


def make_run(epochs: int = 2, seed: int = 0, **args: object) -> Run:
    """A run of a tenth of a second per epoch."""
    return Run.model_validate(
        {
            "model": "stable_resnet_s11",
            "args": args or {"width": 4},
            "data": Digits(name="digits", size=8, test_images=1697, split_seed=0),
            "training": Training(
                epochs=epochs,
                batch_size=50,
                optimizer="momentum",
                lr=0.1,
                momentum=0.9,
                weight_decay=0.0005,
                schedule="one-cycle",
                ema=0.9,
            ),
            "seed": seed,
            "software": {},
        }
    )


def done(outcome: Record | RunFailed | RunLocked) -> Record:
    """The record."""
    assert isinstance(outcome, Record), outcome
    return outcome


def test_a_run_leaves_what_a_training_leaves(tmp_path: Path) -> None:
    """Its folder says which model, arguments and data it was, and has the weights that were evaluated."""
    run = make_run(epochs=1)
    record = done(execute(run, EvaluationRequest((CLEAN,)), tmp_path))
    found = load_finished(RunFolder(tmp_path, run.key).path, tmp_path)
    assert weights_sha256(found.network) == record.weights_sha256
    assert not found.network.training
    for name in Run.model_fields:
        assert getattr(found.job, name) == getattr(run, name)


@pytest.mark.slow
def test_killed_three_times_it_comes_out_the_same(tmp_path: Path) -> None:
    """Weights, losses, and everything that was observed epoch by epoch, to the last bit."""
    run, wanted = make_run(epochs=6), EvaluationRequest((CLEAN,), ALL)
    whole = done(execute(run, wanted, tmp_path / "whole"))
    folder = RunFolder(tmp_path / "killed", run.key)
    with ProcessExecutor(1) as executor:
        for kill_at in (1, 3, 4):
            process = executor.submit(os.getpid).result()
            future = executor.submit(execute, run, wanted, tmp_path / "killed")
            while (progress := folder.progress()) is None or progress.epoch < kill_at:
                assert not future.done(), future.result()
                time.sleep(0.002)
            os.kill(process, signal.SIGKILL)
            with raises(WorkerDied, "SIGKILL"):
                future.result()
        resumed = done(executor.submit(execute, run, wanted, tmp_path / "killed").result())
    assert resumed.model_copy(update={"seconds": whole.seconds}) == whole
    assert len(resumed.losses) == 6
    assert folder.progress() == Progress(epoch=6, epochs=6)


def test_what_is_asked_later_needs_no_training(tmp_path: Path) -> None:
    """A new evaluation and a diagnostic of the trained network; the weights are those of the folder."""
    run = make_run()
    first = done(execute(run, EvaluationRequest((CLEAN,), (Curve(kind="curve"),)), tmp_path))
    (checkpoint,) = (tmp_path / run.key).glob("checkpoint-*")
    written = checkpoint.stat().st_mtime_ns
    more = EvaluationRequest(
        (CLEAN, Constant(kind="constant", mu=0.1)), (Curve(kind="curve"), Generalization(kind="generalization"))
    )
    second = done(execute(run, more, tmp_path))
    assert second.weights_sha256 == first.weights_sha256
    assert second.losses == first.losses
    assert second.found(Curve(kind="curve")) == first.found(Curve(kind="curve"))
    assert [entry.evaluation for entry in second.measured] == list(more.evaluations)
    assert checkpoint.stat().st_mtime_ns == written


def test_what_must_see_every_epoch_does(tmp_path: Path) -> None:
    """Asked for later, it is a training from the beginning, with the same weights."""
    run = make_run()
    first = done(execute(run, EvaluationRequest((CLEAN,)), tmp_path))
    second = done(execute(run, EvaluationRequest((CLEAN,), (Curve(kind="curve"), Cost(kind="cost"))), tmp_path))
    assert second.weights_sha256 == first.weights_sha256
    assert len(json.loads(json.dumps(second.found(Curve(kind="curve"))))["history"]) == 2
    assert second.found(Cost(kind="cost"))["parameters"] == first.parameters
    assert len(list((tmp_path / run.key).glob("checkpoint-*"))) == 1


def test_a_torn_checkpoint_is_not_used(tmp_path: Path) -> None:
    """The run is trained again from what is whole."""
    run = make_run()
    first = done(execute(run, EvaluationRequest((CLEAN,)), tmp_path))
    (checkpoint,) = (tmp_path / run.key).glob("checkpoint-*")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    assert done(execute(run, EvaluationRequest((CLEAN,)), tmp_path)).weights_sha256 == first.weights_sha256


def test_a_run_is_trained_by_one_process(tmp_path: Path) -> None:
    """Another that comes is told so, until the first ends, however it does."""
    run = make_run()
    folder = RunFolder(tmp_path, run.key)
    assert not folder.locked()
    command = [sys.executable, "-c", HOLDER, str(tmp_path), run.key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert folder.locked()
        assert isinstance(execute(run, EvaluationRequest((CLEAN,)), tmp_path), RunLocked)
        holder.kill()
    assert not folder.locked()
    assert isinstance(execute(run, EvaluationRequest((CLEAN,)), tmp_path), Record)


def test_a_run_that_raises_is_an_answer(tmp_path: Path) -> None:
    """With its reason and its traceback; the folder is free again."""
    run = make_run(lam="1/0")
    raised = execute(run, EvaluationRequest((CLEAN,)), tmp_path)
    assert isinstance(raised, RunFailed)
    assert "Error: " in raised.reason
    assert "lam" in raised.reason
    assert "Traceback" in raised.traceback
    assert not RunFolder(tmp_path, run.key).locked()


def test_another_software_is_refused(tmp_path: Path) -> None:
    """A run's numbers are those of the versions in its key."""
    run = make_run().model_copy(update={"software": {"torch": "0.1"}})
    raised = execute(run, EvaluationRequest((CLEAN,)), tmp_path)
    assert isinstance(raised, RunFailed)
    says(raised.reason, "{'torch': '0.1'}", "'stabzoo'")


def test_a_device_is_part_of_the_run() -> None:
    """Another one rounds differently; the keys of runs on a CPU are what they were before there was a choice."""
    run = make_run()
    assert run.model_copy(update={"device": "cuda"}).key != run.key


def test_what_a_folder_tells(tmp_path: Path) -> None:
    """Nothing before it is there; what is damaged is nothing; a failure until it is tried again."""
    folder = RunFolder(tmp_path, "0123456789abcdef")
    assert (folder.progress(), folder.failure(), folder.locked()) == (None, None, False)
    folder.fail("no luck")
    assert folder.failure() == "no luck"
    folder.fail(None)
    assert folder.failure() is None
    folder.report(Progress(epoch=1, epochs=3, unsolved=2))
    assert folder.progress() == Progress(epoch=1, epochs=3, unsolved=2)
    (folder.path / "progress.json").write_text("{")
    assert folder.progress() is None
