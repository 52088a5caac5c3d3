"""Stop strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.text import StopStrings

LETTERS = "ab"
STOPS = st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=4)


def cut(text: str, stops: list[str]) -> tuple[str, bool]:
    """Cut at the match that ends first, of these the longest: the definition, over all places."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


def streamed(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    matcher = StopStrings(stops)
    shown, stopped = "", False
    for piece in pieces:
        safe, stopped = matcher.push(piece)
        shown += safe
    return shown + matcher.flush(), stopped


@given(st.lists(st.text(LETTERS, max_size=4), max_size=12), STOPS)
def test_streaming_equals_cutting(pieces: list[str], stops: list[str]) -> None:
    assert streamed(pieces, stops) == cut("".join(pieces), stops)


@given(st.text(LETTERS, max_size=20), STOPS)
def test_only_what_could_become_a_stop_is_held_back(text: str, stops: list[str]) -> None:
    matcher = StopStrings(stops)
    shown = "".join(matcher.push(letter)[0] for letter in text)
    if matcher.matched is None:
        held = text[len(shown) :]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)
        longer = text[len(shown) - 1 :]
        assert not shown or not any(stop.startswith(longer) for stop in stops)


def test_the_match_is_named_and_ends_the_text() -> None:
    matcher = StopStrings(["\nUser:", "END"])
    assert matcher.push("hello\nUs") == ("hello", False)
    assert matcher.push("er: and more") == ("", True)
    assert matcher.matched == "\nUser:"
    assert matcher.push("more") == ("", True)
    assert matcher.flush() == ""


def test_no_stops_let_everything_through() -> None:
    assert StopStrings().push("abc") == ("abc", False)
    assert StopStrings([]).flush() == ""


def test_one_string_is_one_stop() -> None:
    assert StopStrings("ab").stops == ("ab",)


@pytest.mark.parametrize("stops", [[""], ["a", ""], [1], b"a", 3, ""])
def test_stops_that_make_no_sense_are_refused(stops: list[str]) -> None:
    with pytest.raises(ParameterError, match="stop"):
        StopStrings(stops)
