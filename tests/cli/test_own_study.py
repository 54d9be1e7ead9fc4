"""A study of one's own: written with comments, and read again; and the completion of the shell."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from fixtures.commands import Run
from fixtures.messages import refuses, says
from stabzoo.data.spec import Digits, Folder
from stabzoo.study.spec import load_study


def test_a_study_of_a_folder(tmp_path: Path, run: Run) -> None:
    """With size, batch and epochs that the images ask for; the file is YAML that any reader understands."""
    for name in ("dark", "it's #1: light"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (24, 24)).save(tmp_path / "photos" / name / f"{i}.png")
    path = tmp_path / "own.yaml"
    says(run(f"study new {path} --data {tmp_path / 'photos'}").out, "20 images in 2 classes", "size=24", path)
    study = load_study(path)
    assert isinstance(study.data, Folder)
    assert (study.data.size, study.data.crop, study.data.test_share) == (24, 1.0, 0.2)
    assert (study.training.batch_size, study.training.epochs) == (16, 160)
    assert {e.kind for e in study.evaluations} >= {"clean", "gaussian", "pgd"}
    assert study.at("smoke").training.epochs == 1
    assert yaml.safe_load(path.read_text())["networks"][1]["model"] == "zerosnet20_opt"
    assert run(f"study show {path}").out.strip().endswith(f"stabzoo study {path}")  # by which it is done
    refuses(run(f"study new {path}"), path, "exists already")


@pytest.mark.parametrize("data", ["digits", "cifar10", "mnist", "torch/fashion_mnist"])
def test_a_study_of_known_data(tmp_path: Path, run: Run, data: str) -> None:
    """By the recipe of the data; nothing needs to be here for that."""
    path = tmp_path / "own.yaml"
    assert run(f"study new {path} --data {data}").status == 0
    assert isinstance(load_study(path).data, Digits) == (data == "digits")
    assert load_study(path, "smoke").seeds == (0,)
    refuses(run(f"study new {tmp_path / 'own'} --data {data}"), tmp_path / "own", ".yaml")


def test_completion(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script for the shell, which knows the commands."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "stabzoo.bash"
    assert run(f"--install-completion --shell bash --output {path}").status == 0
    says(path.read_text(), "predict", "study", "--csv")
