"""Rooted trees: the terms of Taylor expansions of y' = f(y), by which the order of a one-step method is decided.

A tree is the sorted tuple of the trees that hang at its root: ``()`` is f, ``((),)`` is f' f, ``((), ())`` is
f''(f, f).  The exact solution weighs a tree by 1 / gamma.

Source: Butcher; Hairer, Norsett, Wanner, Solving ODEs I, II.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TypeAlias

__all__ = ["Tree", "density", "nodes", "trees"]

Tree: TypeAlias = tuple["Tree", ...]


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """Return all rooted trees with so many nodes: 1, 1, 2, 4, 9, 20, 48, 115, ... of them.

    >>> [len(trees(n)) for n in range(1, 9)]
    [1, 1, 2, 4, 9, 20, 48, 115]

    """
    if order == 1:
        return ((),)
    return tuple(sorted({larger for tree in trees(order - 1) for larger in _with_a_leaf(tree)}))


def _with_a_leaf(tree: Tree) -> Iterator[Tree]:
    """Return the trees that arise when a leaf is attached to one node."""
    yield tuple(sorted((*tree, ())))
    for i, branch in enumerate(tree):
        for larger in _with_a_leaf(branch):
            yield tuple(sorted((*tree[:i], larger, *tree[i + 1 :])))


@cache
def nodes(tree: Tree) -> int:
    """Return the number of nodes: the order of the tree."""
    return 1 + sum(map(nodes, tree))


@cache
def density(tree: Tree) -> int:
    """Return gamma: the number of nodes times the densities of the branches."""
    product = nodes(tree)
    for branch in tree:
        product *= density(branch)
    return product
