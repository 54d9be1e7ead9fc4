"""The documentation as a site: ``sphinx-build -c docs . site``, with the extra ``docs``; pages are MyST Markdown."""

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

import stabzoo
from stabzoo.cli.deploy.page import write_page

project = "stabzoo"
release = version = stabzoo.__version__
copyright = "the stabzoo developers"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
]
root_doc = "docs/index"
include_patterns = ["docs/**", "benchmarks/*.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"]  # as they link
html_theme = "furo"
html_title = "stabzoo"
html_show_sourcelink = False
default_role = "py:obj"  # `name` in a docstring refers to the object of that name,
nitpicky = (
    True  # which has to be documented if it is a dotted name of stabzoo; others are parameters, or types elsewhere
)
nitpick_ignore_regex = [("py:(?!obj$).*", ".*"), ("py:obj", r"(?!stabzoo\.).*")]
linkcheck_ignore = [r"http://127\.0\.0\.1", "http://yann.lecun.com"]  # sphinx-build -b linkcheck -c docs . site
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

ROOT = Path(__file__).parent.parent
API = ROOT / "docs" / "api"
HIDDEN = "\N{NULL}"  # stands for a colon while napoleon reads a docstring
ROOMS = {
    "stabzoo": "What stabzoo exports: schemes, methods, exact verdicts, networks, hooks.",
    "stabzoo.stability": "The exact core: verdicts on rational coefficients, with certificates.",
    "stabzoo.designing": "The best scheme for a stated aim, and why others cannot be.",
    "stabzoo.diagnostics": "Norms, certified bounds, attacks, angles, of any timm model.",
    "stabzoo.testing": "The checks that a plugin passes.",
}


def directive(module: str, name: str) -> str:
    """The one that documents a public name; of what `stabzoo` exports itself, a reference to it."""
    if module != "stabzoo" and name in stabzoo.__all__:
        return f"`stabzoo.{name}`\n"
    value = getattr(import_module(module), name)
    if inspect.isclass(value):
        return f".. autoclass:: {module}.{name}\n   :members:\n"
    if isinstance(value, dict):  # whose docstring is dict's
        return f".. data:: {module}.{name}\n\n   {', '.join(map(str, value))}.\n"
    return f".. {'autofunction' if inspect.isroutine(value) else 'autodata'}:: {module}.{name}\n"


def write_reference(app: "Sphinx") -> None:
    """A page per public module, of its ``__all__``, and their index: nothing public can be left out."""
    API.mkdir(exist_ok=True)
    for module, text in ROOMS.items():
        names = sorted(import_module(module).__all__, key=str.lower)
        parts = [module, "=" * len(module), "", text, "", f".. currentmodule:: {module}", ""]
        parts += [directive(module, name) for name in names]
        (API / f"{module}.rst").write_text("\n".join(parts), encoding="utf-8")
    pages = "".join(f"   {module}\n" for module in ROOMS)
    (API / "index.rst").write_text(f"API reference\n=============\n\n.. toctree::\n\n{pages}", encoding="utf-8")


def plain(app: "Sphinx", what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Formulas of docstrings are text: the bars of a norm, a star and the prime of a transpose are not markup."""
    if what in ("attribute", "property") and lines:
        lines[0] = lines[0].replace(":", HIDDEN)  # napoleon takes what is before a colon there for a type
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            pieces = re.split(r"(``.*?``|`.*?`)", line)
            pieces[::2] = [re.sub(r"([|*])", r"\\\1", piece) for piece in pieces[::2]]
            pieces[::2] = [re.sub(r"(?<=\w)_(?!\w)", r"\\_", piece) for piece in pieces[::2]]
            lines[i] = "".join(pieces)


def with_colons(app: "Sphinx", what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put back what `plain` has hidden."""
    lines[:] = [line.replace(HIDDEN, ":") for line in lines]


def write_explorer(app: "Sphinx", exception: Exception | None) -> None:
    """The site of ``stabzoo page``, which docs/page.md embeds, in the folder ``explorer`` of the built pages."""
    if exception is None and app.builder.format == "html":
        write_page(Path(app.outdir, "explorer"), (), (), (ROOT / "benchmarks" / "results.csv",), serve=False)


def setup(app: "Sphinx") -> None:
    """Sphinx calls this."""
    app.connect("build-finished", write_explorer)
    app.connect("builder-inited", write_reference)
    app.connect("autodoc-process-docstring", plain, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", with_colons, priority=900)  # and after it
