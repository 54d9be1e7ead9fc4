"""The test kit of plugins: checks of schemes, branches and evaluations; needs stabzoo and, to decorate, pytest.

>>> from stabzoo.testing import check_discretization
>>> print(check_discretization("zerosnet_opt"))
zerosnet_opt: 34 checks ran: 34 passed, 3 not applicable
"""

from stabzoo.testing.branches import check_branch
from stabzoo.testing.checks import NotApplicable
from stabzoo.testing.evaluations import check_evaluation
from stabzoo.testing.runner import (
    CHECKS,
    Check,
    CheckFailedError,
    CheckReport,
    FutureCheckWarning,
    Outcome,
    check_discretization,
    parametrize_with_checks,
)

__all__ = [
    "CHECKS",
    "Check",
    "CheckFailedError",
    "CheckReport",
    "FutureCheckWarning",
    "NotApplicable",
    "Outcome",
    "check_branch",
    "check_discretization",
    "check_evaluation",
    "parametrize_with_checks",
]
