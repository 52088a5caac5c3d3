"""Turn GSM8K solutions into programs: their annotations `<<3*4=12>>` as a function of the numbers in the question.

A solution becomes a program only if it is consistent throughout: each annotation evaluates to the result it states, the
last result is the answer, and each number in an annotation has exactly one possible origin: a number of the question,
an earlier result, or a constant that the question expresses in words such as "twice" or "week". Otherwise the reason is
returned.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from intact.tasks.score.numbers import as_number

_ANNOTATION = re.compile(r"<<([^<>\n]*)=([^<>=\n]*)>>")
_LITERAL = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_NUMERAL = re.compile(r"(?<![\w.,/:])\$?(?P<digits>\d{1,3}(?:,\d{3})+|\d+)(?P<decimals>\.\d+)?(?![\w:/]|[.,]\d)")
_ANY_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+")
_OPERATORS: Final = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}

_WORDS: Final = {
    0: "no none zero", 1: "a an one once single each every another", 2: "two twice double doubled half halves halved "
    "both couple pair pairs second", 3: "three thrice triple tripled third thirds", 4: "four quarter quarters fourth "
    "quadruple season seasons", 5: "five fifth fifths weekday weekdays nickel nickels", 6: "six sixth half-dozen",
    7: "seven week weeks weekly", 8: "eight eighth", 9: "nine ninth", 10: "ten tenth dime dimes decade decades",
    11: "eleven",
    12: "twelve dozen dozens year years yearly annual annually month months monthly foot feet inch inches",
    13: "thirteen", 14: "fourteen", 15: "fifteen", 16: "sixteen pound pounds ounce ounces", 17: "seventeen",
    18: "eighteen", 19: "nineteen", 20: "twenty", 24: "day days daily hour hours", 25: "quarter quarters",
    30: "thirty month months monthly", 36: "yard yards", 40: "forty", 50: "fifty",
    52: "year years week weeks weekly annually", 60: "sixty hour hours minute minutes hourly second seconds",
    100: "hundred percent percentage % cent cents $ dollar dollars meter meters centimeter centimeters",
    365: "year years", 1000: "thousand kilogram kilograms kilometer kilometers gram grams",
}  # fmt: skip
"""Constants, with the words in a question that can express them."""
_CUES: Final = {Fraction(value): frozenset(words.split()) for value, words in _WORDS.items()}
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*|[%$]")


class Number(NamedTuple):
    """A number in a question that may be replaced.

    Attributes
    ----------
    start, end : int
        The span of its digits in the question.
    value : int
    """

    start: int
    end: int
    value: int


class AnnotatedProgram(NamedTuple):
    """A solution as a function of the numbers in its question.

    Attributes
    ----------
    numbers : tuple of Number
        The replaceable numbers of the question, in order.
    steps : tuple of ast.expr
        The annotations: `q0`, `q1`, ... are these numbers, `r0`, `r1`, ... the results of earlier steps.
    divided : frozenset of int
        Indices of the numbers that some step divides by.
    """

    numbers: tuple[Number, ...]
    steps: tuple[ast.expr, ...]
    divided: frozenset[int]

    def results(self, values: Sequence[int]) -> list[Fraction]:
        """Return the results of the steps for the given numbers; the last one is the answer.

        Raises
        ------
        ZeroDivisionError
            If a step divides by 0.
        """
        known: dict[str, Fraction] = {f"q{i}": Fraction(value) for i, value in enumerate(values)}
        for i, step in enumerate(self.steps):
            known[f"r{i}"] = _value(step, known)
        return [known[f"r{i}"] for i in range(len(self.steps))]


def program(question: str, solution: str, answer: str) -> AnnotatedProgram | str:
    """Return a solution as a program, or the reason why it cannot be turned into one."""
    notes = _ANNOTATION.findall(solution)
    if not notes:
        return "it has no annotations"
    numbers, fixed = _of_question(question)
    words = frozenset(_WORD.findall(question.lower()))
    steps, results = list[ast.expr](), list[Fraction]()
    for left, right in notes:
        stated = as_number(right.strip().lstrip("$"))
        written = _with_origins(left.replace(",", ""), numbers, fixed, results, words=words)
        if isinstance(written, Reason):
            return written.why
        try:
            step = ast.parse(written, mode="eval").body
            value = _value(step, {f"r{i}": one for i, one in enumerate(results)} | _values_of(numbers))
        except (SyntaxError, TypeError, ZeroDivisionError, RecursionError, ValueError):
            return "an annotation is no arithmetic"
        if value != stated:
            return "an annotation does not come to what it states"
        steps.append(step)
        results.append(value)
    if results[-1] != as_number(answer):
        return "the last annotation is not the answer"
    return _with_used(numbers, steps)


class Reason(NamedTuple):
    """The reason why the origin of a number is unknown or ambiguous."""

    why: str


def _of_question(question: str) -> tuple[list[Number], set[Fraction]]:
    """Return the replaceable whole numbers of a question, each occurring only once, and the values of all others."""
    found = list(_NUMERAL.finditer(question))
    values = [Fraction((match["digits"] + (match["decimals"] or "")).replace(",", "")) for match in found]
    every = [Fraction(one.replace(",", "")) for one in _ANY_NUMBER.findall(question)]
    numbers = []
    for match, value in zip(found, values, strict=True):
        percent = re.match(r"\s?(?:%|percent|st|nd|rd|th)", question[match.end() :])
        if match["decimals"] is None and value >= 2 and every.count(value) == 1 and not percent:
            numbers.append(Number(match.start("digits"), match.end("digits"), int(value)))
    return numbers, set(every) - {Fraction(one.value) for one in numbers}


def _with_origins(
    left: str,
    numbers: Sequence[Number],
    fixed: set[Fraction],
    results: Sequence[Fraction],
    words: frozenset[str],
) -> str | Reason:
    """Return an expression in which numbers from the question or from earlier results are replaced by their names."""
    places = {Fraction(one.value): i for i, one in enumerate(numbers)}
    parts, end = list[str](), 0
    for match in _LITERAL.finditer(left):
        value = Fraction(match[0])
        origins = [f"r{i}" for i, one in enumerate(results) if one == value]
        origins += [f"q{places[value]}"] if value in places else []
        named = words & _CUES.get(value, frozenset())
        origins += [_constant(value)] if value in fixed or named else []
        if not origins:
            return Reason("a number is neither the question's, nor a result, nor named in words")
        if len(origins) > 1:
            return Reason("a number can have come from two places")
        parts += [left[end : match.start()], origins[0]]
        end = match.end()
    return "".join([*parts, left[end:]]).replace(" ", "")


def _constant(value: Fraction) -> str:
    return f"({value.numerator}/{value.denominator})" if value.denominator > 1 else str(value.numerator)


def _values_of(numbers: Sequence[Number]) -> dict[str, Fraction]:
    return {f"q{i}": Fraction(one.value) for i, one in enumerate(numbers)}


def _with_used(numbers: Sequence[Number], steps: Sequence[ast.expr]) -> AnnotatedProgram | str:
    """Return the program, keeping only the numbers that some step uses."""
    names = {node.id for step in steps for node in ast.walk(step) if isinstance(node, ast.Name)}
    kept = [i for i in range(len(numbers)) if f"q{i}" in names]
    if not kept:
        return "no number of the question can be another"
    renamed = {f"q{i}": f"q{place}" for place, i in enumerate(kept)}
    divided = set()
    for step in steps:
        for node in ast.walk(step):
            if isinstance(node, ast.Name):
                node.id = renamed.get(node.id, node.id)
        for node in ast.walk(step):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                below = [one.id for one in ast.walk(node.right) if isinstance(one, ast.Name)]
                divided |= {int(name[1:]) for name in below if name[0] == "q"}
    return AnnotatedProgram(tuple(numbers[i] for i in kept), tuple(steps), frozenset(divided))


def _value(node: ast.expr, known: Mapping[str, Fraction]) -> Fraction:
    """Return the value of an expression made of names, whole numbers and the four operations.

    Raises
    ------
    TypeError
        If it contains anything else.
    """
    if isinstance(node, ast.Name):
        return known[node.id]
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, known)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        found: Fraction = _OPERATORS[type(node.op)](_value(node.left, known), _value(node.right, known))
        return found
    raise TypeError(f"{type(node).__name__} is not arithmetic")
