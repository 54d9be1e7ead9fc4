"""Site percolation: are two marked cells of a random grid connected?

An answer needs a path of open cells, and such paths are long near the critical density 0.5927 of the square lattice: a
network must compose many local steps, so that depth is needed.

Source: Stauffer, Aharony, Introduction to Percolation Theory, 2nd ed., Table 1 (critical density).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from stabzoo.data.spec import Percolation

__all__ = ["CLASSES", "percolation_images"]

CLASSES = ("apart", "connected")


def percolation_images(data: Percolation, *, train: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 2, size, size), bytes, and labels (N,): open cells and the two marked ones, 255 each; 1 if connected.

    Each cell is open with probability ``density``; two different open cells are drawn until they are size // 2 steps
    apart or more, and images until half of them, rounded up, are of label 0. Cells are connected by their four
    neighbours. The numbers are the raw bits of PCG64, which NumPy keeps the same in all versions (NEP 19).

    Raises:
        ValueError: hardly any image is of one of the labels at this density.
    """
    size, count = data.size, data.train_images if train else data.test_images
    bits = np.random.PCG64(np.random.SeedSequence([data.seed, int(not train)]))
    limit = int(data.density * 2**53)
    wanted = [count - count // 2, count // 2]
    images, labels = np.zeros((count, 2, size, size), np.uint8), np.zeros(count, np.int64)
    clusters = np.zeros((size, size), np.int32)
    made = attempts = 0
    while made < count:
        attempts += 1
        if attempts > 100 * (made + 100):
            raise ValueError(
                f"density {data.density:g}: of {size} x {size} cells hardly any image is "
                f"{' or '.join(name for name, more in zip(CLASSES, wanted, strict=True) if more)}; "
                "expected a density near 0.6"
            )
        raw = np.asarray(bits.random_raw(size * size + 2)) >> np.uint64(11)
        is_open = (raw[:-2] < limit).reshape(size, size)
        places = np.flatnonzero(is_open)
        if len(places) == 0:
            continue
        a, b = (divmod(int(places[int(draw) % len(places)]), size) for draw in raw[-2:])
        if abs(a[0] - b[0]) + abs(a[1] - b[1]) < size // 2:
            continue
        ndimage.label(is_open, output=clusters)
        label = int(clusters[a] == clusters[b])
        if not wanted[label]:
            continue
        wanted[label] -= 1
        images[made, 0][is_open] = 255
        images[made, 1][[a[0], b[0]], [a[1], b[1]]] = 255
        labels[made] = label
        made += 1
    return torch.from_numpy(images), torch.from_numpy(labels)
