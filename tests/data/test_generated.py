"""Percolation: exact labels, the same bits everywhere, and what may be done to its images."""

from __future__ import annotations

import hashlib
from collections import deque

import pytest
import torch

from fixtures.messages import raises
from stabzoo.cli.arguments.datasets import dataset_of, recipe_of
from stabzoo.data.augmentation import Augmentation
from stabzoo.data.generated.percolation import percolation_images
from stabzoo.data.loading import load_images
from stabzoo.data.spec import PERCOLATION, Percolation, check_augmentation
from stabzoo.errors import ConfigError
from stabzoo.training.spec import recipe

SMALL = Percolation(name="percolation", train_images=60, test_images=31)


def connected(image: torch.Tensor) -> bool:
    """By a search from one marked cell, cell by cell."""
    cells, marks = image[0].bool().tolist(), image[1].nonzero().tolist()
    (start, end), size = map(tuple, marks), len(cells)
    seen, queue = {start}, deque([start])
    while queue:
        y, x = queue.popleft()
        for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if near not in seen and all(0 <= c < size for c in near) and cells[near[0]][near[1]]:
                seen.add(near)
                queue.append(near)
    return end in seen


@pytest.mark.parametrize("train", [True, False])
def test_labels_are_exact_and_balanced(train: bool) -> None:
    """A search of our own finds the same; marks are two open cells, half a side apart or more."""
    images, labels = percolation_images(SMALL, train=train)
    assert [connected(image) for image in images] == labels.bool().tolist()
    assert labels.sum() == len(labels) // 2
    for image in images:
        assert image[0][image[1] > 0].tolist() == [255, 255]
        first, second = image[1].nonzero()
        assert (first - second).abs().sum() >= SMALL.size // 2


def test_the_same_parameters_are_the_same_images() -> None:
    """To the bit, on any machine, and in any number; another seed and the test part are others."""
    images, labels = percolation_images(SMALL.model_copy(update={"train_images": 20}), train=True)
    known = hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    assert known.startswith("69ae2a54ae6be35e")
    others = [
        percolation_images(SMALL.model_copy(update={"seed": 1}), train=True)[0],
        percolation_images(SMALL, train=False)[0],
    ]
    assert all(not torch.equal(images, other[:20]) for other in others)


def test_opened_as_data_of_a_study() -> None:
    """Two channels, two classes with names, and no files."""
    images = load_images(SMALL)
    assert (images.shape, images.train_count, images.test_count) == ((2, 12, 12), 60, 31)
    assert (images.classes, images.names) == (2, ("apart", "connected"))
    assert images.test.unique().tolist() == [0, 1]


@pytest.mark.parametrize("density", [1e-6, 0.05, 0.99])
def test_a_density_at_which_a_label_hardly_occurs(density: float) -> None:
    """It is refused, instead of searched for."""
    with raises(ConfigError, "percolation", f"{density:g}", "0.6"):
        load_images(Percolation(name="percolation", density=density, train_images=10, test_images=10))


def test_every_symmetry_of_the_square_keeps_labels() -> None:
    """All eight occur, drawn from seed, epoch and image alone."""
    images, _ = percolation_images(SMALL, train=True)
    augmentation = Augmentation("turn-flip", len(images), seed=3, epoch=0)
    turned = augmentation(images, torch.arange(len(images)))
    assert [connected(image) for image in turned] == [connected(image) for image in images]
    assert torch.equal(turned[[7, 2]], augmentation(images[[7, 2]], torch.tensor([7, 2])))
    grid = torch.arange(9).view(1, 1, 3, 3).expand(60, 1, 3, 3)
    assert len({tuple(t.flatten().tolist()) for t in augmentation(grid, torch.arange(60))}) == 8


def test_augmentations_that_change_labels_are_refused() -> None:
    """A crop cuts marks off; digits do not survive a turn."""
    check_augmentation(PERCOLATION, "turn-flip")
    for data, augmentation in ((PERCOLATION, "crop"), (dataset_of("digits", None, verified=True), "turn-flip")):
        with raises(ValueError, augmentation, data.name):
            check_augmentation(data, augmentation)


def test_on_the_command_line() -> None:
    """By its name, at another size, with a recipe of its own."""
    data = dataset_of("percolation", 16, 32, verified=True)
    assert data == PERCOLATION.model_copy(update={"size": 16})
    assert dataset_of("percolation", None, 32, verified=True) == PERCOLATION
    assert recipe(recipe_of(data), {}).augmentation == "turn-flip"
