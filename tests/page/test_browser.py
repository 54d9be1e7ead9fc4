"""The pages in Chromium: moved, typed into, filtered and checked as a reader does, at both widths and in both schemes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.records import finished, kept
from stabzoo.claims import scheme_reports
from stabzoo.methods import LinearMultistep
from stabzoo.page import site as sites
from stabzoo.page.site import PAGES, write_site
from stabzoo.stability import card
from stabzoo.study import load_study
from stabzoo.study.analysis.phrases import measured_text
from stabzoo.study.report.page import studies_of
from stabzoo.study.report.report import Report
from stabzoo.study.report.summary import numbers

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
    studies = [
        load_study("root-scan"),
        load_study("zerosnet-table-1", "laptop"),
        load_study("forward-stability-table-3", "laptop"),
    ]
    write_site(found, *studies_of([kept(found / "store", *studies)]))
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


def test_a_study(page: Any, folder: Path) -> None:
    """Sorted, drawn, told run by run, beside what is published, and downloaded as it stands in Python."""
    go(page, folder, "Studies")
    assert page.locator("#study option").count() == 3
    page.select_option("#study", label="zerosnet-table-1, laptop")
    study = load_study("zerosnet-table-1", "laptop")
    report = Report.of(study, finished(study), ())
    assert page.inner_text("#sentence") == report.sentence
    assert page.locator("#rows tr").count() == len(study.networks)
    row = report.rows[0]
    cells = page.locator("#rows tr").first.locator("td").all_inner_texts()
    assert cells[1].replace(" ", "") == measured_text(row, study.evaluations[0]).replace(" ", "")
    page.get_by_role("button", name="clean").click()
    page.get_by_role("button", name="clean").click()
    lowest = min(report.rows, key=lambda each: each.sample(study.evaluations[0]).mean)
    assert page.locator("#rows tr").first.locator("th").inner_text() == lowest.network.label
    runs = len(study.networks) * len(study.seeds)
    marks = page.locator("#scatter .mark")
    assert marks.count() == runs
    for quantity in page.locator("#across option").all_inner_texts():
        page.select_option("#across", quantity)
        assert page.inner_text("#scatter-title").endswith(f"against {quantity}")
    page.select_option("#across", "parasitic radius")
    marks.first.focus()
    page.keyboard.press("ArrowRight")
    told = page.inner_text("#run")
    assert row.network.label in told or report.rows[1].network.label in told
    assert "seed" in told
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == told
    marks.nth(runs - 1).hover(force=True)
    assert page.inner_text("#run") != told
    assert page.locator("#curves .curve").count() == len(study.networks)
    page.select_option("#network", study.networks[1].label)
    assert page.locator("#curves .curve:not(.behind)").count() == 1
    (published,) = study.published
    assert published.reference in page.inner_text("#published")
    assert page.locator("#published td small").count() > 0
    for limit in study.limits:
        assert limit in page.inner_text("#limits")
    with page.expect_download() as given:
        page.click("#download")
    assert Path(given.value.path()).read_text(encoding="utf-8") == numbers(report)
    address = page.evaluate("location.hash")
    go(page, folder, "Studies", address)
    assert page.inner_text("#title") == study.title
    assert page.input_value("#network") == study.networks[1].label


def test_hostile_studies_are_shown_as_text(page: Any, folder: Path, tmp_path: Path) -> None:
    """Of a study's file and of a store, and of an address."""
    found, _ = studies_of([folder / "store"])
    study = json.loads(json.dumps(found[0]).replace(json.dumps(found[0]["title"]), json.dumps(HOSTILE)))
    study |= {"name": HOSTILE, "limits": [HOSTILE], "sentence": HOSTILE, "description": HOSTILE}
    study["networks"][0]["label"] = study["measures"][0]["name"] = HOSTILE
    study["published"] = [
        {
            "reference": HOSTILE,
            "setting": HOSTILE,
            "columns": [HOSTILE],
            "sameExperiment": True,
            "values": {HOSTILE: [1]},
        }
    ]
    write_site(tmp_path, [study], [HOSTILE])
    go(page, tmp_path, "Studies", f"#study={HOSTILE}&network={HOSTILE}&across={HOSTILE}")
    shown_text = page.inner_text("main")
    assert shown_text.count("<img src=x onerror=alert(1)></script>") >= 8
    assert page.locator("img").count() == 0


def test_no_study(page: Any, tmp_path: Path) -> None:
    """Is said, with what to do."""
    write_site(tmp_path)
    go(page, tmp_path, "Studies")
    assert "--store" in page.inner_text("main")
    assert page.locator("#studies").is_hidden()


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
