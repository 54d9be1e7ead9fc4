"""``stabzoo evaluate``: a table of what trained networks are worth."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

from stabzoo.cli.console import output, print_json, table
from stabzoo.errors import ConfigError
from stabzoo.evaluation.interval import LEVEL
from stabzoo.evaluation.l2 import meanings
from stabzoo.methods.multistep import exact
from stabzoo.terminal import say
from stabzoo.training.process import this_process, workers_of
from stabzoo.training.results import Evaluated, evaluate

__all__ = ["evaluate_trained"]


def evaluate_trained(
    folders: tuple[Path, ...],
    *,
    conditions: Path | None,
    radii: tuple[str, ...],
    sigma: float | None,
    root: Path,
    workers: int | None,
    device: str,
    as_json: bool,
    plot: Path | None,
) -> int:
    """Print accuracy, gap, calibration, and accuracy under noise and attack; return 1 if a training has diverged.

    Raises:
        ConfigError: no folder is given, or one is none of a finished training; a radius or the deviation is none.
    """
    if not folders:
        raise ConfigError("evaluate: expected the folder of a finished training, e.g. runs/zerosnet20_opt-digits-0")
    if sigma is not None and not 0 < sigma < math.inf:
        raise ConfigError(f"sigma: expected a deviation above 0 on the pixel scale [0, 1], got {sigma}")
    levels = [_radius(text) for text in radii]
    found = evaluate(folders, conditions, root, this_process(device).device, workers_of(workers), levels, sigma)
    if plot is not None:
        _draw(found, plot)
    wrong = int(bool(found.diverged or found.failures))
    if as_json:
        diverged = [folder in found.diverged for folder in folders]
        failures = {"failures": found.failures} if found.failures else {}
        print_json({"diverged": diverged, **failures, "about": found.about(), **found.numbers})
        return wrong
    names, values = zip(*found.rows(), strict=True)
    networks = "network" if len(folders) == 1 else f"{len(folders)} networks, mean ± standard deviation"
    table(output(), {"": names, networks: values}, ())
    intervals = f" In brackets: {100 * LEVEL:.0f} % intervals over the test images." if len(folders) == 1 else ""
    output().print(
        "In percent, except the negative log-likelihood and where another unit is given. Under an attack: "
        f"an upper bound; stronger attacks may lower it.{intervals}"
    )
    for text in meanings(found.evaluations.values(), found.shape):
        output().print(text)
    for folder in found.diverged:
        say(output(), f"{folder}: its training diverged, at a loss that was not finite.", style="red")
    for failure in found.failures:
        say(output(), failure, style="red")
    return wrong


def _radius(text: str) -> Fraction:
    try:
        radius = exact(text)
    except ValueError as error:
        raise ConfigError(f"radius: {error}; write 0.25 or 36/255") from None
    if radius <= 0:
        raise ConfigError(f"radius: expected a distance above 0 of pixels in [0, 1], got {text}")
    return radius


def _draw(found: Evaluated, path: Path) -> None:
    curves = found.curves()
    if not curves:
        raise ConfigError("plot: expected evaluations at l2 radii, got none; give --radius 36/255")
    from stabzoo.plotting.robustness import draw_robustness
    from stabzoo.plotting.style import write_figure

    write_figure(lambda: draw_robustness(curves), path)
