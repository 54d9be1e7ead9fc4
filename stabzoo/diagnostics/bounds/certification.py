"""Whether what a registry says is certified of a scheme's networks is proved, whatever their weights."""

from __future__ import annotations

from collections.abc import Iterable

import timm
import torch

from stabzoo.diagnostics.bounds.network import ForwardBounds, forward_bounds

__all__ = ["unproved_certificates"]

NARROW = 4  # channels of the first stage
SCALE = 3.0  # deviation of the weights drawn: far outside of any constraint
ROUNDED = 1 + 1e-6


def unproved_certificates(model: str, claimed: Iterable[str]) -> list[str]:
    """Draw weights at random, project them onto the constraints, and say which claims `forward_bounds` does not prove.

    ``growth``: ||f(x)|| <= ||x|| + c, with no hypothesis refused.  ``sensitivity``: no block that keeps the resolution
    expands, so that the bound does not depend on the depth, with no hypothesis refused.

    Args:
        model: Registered name; it is built narrow.
        claimed: ``"growth"``, ``"sensitivity"``.

    Returns:
        One sentence for each claim that is not proved.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bounds = _bounds_of_random_weights(model)
    reasons = {claim: _unproved(bounds, claim) for claim in claimed}
    return [f"claims certified {claim}; not proved of {model}: {reason}" for claim, reason in reasons.items() if reason]


@torch.no_grad()
def _bounds_of_random_weights(model: str) -> ForwardBounds:
    network = timm.create_model(model, width=NARROW).eval()
    for parameter in network.parameters():
        parameter.copy_(SCALE * torch.randn_like(parameter))
    for buffer in network.buffers():
        if buffer.is_floating_point():  # running means and variances
            buffer.copy_(0.1 + torch.rand_like(buffer))
    getattr(network, "post_step", lambda: None)()
    return forward_bounds(network, network.pretrained_cfg["input_size"])  # pyright: ignore


def _unproved(bounds: ForwardBounds, claim: str) -> str:
    """Why a claim is not proved; empty if it is."""
    if bounds.refused:
        return bounds.refused[0]
    if claim == "growth":
        size = bounds.growth.value
        return "" if size <= ROUNDED else f"||f(x)|| <= {size:.4g} ||x|| + c is all that is proved"
    shapes = [block.grid for block in bounds.blocks]
    for before, block in zip(shapes, bounds.blocks[1:], strict=False):
        if block.grid == before and block.sensitivity > ROUNDED:
            return f"{block.name} may expand differences by {block.sensitivity:.4g}, so the bound grows with the depth"
    return ""
