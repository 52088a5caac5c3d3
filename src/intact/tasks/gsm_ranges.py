"""GSM-Ranges: word problems with numbers of growing size, which separate logical errors from arithmetic errors.

The equations of a completion are recomputed in order, each from the corrected results of earlier ones. If that leads to
the right answer, only the arithmetic was wrong; if not, the reasoning was wrong too.
"""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar, NamedTuple

from intact._base.errors import ParameterError
from intact.tasks.generated import Draws, Generated
from intact.tasks.numeric import Numeric
from intact.tasks.score import numbers
from intact.tasks.score.arithmetic import evaluate
from intact.tasks.score.equations import Equation, equations
from intact.tasks.task import Item

LEVELS = 6
_SENTENCE = re.compile(r"(?<=[.;!?])\s+|\n+")
_COUNTING = re.compile(r"^[ \t#*]*(\d+)[.):]+(?=\s)|\b[Ss]tep\s+(\d+)\b", re.MULTILINE)
_CHAIN = 64
"""The maximum number of wrong equations corrected in one completion."""


class Template(NamedTuple):
    """A story with numbers a, b, c of the level's size and a small number k, its answer, and its positive terms."""

    story: str
    answer: str
    positive: tuple[str, ...] = ()


TEMPLATES = (
    Template(
        "A farmer has {a} sheep. She buys {b} more and then sells {c}. How many sheep has she left?",
        "a+b-c",
        ("a+b-c",),
    ),
    Template(
        "A mill grinds {a} sacks of wheat a day. How many good sacks does it grind in {k} days, if {b} are spoilt?",
        "a*k-b",
        ("a*k-b",),
    ),
    Template(
        "A library has {a} books in its hall and {k} times as many in its cellar. It lends {b} of all its books. "
        "How many are left?",
        "a+a*k-b",
        ("a+a*k-b",),
    ),
    Template(
        "A ship carries {a} crates of tea and {b} crates of coffee. In each of {k} harbours {c} crates are unloaded. "
        "How many crates are left on board?",
        "a+b-k*c",
        ("a+b-k*c",),
    ),
    Template(
        "A lottery pays {t} dollars, shared equally by {k} friends. Each friend then gives {b} dollars away. "
        "How many dollars does each friend keep?",
        "a-b",
        ("a-b",),
    ),
    Template(
        "A town had {a} inhabitants. Last year {b} people moved in and {c} moved away. This year the population grew "
        "to {k} times what it was at the end of last year. How many inhabitants has the town now?",
        "(a+b-c)*k",
        ("a+b-c",),
    ),
    Template(
        "A factory made {a} lamps in January, {b} more than that in February, and in March as many as in both months "
        "together. How many lamps did it make in the three months?",
        "2*(a+a+b)",
    ),
    Template(
        "A warehouse holds {a} bolts and {b} nuts. Every order takes {k} bolts and {k} nuts. "
        "After {c} orders, how many bolts and nuts together are left?",
        "a+b-2*k*c",
        ("a-k*c", "b-k*c"),
    ),
)


class ErrorKinds(Numeric):
    """A task that distinguishes logical errors from arithmetic errors."""

    measures: ClassVar[dict[str, str]] = {
        "arithmetic_error": "wrong, but right once its equations are computed again",
        "logical_error": "wrong even then, or without an answer",
    }

    def measure(self, item: Item, text: str) -> dict[str, float]:
        """Return the kind of error in a completion."""
        if self.correct(item, self.read(text)):
            return {"arithmetic_error": 0.0, "logical_error": 0.0}
        arithmetic = self.correct(item, self.read(put_right(text, item.question)))
        return {"arithmetic_error": float(arithmetic), "logical_error": float(not arithmetic)}


class GSMRanges(Generated, ErrorKinds):
    """GSM-Ranges after Shrestha et al. 2025, arXiv 2502.08680, with our own stories.

    Level 1 has numbers below 100.
    """

    name = "gsm_ranges"
    version = 2
    line = "word problems with numbers of any size (level 1 to 6); logical and arithmetic errors told apart"

    def __init__(self, *, level: int = 1, seed: int = 0, size: int = 100) -> None:
        super().__init__(seed=seed, size=size)
        if not 1 <= level <= LEVELS:
            raise ParameterError(f"{self.name}: level must be from 1 to {LEVELS}, got {level}")
        self.level = level

    def make(self, index: int) -> Item:
        """Draw a story and numbers for which no intermediate result is negative."""
        draws, template = Draws(self.seed, self.name, self.level, index), TEMPLATES[index % len(TEMPLATES)]
        low, high = 10**self.level if self.level > 1 else 2, 10 ** (self.level + 1) - 1
        while True:
            values = {name: draws.between(low, high) for name in "abc"} | {"k": draws.between(2, 9)}
            values["t"] = values["a"] * values["k"]
            if all(_value(condition, values) > 0 for condition in template.positive):
                break
        answer = numbers.canonical(_value(template.answer, values))
        return Item(f"{self.level}-{self.seed}-{index}", template.story.format(**values), answer, {"level": self.level})


def put_right(text: str, question: str = "") -> str:
    """Return a text with its wrong equations corrected one after another, along with their consequences.

    The wrong result is replaced wherever it occurs after its equation, unless the occurrence does not follow from it:
    numbers given in the question are replaced only once, numbers of steps and list items never, and nothing is replaced
    from the point where another equation correctly yields the same number.

    >>> put_right("3 * 4 = 13 eggs. 13 + 2 = 15. The answer is 15.")
    '3 * 4 = 12 eggs. 12 + 2 = 14. The answer is 14.'
    >>> put_right("3 * 4 = 15. He has 15 hats.", "He has 15 hats and 3 bags of 4 caps.")
    '3 * 4 = 12. He has 15 hats.'
    """
    given, done = {one.value for one in numbers.numerals(question)}, 0
    for _ in range(_CHAIN):
        for start, end in _sentences(text, done):
            wrong = next((one for one in equations(text[start:end]) if not one.holds), None)
            if wrong is not None:
                cut = _after_equals(text, start, end, wrong.right)
                until = _found_again(text, end, wrong.right)
                text = _replaced(text, (cut, until), wrong, once=wrong.right in given)
                done = start
                break
        else:
            return text
    return text


def _sentences(text: str, start: int) -> list[tuple[int, int]]:
    cuts = [start, *(match.end() for match in _SENTENCE.finditer(text, start)), len(text)]
    return [(a, b) for a, b in pairwise(cuts) if a < b]


def _after_equals(text: str, start: int, end: int, right: Fraction) -> int:
    """Return the position after the equals sign that this value follows."""
    for match in re.finditer("=", text[start:end]):
        cut = start + match.end()
        found = numbers.numerals(text[cut:end])
        if found and found[0].value == right:
            return cut
    return end


def _found_again(text: str, start: int, value: Fraction) -> int:
    """Return the start of the first sentence in which a correct equation yields the number independently.

    Return the length of the text if there is no such sentence.
    """
    for begin, end in _sentences(text, start):
        if any(one.holds and one.right == value for one in equations(text[begin:end])):
            before = text[begin:end].partition("=")[0]
            if all(one.value != value for one in numbers.numerals(before)):
                return begin
    return len(text)


def _replaced(text: str, part: tuple[int, int], wrong: Equation, once: bool) -> str:
    """Return the text with a wrong equation's result corrected in a span: the first occurrence if `once`, else all.

    The numbers that label steps and list items are left unchanged.
    """
    counting = {match.start(match.lastindex or 0) for match in _COUNTING.finditer(text)}
    parts, place = [], 0
    for found in numbers.numerals(text):
        if found.value == wrong.right and part[0] <= found.start < part[1] and found.start not in counting:
            number = text[found.start : found.end]
            lead = number[: len(number) - len(number.lstrip("$€£ "))]
            parts += [text[place : found.start], lead, numbers.canonical(wrong.left)]
            place = found.end
            if once:
                break
    return "".join([*parts, text[place:]])


def _value(expression: str, values: dict[str, int]) -> Fraction:
    value = evaluate(re.sub("[a-z]", lambda match: str(values[match[0]]), expression))
    assert value is not None
    return value
