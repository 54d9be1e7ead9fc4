"""Images from strangers: what is no file, links in a circle, other formats, too many pixels, and killed readers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fixtures.messages import raises, warns
from stabzoo.data.from_disk import DEATHS, DiskDataset, open_folder, open_timm
from stabzoo.data.image_files import files_of_classes
from stabzoo.data.spec import Folder, Timm
from stabzoo.errors import ConfigError

COUNT = 6


def images(root: Path, count: int = COUNT) -> Path:
    """Two classes for training and for tests, of noise."""
    chance = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(chance.integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return root


def opened(root: Path, workers: int = 0) -> DiskDataset:
    """The data set."""
    return open_folder(Folder(name="folder", path=str(root), size=8), Path(), workers)


def read(data: DiskDataset) -> list[Any]:
    """All training images, two a batch."""
    return list(data.training(torch.arange(data.train_count).split(2)))


@pytest.mark.parametrize("to", [".", "..", "../..", "../dog", "{root}", "{elsewhere}/up"])
def test_a_link_is_not_followed_in_a_circle(tmp_path: Path, to: str) -> None:
    """To a folder itself, to what it lies in, and to another class."""
    root = images(tmp_path / "i")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "up").symlink_to(root)
    (root / "train" / "cat" / "loop").symlink_to(to.format(root=root, elsewhere=tmp_path / "elsewhere"))
    assert opened(root).train_count == 2 * COUNT


def test_a_link_to_another_folder_is_followed_once(tmp_path: Path) -> None:
    """Data sets are put together of links; files too may be links."""
    root = images(tmp_path / "i")
    more = tmp_path / "more"
    (more / "deep").mkdir(parents=True)
    for name in ("x.png", "deep/y.PNG", "z.txt"):
        (more / name).write_bytes((root / "val" / "cat" / "0.png").read_bytes())
    for link in ("a", "b"):
        (root / "train" / "cat" / link).symlink_to(more)
    (root / "train" / "dog" / "9.png").symlink_to(more / "x.png")
    assert opened(root).train_count == 2 * COUNT + 3
    found = [Path(path).name for path, number in files_of_classes(root / "train", ["cat", "dog"]) if number == 0]
    assert found == [*(f"{i}.png" for i in range(COUNT)), "x.png", "y.PNG"]


def test_timms_reader_is_not_led_in_a_circle(tmp_path: Path) -> None:
    """It would follow 40 times."""
    root = images(tmp_path / "i")
    (root / "train" / "cat" / "loop").symlink_to("..")
    with raises(ConfigError, "loop", "remove"):
        open_timm(Timm(name="timm", dataset="", path=str(root), train="train", test="val", size=8), Path(), 0)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder", "nothing"])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path, kind: str, workers: int) -> None:
    """A FIFO without another end would be waited for, and /dev/zero never ends."""
    root = images(tmp_path / "i")
    odd = root / "train" / "cat" / "0.png"
    odd.unlink()
    match kind:
        case "fifo":
            os.mkfifo(odd)
        case "socket":
            os.mknod(odd, 0o140644)
        case "device":
            odd.symlink_to("/dev/zero")
        case "folder":
            odd.symlink_to(root)
        case "nothing":
            odd.symlink_to("nowhere")
    if kind == "folder":  # which is no file, and leads in a circle
        assert opened(root).train_count == 2 * COUNT - 1
        return
    with raises(ConfigError, odd):
        read(opened(root, workers))


def test_timms_samples_are_not_waited_for(tmp_path: Path) -> None:
    """Of a folder, and of a tar that is none."""
    root = images(tmp_path / "i")
    odd = root / "train" / "cat" / "0.png"
    odd.unlink()
    os.mkfifo(odd)
    data = open_timm(Timm(name="timm", dataset="", path=str(root), train="train", test="val", size=8), Path(), 0)
    with raises(ConfigError, odd, "regular file"):
        read(data)
    os.mkfifo(tmp_path / "images.tar")
    with raises(ConfigError, "images.tar", "regular file"):
        open_timm(Timm(name="timm", dataset="", path=str(tmp_path / "images.tar"), size=8), Path(), 0)


def _eps(path: Path) -> None:
    Image.new("RGB", (9, 9)).save(path, "EPS")


def _gif(path: Path) -> None:
    Image.new("RGB", (9, 9)).save(path, "GIF")


def _many(path: Path) -> None:
    Image.new("1", (10_000, 9_000)).save(path, "PNG")


def _long(path: Path) -> None:
    Image.new("1", (4_000_000, 1)).save(path, "PNG")


@pytest.mark.parametrize("write", [_eps, _gif, _many, _long])
def test_other_formats_and_too_many_pixels_are_refused(tmp_path: Path, write: Any) -> None:
    """A program called .png, more pixels than Pillow allows, and an image that would be after its resizing."""
    root = images(tmp_path / "i")
    odd = root / "train" / "cat" / "0.png"
    write(odd)
    with raises(ConfigError, odd):
        read(opened(root))


def test_a_killed_reader_is_said_and_its_images_read_again(tmp_path: Path) -> None:
    """Not one batch is lost, doubled or changed."""
    data = opened(images(tmp_path / "i", 20), workers=2)
    expected = read(opened(tmp_path / "i"))
    found: list[Any] = []
    with warns(RuntimeWarning, "reads images", "again"):
        for batch in data.training(torch.arange(data.train_count).split(2)):
            found.append(batch)
            if len(found) in (1, 7):
                for process in multiprocessing.active_children():  # not multiprocessing's own helper, which others need
                    process.kill()
    assert len(found) == len(expected) == 20
    assert all(torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(found, expected, strict=True))
    assert signal.getsignal(signal.SIGCHLD) in (signal.SIG_DFL, None)


@pytest.mark.slow
def test_readers_that_are_always_killed_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says how often, and what to try; it is no fault of the image."""

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("stabzoo.data.from_disk.decode", die)
    data = opened(images(tmp_path / "i"), workers=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with raises(ConfigError, f"{DEATHS} times", "--workers"):
            read(data)
