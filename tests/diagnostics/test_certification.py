"""What is certified of networks with weights is recomputed, and a false claim is found."""

import pytest

from stabzoo import claims
from stabzoo.claims import check_claims, scheme_reports
from stabzoo.diagnostics.bounds.certification import unproved_certificates
from stabzoo.registry.catalogue import catalogue


def test_the_registrys_certificates_are_proved() -> None:
    """Of every scheme that claims any."""
    claimed = [report for report in scheme_reports() if report.claim.certified]
    assert {report.name for report in claimed} == {"resnet_d", "resnet_s_cert"}
    for report in claimed:
        assert claims._check_certificates(report) == []


@pytest.mark.parametrize(
    ("model", "claim", "reason"),
    [
        ("stable_resnet_s11", "sensitivity", r"stages\.0\.blocks\.0: "),
        ("stable_resnet_d18", "sensitivity", r"stages\.0\.blocks\.0 may expand differences by .* grows with the depth"),
        ("postresnet20", "growth", "head: "),
        ("preresnet20", "growth", r"not proved of preresnet20: "),
    ],
)
def test_false_certificates_are_found(model: str, claim: str, reason: str) -> None:
    """With the block that spoils it."""
    (problem,) = unproved_certificates(model, [claim])
    assert problem.startswith(f"claims certified {claim}; not proved of {model}: ")
    import re

    assert re.search(reason, problem)


def test_check_reports_a_false_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a false claim of its plugin."""
    plugin, claim = catalogue().schemes["resnet_s"]
    false = claim.model_copy(update={"certified": {"sensitivity": "always"}})
    monkeypatch.setitem(catalogue().schemes, "resnet_s", (plugin, false))
    problems = [problem for problem in check_claims().problems if "resnet_s" in problem]
    assert len(problems) == 1
    assert "plugin 'forward'" in problems[0]
    assert "claims certified sensitivity; not proved of stable_resnet_s11" in problems[0]
