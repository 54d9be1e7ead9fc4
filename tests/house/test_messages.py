"""The assertions about messages fail where a fact is missing, and nowhere else."""

import warnings

import pytest

from fixtures.commands import Result
from fixtures.messages import raises, refuses, says, warns


def test_facts_are_found_in_any_sentence() -> None:
    """In any order, over broken lines, at the ends of words and numbers only."""
    text = "here: expected\n  a number up to 10.5, got 'x1'; use --folder"
    says(text, "here", "'x1'", "10.5", "a number up to", "--folder", "got 'x1'")
    for missing in ("there", "Here", "x", "1", "10", "5", "'x'", "numb", "folde", "--fold"):
        with pytest.raises(AssertionError, match="does not say") as caught:
            says(text, "here", missing)
        assert f"does not say {missing!r}" in str(caught.value)
        assert "got 'x1'" in str(caught.value)


def test_an_assertion_without_facts_is_none() -> None:
    """It could not fail."""
    with pytest.raises(TypeError, match="got none"):
        says("a message")
    with pytest.raises(ValueError, match="got ' '"):
        says("a message", " ")


def test_what_is_raised_and_warned_of() -> None:
    """Another type, another place or nothing at all is a failure; what was caught is at hand."""
    with raises(ValueError, "here", 3) as caught:
        raise ValueError("here: got 3")
    assert caught.type is ValueError
    with pytest.raises(AssertionError, match="does not say 'there'"), raises(ValueError, "there", 3):
        raise ValueError("here: got 3")
    with pytest.raises(KeyError), raises(ValueError, "here"):
        raise KeyError("here")
    with warns(UserWarning, "here", 3):
        warnings.warn("here: got 3", UserWarning, stacklevel=1)
    with pytest.raises(AssertionError, match="does not say '4'"), warns(UserWarning, "here", 4):
        warnings.warn("here: got 3", UserWarning, stacklevel=1)


@pytest.mark.parametrize(
    "result",
    [
        Result(0, "", "stabzoo: here\n"),
        Result(2, "more", "stabzoo: here\n"),
        Result(2, "", "stabzoo: here\nTraceback\n"),
        Result(2, "", "here\n"),
        Result(2, "", "stabzoo: there\n"),
    ],
)
def test_a_command_that_refuses(result: Result) -> None:
    """By status 2 and in one line; anything else fails."""
    refuses(Result(2, "", "stabzoo: here\n"), "here")
    with pytest.raises(AssertionError):
        refuses(result, "here")
