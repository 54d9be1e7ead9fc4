"""What is certified of networks with weights is recomputed, and a false claim is found."""

import pytest

from fixtures.messages import says
from stabzoo import claims
from stabzoo.claims import check_claims, scheme_reports
from stabzoo.diagnostics.bounds.certification import unproved_certificates
from stabzoo.registry.catalogue import catalogue


def test_the_registrys_certificates_are_proved() -> None:
    """Of every scheme that claims any."""
    claimed = [report for report in scheme_reports() if report.claim.certified]
    assert {report.name for report in claimed} == {"resnet_d", "resnet_s_cert", "cpl", "sll", "aol", "sandwich"}
    for report in claimed:
        assert claims._check_certificates(report) == []


@pytest.mark.parametrize(
    ("model", "claim", "facts"),
    [
        ("stable_resnet_s11", "sensitivity", ("stages.0.blocks.0: ",)),
        ("stable_resnet_d18", "sensitivity", ("stages.0.blocks.0", "expand", "depth")),
        ("postresnet20", "growth", ("head: ",)),
        ("preresnet20", "growth", ("||f(x)|| <= ",)),
    ],
)
def test_false_certificates_are_found(model: str, claim: str, facts: tuple[str, ...]) -> None:
    """With the block that spoils it."""
    (problem,) = unproved_certificates(model, [claim])
    says(problem, "not proved", claim, model, *facts)


def test_check_reports_a_false_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a false claim of its plugin."""
    plugin, claim = catalogue().schemes["resnet_s"]
    false = claim.model_copy(update={"certified": {"sensitivity": "always"}})
    monkeypatch.setitem(catalogue().schemes, "resnet_s", (plugin, false))
    problems = check_claims(["resnet_s"]).problems
    assert len(problems) == 1
    says(problems[0], "plugin 'forward'", "resnet_s", "sensitivity", "not proved", "stable_resnet_s11")
