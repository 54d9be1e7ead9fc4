"""The pictures of the diagnostics: the same bytes each time, and every number in them."""

import io
import math

import numpy as np
import pytest
import timm
import torch
from matplotlib.figure import Figure

from fixtures.messages import raises
from stabzoo.diagnostics.angles import PrincipalAngles
from stabzoo.diagnostics.conditioning.blocks import module_conditioning
from stabzoo.diagnostics.growth import perturbation_growth
from stabzoo.diagnostics.report.figures import (
    angles_by_epoch_figure,
    angles_by_layer_figure,
    conditioning_figure,
    growth_figure,
)


def png(figure: Figure) -> bytes:
    """The picture."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def network() -> torch.nn.Module:
    """A small one."""
    torch.manual_seed(0)
    return timm.create_model("preresnet20", width=4, num_classes=3)


def test_angles_by_layer_and_by_epoch() -> None:
    """Degrees; a class with one image leaves a gap, not an error."""
    record = PrincipalAngles(torch.randn(9, 3, 8, 8), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2]))
    for epoch in (1, 2):
        record(network(), epoch)
    figure = angles_by_epoch_figure(record.history, "angles")
    assert [axes.get_title() for axes in figure.axes] == ["stages.0", "stages.1", "stages.2", "penultimate"]
    within = record.history[0]["layers"]["stages.0"]["within"]
    assert within["2"]["value"] == "nan"
    drawn = [np.asarray(line.get_ydata()) for line in figure.axes[0].get_lines()]
    assert any(line[0] == pytest.approx(math.degrees(within["0"]["value"])) for line in drawn)
    assert png(figure) == png(angles_by_epoch_figure(record.history, "angles"))
    layers = record.history[-1]["layers"]
    assert png(angles_by_layer_figure(layers, "angles")) == png(angles_by_layer_figure(layers, "angles"))
    assert len(angles_by_epoch_figure(record.history, "angles", ["stages.1"]).axes) == 1
    with raises(ValueError, "layers", "stages.0, stages.1, stages.2", "got stages.7"):
        angles_by_epoch_figure(record.history, "angles", ["stages.7"])
    with raises(ValueError, "layers", "epoch"):
        angles_by_epoch_figure([], "angles")


def test_growth_and_condition_numbers() -> None:
    """Finite values where they are, infinite ones on the line that says so."""
    model, x = network(), torch.randn(2, 3, 8, 8)
    growth = perturbation_growth(model, x, 0.1 * torch.randn_like(x))
    figure = growth_figure({"one": growth, "two": growth}, "growth")
    line = np.asarray(figure.axes[1].get_lines()[0].get_ydata())
    assert line == pytest.approx([state.relative.median.value for state in growth.states])
    assert png(figure) == png(growth_figure({"one": growth, "two": growth}, "growth"))
    blocks = module_conditioning(model, x[:1])
    figure = conditioning_figure(blocks, "condition")
    linear = next(line for line in figure.axes[0].get_lines() if str(line.get_label()).startswith("linear"))
    assert np.asarray(linear.get_ydata()) == pytest.approx([block.linear.value.value for block in blocks])
    assert png(figure) == png(conditioning_figure(blocks, "condition"))
