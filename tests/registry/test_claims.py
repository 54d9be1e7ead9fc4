"""Claims are recomputed: true ones pass, false ones are told with counterexamples, broken plugins stay visible."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.messages import says
from stabzoo import claims
from stabzoo.registry.catalogue import Catalogue, catalogue, list_models, list_schemes
from stabzoo.stability import Certificate

Install = Callable[..., Path]


@pytest.fixture
def claim(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, ...]]:
    """Check one scheme of ours as if its registry claimed something else; return the problems."""

    def check(name: str, **changes: Any) -> tuple[str, ...]:
        real = catalogue()
        plugin, true = real.schemes[name]
        schemes = {name: (plugin, true.model_copy(update=changes))}
        monkeypatch.setattr(claims, "catalogue", lambda: Catalogue(real.plugins, schemes, {}))
        return claims.check_claims().problems

    return check


def test_every_claim_of_ours_is_true() -> None:
    """All schemes and models; conditions at every probe that a scheme accepts."""
    found = claims.check_claims()
    assert found.problems == ()
    assert [entry.report.name for entry in found.schemes] == list_schemes()
    assert found.models == len(list_models())
    for entry in found.schemes:
        condition = entry.report.claim.parsed_condition()
        assert entry.values + entry.refused == (len(condition.probes()) if condition else 0)
        stiff = [claim for claim in (entry.report.claim.a_stable, entry.report.claim.l_stable) if claim is not None]
        further = entry.checks - 3 - entry.values - len(entry.report.claim.certified)
        assert further > len(stiff) if any(isinstance(claim, str) for claim in stiff) else further == len(stiff)
    assert found.checks == sum(entry.checks for entry in found.schemes) + found.models


@pytest.mark.parametrize(
    ("name", "changes", "facts"),
    [
        ("zerosnet_opt", {"order": 3}, ("order 3", "order 2")),
        ("zerosnet_opt", {"order": None}, ("not consistent", "order 2")),
        ("lm_resnet", {"order": 1}, ("order 1", "not consistent")),
        ("euler", {"stability": "weak"}, ("stability weak", "strong", "rho = (z - 1)")),
        ("multistep", {"condition": "-1 < k <= 1"}, ("no parameter 'k'", "alpha, beta")),
        ("zerosnet_opt", {"condition": "lam <= -1"}, ("no parameter 'lam'", "no parameters")),
        ("lm", {"condition": "beta > 0"}, ("zero stability", "beta > 0", "accepts none")),
    ],
)
def test_a_false_claim_is_one_sentence(
    claim: Callable[..., tuple[str, ...]], name: str, changes: dict[str, Any], facts: tuple[str, ...]
) -> None:
    """It names the plugin and the scheme, what is claimed and what is so."""
    (found,) = claim(name, **changes)
    says(found, "plugin", f"scheme {name!r}", *facts)


def test_a_false_condition_is_told_with_exact_counterexamples(claim: Callable[..., tuple[str, ...]]) -> None:
    """The paper's interval: its end point is the only counterexample."""
    (found,) = claim("zerosnet", condition="lam < -1 or lam > 1/3")
    says(found, "plugin 'zerosnet'", "scheme 'zerosnet'", "lam < -1 or lam > 1/3", "lam = -1 is zero-stable")
    assert found.count("lam = ") == 1
    (found,) = claim("lm", condition="-1 <= k <= 1")
    says(found, "scheme 'lm'", "-1 <= k <= 1", "k = -1 is not zero-stable")
    assert found.count("k = ") == 1
    (found,) = claim("lm", condition="-1 < k <= 2")
    says(found, "scheme 'lm'", "-1 < k <= 2", "k = ", "values")
    assert found.count("is not zero-stable") == 3


def test_values_that_a_scheme_refuses_are_counted(claim: Callable[..., tuple[str, ...]]) -> None:
    """For lambda, 0 is a bound of this condition and no ZeroSNet."""
    claim("zerosnet", condition="lam <= -1 or 0 < lam and lam > 1/3")
    (entry,) = claims.check_claims().schemes
    assert (entry.refused, entry.false_claims) == (1, ())


def test_a_certificate_that_does_not_verify_is_a_false_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the decision wrong, the check would say so."""
    real = claims.card

    def forged(method: Any) -> Any:
        return dataclasses.replace(
            real(method), certificate=Certificate("schur", (), (), (real(method).coefficients.rho[0],))
        )

    monkeypatch.setattr(claims, "card", forged)
    problems = claims.check_claims().problems
    for name in list_schemes():
        says("\n".join(text for text in problems if f"scheme {name!r}" in text), "certificate", "does not verify")


PARAMETER = """
    from fractions import Fraction
    from stabzoo import ExplicitMultistep, LinearMultistep, Rational, hookimpl

    class Inverse(ExplicitMultistep):
        name = "inverse"
        weight: Rational = Fraction(1)

        def coefficients(self):
            {body}

    @hookimpl
    def stabzoo_discretizations():
        return [Inverse]
"""
REGISTRY = """
    inverse:
      schemes: {inverse: {order: 1, stability: strong, condition: weight <= -1 or weight >= 1}}
      models: {inverse20: {scheme: inverse, depth: 20}, inverse32: {scheme: inverse, depth: 32, parameters: {speed: 1}}}
"""


def test_a_model_with_parameters_that_its_scheme_refuses(install: Install) -> None:
    """The model is named, its siblings are well."""
    body = "return LinearMultistep((self.weight,), (1,))"
    install(
        "inverse", PARAMETER.format(body=body), REGISTRY.replace("weight <= -1 or weight >= 1", "-1 <= weight <= 1")
    )
    (problem,) = claims.check_claims().problems
    says(problem, "plugin 'inverse' (stabzoo-inverse 9.0)", "model inverse32", "unknown parameter 'speed'", "weight")
    assert "inverse20" not in problem


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        ("return LinearMultistep((1 / self.weight,), (1,))", ("weight = 0", "ZeroDivisionError")),
        ("return 1 / 0", ("scheme 'inverse': ZeroDivisionError",)),
        ("return (1,), (1,)", ("scheme 'inverse'", "TypeError", "coefficients()", "LinearMultistep")),
    ],
)
def test_code_that_fails_is_told_with_its_plugin(install: Install, body: str, facts: tuple[str, ...]) -> None:
    """Whatever a plugin's code raises, the others are checked."""
    registry = REGISTRY.replace("weight <= -1 or weight >= 1", "weight <= -1 or 0 < weight and weight >= 1")
    install("inverse", PARAMETER.format(body=body), registry)
    found = claims.check_claims()
    says(found.problems[0], "plugin 'inverse' (stabzoo-inverse 9.0)", *facts)
    assert all("inverse" in text for text in found.problems)
    assert len(found.schemes) == len(list_schemes())


def test_a_scheme_without_defaults_cannot_be_claimed(install: Install) -> None:
    """Its claim is about default parameters, which it has not."""
    code = PARAMETER.format(body="return LinearMultistep((self.weight,), (1,))").replace(" = Fraction(1)", "")
    install("inverse", code, REGISTRY)
    problem = claims.check_claims().problems[0]
    says(problem, "plugin 'inverse' (stabzoo-inverse 9.0)", "scheme 'inverse'", "weight", "required")


def test_many_models_of_a_broken_plugin_are_one_sentence(install: Install) -> None:
    """Three are named, the others are counted."""
    registry = (
        "inverse: {schemes: {}, families: {'inverse{depth}': {scheme: nothing, cifar: {basic: [20, 26, 32, 38, 44]}}}}"
    )
    install("inverse", "x = 1", registry)
    (problem,) = claims.check_claims().problems
    says(problem, "plugin 'inverse' (stabzoo-inverse 9.0)", "inverse20, inverse26, inverse32", "2", "scheme 'nothing'")
    assert "inverse38" not in problem


def test_a_registry_that_cannot_be_read_is_a_problem_and_no_warning(install: Install) -> None:
    """A result of the check, in the plugin's name."""
    install("inverse", "x = 1", "inverse: {schemes: {inverse: {order: two}}}")
    assert any(text.startswith("plugin 'inverse' (stabzoo-inverse 9.0): ") for text in claims.check_claims().problems)


OWN = """
    from stabzoo import ExplicitMultistep, hookimpl

    class Own(ExplicitMultistep):
        name = "own"
        alpha, beta = (1,), (1,)

        {body}

    @hookimpl
    def stabzoo_discretizations():
        return [Own]
"""


@pytest.mark.parametrize(
    ("body", "claim", "facts"),
    [
        ("def block(self, f): ...", "order: 1", ["claims order 1; not decided of its own step", "method()"]),
        ("def block(self, f): ...", "order: null", ["claims not consistent; not decided of its own step"]),
        ("def block(self, f): ...", "order: not decided", []),
        ("def block(self, f): ...", "order: not decided, a_stable: false", ["claims not A-stable; not decided"]),
        ("def block(self, f): ...", "order: not decided, l_stable: x == 1", ["has no parameter 'x'"]),
        ("@classmethod\n        def network(cls): ...", "order: not decided", ["stability strong; not decided", "own network"]),
        ("pass", "order: not decided", ["claims order not decided; proved: order 1"]),
    ],
)  # fmt: skip
def test_what_is_not_decided_cannot_be_claimed(install: Install, body: str, claim: str, facts: list[str]) -> None:
    """The reason is told, and that it is not decided can be said."""
    install("own", OWN.format(body=body), f"own: {{schemes: {{own: {{{claim}, stability: strong}}}}}}")
    problems = claims.check_claims().problems
    assert len(problems) == bool(facts)
    for problem in problems:
        says(problem, "plugin 'own' (stabzoo-own 9.0)", "scheme 'own'", *facts)


def test_a_condition_of_a_stability_that_is_not_decided(install: Install) -> None:
    """At every value it is said."""
    code = PARAMETER.format(body="return LinearMultistep((1,), (1,))\n\n        def block(self, f): ...")
    claim = "{order: not decided, stability: strong, a_stable: weight > 0}"
    install("inverse", code, f"inverse: {{schemes: {{inverse: {claim}}}}}")
    (problem,) = claims.check_claims().problems
    says(problem, "A-stable exactly when weight > 0", "is not decided")
