"""What batch norm does to the relative size of a perturbation: ||BN(y) - BN(x)|| / ||BN(x)|| against ||y - x|| / ||x||.

A published lemma says that it makes it no larger. It does not hold: its proof takes ||BN(x)|| <= ||x|| and
||BN(y) - BN(x)|| <= ||y - x|| for granted, and uses "=" where it has shown "<=". In evaluation mode a batch norm is an
affine map x -> s x + t for each channel. Where it takes away a mean that is large beside the image's own variation, the
perturbation stays and what it is compared with shrinks: x = 10 +- 1, y = x + 1 and t = -10 make 10 % into 100 %.

Source: Understanding ResNet from a Discrete Dynamical System Perspective (ICLR 2022 submission), Lemma 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.diagnostics.capture import in_parts, pair_distances, run_hooked

__all__ = ["BatchNormEffect", "batch_norm_effects"]

ROUNDING = 1e-5
"""What single precision may make of a ratio of 1."""


@dataclass(frozen=True)
class BatchNormEffect:
    """One batch norm on a batch of images, clean and perturbed.

    Attributes:
        name: Of the batch norm in its model.
        ratio: (B,) the relative perturbation behind it over that before it; the lemma says at most 1.
        shrinks: (B,) ||BN(x)|| / ||x||, which its proof takes to be at most 1.
    """

    name: str
    ratio: Tensor
    shrinks: Tensor

    @property
    def holds(self) -> int:
        """Of how many images the lemma's inequality is true, to `ROUNDING`: untrained batch norms have a ratio of 1."""
        return int((self.ratio <= 1 + ROUNDING).sum())

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; of the ratios the median and the extremes."""
        return {
            "name": self.name,
            "images": len(self.ratio),
            "holds": self.holds,
            "ratio": {
                "min": float(self.ratio.min()),
                "median": float(self.ratio.median()),
                "max": float(self.ratio.max()),
            },
            "norm_ratio": float(self.shrinks.median()),
        }


def batch_norm_effects(model: nn.Module, x: Tensor, noise: Tensor) -> list[BatchNormEffect]:
    """Run a model on ``x`` and on ``x + noise`` in evaluation mode, and compare before and behind every batch norm.

    Images of which nothing was perturbed before a batch norm, or that are zero before or behind it, are left out of it;
    so is a batch norm of which no image is left.

    Args:
        model: Any model; it stays as it is. A batch norm that is called several times counts with its last call.
        x: Images (B, C, H, W).
        noise: Of a shape that broadcasts to that of ``x``.
    """
    norms = {name: m for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    if not norms:
        return []
    ratios: dict[str, list[Tensor]] = {}
    shrinks: dict[str, list[Tensor]] = {}
    for clean, other in zip(in_parts(x), in_parts((x + noise).expand_as(x)), strict=True):
        for name, (before, after) in _calls(model, norms, torch.cat([clean, other])).items():
            (moved, size), (moved_after, size_after) = before, after
            ratios.setdefault(name, []).append((moved_after / size_after) / (moved / size))
            shrinks.setdefault(name, []).append(size_after / size)
    found = []
    for name in ratios:
        ratio, shrink = torch.cat(ratios[name]), torch.cat(shrinks[name])
        if (usable := ratio.isfinite()).any():
            found.append(BatchNormEffect(name, ratio[usable], shrink[usable]))
    return found


_Pairs = tuple[Tensor, Tensor]  # ||x - y|| and ||x||


def _calls(model: nn.Module, norms: Mapping[str, nn.Module], pairs: Tensor) -> dict[str, tuple[_Pairs, _Pairs]]:
    """Of each batch norm the pairs before and behind it; those of clean images in the first half of the batch."""
    before: dict[str, _Pairs] = {}
    found: dict[str, tuple[_Pairs, _Pairs]] = {}

    # at once, and before the module runs: it, or what follows, may work in place
    def take(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _module, args: before.update({name: pair_distances(args[0])})

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, _args, result: found.update({name: (before[name], pair_distances(result))})

    handles = [norm.register_forward_pre_hook(take(name)) for name, norm in norms.items()]
    handles += [norm.register_forward_hook(keep(name)) for name, norm in norms.items()]
    run_hooked(model, pairs, handles)
    return found
