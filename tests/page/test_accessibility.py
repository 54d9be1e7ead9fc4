"""axe-core finds nothing to complain of: on the site, and on the pages of a diagnosis and of a study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.records import finished
from stabzoo.cli import main
from stabzoo.study import load_study
from stabzoo.study.report.report import Report

axe_playwright = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe is not installed: pip install 'stabzoo[browser]'"
)
pytestmark = pytest.mark.slow
STATES: dict[str, tuple[str, str, str]] = {
    "explorer": ("Explorer", "", ""),
    "an unstable scheme": ("Explorer", "#scheme=lm&k=-3/2", ""),
    "free coefficients": ("Explorer", "#scheme=free&alpha=1/3,5/9,1/9,0,0,0&beta=1,2,3,4,5,6", ""),
    "a value that is none": ("Explorer", "#scheme=zerosnet&lam=x", ""),
    "zoo": ("Zoo", "", ""),
    "a card": ("Zoo", "#show=zerosnet", "#check"),
    "studies": ("Studies", "", ""),
}


def violations(page: Any) -> list[str]:
    """What axe-core has against a page, by all of its rules."""
    found = axe_playwright.Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html']:.200} {node['failureSummary']}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("state", STATES)
def test_the_site(page: Any, go: Callable[..., None], state: str, width: int, colours: str) -> None:
    """Every page, in its states."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=colours)
    name, address, pressed = STATES[state]
    go(name, address)
    if pressed:
        page.click(pressed)
    assert not violations(page), "\n".join(violations(page))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a study with made-up runs, and that of a diagnosis."""
    folder = tmp_path_factory.mktemp("reports")
    study = load_study("zerosnet-table-1", "laptop")
    (folder / "study").mkdir()
    Report.of(study, finished(study), ()).write(folder / "study")
    measured = ["diagnose", "preresnet20", "--data", "digits", "--images", "8", "--seconds", "1"]
    assert main([*measured, "--folder", str(folder / "diagnosis")]) == 0
    return {path.parent.name: path for path in folder.rglob("*.html")}


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_reports(page: Any, reports: dict[str, Path], width: int, colours: str) -> None:
    """Both of them."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=colours)
    assert len(reports) == 2
    for path in reports.values():
        page.goto(path.as_uri())
        assert not violations(page), "\n".join(violations(page))
