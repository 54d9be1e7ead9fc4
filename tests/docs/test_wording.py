"""Pages, docstrings, help texts and messages avoid the phrases of docs/wording.yaml, and use one form of each term."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
import yaml

from fixtures import ROOT
from fixtures.pages.markdown import WRITTEN, page_of

RULES: list[dict[str, str]] = yaml.safe_load((ROOT / "docs" / "wording.yaml").read_text(encoding="utf-8"))


@cache
def texts() -> list[tuple[str, str]]:
    """(place, text on one line) of all that somebody reads; code in backticks is left out."""
    found = [(page, text) for page in WRITTEN for text in page_of(page).prose]
    for top in ("stabzoo", "plugins"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(" ") >= 2:
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", plain(node.value)))
    for path in (
        *sorted((ROOT / "stabzoo").rglob("*.yaml")),
        *(ROOT / "plugins").rglob("*.yaml"),
        ROOT / "registry.yaml",
    ):
        found.append((str(path.relative_to(ROOT)), plain(path.read_text(encoding="utf-8"))))
    return found


def plain(text: str) -> str:
    """On one line, without code."""
    return re.sub(r"``.*?``|`.*?`", "`code`", " ".join(text.split()))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["like"])
def test_a_phrase_is_not_used(rule: dict[str, str]) -> None:
    """Nowhere; and the rule finds what it is like."""
    assert set(rule) == {"pattern", "write", "because", "like"}
    pattern = re.compile(rule["pattern"])
    assert pattern.search(rule["like"])
    found = [
        f"{place}: ...{text[max(0, hit.start() - 40) : hit.end() + 30]}..."
        for place, text in texts()
        for hit in pattern.finditer(text)
    ]
    assert not found, f"write {rule['write']} ({rule['because']}):\n" + "\n".join(found)


def test_there_are_texts_of_every_kind() -> None:
    """Pages, docstrings and YAML."""
    endings = {place.partition(":")[0].rpartition(".")[2] for place, _ in texts()}
    assert endings == {"md", "py", "yaml"}
    assert len(texts()) > 3000
