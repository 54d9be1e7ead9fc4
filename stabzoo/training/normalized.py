"""A network of a study as its data need it: pixels in, logits out."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.data.images import ImageDataset
from stabzoo.diagnostics.bounds.certificate import Certificate, certificate
from stabzoo.diagnostics.bounds.pixels import Normalization

__all__ = ["NormalizedModel"]


class NormalizedModel(nn.Module):
    """A network that takes pixels in [0, 1] and normalises them by the training pixels' mean and deviation first.

    Constraints and a regulariser, where the network has them, are reached through it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, images: ImageDataset) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", images.mean, persistent=False)
        self.register_buffer("std", images.std, persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """What the network itself is given."""
        return (pixels - self.mean) / self.std

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, classes) of ``pixels`` (N, C, H, W)."""
        return self.network(self.normalise(pixels))

    def composition(self) -> list[tuple[str, nn.Module]]:
        """The modules that it is made of, in the order in which they act: what `forward_bounds` bounds it by."""
        return [("normalise", Normalization(self.mean, self.std)), ("network", self.network)]

    def certificate(self, input_size: tuple[int, int, int]) -> Certificate:
        """What gives the certified l2 radii of pixels in [0, 1]."""
        return certificate(self, input_size)

    def post_step(self) -> None:
        """Project the weights onto the constraints of the network's scheme, if it has any."""
        if (project := getattr(self.network, "post_step", None)) is not None:
            project()

    def training_state(self) -> Any:
        """What the network's scheme remembers from step to step besides the weights; None where that is nothing."""
        remembered = getattr(self.network, "training_state", None)
        return None if remembered is None else remembered()

    def load_training_state(self, state: Any) -> None:
        """Remember a `training_state` of this network."""
        if state is not None:
            self.network.load_training_state(state)  # type: ignore[operator]  # pyright: ignore

    def constraints(self) -> dict[str, Any]:
        """The constraints of the network's scheme, by the names of the weights; empty where it has none."""
        constraints = getattr(self.network, "constraints", None)
        return {} if constraints is None else constraints()

    @torch.no_grad()
    def violations(self) -> list[str]:
        """Weights that their constraint's projection would change, or that are not finite, with the constraint."""
        # attributes, for a parametrized weight is no parameter
        found = [(name, constraint, attrgetter(name)(self.network)) for name, constraint in self.constraints().items()]
        return [
            f"{name}: {constraint}"
            for name, constraint, weight in found
            if not (weight.isfinite().all() and torch.equal(constraint.project(weight), weight))
        ]

    def blocks(self) -> list[nn.Module]:
        """The blocks of the network, whose outputs are its states.

        Raises:
            ValueError: it does not tell them.
        """
        if (blocks := getattr(self.network, "blocks", None)) is None or isinstance(blocks, nn.Module):
            raise ValueError(
                f"training.perturbation: expected a network with a method blocks(), got {type(self.network).__name__}; "
                "remove the term, or use a model of stabzoo"
            )
        return blocks()

    def regularizer(self, alpha: float) -> Tensor | float:
        """The regulariser of the network's scheme, with weight ``alpha``; 0 where it has none."""
        regularizer = getattr(self.network, "regularizer", None)
        return 0.0 if regularizer is None else regularizer(alpha)
