"""ImageDataset read from folders and through timm's factory: the same pixels by any number of processes, and what is refused."""

import csv
import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import datasets
from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

from fixtures.archives import served, write_mnist
from fixtures.commands import Run
from fixtures.messages import raises, says
from fixtures.processes import KILLED
from stabzoo.data.augmentation import Augmentation
from stabzoo.data.from_disk import DiskDataset
from stabzoo.data.loading import fetch, load_images
from stabzoo.data.spec import Folder, Timm
from stabzoo.errors import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("ant", "bee", "cat")


def write_folder(root: Path, train: int = 8, test: int = 4) -> Path:
    """Three classes of coloured noise in JPEG and PNG, of several sizes."""
    random = np.random.default_rng(0)
    for part, count in (("train", train), ("val", test)):
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                height, width = random.integers(12, 40, 2)
                pixels = random.integers(0, 100, (height, width, 3), dtype=np.uint8)
                pixels[:, :, label] += 120
                image = Image.fromarray(pixels[:, :, 0] if i == 1 else pixels)  # one in grey
                image.save(root / part / name / f"{i}.{'png' if i % 2 else 'jpg'}")
    return root


def opened(root: Path, workers: int = 0, **given: object) -> DiskDataset:
    """The data set at 8x8 pixels."""
    data = Folder.model_validate({"name": "folder", "path": str(root), "size": 8, **given})
    found = load_images(data, Path(), workers)
    assert isinstance(found, DiskDataset)
    return found


def test_pixels_are_torchvisions(tmp_path: Path) -> None:
    """Shorter side resized, middle cut out, in the order of the batches; labels are those of the sorted classes."""
    images = opened(write_folder(tmp_path))
    assert (images.shape, images.train_count, images.test_count, images.classes) == ((3, 8, 8), 24, 12, 3)
    expected = Compose([Resize(round(8 / 0.875)), CenterCrop(8), PILToTensor()])
    order = torch.tensor([13, 0, 5])
    (pixels, labels), (rest, _) = images.training([order, torch.tensor([23])])
    for i, found, label in zip(order.tolist(), pixels, labels.tolist(), strict=True):
        path = sorted((tmp_path / "train").glob("*/*"))[i]
        assert CLASSES[label] == path.parent.name
        assert torch.equal(found, expected(Image.open(path).convert("RGB")) / 255)
    assert rest.shape == (1, 3, 8, 8)
    assert images.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    ((whole, _),) = opened(tmp_path, crop=1).testing([torch.tensor([0])])
    assert torch.equal(
        whole[0], Compose([Resize(8), CenterCrop(8), PILToTensor()])(Image.open(tmp_path / "val/ant/0.jpg")) / 255
    )


def test_processes_change_nothing(tmp_path: Path) -> None:
    """Two that read ahead, in the order of the batches, give what this one gives, whatever the augmentation."""
    alone, helped = opened(write_folder(tmp_path)), opened(tmp_path, workers=2)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0)).split(5)
    before = torch.get_rng_state()
    for kind in ("none", "crop-flip", "resized-crop-flip"):
        augmentation = Augmentation(kind, 24, seed=3, epoch=1)
        pairs = zip(alone.training(order, augmentation), helped.training(order, augmentation), strict=True)
        for (a, x), (b, y) in pairs:
            assert torch.equal(a, b)
            assert torch.equal(x, y)
        late = list(alone.training(order[2:], augmentation))  # as a resumed training reads
        assert torch.equal(late[-1][0], a)
    assert torch.equal(torch.get_rng_state(), before)
    other = Augmentation("resized-crop-flip", 24, seed=3, epoch=2)
    assert not torch.equal(next(alone.training(order, other))[0], next(alone.training(order, augmentation))[0])


@given(width=st.integers(1, 400), height=st.integers(1, 400), index=st.integers(0, 10**6))
def test_windows_lie_in_the_image(width: int, height: int, index: int) -> None:
    """And have the area and the aspect ratio that they may have, up to rounding; the same every time."""
    augmentation = Augmentation("resized-crop-flip", 1, seed=0, epoch=4)
    window = augmentation.window(index, width, height)
    assert window == augmentation.window(index, width, height)
    assert window.height >= 1
    assert window.width >= 1
    assert 0 <= window.top <= height - window.height
    assert 0 <= window.left <= width - window.width
    if min(width, height) >= 100 and max(width, height) <= 4 / 3 * min(width, height):
        assert 0.075 < window.height * window.width / (width * height) <= 1
        assert 0.73 < window.width / window.height < 1.37
    narrow = Augmentation("resized-crop-flip", 1, 0, 4, area=(0.5, 0.6), aspect=(1.0, 1.0)).window(index, 400, 400)
    assert 0.495 < narrow.height * narrow.width / 400**2 < 0.605
    assert narrow.height == narrow.width
    flips = [augmentation.window(i, 50, 50).flipped for i in range(100)]
    assert 25 < sum(flips) < 75


TRAIN = (
    "train preresnet20 --arg width=4 --set batch_size=8 --set warmup_epochs=0 --set amp=none --set lr=0.02 --threads 1"
)


def test_a_training_of_a_folder_and_its_evaluation(run: Run, tmp_path: Path) -> None:
    """By the recipe of ImageNet; gap and calibration; noise, attacks; the number of processes changes no number."""
    data = write_folder(tmp_path / "colours")
    line = f"{TRAIN} --data {data} --size 8 --recipe imagenet --set epochs=2"
    assert run(f"{line} --workers 2 --folder {tmp_path / 'a'}").status == 0
    done = run(f"{line} --workers 0 --folder {tmp_path / 'b'}")
    assert done.status == 0
    for name in ("model.safetensors", "history.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    job = json.loads((tmp_path / "a" / "config.json").read_text())["stabzoo"]["job"]
    assert job["data"]["name"] == "folder"
    assert job["training"]["augmentation"] == "resized-crop-flip"
    asked = tmp_path / "asked.yaml"
    asked.write_text(
        "evaluations: [{kind: gaussian, sigma: 0.1, seed: 0}, {kind: structured, epsilon: 0.1, image: 3},"
        " {kind: pgd, epsilon: 0.02, steps: 2, seed: 0}]"
    )
    found = [run(f"evaluate {tmp_path / 'a'} --conditions {asked} --workers {n} --json").out for n in (0, 2)]
    assert found[0] == found[1]
    numbers = json.loads(found[0])
    assert numbers["generalization gap"][0] == numbers["top-1 in training"][0] - numbers["top-1"][0]
    assert 0 <= numbers["calibration error"][0] <= 100
    assert numbers["top-5"] == [100]  # of three classes
    assert (
        float(list(csv.DictReader((tmp_path / "a" / "history.csv").read_text().splitlines()))[-1]["top1"])
        == numbers["top-1"][0]
    )
    asked.write_text("evaluations: [{kind: structured, epsilon: 0.1, image: 12}]")
    refused = run(f"evaluate {tmp_path / 'a'} --conditions {asked}")
    says(refused.err, "12 test images", "image 12")


@pytest.mark.slow
def test_killed_while_others_read(run: Run, tmp_path: Path) -> None:
    """The processes that read ahead keep nothing locked, and change nothing that comes after."""
    data = write_folder(tmp_path / "colours")
    line = f"{TRAIN} --data {data} --size 8 --set epochs=12 --workers 1 --checkpoint-steps 1 --folder"
    assert run(f"{line} {tmp_path / 'whole'}").status == 0
    arguments = [*line.split(), str(tmp_path / "killed")]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "2", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split("kills ")[1].split()[0]) >= 1
    for name in ("model.safetensors", "history.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def cut(path: Path) -> None:
    """A download that ended too early."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["train/bee/0.jpg", "train/bee/3.png", "val/cat/2.jpg"])
@pytest.mark.parametrize(
    "damage", [cut, lambda path: path.write_text("<html>404</html>"), lambda path: path.write_bytes(b"")]
)
def test_what_cannot_be_read_is_named(run: Run, tmp_path: Path, name: str, damage) -> None:
    """One line with the file, from a process that reads ahead too."""
    data = write_folder(tmp_path / "colours")
    damage(data / name)
    workers = 1 if name.endswith("0.jpg") else 0
    result = run(f"{TRAIN} --data {data} --size 8 --set epochs=1 --workers {workers} --folder {tmp_path / 'run'}")
    assert result.status == 2
    says(result.err, data / name, "not an image", "remove it")
    assert "Traceback" not in result.err
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Missing, without classes, a class without images, other classes in the test; what to do is said."""
    root = write_folder(tmp_path)
    for given_, facts in (
        ({"train": "training"}, (root / "training", "No such file or directory", "folder")),
        ({"path": "nowhere"}, ("nowhere/train", "No such file or directory")),
        ({"train": "train/ant"}, (root / "train" / "ant", "class", "none", "ImageNet's")),
    ):
        with raises(ConfigError, *facts):
            opened(root, **given_)
    (root / "train" / "dog").mkdir()
    with raises(ConfigError, "classes", "'dog' is in train and not in val"):
        opened(root)
    (root / "val" / "dog").mkdir()
    with raises(ConfigError, root / "train" / "dog", "none", ".jpg"):
        opened(root)


def test_timms_factory(tmp_path: Path, run: Run) -> None:
    """Torchvision's MNIST by timm; tars by its own reader; files that cannot be read are not passed over."""
    import gzip

    raw = write_mnist(tmp_path / "sets")
    for path in raw.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    data = Timm.model_validate({"name": "timm", "dataset": "torch/mnist", "size": 28, "crop": 1})
    images = load_images(data, tmp_path / "sets")
    assert (images.classes, images.train_count, images.shape) == (10, 7, (3, 28, 28))
    ((pixels, labels),) = images.testing([torch.arange(7)])
    assert labels.tolist() == list(range(7))
    assert torch.equal(pixels[:, 1, 0, 0] * 255, torch.arange(7).float())

    root = write_folder(tmp_path / "colours")
    cut(root / "val" / "bee" / "2.jpg")
    for part in ("train", "val"):
        with tarfile.open(tmp_path / f"{part}.tar", "w") as tar:
            for path in sorted((root / part).glob("*/*")):
                tar.add(path, f"{path.parent.name}/{path.name}")
    (tmp_path / "data.yaml").write_text("{name: timm, dataset: '', train: train.tar, test: val.tar, size: 8, crop: 1}")
    done = run(
        f"{TRAIN} --data {tmp_path / 'data.yaml'} --root {tmp_path} --set epochs=1 --workers 2 --folder {tmp_path / 'run'}"
    )
    assert done.status == 2
    says(done.err, "bee/2.jpg", "not an image")


def test_timms_factory_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both splits, by torchvision's own code, from a server of this process; what does not come is said."""
    source = write_mnist(tmp_path / "source")
    files = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in source.glob("*.gz")]
    data = Timm.model_validate({"name": "timm", "dataset": "torch/mnist", "size": 28})
    with served(source) as address:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{address}/"])
        monkeypatch.setattr(datasets.MNIST, "resources", files)
        fetch(data, tmp_path / "sets")
        assert load_images(data, tmp_path / "sets").test_count == 7
    with raises(ConfigError, "timm", "torch/mnist", "'train'"):  # nobody answers any more
        fetch(data, tmp_path / "others")


def test_what_timm_cannot_open_is_refused(run: Run, tmp_path: Path) -> None:
    """Streams, names it does not know, data that are not there; a package that is not installed."""
    for dataset, facts in (
        ("wds/shards", ("'wds/shards'", "stream", "torch/NAME, hfds/NAME")),
        ("torch/cifar99", ("timm", "torch/cifar99", "'train'", tmp_path)),
        ("torch/cifar10", ("timm", "torch/cifar10", "--download", tmp_path)),
        ("hfds/none", ("timm", "hfds/none")),
    ):
        result = run(f"train preresnet20 --data {dataset} --size 32 --root {tmp_path} --folder {tmp_path / 'run'}")
        assert result.status == 2
        says(result.err, *facts)
    result = run(f"train preresnet20 --data {tmp_path / 'none'}")
    says(result.err, "--data", "digits, percolation, elpv, cifar10, cifar100, mnist", "train/CLASS/*")
    says(run("train preresnet20 --data mnist --size 8").err, "--size", "mnist", "one size")
    refused = run(f"train preresnet20 --set augmentation=resized-crop-flip --folder {tmp_path / 'run'}")
    says(refused.err, "resized-crop-flip", "larger")
    says(run("train preresnet20 --workers -1").err, "workers", "at least 0", "got -1")


STUDY = """\
title: Colours
description: A folder.
networks: [{{label: net, model: preresnet20, args: {{width: 4}}}}]
data: {{name: folder, path: colours, size: 8}}
training:
  {{epochs: 1, batch_size: 8, optimizer: momentum, lr: 0.1, momentum: 0.9, weight_decay: 0, schedule: one-cycle,
   augmentation: {augmentation}}}
seeds: [0]
evaluations: [{{kind: clean}}, {{kind: gaussian, sigma: 0.1, seed: 0}}]
"""


def test_a_study_of_a_folder(run: Run, tmp_path: Path) -> None:
    """Below --root; augmented as ImageNet is."""
    write_folder(tmp_path / "colours")
    study = tmp_path / "tiny.yaml"
    study.write_text(STUDY.format(augmentation="resized-crop-flip"))
    done = run(f"study {study} --folder {tmp_path / 'runs'} --root {tmp_path} --workers 1")
    assert done.status == 0, done.out + done.err
    assert "Gaussian" in done.out
