"""``stabzoo study correlate``: which exact quantity orders what was measured, or published, of schemes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stabzoo.cli.console import Cell, output, print_json, table
from stabzoo.cli.study.phrases import results_in
from stabzoo.errors import ConfigError
from stabzoo.study.analysis.prediction import Observation, observed, predictions, published, selection
from stabzoo.study.spec import load_study
from stabzoo.terminal import say

__all__ = ["correlate"]

LEAST = 5  # networks, or there is no order to speak of


def correlate(
    names: Sequence[str],
    scale: str,
    title: str,
    folder: Path | None,
    *,
    of_paper: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Print the rank correlations of quantities with the results of studies, or with published numbers.

    Raises:
        ConfigError: there are no such numbers of as many networks as an order needs.
    """
    found: list[Observation] = []
    for name in names:
        study = load_study(name, scale, recorded=True)
        if of_paper:
            found += published(study, title)
            continue
        asked = [evaluation for evaluation in study.evaluations if evaluation.title == title]
        found += [one for e in asked for one in observed(study, results_in(folder).records(study), e)]
    if len(found) < LEAST:
        raise ConfigError(
            f"{', '.join(names)}: expected {LEAST} networks or more with a {'published' if of_paper else 'measured'} "
            f"number called {title!r}, got {len(found)}"
        )
    rows, chosen = predictions(found), selection(found)
    schemes = len({one.scheme for one in found})
    if plot is not None:
        from stabzoo.study.figures.prediction import write_prediction

        write_prediction(found, title, plot)
    if as_json:
        print_json(
            {
                "studies": list(names),
                "scale": scale,
                "published": of_paper,
                "evaluation": title,
                "networks": len(found),
                "schemes": schemes,
                "predictions": [row.to_dict() for row in rows],
                "selection": chosen.to_dict(),
            }
        )
        return
    console = output()
    columns: dict[str, Sequence[Cell]] = {
        "quantity": [row.quantity for row in rows],
        "rank correlation": [_text(row.correlation) for row in rows],
        "95 %": ["-" if row.low is None else f"{_text(row.low)} to {_text(row.high)}" for row in rows],
        "given stability": [_text(row.partial) for row in rows],
        "among stable": [_text(row.stable) for row in rows],
        "among unstable": [_text(row.unstable) for row in rows],
        "held out": [_text(row.held_out) for row in rows],
        "chosen": [f"{100 * chosen.chosen[row.quantity]:.0f} %" for row in rows],
    }
    table(console, columns, expendable=("chosen", "held out"))
    say(
        console,
        f"{len(found)} networks of {schemes} schemes. Intervals resample schemes; held out: the mean over random "
        "halves of them; chosen: how often the quantity was the best in the first half. In the second half the chosen "
        f"quantity has {_text(chosen.held_out)}.",
        style="dim",
    )


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
