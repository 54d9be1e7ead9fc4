"""elpv: which cells are defective, which are held out, and what may be done to their images."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from fixtures.messages import raises
from stabzoo.cli.arguments.datasets import dataset_of, recipe_of
from stabzoo.data.images import InMemoryDataset
from stabzoo.data.loading import load_images
from stabzoo.data.spec import SOLAR_CELLS, SolarCells, check_augmentation
from stabzoo.errors import ConfigError
from stabzoo.training.results import SCANS, conditions
from stabzoo.training.spec import recipe

CELLS = 60


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> InMemoryDataset:
    """As many cells as the package has of each probability, one by one, and each of one grey of its own."""

    def load_dataset() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        images = np.broadcast_to(np.arange(CELLS, dtype=np.uint8)[:, None, None], (CELLS, 300, 300))
        return np.ascontiguousarray(images), np.arange(CELLS) % 4 / 3, np.full(CELLS, "mono")

    package, module = ModuleType("elpv_dataset"), ModuleType("elpv_dataset.utils")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "elpv_dataset", package)
    monkeypatch.setitem(sys.modules, "elpv_dataset.utils", module)
    load_images.cache_clear()
    yield load_images(SolarCells(name="elpv", size=8, test_images=20, split_seed=3))
    load_images.cache_clear()


def test_classes_and_split(cells: InMemoryDataset) -> None:
    """Defective from a probability of 2/3; no cell is on both sides, and none is lost; greys are those of the scan."""
    assert (cells.shape, cells.classes, cells.names) == ((1, 8, 8), 2, ("functional", "defective"))
    assert (cells.train_count, cells.test_count) == (CELLS - 20, 20)
    numbers = [(images[:, 0, 0, 0] * 255).round().long() for images in (cells.train, cells.test)]
    assert sorted(torch.cat(numbers).tolist()) == list(range(CELLS))
    for number, labels in zip(numbers, (cells.train_labels, cells.test_labels), strict=True):
        assert torch.equal(labels, (number % 4 >= 2).long())
    assert int(cells.test_labels.sum()) == 10
    assert torch.equal(cells.test, cells.test[:, :, :1, :1].expand_as(cells.test))
    assert float(cells.mean) == pytest.approx(float(cells.train.mean()))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    load_images.cache_clear()
    with raises(ConfigError, "elpv", "elpv_dataset", "stabzoo[elpv]"):
        load_images(SOLAR_CELLS)


def test_on_the_command_line() -> None:
    """By its name, at a model's size or another, with turns and flips, and measured as scans are."""
    data = dataset_of("elpv", None, 64, verified=True)
    assert data == SOLAR_CELLS.model_copy(update={"size": 64})
    assert dataset_of("elpv", 48, 64, verified=True) == SOLAR_CELLS.model_copy(update={"size": 48})
    assert recipe(recipe_of(data), {}).augmentation == "turn-flip"
    assert conditions(None, data) == SCANS
    with raises(ValueError, "crop-flip", "elpv"):
        check_augmentation(data, "crop-flip")


@pytest.mark.slow
def test_the_real_ones() -> None:
    """2624 cells, of which 1508 and 295 are functional, 106 and 715 defective."""
    pytest.importorskip("elpv_dataset")
    images = load_images(SOLAR_CELLS)
    assert (images.shape, images.train_count, images.test_count) == ((1, 32, 32), 1968, 656)
    assert int(images.train_labels.sum() + images.test_labels.sum()) == 106 + 715
    assert 0.3 < float(images.mean) < 0.8
