"""Certified l2 radii of a network's answers, from its margins and its Lipschitz bounds.

Logits are f = W g + b, g the features that a linear classifier reads.  With ||g(x') - g(x)|| <= L ||x' - x||, proved by
`forward_bounds`, the margin f_y - f_j of two classes moves by at most L ||w_y - w_j|| ||x' - x||, and also by at most
sqrt(2) times what all logits may move.  So no x' within

    r(x) = min over j of (f_y(x) - f_j(x)) / min(L ||w_y - w_j||, sqrt(2) L_f)

of x has another answer.  Margins are of float64, less its rounding, and less four times what the network's own
arithmetic computes otherwise; bounds and norms are rounded up, and radii down, so that at r(x) itself y is still ahead.

Source: Tsuzuku, Sato, Sugiyama, Lipschitz-margin training, NeurIPS 2018; with pairwise norms, Anil, Lucas, Grosse, ICML
2019, and others.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stabzoo.diagnostics.bounds.genuine import frozen
from stabzoo.diagnostics.bounds.network import forward_bounds
from stabzoo.diagnostics.bounds.rules.composition import composition
from stabzoo.diagnostics.bounds.step_bound import rounded_up
from stabzoo.diagnostics.spectra.operators import largest_singular_values
from stabzoo.errors import CertificateError
from stabzoo.networks.staged import StagedNetwork

__all__ = ["Certificate", "certificate", "least_move"]

_ROUNDING = 1e-9  # of float64 within a network, relative to the logits; as in the cross-examination
_SAFETY = 4.0


@dataclass(frozen=True)
class Certificate:
    """The certified radii of one network's answers: call it with images and labels.

    Attributes:
        network: As it is run.
        exact: The same in float64.
        sensitivity: Certified bound of the logits' Lipschitz constant; infinite where nothing is known.
        features: The same of what the classifier reads; infinite where the network does not end in one.
        pairs: (classes, classes), how far f_y - f_j moves at most when the image moves by 1; None of an unknown bound.
        refused: Why nothing is known; empty otherwise.
    """

    network: nn.Module
    exact: nn.Module
    sensitivity: float
    features: float
    pairs: Tensor | None
    refused: str = ""

    @property
    def least(self) -> float:
        """The least of `pairs`, of two different classes; infinite where nothing is known, or there is one class."""
        if self.pairs is None or len(self.pairs) < 2:
            return math.inf
        return _least(self.pairs)

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The certified l2 radius (B,), float64, of each image's label: 0 where the answer is another, or a tie.

        Args:
            images: (B, C, H, W), on the scale that the network takes.
            labels: (B,).
        """
        if self.pairs is None:
            return torch.zeros(len(images), dtype=torch.float64, device=images.device)
        exact = self.exact(images.double())
        rounding = _SAFETY * (self.network(images).double() - exact).abs().amax(1)
        rounding += 2 * _ROUNDING * torch.linalg.vector_norm(exact, dim=1)
        own = labels[:, None]
        margins = exact.gather(1, own) - exact - rounding[:, None]
        radii = margins / self.pairs.to(exact.device)[labels]
        radii = radii.scatter(1, own, torch.inf).amin(1) / rounded_up(1.0)
        return torch.where(radii > 0, radii, torch.zeros_like(radii))  # of what is not a number, too


def certificate(
    model: nn.Module, input_size: tuple[int, int, int], *, iterations: int = 0, seconds: float = math.inf
) -> Certificate:
    """Bound what a network's margins may move, by `forward_bounds` of it and of its features.

    Args:
        model: In evaluation mode, on the scale on which radii are wanted: with a normalisation of pixels in front, on
            that of pixels.
        input_size: (channels, height, width).
        iterations: Gradient steps of the joint bound, as for `forward_bounds`.
        seconds: What these steps may take, of the network and again of its features.

    Raises:
        CertificateError: The network contradicts its bound.
    """
    whole = forward_bounds(model, input_size, iterations=iterations, seconds=seconds)
    sensitivity = whole.sensitivity.value
    if not math.isfinite(sensitivity):
        refused = whole.refused[0] if whole.refused else whole.sensitivity.note
        return Certificate(model, model, math.inf, math.inf, None, refused)
    plain, exact = frozen(model), copy.deepcopy(model).double()
    found = _classifier(plain)
    if found is None or sum(part is found[1] for _, part in plain.named_modules(remove_duplicate=False)) != 1:
        return Certificate(model, exact, sensitivity, math.inf, _everywhere(_classes(model, input_size), sensitivity))
    name, classifier = found
    headless = copy.deepcopy(plain)
    headless.set_submodule(name, nn.Identity())
    features = forward_bounds(headless, input_size, iterations=iterations, seconds=seconds).sensitivity.value
    weight = classifier.weight.detach().double().cpu()
    _confirm(exact, headless, classifier, input_size)
    apart = _apart(weight)
    pairs = torch.minimum(
        apart * rounded_up(features) if math.isfinite(features) else torch.full_like(apart, math.inf),
        _everywhere(len(weight), sensitivity),
    )
    return Certificate(model, exact, sensitivity, features, rounded_up(1.0) * pairs)


def least_move(model: nn.Module, sensitivity: float) -> float:
    """What the `certificate` of a network will say at least that margins may move, by the bound of its logits alone.

    The logits are W g + b, and the bound of g is no smaller than that of the logits over ||W||, for a product of bounds
    is one of the logits: so min over pairs of min(||w_i - w_j|| / ||W||, sqrt 2) times ``sensitivity``.  0 where the
    network does not end in a linear layer.
    """
    found = _classifier(frozen(model)) if sensitivity else None
    if found is None or len(found[1].weight) < 2 or not found[1].weight.any():
        return 0.0
    weight = found[1].weight.detach().double().cpu()
    apart = _apart(weight) / float(largest_singular_values(weight[None]))
    return sensitivity * min(_least(apart), math.sqrt(2))


def _apart(weight: Tensor) -> Tensor:
    return torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")


def _least(pairs: Tensor) -> float:
    return float(pairs[~torch.eye(len(pairs), dtype=torch.bool)].min())


def _classifier(model: nn.Module) -> tuple[str, nn.Linear] | None:
    """Name and module of the linear layer that a network ends with; None where it ends otherwise."""
    parts = [("head", model.head)] if isinstance(model, StagedNetwork) else composition(model)
    for name, part in reversed(parts or []):
        if type(part) in (nn.Identity, nn.Dropout):
            continue
        if type(part) is nn.Linear:
            return name, part
        below = _classifier(part)
        return below and (f"{name}.{below[0]}", below[1])
    return None


def _everywhere(classes: int, sensitivity: float) -> Tensor:
    return torch.full((classes, classes), rounded_up(math.sqrt(2) * sensitivity), dtype=torch.float64)


@torch.no_grad()
def _classes(model: nn.Module, input_size: tuple[int, int, int]) -> int:
    parameter = next(model.parameters(), torch.zeros(()))
    return int(model(torch.zeros(1, *input_size).to(parameter)).shape[1])


@torch.no_grad()
def _confirm(exact: nn.Module, headless: nn.Module, classifier: nn.Linear, input_size: tuple[int, int, int]) -> None:
    """Run both, in float64: the logits must be W g + b.

    Raises:
        CertificateError: They are not.
    """
    rest, last = (copy.deepcopy(module).double() for module in (headless, classifier))
    noise = torch.rand(4, *input_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images = noise.to(classifier.weight.device)
    logits, features = exact(images), rest(images)
    if features.ndim != 2 or not torch.allclose(last(features), logits, rtol=_ROUNDING, atol=_ROUNDING):
        raise CertificateError(
            f"{type(exact).__name__}: its logits are not those of its last linear layer, so it computes something else "
            "than what was bounded, and nothing is certified"
        )
