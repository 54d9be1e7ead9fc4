"""Every check that stabzoo has for a scheme."""

from stabzoo.testing import parametrize_with_checks


@parametrize_with_checks(["bdf2"])
def test_bdf2(check):
    """One case a check."""
    check()
