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

from stabzoo.diagnostics.capture import run_hooked

__all__ = ["BatchNormEffect", "batch_norm_effects"]


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
        """Of how many images the lemma's inequality is true."""
        return int((self.ratio <= 1).sum())

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
    clean, perturbed = _calls(model, norms, x), _calls(model, norms, x + noise)
    found = []
    for name, (before, after) in clean.items():
        moved_before, moved_after = (_size(a - b) for a, b in zip(perturbed[name], (before, after), strict=True))
        ratio = (moved_after / _size(after)) / (moved_before / _size(before))
        usable = ratio.isfinite()
        if usable.any():
            found.append(BatchNormEffect(name, ratio[usable], (_size(after) / _size(before))[usable]))
    return found


def _calls(model: nn.Module, norms: Mapping[str, nn.Module], x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str, before: Tensor, after: Tensor) -> None:
        found[name] = before.double().clone(), after.double().clone()  # what follows may work in place

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, args, result: keep(name, args[0], result)

    handles = [norm.register_forward_hook(hook(name)) for name, norm in norms.items()]
    run_hooked(model, x, handles)
    return found


def _size(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.flatten(1), dim=1)
