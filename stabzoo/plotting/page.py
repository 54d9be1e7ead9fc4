"""Self-contained HTML pages: the frame and style that every page shares, filled from a package's own template."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stabzoo.errors import printable

__all__ = ["render_page", "secured"]

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def render_page(package: str, template: str, title: str, **values: Any) -> str:
    """Fill ``template`` of ``package``/templates, which extends ``page.html.j2``.

    Text is escaped, and what is not seen in it, such as a change of the direction of writing, is written as its escape.
    The page may run and load nothing but what is in it (`secured`).
    """
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("stabzoo.plotting")]),
        autoescape=True,
        finalize=_seen,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return secured(templates.get_template(template).render(title=title, **values))


def _seen(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def secured(page: str) -> str:
    """The page with a policy by which nothing runs or is loaded but the scripts and styles that are in it."""
    allowed: dict[str, list[str]] = {"script": [], "style": []}
    for element, content in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        allowed[element].append(f"'sha256-{digest}'")
    policy = "; ".join(
        [
            "default-src 'none'",
            *(f"{element}-src {' '.join(hashes)}" for element, hashes in allowed.items() if hashes),
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    first = '<meta charset="utf-8">'
    return page.replace(first, f'{first}\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)
