"""Inner products and combinations of a batch of vectors, in the order of factors that matrix products are fast in."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["combination", "host", "inner_products", "lengths", "workspace"]


def workspace(like: Tensor, *shape: int) -> Tensor:
    """An uninitialised tensor of the type and device of ``like``, for the vectors that a solver keeps.

    On a CPU numpy allocates it, as it asks the system for huge pages: the first touch of tens of megabytes in pages of
    4 KiB takes longer than an evaluation of f.
    """
    if like.device.type != "cpu":
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(shape, {torch.float32: np.float32, torch.float64: np.float64}[like.dtype]))


def inner_products(vectors: Tensor, x: Tensor) -> Tensor:
    """(B, K, n), (B, n) -> the K inner products, (B, K)."""
    return torch.bmm(x[:, None, :], vectors.mT)[:, 0]


def combination(weights: Tensor, vectors: Tensor) -> Tensor:
    """(B, K), (B, K, n) -> sum_k weights_k vectors_k, (B, n)."""
    return torch.bmm(weights[:, None, :], vectors)[:, 0]


def lengths(x: Tensor) -> Tensor:
    """(B, n) -> Euclidean norms (B,)."""
    return torch.linalg.vector_norm(x, dim=1)


def host(x: Tensor) -> NDArray[Any]:
    """A few numbers a sample in float64, where they are decided upon.

    numpy takes a third of the time that torch takes for so little, and on a GPU nothing of it is launched.
    """
    return x.cpu().numpy().astype(np.float64)
