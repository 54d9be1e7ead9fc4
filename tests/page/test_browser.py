"""The pages in Chromium: moved, typed into, filtered and checked as a reader does, at both widths and in both schemes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stabzoo.claims import scheme_reports
from stabzoo.methods import LinearMultistep
from stabzoo.page import site as sites
from stabzoo.page.site import PAGES, write_site
from stabzoo.stability import card

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install 'stabzoo[browser]'"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt install chromium"),
]
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u202e"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, written once."""
    found = tmp_path_factory.mktemp("site")
    write_site(found)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; a root user has no sandbox."""
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


def go(page: Any, folder: Path, name: str, address: str = "") -> None:
    """Open a page anew."""
    page.goto("about:blank")
    page.goto(f"{(folder / PAGES[name]).as_uri()}{address}")


def shown(page: Any, wanted: str) -> str:
    """The verdict, once it begins with a status."""
    page.wait_for_function("(status) => document.querySelector('#verdict').textContent.includes(status)", arg=wanted)
    return page.inner_text("#verdict")


@pytest.mark.parametrize(
    ("scheme", "field", "value", "status"),
    [
        ("zerosnet", "lam", "-9/5", "strong"),
        ("zerosnet", "lam", "-1", "weak"),
        ("zerosnet", "lam", "1/3", "unstable"),
        ("lm", "k", "-0.999999999999999999999999999999", "strong"),
        ("lm", "k", "-1", "unstable"),
        ("lm", "k", "-1.000000000000000000000000000001", "unstable"),
        ("euler", "weight", "-1", "weak"),
        ("theta", "theta", "1/2", "strong"),
    ],
)
def test_a_typed_value(page: Any, folder: Path, scheme: str, field: str, value: str, status: str) -> None:
    """Gives Python's verdict, and an address that gives it again."""
    go(page, folder, "Explorer")
    page.select_option("#scheme", scheme)
    page.fill(f"#value-{field}", value)
    shown(page, status)
    address = page.evaluate("location.hash")
    go(page, folder, "Explorer", address)
    assert page.input_value(f"#value-{field}") == value
    shown(page, status)


def test_every_scheme_and_slider(page: Any, folder: Path) -> None:
    """Every scheme is drawn; a moved slider changes the exact field, and wrong numbers are refused in words."""
    go(page, folder, "Explorer")
    for report in scheme_reports():
        assert report.card
        page.select_option("#scheme", report.name)
        shown(page, report.card.status)
        facts = dict(
            zip(page.locator("#facts dt").all_inner_texts(), page.locator("#facts dd").all_inner_texts(), strict=True)
        )
        order = report.card.order
        assert facts["order"].startswith("none" if order is None else str(order)), report.name
        for slider in page.locator("#parameters input[type=range]").all():
            label = slider.get_attribute("id").removesuffix("-slider")
            slider.focus()
            before = page.input_value(f"#{label}")
            page.keyboard.press("ArrowRight")
            assert page.input_value(f"#{label}") != before
    page.select_option("#scheme", "zerosnet")
    for wrong in ("0", "x", "1/0"):
        page.fill("#value-lam", wrong)
        page.wait_for_function("document.querySelector('#message').textContent !== ''")
        shown(page, "not decided")


def test_free_coefficients(page: Any, folder: Path) -> None:
    """To six steps; order and error constant are exact."""
    method = LinearMultistep(("1/3", "5/9", "1/9"), ("16/9",))
    go(page, folder, "Explorer", "#scheme=free&alpha=1/3,5/9,1/9&beta=16/9,0,0&depth=20")
    shown(page, card(method).status)
    facts = page.inner_text("#facts")
    assert str(method.error_constant) in facts
    page.select_option("#steps", "6")
    assert page.locator("#parameters .dial").count() == 13
    page.fill("#value-alpha-0", "-4/3")
    shown(page, "unstable")
    assert "timm.create_model(" in page.inner_text("#copies")


def test_the_zoo(page: Any, folder: Path) -> None:
    """Searched, filtered, sorted; every certificate is verified in the page."""
    go(page, folder, "Zoo")
    everything = page.locator("#rows tr").count()
    page.fill("#search", "zerosnet")
    page.select_option("#what", "scheme")
    assert 0 < page.locator("#rows tr").count() < everything
    page.fill("#search", "")
    page.select_option("#status", "weak")
    assert set(page.locator("#rows .badge").all_inner_texts()) == {"≈ weak"}
    page.select_option("#status", "")
    page.get_by_role("button", name="parasitic radius").click()
    radii = [float(text) for text in page.locator("#rows td:nth-of-type(4)").all_inner_texts()]
    assert radii == sorted(radii)
    for report in scheme_reports():
        page.get_by_role("button", name=report.name, exact=True).click()
        page.click("#check")
        assert page.inner_text("#checked").startswith("✓"), report.name
        page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_width_and_speed(page: Any, folder: Path, name: str, width: int, scheme: str) -> None:
    """Nothing reaches beyond the window, every control has a name, and the page is there in 1.5 seconds."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    go(page, folder, name)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < 1500
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, button')].filter(e => !(e.labels?.length || e.ariaLabel || e.textContent.trim())).length"
    )
    assert unnamed == 0


def test_hostile_text_is_shown_as_text(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a registry, and of an address."""
    reports = scheme_reports()
    claim = reports[0].claim.model_copy(update={"reference": HOSTILE, "corrections": (HOSTILE,), "family": HOSTILE})
    hostile = replace(reports[0], claim=claim)
    monkeypatch.setattr(sites, "scheme_reports", lambda: [hostile, *reports[1:]])
    write_site(tmp_path)
    go(page, tmp_path, "Zoo", f"#show={hostile.name}&search={HOSTILE}")
    assert "<img src=x onerror=alert(1)></script>" in page.inner_text("#details")
    assert page.locator("#details img").count() == 0
    go(page, tmp_path, "Explorer", f"#scheme=free&alpha={HOSTILE}&beta=1&z={HOSTILE}")
    shown(page, "not decided")
    assert page.locator("img").count() == 0


def test_numbers_that_are_drawn(page: Any, folder: Path) -> None:
    """Roots and norms are those that Python encloses, as far as floating point can tell."""
    go(page, folder, "Explorer")
    alpha = ["1/3", "5/9", "1/9"]
    code = """(alpha) => {
        const { exact, rootCondition, drawing } = stabzoo;
        const numbers = alpha.map(exact.parse);
        return { roots: drawing.roots(rootCondition.integerRho(numbers)), norms: drawing.powers(numbers, 40) };
    }"""
    found = page.evaluate(code, alpha)
    proved = card(LinearMultistep(alpha, (1,)))
    assert [root["multiplicity"] for root in found["roots"]] == [root.multiplicity for root in proved.roots]
    for drawn, root in zip(found["roots"], proved.roots, strict=True):
        assert abs(complex(drawn["re"], drawn["im"]) - complex(root.midpoint)) < 1e-12
    assert proved.stability_constant == 1
    assert max(found["norms"]) == pytest.approx(1)
