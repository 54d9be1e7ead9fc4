"""Images that are read and decoded when they are needed, by processes that read ahead in the order of the batches.

A training's order and its random crops are drawn from (seed, epoch, image), so neither the number of processes nor what
was read before changes a pixel.
"""

from __future__ import annotations

import math
import re
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transform

from stabzoo.data.augmentation import Augmentation
from stabzoo.data.image_files import EXTENSIONS, decode, files_of_classes, links_in_a_circle
from stabzoo.data.images import Batch, ImageDataset, to_unit_interval
from stabzoo.data.spec import Folder, ReadFromDisk, Timm
from stabzoo.errors import ConfigError
from stabzoo.files import open_regular

__all__ = ["DiskDataset", "fetch_timm", "open_folder", "open_timm"]

BILINEAR = InterpolationMode.BILINEAR
STREAMS = ("tfds/", "wds/", "hfids/")
DEATHS = 3
"""Of processes that decode, at the same batch, before it is given up."""


class Samples(Protocol):
    """Images by their number, decoded when they are asked for, with their labels."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Image.Image, int]: ...

    def where(self, index: int) -> str:
        """What to look at when an image cannot be read."""
        ...


@dataclass(frozen=True)
class _Files:
    entries: list[tuple[str, int]]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.entries[index]
        with open_regular(Path(path)) as file:
            return decode(file), label

    def where(self, index: int) -> str:
        return self.entries[index][0]


@dataclass(frozen=True)
class _TimmSamples:
    dataset: Any
    title: str

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        # not through timm's own data set, which takes the next image where one cannot be read
        reader = getattr(self.dataset, "reader", None)
        path = Path(self.where(index))
        if path.exists() and not path.is_file():  # which it would wait for
            raise OSError("not a regular file")
        found, label = self.dataset[index][:2] if reader is None else reader[index][:2]
        if isinstance(found, Image.Image):
            return found.convert("RGB"), int(label)
        with found:
            return decode(found), int(label)

    def where(self, index: int) -> str:
        try:
            return str(self.dataset.filename(index, absolute=True))
        except Exception:  # torchvision's have no such method, and readers need not
            return f"{self.title}, image {index}"


@dataclass(frozen=True)
class DiskDataset(ImageDataset):
    """A data set on disk.

    Args:
        data: Size and normalisation.
        train, test: The images.
        classes, mean, std: As `ImageDataset` has them.
        workers: Processes that decode; with 0, this one does.
    """

    data: ReadFromDisk
    train: Samples
    test: Samples
    classes: int
    mean: Tensor
    std: Tensor
    workers: int
    names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W)."""
        return 3, self.data.size, self.data.size

    @property
    def train_count(self) -> int:
        """Number of training images."""
        return len(self.train)

    @property
    def test_count(self) -> int:
        """Number of test images."""
        return len(self.test)

    def training(self, parts: Sequence[Tensor], augmentation: Augmentation | None = None) -> Iterator[Batch]:
        """One batch for each of ``parts``, read ahead."""
        for part, (pixels, labels) in zip(parts, self._read(self.train, parts, augmentation), strict=True):
            yield augmentation(pixels, part) if augmentation else pixels, labels

    def testing(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        """One batch for each of ``parts``, read ahead."""
        return self._read(self.test, parts, None)

    def _read(self, samples: Samples, parts: Sequence[Tensor], augmentation: Augmentation | None) -> Iterator[Batch]:
        windows = augmentation if augmentation and augmentation.resizes else None
        decoded = _Decoded(samples, self.data, self.classes, windows)
        done = deaths = 0
        while done < len(parts):
            loader = DataLoader(
                decoded,
                batch_sampler=[part.tolist() for part in parts[done:]],
                num_workers=min(self.workers, len(parts) - done),
                collate_fn=_together,
                generator=torch.Generator().manual_seed(0),  # it would draw from the global stream otherwise
            )
            try:
                for found in _started(loader):
                    if isinstance(found, _Unreadable):
                        raise ConfigError(found.reason)
                    pixels, labels = found
                    done, deaths = done + 1, 0
                    yield to_unit_interval(pixels), labels
            except (RuntimeError, OSError, EOFError) as error:
                if not (loader.num_workers and (how := _death(error))):
                    raise
                deaths += 1
                if deaths == DEATHS:
                    raise ConfigError(
                        f"data: {how}, {DEATHS} times at the same images; is there too little memory? try again with "
                        "fewer --workers"
                    ) from None
                warnings.warn(f"{how}; it is started again", RuntimeWarning, stacklevel=2)


def _started(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches of ``loader``; a process of it that dies is reported with the next batch.

    torch's handler of SIGCHLD would raise in the middle of whatever the main thread is at.
    """
    if threading.current_thread() is not threading.main_thread():
        return iter(loader)
    handler = signal.getsignal(signal.SIGCHLD)
    found = iter(loader)
    signal.signal(signal.SIGCHLD, handler)
    return found


def _death(error: Exception) -> str | None:
    """How a process that decodes has ended; None where the error is another."""
    if not isinstance(error, RuntimeError):  # of the pipe to it: its own errors come as `_Unreadable`
        return f"a process that reads images has ended ({error or type(error).__name__})"
    match = re.match(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)", str(error))
    return f"the process {match[1]} that reads images {match[2].rstrip('. ')}" if match else None


@dataclass(frozen=True)
class _Unreadable:
    """Why an image cannot be read; an exception of a reading process would come with its traceback in the message."""

    reason: str


@dataclass(frozen=True)
class _Decoded(Dataset[Any]):
    samples: Samples
    data: ReadFromDisk
    classes: int
    windows: Augmentation | None

    def __getitem__(self, index: int) -> tuple[Tensor, int] | _Unreadable:
        """Pixels (3, size, size), bytes, and the label."""
        try:
            image, label = self.samples[index]
            pixels = self._cut(image, index)
        except Exception as error:  # a damaged file raises whatever its bytes lead to
            text = str(error) or type(error).__name__
            return _Unreadable(
                f"{self.samples.where(index)}: not an image that can be read ({text}); get it again, or remove it"
            )
        if not 0 <= label < self.classes:
            return _Unreadable(
                f"{self.samples.where(index)}: expected a label from 0 to {self.classes - 1}, got {label}"
            )
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1), label

    def _cut(self, image: Any, index: int) -> Any:
        size = [self.data.size, self.data.size]
        if self.windows is None:
            shorter = round(self.data.size / self.data.crop)
            longer = shorter * max(image.size) // min(image.size)
            if shorter * longer > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise ValueError(f"of {image.width}x{image.height} pixels it would be resized to {shorter}x{longer}")
            image = transform.resize(image, [shorter], BILINEAR)
            return transform.center_crop(image, size)
        window = self.windows.window(index, image.width, image.height)
        image = transform.resized_crop(image, window.top, window.left, window.height, window.width, size, BILINEAR)
        return transform.hflip(image) if window.flipped else image


def _together(found: list[tuple[Tensor, int] | _Unreadable]) -> Batch | _Unreadable:
    pixels: list[Tensor] = []
    labels: list[int] = []
    for entry in found:
        if isinstance(entry, _Unreadable):
            return entry
        pixels.append(entry[0])
        labels.append(entry[1])
    return torch.stack(pixels), torch.tensor(labels)


def open_folder(data: Folder, root: Path, workers: int) -> DiskDataset:
    """Find the images of a folder of training classes and one of test classes.

    Raises:
        ConfigError: a folder is missing, a class has no image, or the two have other classes.
    """
    path = root / data.path
    classes = _classes(path / data.train, path)
    if data.test_share is not None:
        train, test = _split(_files(path / data.train, classes), data.test_share, data.split_seed, path)
        return _from_disk(data, train, test, len(classes), workers, classes)
    tested = _classes(path / data.test, path)
    if tested != classes:
        odd = sorted(set(classes) ^ set(tested))[0]
        has, has_not = (data.train, data.test) if odd in classes else (data.test, data.train)
        raise ConfigError(f"{path}: expected the same classes in both, but {odd!r} is in {has} and not in {has_not}")
    train, test = (_files(path / part, classes) for part in (data.train, data.test))
    return _from_disk(data, train, test, len(classes), workers, classes)


def _classes(folder: Path, path: Path) -> list[str]:
    try:
        found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be read ({error.strerror or error}); expected one folder of images per class, "
            f"{folder.name}/CLASS/*.jpg; name it in the data, or put the data set into {path}"
        ) from None
    if not found:
        raise ConfigError(
            f"{folder}: expected one folder of images per class, found none; ImageNet's validation images, which come "
            "in one folder, are put into those of their classes first"
        )
    return found


def _files(folder: Path, classes: list[str]) -> _Files:
    entries = files_of_classes(folder, classes)
    filled = {label for _, label in entries}
    for label, name in enumerate(classes):
        if label not in filled:
            raise ConfigError(
                f"{folder / name}: expected an image of this class, found none ({', '.join(EXTENSIONS)}); "
                "put its images there, or remove the folder"
            )
    return _Files(entries)


def _split(files: _Files, share: float, seed: int, path: Path) -> tuple[_Files, _Files]:
    """Images for training, and the share that is held out, stratified by class; both in the order of the files."""
    labels = [label for _, label in files.entries]
    try:
        parts = train_test_split(range(len(labels)), test_size=share, random_state=seed, stratify=labels)
    except ValueError as error:  # a class with one image, or fewer images held out than classes
        raise ConfigError(
            f"{path}: test_share: {share:g} of {len(labels)} images cannot be held out: {error}"
        ) from None
    train, test = (_Files([files.entries[i] for i in sorted(part)]) for part in parts)
    return train, test


def open_timm(data: Timm, root: Path, workers: int) -> DiskDataset:
    """Open both splits of a data set of timm's factory.

    Raises:
        ConfigError: it is a stream, timm cannot open it, or it does not tell its number of classes.
    """
    train, test = (_timm_split(data, root, split, download=False) for split in (data.train, data.test))
    classes, names = _count(data, train, test), _classes_told(getattr(train, "reader", train))
    samples = _TimmSamples(train, data.title), _TimmSamples(test, data.title)
    return _from_disk(data, *samples, classes, workers, names if len(names) == classes else ())


def _from_disk(
    data: ReadFromDisk, train: Samples, test: Samples, classes: int, workers: int, names: Sequence[str]
) -> DiskDataset:
    mean, std = (torch.tensor(constants).view(3, 1, 1) for constants in (data.mean, data.std))
    return DiskDataset(data, train, test, classes, mean, std, workers, tuple(names))


def fetch_timm(data: Timm, root: Path) -> None:
    """Have a data set's own code download both splits, where they are not there already.

    Raises:
        ConfigError: it cannot be had.
    """
    for split in (data.train, data.test):
        _timm_split(data, root, split, download=True)


def _timm_split(data: Timm, root: Path, split: str, *, download: bool) -> Any:
    from timm.data.dataset_factory import create_dataset

    if data.dataset.lower().startswith(STREAMS):
        raise ConfigError(
            f"data: {data.dataset!r} is a stream, whose images have no numbers; expected torch/NAME, hfds/NAME, or "
            "a folder or a .tar file (dataset: '')"
        )
    path = root / data.path
    try:
        if not data.dataset.lower().startswith(("torch/", "hfds/")) and not path.exists():
            raise FileNotFoundError(f"there is no {path}")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(f"{path} is neither a folder nor a regular file")
        if not data.dataset and (links := links_in_a_circle(path)):
            raise OSError(f"{links[0]} leads to a folder that is already read; remove it")
        return create_dataset(data.dataset, str(path), split=split, download=download)
    except Exception as error:  # every data set has its own ways
        missing = isinstance(error, ImportError)
        cure = "install the package" if missing else f"get it with --download, or put it into {path}"
        raise ConfigError(
            f"data: timm cannot open {data.title}, split {split!r}, in {path} ({error or type(error).__name__}); {cure}"
        ) from None


def _count(data: Timm, train: Any, test: Any) -> int:
    known, tested = (_classes_told(getattr(split, "reader", split)) for split in (train, test))
    if known and tested and known != tested:
        odd = next((name for name in known + tested if (name in known) != (name in tested)), "their order")
        raise ConfigError(f"data: the splits of {data.title} have other classes: {odd!r} is not the same in both")
    if data.classes is None and not known:
        raise ConfigError(f"data: {data.title} does not state its classes; write classes: and their number")
    return data.classes or len(known)


def _classes_told(reader: Any) -> list[str]:
    """What a reader of timm's or a data set of torchvision's says; nothing where it says nothing."""
    found = [getattr(reader, name, None) for name in ("class_to_idx", "class_name_to_idx", "classes")]
    return [str(name) for name in next(filter(None, found), [])]
