"""Branches of two parts; the modules they build are in `stabzoo_polynet.layers`, which imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from stabzoo import Strict

if TYPE_CHECKING:
    from torch import nn

    from stabzoo import BranchSite

__all__ = ["MPoly2", "TwoWay"]


class MPoly2(Strict):
    """p(y) = f(y) + g(f(y)), the usual branches f and g with weights of their own: the block I + F + G F is mpoly-2."""

    name: ClassVar[str] = "mpoly2"

    def build(self, site: BranchSite) -> nn.Module:
        """The branch (see `stabzoo.BranchKind`)."""
        from stabzoo_polynet.layers import MPoly2Branch

        return MPoly2Branch(site)


class TwoWay(Strict):
    """p(y) = f(y) + g(y), two usual branches side by side: the block I + F + G is 2-way."""

    name: ClassVar[str] = "two_way"

    def build(self, site: BranchSite) -> nn.Module:
        """The branch (see `stabzoo.BranchKind`)."""
        from stabzoo_polynet.layers import TwoWayBranch

        return TwoWayBranch(site)
