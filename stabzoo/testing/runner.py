"""The list of checks, and the two ways to run them: all at once with a report, or one pytest case each."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import stabzoo
from stabzoo.errors import ConfigError
from stabzoo.testing import checks, conduct, models, networks, steps
from stabzoo.testing.checks import NotApplicable, Subject

__all__ = [
    "CHECKS",
    "Check",
    "CheckFailedError",
    "CheckReport",
    "FutureCheckWarning",
    "Outcome",
    "check_discretization",
    "parametrize_with_checks",
]

FIRST = (0, 1)  # the version that brought the first checks, none of which is new


class CheckFailedError(AssertionError):
    """A scheme does not pass; the message has one line a failed check."""


class FutureCheckWarning(UserWarning):
    """A scheme does not pass a check that is new, and that will be an error from the next minor release on."""


@dataclass(frozen=True)
class Check:
    """One check: ``function(subject)`` raises an AssertionError, or NotApplicable; ``since``: when it was added."""

    function: Callable[[Subject], None]
    since: tuple[int, int] = FIRST

    @property
    def name(self) -> str:
        """The name of the function, which ``expected_failures`` has."""
        return self.function.__name__

    @property
    def is_new(self) -> bool:
        """Whether stabzoo is of the minor release that brought this check: its failure is a warning."""
        major, minor = (int(part) for part in stabzoo.__version__.split(".")[:2])
        return self.since > FIRST and (major, minor) <= self.since


CHECKS: tuple[Check, ...] = (
    Check(checks.check_protocol),
    Check(checks.check_exactness),
    Check(checks.check_claims),
    Check(checks.check_import_cost),
    Check(steps.check_step_of_zero),
    Check(steps.check_step_of_identity),
    Check(steps.check_method),
    Check(steps.check_parameter_values),
    Check(steps.check_order),
    Check(steps.check_stable_ranges),
    Check(steps.check_dtype_and_device),
    Check(conduct.check_modes),
    Check(conduct.check_batch),
    Check(conduct.check_derivatives),
    Check(conduct.check_returned_slope),
    Check(conduct.check_new_tensors),
    Check(conduct.check_arguments),
    Check(conduct.check_state),
    Check(conduct.check_memory),
    Check(conduct.check_inverse),
    Check(conduct.check_separate_weights),
    Check(networks.check_gradients),
    Check(networks.check_start_up),
    Check(networks.check_network_steps),
    Check(networks.check_stage_boundaries),
    Check(networks.check_network_dtype_and_device),
    Check(networks.check_evaluation_mode),
    Check(models.check_weights_travel),
    Check(models.check_models_on_meta),
    Check(models.check_timm_registration),
    Check(models.check_timm_forward_and_backward),
    Check(models.check_timm_classifier),
    Check(models.check_timm_features),
    Check(models.check_timm_checkpointing),
    Check(models.check_timm_layer_decay),
    Check(models.check_timm_torchscript),
    Check(models.check_timm_fx),
)


@dataclass(frozen=True)
class Outcome:
    """How one check ended, and why: what failed, what was expected to, why it does not apply."""

    check: str
    result: Literal["passed", "failed", "failed as expected", "not applicable", "warned"]
    reason: str = ""


@dataclass(frozen=True)
class CheckReport:
    """How the checks of one scheme ended; as text, how many ran and how."""

    scheme: str
    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """What failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.result == "failed")

    def __str__(self) -> str:
        counted = Counter(outcome.result for outcome in self.outcomes)
        ran = len(self.outcomes) - counted["not applicable"]
        details = ", ".join(f"{count} {result}" for result, count in counted.items())
        return f"{self.scheme}: {ran} checks ran: {details}"


def check_discretization(scheme: str, *, expected_failures: Mapping[str, str] | None = None) -> CheckReport:
    """Run every check of a registered scheme, and return how they ended.

    Args:
        scheme: Its name in the ``registry.yaml`` of an installed plugin.
        expected_failures: Names of checks that fail, each with the reason.

    Raises:
        CheckFailedError: a check failed, or one passed that was expected to fail.
        ConfigError: no plugin provides the scheme, or an expected failure names no check or has no reason.
        PluginError: the plugin is broken.
    """
    expected = _validated(expected_failures)
    subject = Subject(scheme)
    assert subject.scheme is not None  # a plugin that cannot be loaded is no failure of a check
    report = CheckReport(scheme, tuple(_outcome(check, subject, expected.get(check.name)) for check in CHECKS))
    if report.failures:
        lines = "\n".join(f"  {outcome.check}: {outcome.reason}" for outcome in report.failures)
        raise CheckFailedError(f"{report}\n{lines}")
    return report


def _outcome(check: Check, subject: Subject, expected: str | None) -> Outcome:
    try:
        check.function(subject)
    except NotApplicable as reason:
        return Outcome(check.name, "not applicable", str(reason))
    except Exception as error:
        text = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        if expected is not None:
            return Outcome(check.name, "failed as expected", expected)
        if check.is_new:
            _warn(check, subject.name, text)
            return Outcome(check.name, "warned", text)
        return Outcome(check.name, "failed", text)
    if expected is not None:
        return Outcome(check.name, "failed", f"passed, but was expected to fail ({expected}); expect it no more")
    return Outcome(check.name, "passed")


def _warn(check: Check, scheme: str, text: str) -> None:
    since = ".".join(map(str, check.since))
    warnings.warn(
        f"{scheme}: {check.name}, new in stabzoo {since}, an error from the next minor release on: {text}",
        FutureCheckWarning,
        stacklevel=4,
    )


def _validated(expected: Mapping[str, str] | None) -> Mapping[str, str]:
    known = [check.name for check in CHECKS]
    for name, reason in (expected or {}).items():
        if name not in known:
            raise ConfigError(f"expected_failures: there is no check {name!r}; there are {', '.join(known)}")
        if not (isinstance(reason, str) and reason.strip()):
            raise ConfigError(f"expected_failures: {name}: expected the reason, got {reason!r}")
    return expected or {}


def parametrize_with_checks(
    schemes: Iterable[str], *, expected_failures: Mapping[str, Mapping[str, str]] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a pytest function of one argument ``check``, to be called: one case a scheme and check.

    A check that does not apply is skipped with the reason, one that is expected to fail is an xfail that must fail.

    Args:
        schemes: Names of registered schemes.
        expected_failures: For the name of a scheme, names of checks that fail, each with the reason.

    Raises:
        ConfigError: an expected failure names no check or none of the schemes, or has no reason.

    Example:
        >>> @parametrize_with_checks(["leapfrog"])
        ... def test_scheme(check):
        ...     check()
    """
    import pytest

    names = [schemes] if isinstance(schemes, str) else list(schemes)
    given = expected_failures or {}
    if unknown := [name for name in given if name not in names]:
        raise ConfigError(f"expected_failures: expected one of {', '.join(names)}; got {', '.join(unknown)}")
    cases = []
    for name in names:
        subject, expected = Subject(name), _validated(given.get(name))
        for check in CHECKS:
            reason = expected.get(check.name)
            marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
            cases.append(pytest.param(_Case(check, subject), marks=marks, id=f"{name}-{check.name}"))
    return pytest.mark.parametrize("check", cases)


@dataclass(frozen=True)
class _Case:
    """One check of one scheme under pytest."""

    check: Check
    subject: Subject

    def __call__(self) -> None:
        import pytest

        try:
            self.check.function(self.subject)
        except NotApplicable as reason:
            pytest.skip(str(reason))
        except Exception as error:
            if not self.check.is_new:
                raise
            _warn(self.check, self.subject.name, str(error))
