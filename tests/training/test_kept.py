"""The folder of a training describes itself: timm opens it, with the preprocessing as trained."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from stabzoo.cli import main
from stabzoo.training.kept.description import read_description
from stabzoo.training.kept.loading import load_finished

TRAIN = "--arg width=4 --set epochs=1 --threads 1"
CONSTANTS = {"mean": [0.3, 0.4, 0.5], "std": [0.1, 0.2, 0.3]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trainings on digits, and on images on disk of some size."""
    root = tmp_path_factory.mktemp("kept")
    generator = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 3)):
        for name, level in (("dark", 60), ("light", 190)):
            folder = root / "photos" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(level - 50, level + 50, (25 + i, 31, 3)).astype("uint8")
                Image.fromarray(pixels).save(folder / f"{i}.png")
    data = {"name": "folder", "path": str(root / "photos"), "size": 15, "crop": 0.7, **CONSTANTS}
    (root / "data.yaml").write_text(json.dumps(data))
    commands = {
        "digits": f"zerosnet20 --arg lam=5/2 {TRAIN}",
        "learnt": f"zerosnet20_tra {TRAIN}",
        "timms": "resnet10t --set epochs=0 --set schedule=cosine --threads 1",
        "photos": f"zerosnet20_opt --data {root / 'data.yaml'} --recipe digits --set batch_size=4 {TRAIN}",
    }
    for name, line in commands.items():
        assert main(shlex.split(f"train {line} --folder {root / name}")) == 0
    return {name: root / name for name in commands}


@pytest.mark.parametrize("name", ["digits", "learnt", "timms"])
def test_timm_opens_the_folder(folders: dict[str, Path], name: str) -> None:
    """The same logits, by timm's mean and deviation, to the last bit."""
    trained = load_finished(folders[name], Path())
    model = timm.create_model(f"local-dir:{folders[name]}", pretrained=True).eval()
    config: dict[str, Any] = resolve_model_data_config(model)
    assert config["input_size"] == (1, 16, 16)
    mean, std = (torch.tensor(config[key]).view(-1, 1, 1) for key in ("mean", "std"))
    pixels = trained.images.test[:8]  # type: ignore[attr-defined]
    with torch.inference_mode():
        assert torch.equal(model((pixels - mean) / std), trained.network(pixels))


def test_files_go_through_the_preprocessing_of_the_training(folders: dict[str, Path]) -> None:
    """Resized, cut out and normalised alike: timm rounds another way, so 15 / 0.7 = 21.4 is not left to it."""
    trained = load_finished(folders["photos"], Path())
    model = timm.create_model(f"local-dir:{folders['photos']}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(model))
    files = sorted(trained.images.test.entries)  # type: ignore[attr-defined]
    images = torch.stack([transform(Image.open(path)) for path, _ in files])
    pixels, _ = next(iter(trained.images.testing([torch.arange(len(files))])))
    assert images.shape == pixels.shape == (6, 3, 15, 15)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), trained.network(pixels))
        assert torch.equal(images, trained.network.normalise(pixels))


def test_what_is_written_down(folders: dict[str, Path]) -> None:
    """Exact arguments, classes, recipe, accuracy, scheme and proof, also of what was trained."""
    digits, learnt, photos, timms = (read_description(folders[n]) for n in ("digits", "learnt", "photos", "timms"))
    assert digits.model_args["lam"] == "5/2"
    assert digits.label_names == list("0123456789")
    assert digits.stabzoo.scheme is not None
    assert digits.stabzoo.scheme["name"] == "zerosnet"
    assert digits.stabzoo.stability is not None
    assert digits.stabzoo.stability["certificate"]["ending"]
    assert digits.stabzoo.measured is not None
    assert digits.stabzoo.measured["test_images"] == 540
    assert learnt.stabzoo.stability is not None
    assert learnt.stabzoo.stability != digits.stabzoo.stability
    assert photos.label_names == ["dark", "light"]
    assert photos.stabzoo.job.sources["data"]
    assert (timms.stabzoo.scheme, timms.stabzoo.stability) == (None, None)
