"""A site with three studies, Chromium to open it in, and node to run the scripts that decide."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures import ROOT
from fixtures.records import kept
from stabzoo.page.site import EXACT, PAGES, write_site
from stabzoo.study import load_study
from stabzoo.study.report.nearby import measured_networks
from stabzoo.study.report.page import studies_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


NODE = shutil.which("node")


@pytest.fixture(scope="session")
def decided() -> Callable[..., dict[str, list[Any]]]:
    """What the scripts say of each thing that is asked: see decide.js."""
    if NODE is None:
        pytest.skip("node is not installed; tests/page/test_browser.py asks Chromium")
    scripts = [str(ROOT / "stabzoo" / "page" / "scripts" / f"{name}.js") for name in EXACT]
    command = [NODE, str(ROOT / "tests" / "page" / "decide.js"), *scripts]

    def answered(**asked: list[Any]) -> dict[str, list[Any]]:
        done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=300, check=True)
        return json.loads(done.stdout)

    return answered


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, written once."""
    found = tmp_path_factory.mktemp("site")
    studies = [
        load_study("root-scan"),
        load_study("zerosnet-table-1", "laptop"),
        load_study("forward-stability-table-3", "laptop"),
    ]
    shown, hidden = studies_of([kept(found / "store", *studies)])
    write_site(found, shown, hidden, measured_networks(shown))
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; a root user has no sandbox."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install 'stabzoo[browser]'"
    )
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    with playwright.sync_playwright() as runner:
        chromium = runner.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page; what it complains of fails the test."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    yield opened
    context.close()
    assert not complaints


@pytest.fixture
def go(page: Any, folder: Path) -> Any:
    """Open a page anew, of this site or another: ``go("Zoo", "#show=euler")``."""

    def opened(name: str, address: str = "", site: Path = folder) -> None:
        page.goto("about:blank")
        page.goto(f"{(site / PAGES[name]).as_uri()}{address}")

    return opened
