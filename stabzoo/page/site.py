"""Writing the site: a file a page, with all that it needs inside."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from stabzoo.claims import model_reports, scheme_reports
from stabzoo.errors import ConfigError, printable
from stabzoo.files import write_atomically
from stabzoo.page.costs import read_costs
from stabzoo.page.families import family
from stabzoo.page.zoo import model_row, scheme_row
from stabzoo.plotting.page import render_page
from stabzoo.registry.loading import one_command

__all__ = ["PAGES", "scripts_of", "write_site"]

PAGES = {"Explorer": "index.html", "Zoo": "zoo.html", "Studies": "studies.html"}
"""The pages' names and files."""

EXACT = ("exact", "root_condition", "method", "real_roots", "intervals")
"""The scripts that decide: they need no document."""

SCRIPTS = {
    "Explorer": ("vendor/d3.min", *EXACT, "drawing", "charts", "elements", "nearby", "explorer"),
    "Zoo": ("vendor/d3.min", *EXACT, "drawing", "charts", "elements", "zoo"),
    "Studies": ("vendor/d3.min", *EXACT, "drawing", "charts", "elements", "studies"),
}


@one_command()
def write_site(
    folder: Path,
    studies: Sequence[dict[str, Any]] = (),
    hidden: Sequence[str] = (),
    measured: Sequence[dict[str, Any]] = (),
    benchmarks: Sequence[Path] = (),
) -> list[Path]:
    """Write every page into a folder, which is made where there is none, and return the files.

    ``studies`` and the ``hidden`` ones are as `stabzoo.study.report.page.studies_of` gives them, the ``measured``
    networks, which the explorer shows beside others, as `stabzoo.study.report.nearby.measured_networks` does;
    ``benchmarks`` are files of `stabzoo.page.costs.read_costs`.

    Raises:
        ConfigError: the folder cannot be written, or a benchmark not be read.
    """
    schemes, models = scheme_reports(), model_reports()
    families = [found for report in schemes if (found := family(report))]
    plain = {m.config.scheme: m.name for m in reversed(models) if not (m.config.parameters or m.config.options)}
    costs = read_costs(benchmarks, models)
    rows = [*map(scheme_row, schemes), *(model_row(model, costs.get(model.name, {})) for model in models)]
    pages = {
        "Explorer": _page("Explorer", {"families": families, "models": plain, "measured": measured}),
        "Zoo": _page("Zoo", {"rows": rows}),
        "Studies": _page("Studies", {"studies": studies, "hidden": hidden}),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            write_atomically(folder / PAGES[name], text.encode())
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written ({error.strerror or error}); give a folder that can, with --out"
        ) from None
    return [folder / PAGES[name] for name in pages]


def scripts_of(names: Sequence[str]) -> list[Markup]:
    """The texts of scripts by name, as they are put into a page."""
    folder = files("stabzoo.page") / "scripts"
    return [Markup(folder.joinpath(f"{name}.js").read_text(encoding="utf-8")) for name in names]


def _page(name: str, data: Any) -> str:
    style = (files("stabzoo.page") / "templates" / "site.css").read_text(encoding="utf-8")
    return render_page(
        "stabzoo.page",
        f"{name.lower()}.html.j2",
        f"{name} - stabzoo",
        current=name,
        pages=PAGES,
        style=Markup(style),
        scripts=scripts_of(SCRIPTS[name]),
        data=embedded(data),
    )


def embedded(data: Any) -> Markup:
    r"""Data as JSON for a ``script`` element, which no text in it can end.

    >>> str(embedded(["</script><b>"]))
    '["\\u003c/script>\\u003cb>"]'
    """
    return Markup(json.dumps(_seen(data), ensure_ascii=False, separators=(",", ":")).replace("<", r"\u003c"))


def _seen(data: Any) -> Any:
    """The data with what is not seen in a text as its escape, and what JSON has no form for (dates, inf) as text."""
    if isinstance(data, str):
        return printable(data)
    if isinstance(data, dict):
        return {_seen(key): _seen(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_seen(item) for item in data]
    is_json = data is None or isinstance(data, bool | int) or (isinstance(data, float) and math.isfinite(data))
    return data if is_json else printable(str(data))
