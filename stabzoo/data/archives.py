"""Published archives: where their files lie, whether they are the published ones, and fetching them.

Addresses and checksums are torchvision's, which keeps them up to date.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from torchvision import datasets
from torchvision.datasets.utils import download_and_extract_archive, download_url

from stabzoo.data.spec import FOLDERS
from stabzoo.errors import ConfigError
from stabzoo.files import open_regular

__all__ = ["ARCHIVES", "Archive", "download", "read_published"]


@dataclass(frozen=True)
class Archive:
    """The files of a data set.

    Attributes:
        title: Its name in messages.
        folder: Where the files lie, below the folder that holds all data sets.
        train, test: File names and their MD5 sums.
        urls: What is downloaded, and its MD5 sum: one archive to unpack, or the files themselves.
    """

    title: str
    folder: str
    train: tuple[tuple[str, str], ...]
    test: tuple[tuple[str, str], ...]
    urls: tuple[tuple[str, str], ...]


def _cifar(name: str, title: str, source: type[datasets.CIFAR10]) -> Archive:
    train, test = (tuple((name, md5) for name, md5 in files) for files in (source.train_list, source.test_list))
    return Archive(title, FOLDERS[name], train, test, ((source.url, source.tgz_md5),))


_MNIST_FILES = tuple((name, md5) for name, md5 in datasets.MNIST.resources)

ARCHIVES = {
    "cifar10": _cifar("cifar10", "CIFAR-10", datasets.CIFAR10),
    "cifar100": _cifar("cifar100", "CIFAR-100", datasets.CIFAR100),
    "mnist": Archive(
        "MNIST",
        FOLDERS["mnist"],
        _MNIST_FILES[:2],
        _MNIST_FILES[2:],
        tuple((datasets.MNIST.mirrors[0] + name, md5) for name, md5 in _MNIST_FILES),
    ),
}


def read_published(name: str, root: Path, file: str, md5: str | None) -> bytes:
    """Return the bytes of ``file`` of the data set ``name`` below ``root``.

    Args:
        name: A key of `ARCHIVES`.
        root: The folder that holds all data sets.
        file: One of its files.
        md5: The file's sum; None takes whatever is there.

    Raises:
        ConfigError: the file is missing, or not the published one; the message says how to get it.
    """
    archive = ARCHIVES[name]
    path = root / archive.folder / file
    cure = f"get it with --download, or unpack {archive.title}'s archive so that {archive.folder} lies in {root}"
    try:
        with open_regular(path) as opened:
            content = opened.read()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror or error}); expected a file of {archive.title}: {cure}"
        ) from None
    if md5 is not None and (found := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
        raise ConfigError(
            f"{path}: not the published file of {archive.title}: expected MD5 {md5}, got {found}; remove it and "
            f"{cure}, or write verified: false into the study's data"
        )
    return content


def download(name: str, root: Path) -> None:
    """Fetch the data set ``name`` into ``root``, unless its published files are there; checksums are verified.

    Raises:
        ConfigError: it cannot be fetched, or what comes is not what was published.
    """
    archive = ARCHIVES[name]
    try:
        for file, md5 in (*archive.train, *archive.test):
            read_published(name, root, file, md5)
        return
    except ConfigError:
        pass  # missing or damaged
    try:
        for url, md5 in archive.urls:
            if len(archive.urls) == 1:
                download_and_extract_archive(url, str(root), md5=md5)
            else:
                download_url(url, str(root / archive.folder), md5=md5)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; torchvision's own are RuntimeErrors
        sources = ", ".join(url for url, _ in archive.urls)
        raise ConfigError(
            f"{archive.title} cannot be downloaded ({error}); fetch {sources} by other means into {root}"
        ) from None
