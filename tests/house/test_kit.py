"""The plugin author's kit: our own schemes pass it, and whatever is wrong with a scheme is found by the check for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import stabzoo
from fixtures.messages import raises, says, warns
from stabzoo.errors import ConfigError
from stabzoo.testing import (
    CHECKS,
    Check,
    CheckFailedError,
    FutureCheckWarning,
    check_discretization,
    parametrize_with_checks,
    runner,
)
from stabzoo.testing.checks import Subject
from stabzoo.testing.networks import check_network_steps
from stabzoo_forward.layers import DLayer

pytest_plugins = ["pytester"]
Install = Callable[..., Path]
OURS = ["adams_moulton", "bdf", "euler", "resnet_d", "resnet_s", "resnet_s_cert", "postresnet", "fractional",
        "midpoint", "verlet", "hamiltonian", "imex", "cpl", "sll", "aol", "sandwich", "momentum", "lm", "lm_resnet", "multistep", "optimal", "poly2",
        "revnet", "irevnet", "rk2", "rk4", "ssp_rk3", "theta", "backward_euler", "trapezoidal", "zerosnet",
        "zerosnet_opt", "zerosnet_tra"]  # fmt: skip


@parametrize_with_checks(OURS)
def test_our_schemes(check: Callable[[], None]) -> None:
    """As any third party's."""
    check()


def test_all_of_our_schemes_are_checked() -> None:
    """The list above is the catalogue."""
    assert stabzoo.list_schemes() == OURS


def leapfrog(*, body: str = "", top: str = "", hook: str = "Leapfrog") -> str:
    """The code of a plugin whose leapfrog has more in its class, or at the top."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return (
        f"{top}\nfrom stabzoo import ExplicitMultistep, hookimpl\n\n"
        f"class Leapfrog(ExplicitMultistep):\n    name = 'leapfrog'\n    alpha, beta = (0, 1), (2, 0)\n{lines}\n\n"
        f"@hookimpl\ndef stabzoo_discretizations():\n    return [{hook}]\n"
    )


def with_step(expression: str, init: str = "pass") -> str:
    """A class body with a block that computes ``expression`` of y, h (the history) and f."""
    return f"""def method(self):
    return self.coefficients()

def block(self, f):
    import torch
    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.f = f
            {init}
        def coefficients(self):
            return Leapfrog().coefficients()
        def forward(self, y, history):
            f, h = self.f, history
            return [{expression}]
    return Step()"""


WRONG = {
    "the name of another boundary": (leapfrog(body="at_downsampling = 'periodic'"), {"check_protocol"}),
    "coefficients that change": (
        leapfrog(
            top="from stabzoo import LinearMultistep\nCALLS = []",
            body="def coefficients(self):\n    CALLS.append(1)\n    return LinearMultistep((0, 1), (2, len(CALLS)))",
        ),
        {"check_exactness"},
    ),
    "another start than Euler's": (
        leapfrog(
            top="from stabzoo import ImplicitStep, LinearMultistep",
            body="def starting_block(self, f, *, returns_slope):\n    return ImplicitStep(f, LinearMultistep((1,), (0,), 1))",
        ),
        {"check_start_up"},
    ),
    "a false claim": (leapfrog().replace("(2, 0)", "(1, 0)"), {"check_claims"}),
    "torch at the top": (leapfrog(top="import torch"), {"check_import_cost"}),
    "another alpha": (leapfrog(body=with_step("h[0] + 2 * f(y)")), {"check_step_of_zero"}),
    "another beta": (
        leapfrog(body=with_step("h[1] + 3 * f(y)")),
        {"check_step_of_identity", "check_method", "check_order"},
    ),
    "another one-step method than the stated one": (
        leapfrog(
            top="from stabzoo import RungeKutta",
            body=with_step("y + (f(y) + f(y + f(y))) / 2").replace(
                "return self.coefficients()", "return RungeKutta(((), ('1/2',)), (0, 1))"
            ),
        )
        .replace("(0, 1), (2, 0)", "(1,), (1,)")
        .replace("name = 'leapfrog'", "name, at_downsampling, needs_equal_shapes = 'leapfrog', 'restart', True"),
        {"check_method"},  # both are of order 2, and alike where f is linear
    ),
    "float32 inside": (
        leapfrog(body=with_step("(h[1].float() + 2 * f(y).float())")),
        {"check_dtype_and_device", "check_network_dtype_and_device"},
    ),
    "a parameter that is not used": (
        leapfrog(body=with_step("h[1] + 2 * f(y)", "self.unused = torch.nn.Parameter(torch.zeros(1))")),
        {"check_gradients"},
    ),
    "no gradient": (
        leapfrog(body=with_step("h[1] + 2 * f(y).detach()")),
        {"check_gradients", "check_timm_forward_and_backward"},
    ),
    "randomness": (leapfrog(body=with_step("h[1] + 2 * f(y) + 0.01 * torch.rand_like(y).mean()")), {"check_evaluation_mode"}),
    "images that see one another": (
        leapfrog(body=with_step("h[1] + 2 * f(y) + 0.1 * h[1].mean(0, keepdim=True)")),
        {"check_evaluation_mode"},
    ),
    "weights that evaluation changes": (
        leapfrog(
            body=with_step(
                "h[1] + 2 * f(y) + 0 * self.count.add_(1)", "self.register_buffer('count', torch.zeros(1, 1, 1, 1))"
            )
        ),
        {"check_evaluation_mode"},
    ),
    "control flow on values": (
        leapfrog(body=with_step("h[1] + (2 if float(y.sum()) > 1e30 else 2) * f(y)")),
        {"check_timm_fx"},
    ),
    "a shape of its own": (leapfrog(body=with_step("(h[1] + 2 * f(y))[..., 1:]")), {"check_stage_boundaries"}),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_found(install: Install, monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    """By the checks that are for it, each with a reason."""
    code, noticed = WRONG[mistake]
    monkeypatch.setattr(runner, "CHECKS", tuple(check for check in CHECKS if check.name in noticed))
    install(code=code)
    stabzoo.refresh()
    with pytest.raises(CheckFailedError) as caught:
        check_discretization("leapfrog")
    assert set(re.findall(r"^  (check_\w+): \S", str(caught.value), flags=re.M)) == noticed
    assert str(caught.value).startswith(f"leapfrog: {len(noticed)} checks ran: {len(noticed)} failed\n")


def test_a_good_scheme_passes_and_the_report_counts(install: Install) -> None:
    """How many checks ran is said, and which do not apply."""
    folder = install()
    stabzoo.refresh()
    report = check_discretization("leapfrog")
    assert str(report) == f"leapfrog: {len(CHECKS) - 3} checks ran: {len(CHECKS) - 3} passed, 3 not applicable"
    (folder / "registry.yaml").write_text("leapfrog:\n  schemes: {leapfrog: {order: 2, stability: weak}}\n")
    stabzoo.refresh()
    report = check_discretization("leapfrog")
    left_out = {o.check for o in report.outcomes if o.result == "not applicable"}
    values, ranges, slopes, reason = sorted({o.reason for o in report.outcomes if o.reason})
    says(values, "no parameters")
    says(ranges, "no stable_ranges")
    says(slopes, "no past slopes")
    says(reason, "registry.yaml", "no model")
    assert "check_timm_features" in left_out
    assert str(report).startswith(f"leapfrog: {len(CHECKS) - len(left_out)} checks ran: ")


def test_an_expected_failure_has_a_reason_and_must_fail(install: Install) -> None:
    """No silence: the reason is written, the name exists, and what passes is expected no more."""
    install(code=leapfrog(top="import torch"))
    stabzoo.refresh()
    report = check_discretization("leapfrog", expected_failures={"check_import_cost": "its tables need torch"})
    assert {o.reason for o in report.outcomes if o.result == "failed as expected"} == {"its tables need torch"}
    with raises(CheckFailedError, "check_order: passed", "rounding"):
        check_discretization(
            "leapfrog", expected_failures={"check_import_cost": "its tables need torch", "check_order": "rounding"}
        )
    with raises(ConfigError, "no check 'check_ordre'", "check_protocol"):
        check_discretization("leapfrog", expected_failures={"check_ordre": "x"})
    with raises(ConfigError, "check_order", "reason", "' '"):
        check_discretization("leapfrog", expected_failures={"check_order": " "})
    with raises(ConfigError, "leapfrog", "got frog"):
        parametrize_with_checks(["leapfrog"], expected_failures={"frog": {}})
    with raises(ConfigError, "scheme 'leapfrogg'", "leapfrog"):
        check_discretization("leapfrogg")


def test_a_network_of_its_own_is_compared_with_what_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Block by block around its branch; where no block has one the statement cannot be checked, and is refused."""
    monkeypatch.setattr(DLayer, "forward", lambda self, y, past: y + self.branch(y))
    with raises(AssertionError, "block 0", "splitting", "max(0, y[n] + h f[n])", "off by"):
        check_network_steps(Subject("resnet_d"))
    monkeypatch.setattr(DLayer, "forward", lambda self, y, past: y.relu())
    monkeypatch.delattr(DLayer, "branch")
    with raises(AssertionError, "method() is stated", "branch(y)"):
        check_network_steps(Subject("resnet_d"))


def test_a_step_that_is_not_stated_is_not_compared(install: Install) -> None:
    """Its order is not decided, its claim says so, and the report why the checks do not apply."""
    body = with_step("h[1] + 2 * f(y)").partition("\n\n")[2]
    registry = "leapfrog:\n  schemes: {leapfrog: {order: not decided, stability: weak}}\n"
    install(code=leapfrog(body=body), registry=registry)
    stabzoo.refresh()
    reasons = {o.check: o.reason for o in check_discretization("leapfrog").outcomes if o.reason}
    says(reasons["check_method"], "own step", "method()")
    says(reasons["check_order"], "no order is decided")


def check_that_fails(subject: Subject) -> None:
    """A check that no scheme passes."""
    raise AssertionError(f"{subject.name} is not new enough")


@pytest.mark.parametrize(
    ("version", "is_fatal"), [("0.2.0", False), ("0.2.9", False), ("0.3.0", True), ("1.0.0", True)]
)
def test_a_new_check_warns_for_one_minor_release(monkeypatch: pytest.MonkeyPatch, version: str, is_fatal: bool) -> None:
    """Then its failure is an error; a check of the first release always is one."""
    monkeypatch.setattr(stabzoo, "__version__", version)
    monkeypatch.setattr(runner, "CHECKS", (Check(check_that_fails, since=(0, 2)),))
    assert not any(check.is_new for check in CHECKS)
    if is_fatal:
        with raises(CheckFailedError, "1 failed", "check_that_fails", "euler is not new enough"):
            check_discretization("euler")
    else:
        with warns(FutureCheckWarning, "euler", "check_that_fails", "stabzoo 0.2", "not new enough"):
            assert str(check_discretization("euler")) == "euler: 1 checks ran: 1 warned"


PYTEST = """
from stabzoo.testing import parametrize_with_checks

@parametrize_with_checks(["leapfrog"], expected_failures={"leapfrog": {"check_import_cost": "needs torch"}})
def test_scheme(check):
    check()
"""


def test_under_pytest(install: Install, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """One case a check; expected failures are xfails, what does not apply is skipped with the reason."""
    install(
        code=leapfrog(top="import torch"),
        registry="leapfrog:\n  schemes: {leapfrog: {order: 2, stability: weak}}\n",
    )
    stabzoo.refresh()
    pytester.makepyfile(test_of_an_author=PYTEST)
    result = pytester.runpytest_inprocess("-p", "no:xdist", "-p", "no:cacheprovider", "-rsx")
    outcomes = result.parseoutcomes()
    assert outcomes["xfailed"] == 1
    assert sum(outcomes.values()) == len(CHECKS)
    assert "failed" not in outcomes
    assert "no model of this scheme" in result.stdout.str()
