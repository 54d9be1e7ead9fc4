"""A folder of one's own images: split by a seed, and looked at before a training chooses its settings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fixtures.commands import Run
from fixtures.messages import raises, refuses, says
from stabzoo.cli.arguments.datasets import dataset_of
from stabzoo.cli.arguments.folders import look
from stabzoo.data.from_disk import DiskDataset
from stabzoo.data.loading import load_images
from stabzoo.data.manifest import manifest
from stabzoo.data.spec import Data, Folder
from stabzoo.errors import ConfigError
from stabzoo.training.kept.description import read_description
from stabzoo.training.spec import recipe


def photos(root: Path, count: int = 10, size: tuple[int, int] = (32, 32)) -> Path:
    """``count`` images of each of two classes."""
    for name, level in (("dark", 60), ("light", 180)):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (level + i % 50,) * 3).save(root / name / f"{i}.png")
    return root


def named(path: Path, size: int | None = None) -> Folder:
    """As a command has it."""
    found: Data = dataset_of(str(path), size, verified=True)
    assert isinstance(found, Folder)
    return found


def entries(samples: Any) -> list[tuple[str, int]]:
    """The files of a part, and their labels."""
    return samples.entries


def opened(data: Folder) -> DiskDataset:
    """The images."""
    found = load_images(data, Path())
    assert isinstance(found, DiskDataset)
    return found


def test_one_folder_is_split_by_its_seed(tmp_path: Path) -> None:
    """Every image is in one part, of each class alike; another seed holds out others."""
    data = named(photos(tmp_path / "photos"))
    images = opened(data)
    assert (images.train_count, images.test_count, images.names) == (16, 4, ("dark", "light"))
    assert not set(entries(images.train)) & set(entries(images.test))
    assert sorted(label for _, label in entries(images.test)) == [0, 0, 1, 1]
    other = opened(data.model_copy(update={"split_seed": 1}))
    assert set(entries(other.test)) != set(entries(images.test))
    with raises(ConfigError, "test_share", tmp_path):
        opened(named(photos(tmp_path / "few", count=1)))


def test_the_names_of_a_held_out_folder(tmp_path: Path) -> None:
    """The first of val, test, validation and valid that is beside train."""
    photos(tmp_path / "train")
    photos(tmp_path / "test", count=3)
    data = named(tmp_path)
    assert (data.train, data.test, data.test_share) == ("train", "test", None)
    assert opened(data).test_count == 6
    photos(tmp_path / "val", count=2)
    assert named(tmp_path).test == "val"


def test_other_images_are_another_manifest(tmp_path: Path) -> None:
    """The whole folder counts, for both parts are drawn from it."""
    data = named(photos(tmp_path / "photos"))
    before = manifest(data, Path())
    Image.new("RGB", (32, 32)).save(tmp_path / "photos" / "dark" / "more.png")
    assert manifest(data, Path()) not in (None, before)


@pytest.mark.parametrize(
    ("size", "chosen", "crop", "name"),
    [
        ((32, 32), 32, 1.0, "cifar"),
        ((100, 75), 72, 0.875, "imagenet"),
        ((500, 400), 224, 0.875, "imagenet"),
        ((224, 224), 224, 1.0, "imagenet"),
        ((9, 7), 8, 0.875, "cifar"),
    ],
)
def test_the_size_is_that_of_the_images(
    tmp_path: Path, size: tuple[int, int], chosen: int, crop: float, name: str
) -> None:
    """Squares of one size are taken whole; others by their shorter side."""
    looked = look(named(photos(tmp_path / "photos", 2, size)), Path(), "cpu", sized=False)
    assert (looked.data.size, looked.data.crop, looked.recipe) == (chosen, crop, name)
    own = look(named(tmp_path / "photos", 40), Path(), "cpu", sized=True)
    assert own.data.size == 40


@pytest.mark.parametrize(("count", "batch"), [(1, 2), (10, 16), (1000, 32), (40_000, 128)])
def test_batches_and_epochs_are_of_the_number_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, batch: int
) -> None:
    """No batch is more than there are images; with few images there are as many epochs as the recipe has."""
    files = [(str(photos(tmp_path / "photos", 1) / "dark" / "0.png"), 0)] * (2 * count)
    monkeypatch.setattr("stabzoo.cli.arguments.folders.files_of_classes", lambda *_: files)
    data = Folder(name="folder", path=str(tmp_path / "photos"), train=".", test_share=0.2)
    looked = look(data, Path(), "cpu", sized=False)
    training = recipe(looked.recipe, looked.settings)
    images = round(2 * count * 0.8)
    assert training.batch_size == batch <= max(images, 2)
    assert training.lr == pytest.approx(0.1 * batch / 128)
    updates = training.epochs * images / batch
    assert training.epochs == 160 or 3000 <= updates < 3000 + images / batch
    assert training.amp == "none"


def test_a_training_says_what_it_chose(tmp_path: Path, run: Run) -> None:
    """Before it begins, what is set by hand included; a batch of more than all images is warned of."""
    folder, root = tmp_path / "run", photos(tmp_path / "photos")
    line = f"train zerosnet20_opt --data {root} --arg width=4 --threads 1 --set epochs=1 --set batch_size=50"
    found = run(f"{line} --folder {folder}")
    assert found.status == 0, found.err
    says(
        found.out, "20 images in 2 classes", "32 x 32", "20%", "size=32", "crop=1", "cifar", "epochs=1", "batch_size=50"
    )
    says(found.out, "warning", "16 images")
    assert found.out.index("size=32") < found.out.index("epoch 1")
    job = read_description(folder).stabzoo.job
    assert (job.training.amp, job.data.name, job.sources["data"]) == ("none", "folder", manifest(job.data, Path()))
    Image.new("RGB", (32, 32)).save(root / "dark" / "more.png")
    again = run(f"{line} --folder {folder}")
    assert again.status == 2
    says(again.err, folder, "another training", "data")
    for command in ("diagnose", "evaluate"):
        refuses(run(f"{command} {folder}"), folder, "data have changed", "--root")


def test_what_cannot_be_looked_at(tmp_path: Path) -> None:
    """A file that is no image, and folders of none."""
    root = photos(tmp_path / "photos", 2)
    (root / "dark" / "0.png").write_bytes(b"torn")
    with raises(ConfigError, root / "dark" / "0.png"):
        look(named(root), Path(), "cpu", sized=False)
    (tmp_path / "empty" / "dark").mkdir(parents=True)
    with raises(ConfigError, tmp_path / "empty", "no image"):
        look(named(tmp_path / "empty"), Path(), "cpu", sized=False)


def test_pixels_reach_a_training_whole(tmp_path: Path) -> None:
    """At their own size nothing is resized or cut."""
    root = photos(tmp_path / "photos")
    generator = np.random.default_rng(0)
    for path in root.rglob("*.png"):
        Image.fromarray(generator.integers(0, 255, (32, 32, 3), dtype="uint8")).save(path)
    images = opened(look(named(root), Path(), "cpu", sized=False).data)
    pixels, _ = next(iter(images.testing([torch.tensor([0])])))
    expected = torch.from_numpy(np.array(Image.open(entries(images.test)[0][0]))).permute(2, 0, 1)
    assert torch.equal((pixels[0] * 255).round().byte(), expected)
