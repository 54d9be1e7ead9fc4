"""AutoAttack by its authors' code, which is an optional dependency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stabzoo.errors import ConfigError
from stabzoo.evaluation.attacks import Norm

__all__ = ["autoattack"]

NORMS: dict[Norm, Literal["Linf", "L2"]] = {"linf": "Linf", "l2": "L2"}
TARGETS = 9  # the standard version's; fewer where there are fewer other classes


def autoattack(
    classes: int, epsilon: float, seed: int, norm: Norm = "linf"
) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Return what attacks images (N, C, H, W) in [0, 1] of a network that normalises them itself.

    Raises:
        ConfigError: the code is not installed, or there are too few classes for its loss.
    """
    try:
        from pyautoattack import AutoAttack, checks
    except ImportError:
        raise ConfigError("autoattack: expected its authors' code; pip install 'stabzoo[autoattack]'") from None
    if classes < 4:
        raise ConfigError(f"autoattack: expected at least 4 classes, which its loss compares; got {classes}")

    # it looks for dynamic defences by setting the process' trace function: that takes a debugger's away, and has been
    # seen to hang; no network here is one
    checks.check_dynamic = _unchecked

    def attack(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        attacker: Any = AutoAttack(network, eps=epsilon, norm=NORMS[norm], seed=seed, device=images.device)
        attacker.apgd_targeted.n_target_classes = attacker.fab.n_target_classes = min(TARGETS, classes - 1)
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices):  # it seeds the global streams
            found, _ = attacker.run_standard_evaluation(images, labels, batch_size=len(images))
        return found.detach()

    return attack


def _unchecked(*_: object, **__: object) -> None:
    """Check nothing."""
