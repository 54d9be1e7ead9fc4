"""``stabzoo study figure``: one quantity across studies, measured beside published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stabzoo.cli.console import output
from stabzoo.cli.study.phrases import results_in
from stabzoo.errors import ConfigError
from stabzoo.study.analysis.comparison import rows_of
from stabzoo.study.spec import load_study
from stabzoo.terminal import say

__all__ = ["draw_studies"]


def draw_studies(names: Sequence[str], scale: str, quantity: str, folder: Path | None, path: Path) -> None:
    """Write the figure; a study of which nothing is trained has its published numbers alone.

    Raises:
        ConfigError: no study has such a number, or the file cannot be written.
    """
    from stabzoo.plotting.style import write_figure
    from stabzoo.study.figures.across import draw_across

    index = results_in(folder)
    studies = [load_study(name, scale, recorded=True) for name in names]
    figure = draw_across([(study, rows_of(study, index.records(study))) for study in studies], quantity)
    if figure is None:
        known = dict.fromkeys(evaluation.title for study in studies for evaluation in study.evaluations)
        raise ConfigError(
            f"{', '.join(names)}: expected a number called {quantity!r}, measured or published, got none; evaluations: "
            f"{', '.join(known)}"
        )
    write_figure(lambda: figure, path)
    say(output(), str(path))
