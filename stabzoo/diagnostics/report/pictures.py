"""Pictures of images: what a network answers as noise grows, and what its layers make of one of them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from stabzoo.diagnostics.features import Answer, FeatureMaps
from stabzoo.plotting.style import GREEN, GREY, ORANGE, new_figure

__all__ = ["answers_figure", "features_figure"]

BARS = 20
"""Classes that have a bar each; of more, the most probable."""


def answers_figure(answers: Sequence[Answer]) -> Figure:
    """A row for each perturbation, a pair of columns for each image: the image, and the probabilities of the classes.

    The bar of the image's own class is green, and that of another answer orange and hatched.
    """
    images = list(dict.fromkeys(answer.image for answer in answers))
    noises = list(dict.fromkeys(answer.noise for answer in answers))
    figure = new_figure(3.3 * len(images), 0.6 + 1.25 * len(noises))
    grid = figure.subplots(len(noises), 2 * len(images), squeeze=False, width_ratios=[1, 1.9] * len(images))
    for answer in answers:
        i, j = noises.index(answer.noise), 2 * images.index(answer.image)
        _show(grid[i][j], answer.pixels)
        if j == 0:
            grid[i][0].set_ylabel((answer.noise or "clean").replace(", ", "\n").replace(" of ", "\nof "), fontsize=8)
        _bars(grid[i][j + 1], answer)
        if i == 0:
            grid[0][j].set_title(f"class {answer.label}", fontsize=9)
    return figure


def features_figure(pixels: Tensor, layers: Sequence[FeatureMaps]) -> Figure:
    """The image, then a row for each layer with a grid: its channels of largest norm, each on a scale of its own."""
    drawn = [layer for layer in layers if layer.maps.numel()]
    columns = max(len(layer.maps) for layer in drawn)
    figure = new_figure(1.3 * columns + 1.2, 0.6 + 1.35 * (len(drawn) + 1))
    grid = figure.subplots(len(drawn) + 1, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    _show(grid[0][0], pixels)
    grid[0][0].set_title("image", fontsize=8.5)
    for row, layer in zip(grid[1:], drawn, strict=True):
        for axes, channel in zip(row, layer.maps, strict=False):
            axes.imshow(channel.numpy(), cmap="viridis", interpolation="nearest")
        row[0].set_title(f"after {layer.name}", fontsize=8.5, loc="left")
    return figure


def _show(axes: Axes, pixels: Tensor) -> None:
    """An image of one channel, or of three in colours; of others the first."""
    if len(pixels) == 3:
        axes.imshow(pixels.permute(1, 2, 0).numpy(), interpolation="nearest")
    else:
        axes.imshow(pixels[0].numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def _bars(axes: Axes, answer: Answer) -> None:
    probabilities = answer.probabilities.tolist()
    shown = sorted(range(len(probabilities)), key=lambda k: -probabilities[k])[:BARS]
    shown = sorted({*shown, answer.label})
    colors = [GREEN if k == answer.label else ORANGE if k == answer.first else GREY for k in shown]
    hatches = ["///" if k == answer.first != answer.label else "" for k in shown]
    axes.bar(range(len(shown)), [probabilities[k] for k in shown], color=colors, hatch=hatches, width=0.8)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 1])
    axes.set_xticks(range(len(shown)), [str(k) for k in shown])
    axes.tick_params(labelsize=7, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(probabilities[answer.label], color=GREY, linewidth=0.7, linestyle=":")
