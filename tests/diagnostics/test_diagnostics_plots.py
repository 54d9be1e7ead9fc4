"""The pictures of the diagnostics: the same bytes each time, and every number in them."""

import io
import math

import numpy as np
import pytest
import timm
import torch
from matplotlib.figure import Figure

from stabzoo.diagnostics.angles import PrincipalAngles
from stabzoo.diagnostics.conditioning.blocks import module_conditioning
from stabzoo.diagnostics.growth import perturbation_growth
from stabzoo.diagnostics.report.figures import (
    angles_by_layer_figure,
    conditioning_figure,
    growth_figure,
)
from stabzoo.diagnostics.report.sections import Section


def png(figure: Figure) -> bytes:
    """The picture."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def network() -> torch.nn.Module:
    """A small one."""
    torch.manual_seed(0)
    return timm.create_model("preresnet20", width=4, num_classes=3)


def test_angles_by_layer() -> None:
    """Degrees; a class with one image leaves a gap, not an error."""
    record = PrincipalAngles(torch.randn(9, 3, 8, 8), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2]))
    record(network(), 1)
    layers = record.history[-1]["layers"]
    assert layers["stages.0"]["within"]["2"]["value"] == "nan"
    (axes,) = angles_by_layer_figure(layers).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["stages.0", "stages.1", "stages.2", "penultimate"]
    first = [np.asarray(line.get_ydata())[0] for line in axes.get_lines() if len(line.get_ydata())]
    assert any(value == pytest.approx(math.degrees(layers["stages.0"]["within"]["0"]["value"])) for value in first)
    assert png(angles_by_layer_figure(layers)) == png(angles_by_layer_figure(layers))


def test_growth_and_condition_numbers() -> None:
    """Finite values where they are, infinite ones on the line that says so."""
    model, x = network(), torch.randn(2, 3, 8, 8)
    growth = perturbation_growth(model, x, 0.1 * torch.randn_like(x))
    figure = growth_figure({"one": growth, "two": growth})
    line = np.asarray(figure.axes[1].get_lines()[0].get_ydata())
    assert line == pytest.approx([state.relative.median.value for state in growth.states])
    assert png(figure) == png(growth_figure({"one": growth, "two": growth}))
    blocks = module_conditioning(model, x[:1])
    figure = conditioning_figure(blocks)
    linear = next(line for line in figure.axes[0].get_lines() if str(line.get_label()).startswith("linear"))
    assert np.asarray(linear.get_ydata()) == pytest.approx([block.linear.value.value for block in blocks])
    assert png(figure) == png(conditioning_figure(blocks))


def test_a_table_repeats_nothing() -> None:
    """What is equal in every row is said once, equal columns share a head, and names alone are no table."""
    rows = (("a", "1", "1", "x", ""), ("b", "2", "2", "x", ""), ("c", "3", "3", "x", ""))
    found = Section("t", "m.", ("layer", "norm", "growth", "kind", "note"), rows).informative()
    assert found.columns == ("layer", "norm, growth")
    assert found.rows == (("a", "1"), ("b", "2"), ("c", "3"))
    assert "kind: x" in found.meaning
    assert Section("t", "m.", ("layer", "kind"), tuple((row[0], "x") for row in rows)).informative().rows == ()
