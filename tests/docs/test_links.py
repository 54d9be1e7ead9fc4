"""Links of pages lead somewhere: files, headings and images here, and addresses and identifiers that are well formed."""

from __future__ import annotations

import re
from collections import defaultdict
from urllib.parse import urlsplit

import pytest

from fixtures import ROOT
from fixtures.pages.markdown import PAGES, Page, page_of

ADDRESS = re.compile(r"https?://[^\s)>\"'`\]]+[^\s)>\"'`\].,;:]")
LOCAL = ("127.0.0.1", "localhost")
SOURCES = [
    *(ROOT / page for page in PAGES),
    *(
        path
        for top in ("stabzoo", "plugins")
        for path in (ROOT / top).rglob("*.*")
        if path.suffix in (".py", ".yaml", ".j2")
    ),
    ROOT / "CITATION.cff",
    ROOT / "registry.yaml",
]
INSECURE = {"http://yann.lecun.com/exdb/mnist"}
"""Addresses that a release names and that have no secure form."""


def broken(name: str, page: Page) -> list[str]:
    """What is wrong with the relative links of a page, which stands at the path `name`."""
    found = []
    for link in page.links:
        if urlsplit(link).scheme:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path
        if path and not target.exists():
            found.append(f"{link}: no such file")
        elif path and not target.resolve().is_relative_to(ROOT):
            found.append(f"{link}: leads out of the repository")
        elif anchor and anchor not in (Page(target.read_text(encoding="utf-8")) if path else page).anchors:
            found.append(f"{link}: no such heading")
    return found


def malformed(address: str) -> str:
    """Why an address should not be written so, or nothing."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if host in LOCAL or "{" in parts.netloc:
        return ""
    if parts.scheme != "https" and address not in INSECURE:
        return "expected https"
    if not re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", host):
        return f"{host!r} is no host"
    if host in ("dx.doi.org", "www.doi.org"):
        return "write https://doi.org/..."
    if host == "doi.org" and not re.fullmatch(r"/10\.\d{4,9}/\S+", parts.path):
        return "expected https://doi.org/10.NUMBER/NAME"
    if host.endswith("arxiv.org") and not re.fullmatch(r"/abs/\d{4}\.\d{4,5}(v\d+)?", parts.path):
        return "expected https://arxiv.org/abs/YYMM.NUMBER"
    return ""


@pytest.mark.parametrize("name", PAGES)
def test_relative_links_lead_somewhere(name: str) -> None:
    """To a file or folder of the repository and, with #, to one of its headings."""
    assert broken(name, page_of(name)) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[a file](none.md)", "no such file"),
        ("![an image](none.png)", "no such file"),
        ("[a heading](#none)", "no such heading"),
        ("[a heading elsewhere](concepts.md#none)", "no such heading"),
        ("[by reference][a]\n\n[a]: none.md", "no such file"),
        ("[up](../../outside)", "no such file"),
        ("[up](../..)", "leads out of the repository"),
    ],
)
def test_a_broken_link_is_found(text: str, why: str) -> None:
    """Of each kind, on a page that stands in docs; a sound one is not."""
    (problem,) = broken(
        "docs/index.md", Page(f"# A title\n\n[fine](concepts.md#zero-stability) [top](#a-title)\n\n{text}\n")
    )
    assert problem.endswith(why)


def test_addresses_are_well_formed() -> None:
    """They begin with https, and a host is always written in the same way; DOIs and arXiv identifiers are such."""
    hosts: dict[str, set[str]] = defaultdict(set)
    count = 0
    for path in SOURCES:
        for address in ADDRESS.findall(path.read_text(encoding="utf-8")):
            assert not (why := malformed(address)), f"{path}: {address}: {why}"
            host = urlsplit(address).netloc
            hosts[host.lower().removeprefix("www.")].add(host)
            count += 1
    assert count > 10
    assert {name: forms for name, forms in hosts.items() if len(forms) > 1} == {}


@pytest.mark.parametrize(
    "address",
    [
        "http://github.com/a/b",
        "https://github/a",
        "https://dx.doi.org/10.1000/182",
        "https://doi.org/1000/182",
        "https://arxiv.org/abs/181.09885",
        "https://arxiv.org/pdf/1811.09885",
    ],
)
def test_a_malformed_address_is_found(address: str) -> None:
    """One of each kind."""
    assert malformed(address)
    assert not malformed("https://doi.org/10.1007/s10851-020-00977-5")
    assert not malformed("https://arxiv.org/abs/1811.09885")


def test_identifiers_outside_of_addresses_are_well_formed() -> None:
    """`arXiv YYMM.NUMBER` and `doi:10.NUMBER/NAME`, in pages, docstrings and YAML."""
    found = 0
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        for identifier in re.findall(r"\barXiv[: ]+(\S*\d[^\s,;)]*)", text):
            assert re.fullmatch(r"\d{4}\.\d{4,5}(v\d+)?", identifier.rstrip(".")), f"{path}: arXiv {identifier}"
            found += 1
        for identifier in re.findall(r"\bdoi: ?([^\s,;)]+)", text, flags=re.I):
            assert re.fullmatch(r"\"?10\.\d{4,9}/\S+", identifier), f"{path}: doi {identifier}"
    assert found
