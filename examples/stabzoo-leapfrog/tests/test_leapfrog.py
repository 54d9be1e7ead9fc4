"""Every check that stabzoo has for a scheme."""

from stabzoo.testing import parametrize_with_checks


@parametrize_with_checks(["leapfrog"])
def test_leapfrog(check):
    """One case a check."""
    check()
