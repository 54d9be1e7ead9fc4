"""The network of Fig. 1: a convolution, three stages of residual layers, the last two begun by a pooling layer, a head.

    stem                 3x3 convolution to 16 channels
    stages.0             m residual layers, 16 channels
    stages.1, stages.2   a pooling layer (half the resolution, twice the channels) and m - 1 residual layers
    norm, head           relu, global average pooling, a classifier without bias

Depth counts the distinct filters and weights: 6m for ResNet-D, 3m + 2 for ResNet-S.

Source: Zhang and Schaeffer, JMIV 2020, section 3.1, Fig. 1, eqs. (14)-(19), initialisation as in section 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from timm.layers import calculate_drop_path_rates, get_device_dtype
from torch import nn

from stabzoo import Shape, StagedNetwork, checkpoint_filter_fn
from stabzoo_forward.layers import DLayer, PoolingLayer, PostLayer, SLayer, periodic

if TYPE_CHECKING:
    from stabzoo_forward import ForwardBackward

__all__ = ["StableResNet", "checkpoint_filter_fn"]  # timm looks for the filter beside the class


class StableResNet(StagedNetwork):
    """ResNet-D, ResNet-S or the post-activation ResNet, as ``scheme`` says.

    Args:
        scheme: The discretization: which residual layer, normed or not, and what is bounded.
        layers: Blocks per stage; a pooling layer is one.
        width: Channels of the first stage; each further stage doubles them.
        num_classes: Classes; 0 leaves the classifier out.
        in_chans: Channels of the input image.
        global_pool: Pooling before the classifier, as timm names it; ``""`` for none.
        drop_rate: Dropout before the classifier.
        drop_path_rate: Stochastic depth: the rate of the last block; it grows linearly from 0.
        device: Where parameters are created.
        dtype: Their type.
    """

    def __init__(
        self,
        scheme: ForwardBackward,
        layers: tuple[int, ...],
        width: int | None = None,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        dd = {"device": device, "dtype": dtype}
        width = width or 16
        is_post = scheme.layer == "post"
        stem = nn.Sequential()
        if is_post:
            stem.add_module("conv", nn.Conv2d(in_chans, width, 3, padding=1, bias=False, **dd))
            stem.add_module("norm", nn.BatchNorm2d(width, **dd))
            stem.add_module("act", nn.ReLU(inplace=True))
        else:
            stem.add_module("conv", periodic(in_chans, width, **dd))

        rates = iter(cast(list[float], calculate_drop_path_rates(drop_path_rate, sum(layers))))
        shapes, stages = [Shape(width, 1)], []
        for i, count in enumerate(layers):
            blocks: list[nn.Module] = []
            for j in range(count):
                here, there, rate = shapes[-1].channels, width << i, next(rates)
                first = j == 0 and i > 0
                if is_post:
                    blocks.append(PostLayer(here if j == 0 else there, there, 2 if first else 1, rate, **dd))
                elif first:
                    blocks.append(PoolingLayer(here, there, normed=scheme.is_normed, **dd))
                elif scheme.layer == "D":
                    blocks.append(DLayer(there, rate, **dd))
                else:
                    blocks.append(SLayer(there, rate, normed=scheme.is_normed, **dd))
            shapes.append(Shape(width << i, 1 << i))
            stages.append(blocks)
        super().__init__(
            scheme,
            stem,
            stages,
            shapes,
            norm=nn.Identity() if is_post else nn.ReLU(),  # eq. (19)
            num_classes=num_classes,
            in_chans=in_chans,
            global_pool=global_pool,
            drop_rate=drop_rate,
            **dd,
        )
        self.bare_classifier()
        self.init_weights()

    @torch.jit.ignore()
    def bare_classifier(self) -> None:
        """Leave out the classifier's bias, as the paper's parameter counts do; ResNet's classifier has one."""
        fc = self.head.fc
        if self.scheme.layer != "post" and isinstance(fc, nn.Linear):
            self.head.fc = nn.Linear(fc.in_features, fc.out_features, bias=False, **get_device_dtype(fc))

    @torch.jit.ignore()
    def init_weights(self) -> None:
        """Initialise as section 4 does: uniform scaling, He, and a truncated normal distribution for the classifier.

        The first convolution: uniform with variance 1/fan-in. The others: normal with variance 2/fan-in. The
        classifier: normal with deviation 1/(d_3 C), cut at two deviations. Biases 0, batch norms gamma = 1, beta = 0.
        ResNet's, after its own paper: normal with variance 2/fan-out, the classifier as torch has it.
        """
        is_post = self.scheme.layer == "post"
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out" if is_post else "fan_in", nonlinearity="relu")
                if name == "stem.conv" and not is_post:
                    nn.init.kaiming_uniform_(module.weight, nonlinearity="linear")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d | nn.Linear):
                module.reset_parameters()
        fc = self.head.fc
        if isinstance(fc, nn.Linear) and not is_post:
            deviation = 1 / fc.weight.numel()
            nn.init.trunc_normal_(fc.weight, std=deviation, a=-2 * deviation, b=2 * deviation)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier; ``global_pool`` None keeps the pooling."""
        super().reset_classifier(num_classes, global_pool)
        self.bare_classifier()
