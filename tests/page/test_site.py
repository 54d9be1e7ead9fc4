"""The site: self-contained, closed to what does not belong to it, and served to this machine alone."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import date
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from fixtures.messages import raises
from fixtures.records import kept
from stabzoo.cli import main
from stabzoo.errors import ConfigError
from stabzoo.page.serving import server
from stabzoo.page.site import PAGES, embedded, write_site
from stabzoo.plotting.page import secured
from stabzoo.registry.catalogue import STUDIES
from stabzoo.study import load_study
from stabzoo.study.report.nearby import measured_networks
from stabzoo.study.report.page import studies_of

SCRIPT = "</script><script>alert(1)</script><!--<b>\u202e"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once."""
    folder = tmp_path_factory.mktemp("site")
    store = kept(folder / "store", load_study("zerosnet-table-1", "laptop"))
    assert main(["page", "--out", str(folder / "made" / "here"), "--store", str(store / "results.sqlite")]) == 0
    return folder / "made" / "here"


def test_pages_load_nothing(site: Path) -> None:
    """Every page is below 3 MB, and nothing in it is fetched from elsewhere."""
    assert sorted(path.name for path in site.iterdir()) == sorted(PAGES.values())
    for path in site.iterdir():
        text = path.read_text(encoding="utf-8")
        assert len(text.encode()) < 3e6
        assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", text)
        assert not re.search(r"@import|url\((?!#)", text.partition("</style>")[0])


def test_the_policy_names_every_script(site: Path) -> None:
    """One hash a script and style, no handler in an attribute, and nothing else may run."""
    for path in site.iterdir():
        text = path.read_text(encoding="utf-8")
        (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert policy.count("sha256-") == text.count("\n<script>") + text.count("\n<style>")
        assert not re.search(r"<[a-z]+[^>]*\son[a-z]+=", text.partition("<script")[0])


def test_hostile_text_stays_text() -> None:
    """Data cannot end their element, and read back as they were but for what is not seen."""
    text = embedded({SCRIPT: [SCRIPT, 1, None, float("inf"), date(2026, 1, 2)]})
    assert "<" not in text
    ((key, (_, *values)),) = json.loads(text).items()
    assert values == [1, None, "inf", "2026-01-02"]
    assert key.startswith("</script><script>")
    assert "\u202e" not in key


def test_a_changed_script_is_not_allowed() -> None:
    """The hashes are of what is in the page."""
    page = '<meta charset="utf-8"><script>{}</script>'
    assert secured(page.format("one()")) != secured(page.format("two()")).replace("two()", "one()")


def test_the_studies_of_a_store(site: Path) -> None:
    """What is proved, measured and published of each network, as numbers; a study that is not installed is named."""
    text = (site / "studies.html").read_text(encoding="utf-8")
    ((data,),) = ([json.loads(found) for found in re.findall(r'id="data">(.*?)</script>', text)],)
    (study,) = data["studies"]
    network = study["networks"][0]
    assert network["card"]["parasitic radius"] == pytest.approx(1 / 3, abs=1e-5)
    assert len(network["runs"]) == len(load_study("zerosnet-table-1", "laptop").seeds)
    assert network["runs"][0]["values"]["clean"] == 90
    assert network["curves"]["training loss"] == [2, 1, 0.5]
    assert study["published"][0]["values"][network["label"]]
    assert data["hidden"] == []


def test_stores_that_are_none(tmp_path: Path) -> None:
    """Are named."""
    with raises(ConfigError, "nowhere"):
        studies_of([tmp_path / "nowhere"])
    (tmp_path / "other.sqlite").write_bytes(b"")
    with raises(ConfigError, "other.sqlite", "results.sqlite"):
        studies_of([tmp_path / "other.sqlite"])


def test_a_study_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is shown by its file, as it is now; without it, or after it has changed, the page says what is left out and why."""
    file = tmp_path / "own.yaml"
    text = (STUDIES / "quickstart.yaml").read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    store = kept(tmp_path / "runs", load_study(file, "smoke"))
    found, hidden = studies_of([store])
    assert found == []
    assert hidden[0].startswith("own (smoke)")
    assert "--study" in hidden[0]
    found, hidden = studies_of([store], [file])
    assert [(study["name"], study["scale"]) for study in found] == [("own", "smoke")]
    assert hidden == []
    assert str(file) in found[0]["command"]
    made = str(tmp_path / "site")
    assert main(["page", "--out", made, "--store", str(store), "--study", str(file)]) == 0
    assert '"name":"own"' in (tmp_path / "site" / "studies.html").read_text(encoding="utf-8")
    file.write_text(text.replace("epochs: ", "epochs: 7"), encoding="utf-8")
    found, hidden = studies_of([store], [file])
    assert found == []
    assert "no run has finished" in hidden[0]
    other = tmp_path / "other.yaml"
    other.write_text(text, encoding="utf-8")
    assert main(["page", "--out", made, "--store", str(store), "--study", str(other)]) == 2
    assert "no store has runs of the study 'other'" in capsys.readouterr().err


def test_what_was_measured_nearby(tmp_path: Path) -> None:
    """Every published clean accuracy with exact coefficients, and those of the store with the number of runs."""
    study = load_study("zerosnet-table-1", "laptop")
    measured = measured_networks(studies_of([kept(tmp_path, study, as_built=True)])[0])
    here = [network for network in measured if network["runs"]]
    assert [network["label"] for network in here] == [network.label for network in study.networks]
    assert {network["runs"] for network in here} == {len(study.seeds)}
    assert here[0]["accuracy"] == pytest.approx(90 - sum(study.seeds) / len(study.seeds))
    published = [network for network in measured if network["runs"] is None]
    (best,) = (n for n in published if n["study"] == "zerosnet-table-6" and n["alpha"] == ["1/3", "5/9", "1/9"])
    assert (best["accuracy"], best["deviation"], best["beta"], best["betaNext"]) == (
        94.04,
        0.12,
        ["16/9", "0", "0"],
        "0",
    )
    assert "Table 6" in best["where"]
    assert not any(network["label"].startswith("LM-ResNet") for network in published), "their coefficients are trained"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Is named."""
    (tmp_path / "file").write_text("")
    with raises(ConfigError, "file", "--out"):
        write_site(tmp_path / "file")


@pytest.fixture
def served(site: Path) -> Iterator[ThreadingHTTPServer]:
    """Beside a file that is not its own."""
    (site.parent / "secret.txt").write_text("secret")
    with server(site) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_served_to_this_machine_alone(served: ThreadingHTTPServer, site: Path) -> None:
    """Its own files and no others, by whatever path or link."""
    assert served.server_address[0] == "127.0.0.1"
    address = f"http://127.0.0.1:{served.server_port}"
    with urllib.request.urlopen(f"{address}/", timeout=20) as answer:
        assert answer.read() == (site / "index.html").read_bytes()
    link, folder = site / "link.txt", site / "folder"
    link.symlink_to(site.parent / "secret.txt")
    folder.mkdir()
    try:
        for path in ("../secret.txt", "%2e%2e/secret.txt", "link.txt", "folder/", "/etc/hostname"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{address}/{path}", timeout=20)
            refused.value.close()
            assert refused.value.code == 404
    finally:
        link.unlink()
        folder.rmdir()
