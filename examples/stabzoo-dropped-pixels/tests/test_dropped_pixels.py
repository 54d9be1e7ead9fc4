"""Every check that stabzoo has for an evaluation."""

from stabzoo.testing import check_evaluation


def test_dropped_pixels():
    """With some settings and others."""
    check_evaluation({"kind": "dropped-pixels", "share": 0.25})
    check_evaluation({"kind": "dropped-pixels", "share": 0.5, "seed": 1})
