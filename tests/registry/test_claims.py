"""Claims are recomputed: true ones pass, false ones are told with counterexamples, broken plugins stay visible."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.messages import raises, says
from stabzoo import claims
from stabzoo.errors import ConfigError
from stabzoo.registry.catalogue import Catalogue, catalogue, list_models, list_schemes
from stabzoo.registry.conditions import parse_condition
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
    """All schemes and models; every condition is proved, at all values of its parameter."""
    found = claims.check_claims()
    assert found.problems == ()
    assert [entry.report.name for entry in found.schemes] == list_schemes()
    assert found.models == len(list_models())
    for entry in found.schemes:
        claimed = claims.condition_claims(entry.report.claim)
        assert [check.condition for check in entry.conditions] == [c for c in claimed.values() if isinstance(c, str)]
        for check in entry.conditions:
            assert check.proved is not None
            assert check.values + check.refused > len(parse_condition(check.condition).probes())
            says(check.how, "proved", "intervals", f"{check.values} values")
        further = entry.checks - 3 - sum(check.values for check in entry.conditions)
        claim = entry.report.claim
        stated = [*claimed.values(), claim.symplectic, claim.symmetric]
        assert further == len(claim.certified) + len(entry.ranges) + sum(isinstance(c, bool) for c in stated)
    assert found.checks == sum(entry.checks for entry in found.schemes) + found.models


def test_some_schemes_alone_are_checked() -> None:
    """Those whose names fit, and their models; what fits none is an error."""
    found = claims.check_claims(["zerosnet*", "euler"])
    assert [entry.report.name for entry in found.schemes] == [
        name for name in list_schemes() if name.startswith(("zerosnet", "euler"))
    ]
    used = [config.scheme for _, config in catalogue().models.values()]
    assert found.models == sum(scheme.startswith(("zerosnet", "euler")) for scheme in used)
    with raises(ConfigError, "'zerosnot'", "zerosnet"):
        claims.check_claims(["zerosnot"])


def test_a_check_needs_torch_for_what_is_certified_alone() -> None:
    """In a fresh interpreter."""
    certified = [n for n, (_, claim) in catalogue().schemes.items() if claim.certified]
    rest = [name for name in list_schemes() if name not in certified]
    assert certified
    assert rest
    code = (
        "import sys\nfrom stabzoo.cli.check import check_all\n"
        f"assert check_all({rest!r}, as_json=False) == 0\n"
        "heavy = {'torch', 'timm', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "changes", "facts"),
    [
        ("zerosnet_opt", {"order": 3}, ("order 3", "order 2")),
        ("zerosnet_opt", {"order": None}, ("not consistent", "order 2")),
        ("lm_resnet", {"order": 1}, ("order 1", "not consistent")),
        ("euler", {"stability": "weak"}, ("stability weak", "strong", "rho = (z - 1)")),
        ("euler", {"stability": "second-order stable"}, ("second-order stable", "proved: strong")),
        ("euler", {"symplectic": True}, ("claims symplectic", "not symplectic")),
        ("zerosnet_opt", {"symmetric": True}, ("claims symmetric", "not symmetric")),
        ("zerosnet_opt", {"symplectic": False}, ("not symplectic", "not decided")),
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
    says(found, "scheme 'lm'", "-1 < k <= 2", "proved: exactly when -1 < k <= 1")
    assert found.count("is not zero-stable") == 2  # of the interval from 1 to 2, and its end


def test_values_that_a_scheme_refuses_are_counted(claim: Callable[..., tuple[str, ...]]) -> None:
    """For lambda, 0 is a bound of this condition and no ZeroSNet."""
    claim("zerosnet", condition="lam <= -1 or 0 < lam and lam > 1/3")
    (entry,) = claims.check_claims().schemes
    assert (entry.conditions[0].refused, entry.false_claims) == (1, ())


PLANTED = """
    from fractions import Fraction
    from stabzoo import ExplicitFamily, LinearMultistep, Rational, hookimpl

    class Planted(ExplicitFamily):
        name = "planted"
        s: Rational = Fraction(0)

        def coefficients(self):
            {body}

    @hookimpl
    def stabzoo_discretizations():
        return [Planted]
"""
TWO_PAIRS = """rho = [Fraction(1), Fraction(-1)]
            for middle in (self.s, Fraction(6, 5)):
                a = [*rho, 0, 0]
                rho = [a[j] + (middle * a[j - 1] if j else 0) + (a[j - 2] if j > 1 else 0) for j in range(len(a))]
            return LinearMultistep([-c for c in rho[1:]], (sum(c * (5 - j) for j, c in enumerate(rho)),))"""


@pytest.mark.parametrize(
    ("body", "condition", "order", "facts"),
    [
        (TWO_PAIRS, "-2 < s < 2", 1, ("-2 < s < 6/5 or 6/5 < s < 2", "s = 6/5 is not zero-stable")),
        (TWO_PAIRS, "-2 < s < 6/5 or 6/5 < s < 2", 1, ()),
        ("return LinearMultistep((self.s * self.s / 2,), (1,))", "-1 <= s <= 1", None, ("-sqrt(2) <= s <= sqrt(2)",)),
        ("return LinearMultistep((self.s * self.s / 4,), (1,))", "-2 <= s <= 2", None, ()),
    ],
)
def test_a_claim_that_no_grid_refutes(
    install: Install, body: str, condition: str, order: int | None, facts: tuple[str, ...]
) -> None:
    """Two pairs of roots meet on the circle at one value; ends that are no rational numbers."""
    stability = "weak" if order else "strong"
    claimed = f"{{order: {order or 'null'}, stability: {stability}, condition: '{condition}'}}"
    install("planted", PLANTED.format(body=body), f"planted: {{schemes: {{planted: {claimed}}}}}")
    (entry,) = claims.check_claims(["planted"]).schemes
    assert entry.conditions[0].proved is not None
    assert bool(entry.false_claims) is bool(facts)
    if facts:
        says("\n".join(entry.false_claims), *facts)


def test_a_part_that_the_scheme_refuses_is_left_out_and_said(install: Install) -> None:
    """A claim about the values that it takes is true, and it is said where it takes none."""
    body = """if not -1 <= self.s < 1:
                raise ValueError("too large")
            return LinearMultistep((self.s,), (1,))"""
    claimed = "{order: null, stability: strong, condition: 's >= -1'}"
    install("planted", PLANTED.format(body=body), f"planted: {{schemes: {{planted: {claimed}}}}}")
    (entry,) = claims.check_claims(["planted"]).schemes
    assert entry.false_claims == ()
    says(entry.conditions[0].how, "proved", "left out", "s > 1", "accepts no value")


@pytest.mark.parametrize(
    ("condition", "facts"),
    [
        ("-1 <= s <= 1 and -1 <= t <= 1", ()),
        ("-1 <= s <= 1 and t <= 1", ("s = ", "t = ", "is not zero-stable")),
        ("-1 <= s <= 1 and -1 < t <= 1", ("t = -1 is zero-stable",)),
        ("-1 <= s <= 1 and q <= 1", ("no parameter 'q'",)),
    ],
)
def test_a_condition_on_two_parameters_is_checked_on_a_grid(
    install: Install, condition: str, facts: tuple[str, ...]
) -> None:
    """And it is said that nothing is proved, and how many values are refused."""
    body = """if self.t == 2:
                raise ValueError("refused")
            return LinearMultistep((self.s if abs(self.t) <= 1 else 3,), (1,))"""
    field = "s: Rational = Fraction(0)"
    code = PLANTED.format(body=body).replace(field, f"{field}\n        t: Rational = Fraction(0)")
    claimed = f"{{order: null, stability: strong, condition: '{condition}'}}"
    install("planted", code, f"planted: {{schemes: {{planted: {claimed}}}}}")
    (entry,) = claims.check_claims(["planted"]).schemes
    assert entry.conditions[0].proved is None
    assert bool(entry.false_claims) is bool(facts)
    if facts:
        says("\n".join(entry.false_claims), *facts)
    if "q" not in condition:
        assert entry.conditions[0].values > 80
        says(entry.conditions[0].how, "not proved", f"{entry.conditions[0].values} values", "refused")


@pytest.mark.parametrize(("condition", "facts"), [("-1 <= s <= 1", ()), ("-1 <= s < 1", ("s = 1 is zero-stable",))])
def test_coefficients_that_are_not_rational_are_checked_at_values(
    install: Install, condition: str, facts: tuple[str, ...]
) -> None:
    """And it is said that nothing is proved."""
    body = "return LinearMultistep((abs(self.s),), (1,))"
    claimed = f"{{order: null, stability: strong, condition: '{condition}'}}"
    install("planted", PLANTED.format(body=body), f"planted: {{schemes: {{planted: {claimed}}}}}")
    (entry,) = claims.check_claims(["planted"]).schemes
    assert entry.conditions[0].proved is None
    says(entry.conditions[0].how, "not proved", f"{entry.conditions[0].values} values")
    assert bool(entry.false_claims) is bool(facts)
    if facts:
        says("\n".join(entry.false_claims), *facts)


def test_a_certificate_that_does_not_verify_is_a_false_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the decision wrong, the check would say so."""
    real = claims.card

    def forged(method: Any) -> Any:
        return dataclasses.replace(
            real(method), certificate=Certificate("schur", (), (), (real(method).coefficients.rho[0],))
        )

    monkeypatch.setattr(claims, "card", forged)
    monkeypatch.setattr(claims, "on_trial", list)  # no model need be built
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


@pytest.mark.usefixtures("only_guests_are_tried")
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
@pytest.mark.usefixtures("only_guests_are_tried")
def test_code_that_fails_is_told_with_its_plugin(install: Install, body: str, facts: tuple[str, ...]) -> None:
    """Whatever a plugin's code raises, the others are checked."""
    registry = REGISTRY.replace("weight <= -1 or weight >= 1", "weight <= -1 or 0 < weight and weight >= 1")
    install("inverse", PARAMETER.format(body=body), registry)
    found = claims.check_claims()
    says(found.problems[0], "plugin 'inverse' (stabzoo-inverse 9.0)", *facts)
    assert all("inverse" in text for text in found.problems)
    assert len(found.schemes) == len(list_schemes())


@pytest.mark.usefixtures("only_guests_are_tried")
def test_a_scheme_without_defaults_cannot_be_claimed(install: Install) -> None:
    """Its claim is about default parameters, which it has not."""
    code = PARAMETER.format(body="return LinearMultistep((self.weight,), (1,))").replace(" = Fraction(1)", "")
    install("inverse", code, REGISTRY)
    problem = claims.check_claims().problems[0]
    says(problem, "plugin 'inverse' (stabzoo-inverse 9.0)", "scheme 'inverse'", "weight", "required")


@pytest.mark.usefixtures("only_guests_are_tried")
def test_many_models_of_a_broken_plugin_are_one_sentence(install: Install) -> None:
    """Three are named, the others are counted."""
    registry = (
        "inverse: {schemes: {}, families: {'inverse{depth}': {scheme: nothing, cifar: {basic: [20, 26, 32, 38, 44]}}}}"
    )
    install("inverse", "x = 1", registry)
    (problem,) = claims.check_claims().problems
    says(problem, "plugin 'inverse' (stabzoo-inverse 9.0)", "inverse20, inverse26, inverse32", "2", "scheme 'nothing'")
    assert "inverse38" not in problem


@pytest.mark.usefixtures("only_guests_are_tried")
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
        ("@classmethod\n        def network(cls): ...", "order: not decided", ["stability strong", "not decided", "own", "method()"]),
        ("pass", "order: not decided", ["claims order not decided; proved: order 1"]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("only_guests_are_tried")
def test_what_is_not_decided_cannot_be_claimed(install: Install, body: str, claim: str, facts: list[str]) -> None:
    """The reason is told, and that it is not decided can be said."""
    install("own", OWN.format(body=body), f"own: {{schemes: {{own: {{{claim}, stability: strong}}}}}}")
    problems = claims.check_claims().problems
    assert len(problems) == bool(facts)
    for problem in problems:
        says(problem, "plugin 'own' (stabzoo-own 9.0)", "scheme 'own'", *facts)


@pytest.mark.usefixtures("only_guests_are_tried")
def test_a_condition_of_a_stability_that_is_not_decided(install: Install) -> None:
    """At every value it is said."""
    code = PARAMETER.format(body="return LinearMultistep((1,), (1,))\n\n        def block(self, f): ...")
    claim = "{order: not decided, stability: strong, a_stable: weight > 0}"
    install("inverse", code, f"inverse: {{schemes: {{inverse: {claim}}}}}")
    (problem,) = claims.check_claims().problems
    says(problem, "A-stable exactly when weight > 0", "is not decided")
