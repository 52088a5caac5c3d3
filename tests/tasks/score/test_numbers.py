"""Numbers survive as they are written: signs, decimals, fractions, thousands."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.tasks.score.numbers import as_number, canonical, numerals


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("from 16 eggs to -3", [16, -3]),
        ("10-3, x-3 and (5)-3", [10, 3, 3, 5, 3]),
        ("-3.25 and −4", [Fraction(-13, 4), -4]),
        ("$1,234.50, -$5, $-5 and €7", [Fraction(2469, 2), -5, -5, 7]),
        ("1,2 and 1,23 and 12,345,678", [1, 2, 1, 23, 12345678]),
        ("3/4 of 1 1/2 or -1/2", [Fraction(3, 4), Fraction(3, 2), Fraction(-1, 2)]),
        (".5 or 5. or 5.0", [Fraction(1, 2), 5, 5]),
        ("2.5e-3 and 1e3", [Fraction(1, 400), 1000]),
        ("- 3 apples", [3]),
        ("1/0 is none, 2 is", [2]),
        ("no number", []),
        ("9" * 2000, []),
        ("50%", [50]),
    ],
)
def test_numbers_are_found_as_they_are_meant(text, values):
    assert [found.value for found in numerals(text)] == values


def test_places_of_numbers_are_told():
    text = "a -3 b 1,000"
    assert [text[found.start : found.end] for found in numerals(text)] == ["-3", "1,000"]


@pytest.mark.parametrize("text", ["", "3 apples", "x", "1 2", "--3", "3/0", "1e9999"])
def test_what_is_more_than_a_number_is_none(text):
    assert as_number(text) is None


@pytest.mark.parametrize(
    ("value", "text"), [("7", "7"), ("-1/2", "-0.5"), ("1/3", "1/3"), ("-0.05", "-0.05"), ("1000", "1000")]
)
def test_the_canonical_form_is_as_people_write(value, text):
    assert canonical(Fraction(value)) == text


@given(st.fractions())
def test_a_canonical_form_is_read_back_as_the_same_number(value):
    assert as_number(canonical(value)) == value


@given(st.text())
def test_no_text_is_too_odd(text):
    numerals(text)
    as_number(text)


@pytest.mark.parametrize(
    ("text", "value"), [("-$5", -5), ("$-5", -5), ("-$-5", 5), ("−€–5", 5), ("+$5", 5), ("+$-5", -5), ("$5", 5)]
)
def test_two_signs_cancel(text, value):
    assert as_number(text) == value
