"""The pages in Chromium: moved, typed into, filtered and checked as a reader does, at both widths and in both schemes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures import ROOT
from fixtures.records import finished, kept
from stabzoo.claims import scheme_reports
from stabzoo.methods import LinearMultistep, StabilityFunction
from stabzoo.page import site as sites
from stabzoo.page.site import PAGES, write_site
from stabzoo.stability import card
from stabzoo.study import load_study
from stabzoo.study.analysis.phrases import measured_text
from stabzoo.study.report.nearby import measured_networks
from stabzoo.study.report.page import studies_of
from stabzoo.study.report.report import Report
from stabzoo.study.report.summary import numbers

pytestmark = pytest.mark.slow
Go = Callable[..., None]
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u202e"


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
def test_a_typed_value(page: Any, go: Go, scheme: str, field: str, value: str, status: str) -> None:
    """Gives Python's verdict, and an address that gives it again."""
    go("Explorer")
    page.select_option("#scheme", scheme)
    page.fill(f"#value-{field}", value)
    shown(page, status)
    address = page.evaluate("location.hash")
    go("Explorer", address)
    assert page.input_value(f"#value-{field}") == value
    shown(page, status)


def test_every_scheme_and_slider(page: Any, go: Go) -> None:
    """Every scheme is drawn; a moved slider changes the exact field, and wrong numbers are refused in words."""
    go("Explorer")
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
        page.wait_for_function("() => document.querySelector('#message').textContent !== ''")
        shown(page, "not decided")


def test_free_coefficients(page: Any, go: Go) -> None:
    """To six steps; order and error constant are exact."""
    method = LinearMultistep(("1/3", "5/9", "1/9"), ("16/9",))
    go("Explorer", "#scheme=free&alpha=1/3,5/9,1/9&beta=16/9,0,0&depth=20")
    shown(page, card(method).status)
    facts = page.inner_text("#facts")
    assert str(method.error_constant) in facts
    page.select_option("#steps", "6")
    assert page.locator("#parameters .dial").count() == 13
    page.fill("#value-alpha-0", "-4/3")
    shown(page, "unstable")
    assert "timm.create_model(" in page.inner_text("#copies")


def facts_of(page: Any) -> dict[str, str]:
    """The rows of the explorer."""
    names, values = (page.locator(f"#facts {each}").all_inner_texts() for each in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize(
    ("address", "real", "imaginary"),
    [
        ("scheme=zerosnet&lam=-9/5", "(\u22121/2, 0), exact", "empty"),
        ("scheme=theta&theta=1/2", "(\u2212\u221e, 0)", "(\u2212\u221e i, \u221e i)"),
        ("scheme=free&alpha=0,1&beta=2,0", "empty", "(\u2212i, i), exact"),
        ("scheme=rk4", "(\u22122.78529356341, 0), certified to 12 digits", "(\u22122.82842712475 i, 2.82842712475 i), certified to 12 digits"),
        ("scheme=resnet_s", "not decided", "not decided"),
    ],
)  # fmt: skip
def test_the_intervals(page: Any, go: Go, address: str, real: str, imaginary: str) -> None:
    """Say how well their ends are known: computed here, or by Python of steps of their own."""
    go("Explorer", f"#{address}")
    facts = facts_of(page)
    assert (facts["real interval"], facts["imaginary interval"]) == (real, imaginary)


def test_the_interval_of_an_oscillator(page: Any, go: Go) -> None:
    """Of y'' = -omega^2 y."""
    go("Explorer", "#scheme=verlet")
    assert facts_of(page)["bounded on y\u2033 = \u2212\u03c9\u00b2y for"] == "|h\u03c9| < 2, exact"


def test_measured_nearby(page: Any, go: Go, tmp_path: Path) -> None:
    """The same scheme first, published and of a store; a click on another shows that one, as often as one likes."""
    study = load_study("zerosnet-table-1", "laptop")
    studies, hidden = studies_of([kept(tmp_path / "runs", study, load_study("root-scan"), as_built=True)])
    write_site(tmp_path, studies, hidden, measured_networks(studies))
    go("Explorer", "#scheme=euler&depth=33", site=tmp_path)
    rows = page.locator("#nearby-rows tr")
    assert rows.count() == 5
    assert "the same scheme" in rows.first.inner_text()
    for label in ("\u03b1 = 1", "r = 0"):  # of which the second has states that it does not look at
        assert f"here, {len(study.seeds)} runs: {label}" in rows.first.inner_text()
    assert "zerosnet-table-1, laptop" in page.inner_text("#nearby-sources")
    distances = [float(text.split()[-1]) for text in page.locator("#nearby-rows th small").all_inner_texts()[1:]]
    assert distances == sorted(distances)
    assert distances[0] == 0.3  # alpha = 0.7
    rows.nth(1).locator("a").click()
    shown(page, "strong")
    page.wait_for_function("() => document.querySelector('#nearby-rows a') && location.hash.includes('alpha=7/10')")
    assert "the same scheme" in rows.first.inner_text()
    assert page.evaluate("document.activeElement.id") == "scheme"
    assert "93.16 \u00b1 0.13 %" in rows.first.inner_text()
    assert "depth=33" in page.evaluate("location.hash")
    page.fill("#value-alpha-0", "7/10")
    page.fill("#value-beta-0", "1.000000000000000000000000000001")
    page.wait_for_function("() => document.querySelector('#nearby-rows small').textContent === 'distance 1.00e-30'")
    page.select_option("#scheme", "resnet_s")
    assert page.locator("#nearby").is_hidden()


def test_the_zoo(page: Any, go: Go) -> None:
    """Searched, filtered, sorted; every certificate is verified in the page."""
    go("Zoo")
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
        assert report.card
        page.get_by_role("button", name=report.name, exact=True).click()
        assert page.locator("#roots .mark").count() > 0
        assert page.locator("#region").count() == isinstance(
            report.card.method.linear, LinearMultistep | StabilityFunction
        )
        page.click("#check")
        assert page.inner_text("#checked").startswith("✓"), report.name
        page.keyboard.press("Escape")


def test_what_models_cost(page: Any, go: Go, tmp_path: Path) -> None:
    """Is in columns where a table was given, sorted with what is not known last; and in a model's card."""
    write_site(tmp_path, benchmarks=[ROOT / "benchmarks" / "results.csv"])
    go("Zoo", "#what=model", site=tmp_path)
    for _ in range(2):
        page.get_by_role("button", name="parameters (M)").click()
        sizes = [float(text) for text in page.locator("#rows td:nth-of-type(8)").all_inner_texts()]
        assert sizes[0] in (min(sizes), max(sizes))
    assert sizes == sorted(sizes, reverse=True)
    page.get_by_role("button", name="preresnet20", exact=True).click()
    assert "0.272" in page.inner_text("#details")
    page.keyboard.press("Escape")
    page.select_option("#what", "")
    assert page.locator("#rows td:nth-of-type(8)").last.inner_text() == ""


def test_a_study(page: Any, go: Go) -> None:
    """Sorted, drawn, told run by run, beside what is published, and downloaded as it stands in Python."""
    go("Studies")
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
    go("Studies", address)
    assert page.inner_text("#title") == study.title
    assert page.input_value("#network") == study.networks[1].label


def test_hostile_studies_are_shown_as_text(page: Any, go: Go, folder: Path, tmp_path: Path) -> None:
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
    euler = {"kind": "linear multistep", "alpha": ["1"], "beta": ["1"], "betaNext": "0"}
    found = {"label": HOSTILE, "where": HOSTILE, "accuracy": 90.0, "deviation": None, "runs": 1}
    write_site(tmp_path, [study], [HOSTILE], [{**euler, **found}])
    go("Explorer", "#scheme=euler", site=tmp_path)
    assert page.inner_text("#nearby").count("<img src=x onerror=alert(1)></script>") == 2
    assert page.locator("img").count() == 0
    go("Studies", f"#study={HOSTILE}&network={HOSTILE}&across={HOSTILE}", site=tmp_path)
    shown_text = page.inner_text("main")
    assert shown_text.count("<img src=x onerror=alert(1)></script>") >= 8
    assert page.locator("img").count() == 0


def test_no_study(page: Any, go: Go, tmp_path: Path) -> None:
    """Is said, with what to do."""
    write_site(tmp_path)
    go("Studies", site=tmp_path)
    assert "--store" in page.inner_text("main")
    assert page.locator("#studies").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_width_and_speed(page: Any, go: Go, name: str, width: int, scheme: str) -> None:
    """Nothing reaches beyond the window, every control has a name, and the page is there in 1.5 seconds."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    go(name)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 1280:
        assert page.evaluate(
            "[...document.querySelectorAll('.zoo')].every(e => e.scrollWidth <= e.parentElement.clientWidth)"
        )
    assert page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < 1500
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, button')].filter(e => !(e.labels?.length || e.ariaLabel || e.textContent.trim())).length"
    )
    assert unnamed == 0


def test_long_formulas_break(page: Any, go: Go) -> None:
    """Into lines on a narrow screen; nothing is cut off."""
    page.set_viewport_size({"width": 390, "height": 900})
    for address in (
        "scheme=adams_moulton&one_leg=true&steps=6",
        "scheme=free&alpha=1/3,5/9,1/9,1,2,3&beta=355/113,1,2,3,4,5/7",
    ):
        go("Explorer", f"#{address}")
        assert page.locator("#facts math").count() > 6
        assert page.evaluate(
            "[...document.querySelectorAll('dd, math')].every(e => e.getBoundingClientRect().right <= 390)"
        )
        assert page.evaluate("[...document.querySelectorAll('dd')].every(e => e.scrollWidth <= e.clientWidth)")


def test_hostile_text_is_shown_as_text(page: Any, go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a registry, and of an address."""
    reports = scheme_reports()
    claim = reports[0].claim.model_copy(update={"reference": HOSTILE, "corrections": (HOSTILE,), "family": HOSTILE})
    hostile = replace(reports[0], claim=claim)
    monkeypatch.setattr(sites, "scheme_reports", lambda: [hostile, *reports[1:]])
    write_site(tmp_path)
    go("Zoo", f"#show={hostile.name}&search={HOSTILE}", site=tmp_path)
    assert "<img src=x onerror=alert(1)></script>" in page.inner_text("#details")
    assert page.locator("#details img").count() == 0
    go("Explorer", f"#scheme=free&alpha={HOSTILE}&beta=1&z={HOSTILE}", site=tmp_path)
    shown(page, "not decided")
    assert page.locator("img").count() == 0


def test_numbers_that_are_drawn(page: Any, go: Go) -> None:
    """Roots and norms are those that Python encloses, as far as floating point can tell."""
    go("Explorer")
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
