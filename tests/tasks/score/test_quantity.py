"""The number that an answer states; one that is part of an expression is none."""

from __future__ import annotations

from fractions import Fraction

import pytest

from intact.tasks.score import answers, code
from intact.tasks.score.latex import plain
from intact.tasks.score.quantity import LONGEST, last_value, stated_value

STATED = {
    "5 (where x = 3)": 5, "24 (= 4 * 6)": 24, "$12 / 4$": 3, r"\sqrt{16}": 4, "5!": 120, "|-7|": 7, "28 percent": 28,
    r"28\%": 28, "5, where x = 3": 5, "5 when x = 2": 5, "24, since 4 * 6 = 24": 24, "3 + 4 = 7 apples": 7, "x = 5": 5,
    "5 m": 5, "5m": 5, "10 L": 10, "5 m/s": 5, "5 km/h": 5, "3/4 cup": "3/4", "3 1/2 hours": "7/2", "12 / 4 dollars": 3,
    "3 * 4 apples": 12, "5 apples + 3 apples": 8, "42 per day": 42, "$42 per day": 42, "a total of 42 apples": 42,
    "$6.50": "13/2", "-5": -5, "- 5": -5, "is -5 degrees": -5, "5th": 5, "x_1 = 5": 5, "2^{10}": 1024, "50% more": 50,
    "5 = x": 5, "5 (five)": 5, "2 (3 + 4)": 14, "1, 2": 1, "(5)": 5, "5 - because": 5, "10-3": 7, "3 or 4": 3,
    r"x = 2 \cdot (3 + 4)": 14, "1,234.50": "2469/2", "5 and 3 pears": 5, r"\text{5 dollars}": 5,
    r"2\frac{1}{2}": "5/2",
    "5*": 5, "5/day": 5, "3.5e2": 350, "2 hours and 30 minutes": 2, "5 × 3": 15, "4 x 3": 12, "$5 + $3": 8, "4!/2": 12,
    "5! = 120 ways": 120, "-|-7|": -7, "x + y = 5": 5, r"5 \times 10^{-3}": "1/200", r"\binom{7}{2}": 21, "8^{1/3}": 2,
    "5 ÷ 2": "5/2", "x -> 5": 5, "5 a day": 5, "I have 5": 5, r"\sqrt[3]{27}": 3, "3 1/2 + 1": "9/2", "5 = 2 + 3": 5,
    "If she has 2 left, he has 25-2 = <<25-2=23>>23 jewels": 23, "about 5, since 2 + 4 = 6": 5,
}  # fmt: skip
"""Texts, and the numbers that they state."""
NONE = (
    "L - 4", r"\frac{400}{L + 2.2}", "2x", "2 x", "3x + 4", r"3\pi", r"3 \pi", "3 pi", "3π", r"5\sqrt{2}",
    "x^2 + 3", "-5i",
    "7:30", "3:4", "5-10 minutes", "total - 4", "5 apples + tax", "x_1", "5(x+3)", "(1, 2)", r"5 \pm 2", "5 ± 2",
    "18 - x",
    "y = 2x + 1", r"\frac{1}{2}x", "400/L", "4n", "log 4", r"\log 4", "H2O", "|x - 3|", "$L - 4$", "3 <= x",
    r"x \leq 3",
    r"\sqrt{L + 4}", "the number of apples", "x > 3", "[0, 1)", "5 * width", "",
)  # fmt: skip
"""Texts that state no number."""


@pytest.mark.parametrize("text", STATED)
def test_a_number_by_itself_or_arithmetic_is_stated(text):
    assert stated_value(plain(text)) == Fraction(STATED[text])


@pytest.mark.parametrize("text", NONE)
def test_a_number_in_an_expression_is_not_stated(text):
    assert stated_value(plain(text)) is None


@pytest.mark.parametrize("text", STATED)
def test_readers_agree_on_numbers_that_are_stated(text):
    right = answers.stated_number(f"\\boxed{{{text}}}")
    assert Fraction(right) == Fraction(STATED[text])
    assert answers.number(f"So it is \\boxed{{{text}}}, not 99.") == right


@pytest.mark.parametrize("text", NONE)
def test_no_other_number_of_the_text_is_read_instead(text):
    assert answers.number(f"With 99 it is \\boxed{{{text}}}.") is None
    assert answers.stated_number(f"The answer is {text}.") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("So x = 5, and we get y = 2x + 3", 5),
        ("She pays $6.50 + $13 = $19.50, which is 50% of 39.", 39),
        ("10-3 and 4", 4),
        ("5 and 3 pears", 3),
        ("It is 12 / 4.", 3),
        ("- 3 apples", 3),
        ("16 - 3 - 4 = <<16-3-4=9>>9 eggs", 9),
        ("She has L - 4", None),
        ("The first of 3 rows\nhas H2O", 3),
    ],
)
def test_the_last_number_of_a_text_stands_by_itself(text, value):
    assert last_value(text) == value


@pytest.mark.parametrize(
    "text",
    ["(" * 3000 + "4", "4," * 3000, "4 + " * 800, "|" * 1500, "4!" * 900, "x4" * 900, "9^" * 900, "1 " * LONGEST],
)
def test_long_texts_end_soon(text):
    stated_value(text)
    last_value(text)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("5 (where x = 3).", "5"),
        ("24 (= 4 * 6).", "24"),
        ("$12 / 4$.", "3"),
        ("28 percent.", "28"),
        ("5! = 120.", "120"),
        ("$5$ (since $x = 3$).", "5"),
    ],
)
def test_notes_in_brackets_are_no_part_of_an_answer(said, answer):
    assert answers.read_answer(f"So the answer is {said}") == answer
    assert answers.number(f"So the answer is {said}") == answer
    assert answers.expression(f"\\boxed{{{said.rstrip('.')}}}") == answer


@pytest.mark.parametrize("text", ["-" * 100_000 + "1", "the answer is " + "|" * 50_000 + "7", "9" * 200_000])
def test_hostile_texts_are_read_in_time_that_grows_with_them(text: str) -> None:
    """Patterns and walks that begin anew at each place take minutes for these, which are read at once."""
    for read in (answers.number, answers.expression):
        assert read(text) is None or len(str(read(text))) <= len(text)
    assert code.extract(text, "f") is None
