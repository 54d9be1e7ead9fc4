"""Self-contained HTML pages: the frame and style that every page shares, filled from a package's own template."""

from __future__ import annotations

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stabzoo.errors import printable

__all__ = ["render_page"]


def render_page(package: str, template: str, title: str, **values: Any) -> str:
    """Fill ``template`` of ``package``/templates, which extends ``page.html.j2``.

    Text is escaped, and what is not seen in it, such as a change of the direction of writing, is written as its escape.
    """
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("stabzoo.plotting")]),
        autoescape=True,
        finalize=_seen,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(template).render(title=title, **values)


def _seen(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
