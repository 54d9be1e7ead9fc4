"""The regulariser that the paper trains with."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["regularizer"]


def regularizer(model: nn.Module, alpha: float = 1e-4) -> Tensor | float:
    """R of Table 1: alpha/2 ||K||^2 for every filter and weight; ResNet-D's first convolution, pooling and classifier
    count twice. The indicator of A2 >= 0 is kept by projection (`StableResNet.post_step`).

        R = alpha/2 sum over filters and weights of c ||vec(K)||_2^2,   c = 2 for those three in ResNet-D, else 1

    Batch norms and biases are not regularised. Use it in place of an optimizer's weight decay.

    Args:
        model: A network of this plugin.
        alpha: The paper's is 1e-4, for every layer.

    Returns:
        A scalar tensor; 0 for a network without filters.

    Source: Zhang and Schaeffer, JMIV 2020, eq. (3), Table 1.
    """
    doubled = getattr(getattr(model, "scheme", None), "layer", None) == "D"
    total: Tensor | float = 0.0
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            once = not doubled or name.endswith((".conv1", ".conv2"))
            total = total + (alpha / 2 if once else alpha) * module.weight.square().sum()
    return total
