"""Inner products and combinations of a batch of vectors, in the order of factors that matrix products are fast in."""

import torch
from torch import Tensor

__all__ = ["combination", "inner_products", "lengths"]


def inner_products(vectors: Tensor, x: Tensor) -> Tensor:
    """(B, K, n), (B, n) -> the K inner products, (B, K)."""
    return torch.bmm(x[:, None, :], vectors.mT)[:, 0]


def combination(weights: Tensor, vectors: Tensor) -> Tensor:
    """(B, K), (B, K, n) -> sum_k weights_k vectors_k, (B, n)."""
    return torch.bmm(weights[:, None, :], vectors)[:, 0]


def lengths(x: Tensor) -> Tensor:
    """(B, n) -> Euclidean norms (B,)."""
    return torch.linalg.vector_norm(x, dim=1)
