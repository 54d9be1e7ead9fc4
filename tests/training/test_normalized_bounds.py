"""A network that normalises its pixels is bounded on the pixel scale."""

from types import SimpleNamespace

import pytest
import timm
import torch

from stabzoo.diagnostics import forward_bounds
from stabzoo.diagnostics.bounds.parts import chain
from stabzoo.training.normalized import NormalizedModel


def test_the_pixels_scale_is_a_factor() -> None:
    """1/std, the largest of the channels, and mean/std at every pixel."""
    torch.manual_seed(0)
    network = timm.create_model(
        "stable_resnet_s11_cert", width=2, img_size=4, num_classes=4, global_pool="avg", downsampling="mean"
    ).eval()
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ([0.5, 0.4, 0.3], [0.5, 0.25, 0.2]))
    model = NormalizedModel(network, SimpleNamespace(mean=mean, std=std)).eval()  # type: ignore[arg-type]
    bounds, inner = (forward_bounds(m, (3, 4, 4)) for m in (model, network))
    assert bounds.sensitivity.value == pytest.approx(5 * inner.sensitivity.value, rel=1e-6)
    assert inner.sensitivity.value < chain(inner.blocks)[0]  # all layers at once, within the wrapper too
    with torch.no_grad():
        assert float(model(torch.zeros(1, 3, 4, 4)).norm()) <= bounds.offset.value
