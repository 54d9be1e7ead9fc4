"""CIFAR and MNIST in their published formats, augmentation, and the failures a user meets. The files are tiny ones."""

import gzip
import hashlib
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fixtures.archives import served, write_cifar100, write_mnist
from fixtures.commands import Run
from fixtures.messages import raises, says
from stabzoo.config import validate
from stabzoo.data import archives
from stabzoo.data.archives import ARCHIVES, download, read_published
from stabzoo.data.augmentation import PADDING, Augmentation
from stabzoo.data.loading import load_images
from stabzoo.data.mnist import load_mnist
from stabzoo.data.spec import Archived, Constants
from stabzoo.errors import ConfigError
from stabzoo.study.store.store import Store
from stabzoo.training.normalized import NormalizedModel


def test_mnist_is_read(tmp_path: Path) -> None:
    """Bytes in the order of the file; the study's images are on the scale [0, 1]."""
    write_mnist(tmp_path)
    pixels, labels = load_mnist(tmp_path, train=True, verified=False)
    assert (pixels.shape, pixels.dtype) == ((7, 1, 28, 28), torch.uint8)
    assert pixels[:, 0, 0, 0].tolist() == labels.tolist() == list(range(7))
    images = load_images(Archived(name="mnist", verified=False), tmp_path)
    assert (images.channels, images.classes, len(images.test)) == (1, 10, 7)
    assert images.test[3, 0, 0, 0] == torch.tensor(3 / 255)
    assert next(images.training([torch.tensor([5])]))[0][0, 0, 0, 0] == torch.tensor(5 / 255)


def test_cifar100_has_fine_labels_and_moments_of_each_channel(tmp_path: Path) -> None:
    """Mean and deviation are those of the training pixels."""
    write_cifar100(tmp_path)
    images = load_images(Archived(name="cifar100", verified=False), tmp_path)
    assert (images.channels, images.classes) == (3, 100)
    assert images.train_labels.tolist() == [99, 98, 97, 96, 95]
    pixels = next(images.training([torch.arange(5)]))[0].double()
    torch.testing.assert_close(images.mean.flatten().double(), pixels.mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(images.std.flatten().double(), pixels.std((0, 2, 3), correction=0), rtol=1e-6, atol=0)


def test_normalization_by_a_mean_image_and_by_constants(tmp_path: Path) -> None:
    """The mean of every pixel and nothing divided; or what a release has written down."""
    write_cifar100(tmp_path)
    write_mnist(tmp_path)
    images = load_images(Archived(name="cifar100", verified=False, normalization="mean-image"), tmp_path)
    pixels = next(images.training([torch.arange(5)]))[0]
    torch.testing.assert_close(images.mean, pixels.mean(0))
    assert torch.equal(images.std, torch.ones(3, 1, 1))
    network = NormalizedModel(nn.Flatten(), images)
    torch.testing.assert_close(network(pixels).mean(0), torch.zeros(3072), atol=1e-6, rtol=0)
    written = Constants(mean=(0.5, 0.25, 0.125), std=(0.2, 0.1, 0.3))
    images = load_images(Archived(name="cifar100", verified=False, normalization=written), tmp_path)
    assert images.mean.flatten().tolist() == list(written.mean)
    torch.testing.assert_close(images.std.flatten(), torch.tensor(written.std))
    grey = load_images(Archived(name="mnist", verified=False, normalization="mean-image"), tmp_path)
    assert grey.mean.shape == (1, 28, 28)
    with raises(ConfigError, "mnist", "normalization", "grey"):
        validate(Archived, {"name": "mnist", "normalization": written.model_dump()}, "mine.yaml")


def test_what_is_not_the_published_file_is_refused(tmp_path: Path) -> None:
    """By its name, with both checksums and the cure."""
    write_cifar100(tmp_path)
    found = hashlib.md5((tmp_path / "cifar-100-python" / "train").read_bytes()).hexdigest()
    published = ARCHIVES["cifar100"].train[0][1]
    path = tmp_path / "cifar-100-python" / "train"
    with raises(ConfigError, path, "CIFAR-100", f"MD5 {published}", found, "--download"):
        load_images(Archived(name="cifar100"), tmp_path)
    assert read_published("cifar100", tmp_path, "train", found)


def test_missing_files_are_named(tmp_path: Path) -> None:
    """What was expected where, and how to get it."""
    with raises(ConfigError, "train-images-idx3-ubyte.gz", "No such file", "--download"):
        load_images(Archived(name="mnist"), tmp_path)


@pytest.mark.parametrize(
    ("damage", "facts"),
    [
        (lambda content: content[: len(content) // 2], ("gzip", "MNIST", "ended")),
        (lambda content: b"no gzip", ("gzip", "MNIST", "b'no'")),
        (lambda content: gzip.compress(gzip.decompress(content)[:-1]), ("IDX", "3 dimensions")),
        (lambda content: gzip.compress(b"\0\0"), ("IDX", "3 dimensions")),
        (lambda content: gzip.compress(struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1)), ("IDX",)),
    ],
)
def test_damaged_mnist_is_refused(tmp_path: Path, damage, facts: tuple[str, ...]) -> None:
    """Torn, truncated, empty, of absurd size."""
    path = write_mnist(tmp_path) / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with raises(ConfigError, path, *facts):
        load_mnist(tmp_path, train=True, verified=False)


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ({"side": 20}, ("7 images", "20x20", "7 labels")),
        ({"labels": 3}, ("7 images", "3 labels")),
        ({"largest": 11, "count": 12}, ("12 images", "12 labels")),
    ],
)
def test_mnist_that_does_not_fit_is_refused(tmp_path: Path, given: dict, got: tuple[str, ...]) -> None:
    """Other sizes, fewer labels than images, labels of an eleventh class."""
    write_mnist(tmp_path, **given)
    with raises(ConfigError, tmp_path, "28x28", "0 to 9", *got):
        load_mnist(tmp_path, train=True, verified=False)


def test_download_takes_what_is_there_and_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched where the published files lie; a failure names the source; what comes is verified."""
    source = write_mnist(tmp_path / "source")

    def files(part: str) -> tuple[tuple[str, str], ...]:
        paths = sorted(source.glob(f"{part}-*"))
        return tuple((p.name, hashlib.md5(p.read_bytes()).hexdigest()) for p in paths)

    train, test = files("train"), files("t10k")
    root, test_file = tmp_path / "data", (source / test[0][0]).read_bytes()
    with served(source) as address:  # a real transfer
        urls = tuple((f"{address}/{name}", md5) for name, md5 in (*train, *test))
        monkeypatch.setitem(ARCHIVES, "mnist", archives.Archive("MNIST", "MNIST/raw", train, test, urls))
        download("mnist", root)
        assert len(load_images(Archived(name="mnist"), root).train) == 7
        (source / test[0][0]).write_bytes(b"not what was published")
        (root / "MNIST" / "raw" / test[0][0]).unlink()
        with raises(ConfigError, "MNIST", "downloaded", "corrupted", address):
            download("mnist", root)
    (root / "MNIST" / "raw" / test[0][0]).write_bytes(test_file)
    download("mnist", root)  # nobody answers any more, and nobody is asked
    (root / "MNIST" / "raw" / train[0][0]).write_bytes(b"torn")
    with raises(ConfigError, "MNIST", "downloaded", "refused", address, root):
        download("mnist", root)


def test_crops_and_flips_are_those_of_the_padded_image() -> None:
    """Each image moved by at most 4 pixels, flipped or not, black where it was not; drawn by (seed, epoch, image)."""
    images = torch.rand(40, 2, 6, 5) + 0.5
    augment, indices = Augmentation("crop-flip", 40, seed=3, epoch=2), torch.arange(40)
    changed = augment(images, indices)
    assert augment.shifts is not None
    assert augment.flips is not None
    assert changed.shape == images.shape
    assert 5 < augment.flips.sum() < 35
    for image, result, (down, right), flipped in zip(
        images, changed, augment.shifts.tolist(), augment.flips, strict=True
    ):
        padded = torch.nn.functional.pad(image, (PADDING,) * 4)
        crop = padded[:, down : down + 6, right : right + 5]
        assert torch.equal(result, crop.flip(2) if flipped else crop)
    order = torch.tensor([7, 0, 31])
    assert torch.equal(augment(images[order], order), changed[order])
    again = Augmentation("crop-flip", 40, seed=3, epoch=2)(images, indices)
    assert torch.equal(again, changed)
    assert not torch.equal(Augmentation("crop-flip", 40, seed=3, epoch=3)(images, indices), changed)


def test_digits_are_moved_but_not_flipped() -> None:
    """``crop`` alone; ``none`` returns the images themselves."""

    def of(kind) -> Tensor:
        return Augmentation(kind, 3, 0, 0)(images, torch.arange(3))

    images = torch.zeros(3, 1, 9, 9)
    images[:, :, 4, 3] = 1  # further from the border than it can be moved
    moved = of("crop")
    assert moved.sum() == 3
    assert of("none") is images


STUDY = """\
title: Tiny
description: A file of the real format.
networks: [{{label: net, model: preresnet20, args: {{width: 4}}}}]
data: {{name: mnist, verified: {verified}}}
training:
  {{epochs: 1, batch_size: 16, optimizer: momentum, lr: 0.1, momentum: 0.9, weight_decay: 0, schedule: one-cycle,
   augmentation: crop}}
seeds: [0]
evaluations: [{{kind: clean}}, {{kind: gaussian, sigma: 0.1, seed: 0}}]
"""


def test_a_study_of_files(run: Run, tmp_path: Path) -> None:
    """From the command line, in a process of its own; files that are not the published ones only where it is said."""
    write_mnist(tmp_path / "sets", count=20)
    study, folder = tmp_path / "tiny.yaml", tmp_path / "runs"
    study.write_text(STUDY.format(verified="true"))
    refused = run(f"study {study} --folder {folder} --root {tmp_path / 'sets'}")
    assert refused.status == 2
    says(refused.err, "MNIST", "published", "MD5")
    study.write_text(STUDY.format(verified="false"))
    done = run(f"study {study} --folder {folder} --root {tmp_path / 'sets'} --workers 1")
    assert done.status == 0
    columns, rows = Store(folder).results()
    assert len({row[columns.index("run")] for row in rows}) == 1
