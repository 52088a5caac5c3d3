r"""Equations in a text, checked: "3 * 4 = 12 eggs" is right, "so 5 + 5 = 11" is not.

The arithmetic is exact, on fractions, by a parser of its own: nothing is ever evaluated as code. Units, money, percent
signs and thousands are understood; equations with unknowns, functions or remainders, and restatements without any
calculation ("1 hour = 60 minutes"), are passed over. A chain a = b = c holds two equations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from intact.score.latex import plain

VERSION: Final = 2
"""The version of finding and checking equations; raise it when results change (`intact.run_receipts.versions`)."""

MOST = 80
"""Tokens on one side of an equals sign that are looked at."""

DEEPEST = 20
"""Brackets in brackets beyond which something is no arithmetic."""

BITS = 512
"""Size of numbers beyond which an equation is passed over."""

LARGEST_FACTORIAL = 90
"""Number whose factorial has `BITS` bits at most."""

_TOKEN = re.compile(
    r"""(?P<time>\d?\d:\d\d(?!\d))
      | (?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)
        (?P<unknown>[A-Za-cn-pt-z](?![a-zA-Z]))?(?P<percent>\s?%)?
      | (?P<equals>==?|≈)
      | (?P<operator>\*\*|[-+*/^−–])
      | (?P<bracket>[()\[\]{}])
      | (?P<money>[$€£])
      | (?P<word>[^\W\d_]+(?:['’.][^\W\d_]+)*)
      | (?P<other>\S)""",
    re.VERBOSE,
)
_ANNOTATION = re.compile(r"<<([^<>\n]*)>>")
_CLAUSE_ENDS = re.compile(r"[.;:,!?](?=\s|$)")
_EMPHASIS = re.compile(r"(?<![\d)])(?<![\d)] )\*\*|\*\*(?! ?[\d(-])|__")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_TIMES = ("x", "X", "times")
_MEANINGFUL = """
    times of per percent half twice double triple third thirds quarter more less than plus minus by pair pairs
    dozen dozens hundred hundreds thousand thousands million millions billion
"""
"""Words that change a number, so that none of them is a unit."""

_CHANGING = frozenset(_MEANINGFUL.split())

_MIXED = re.compile(r"(?<![\w./^*)])(\d+) +(\d+)/(\d+)(?![\d./])")

_JOINING = "_\\√∛!"
"""Signs to which what stands behind them belongs."""

_FUNCTION_NAMES = "sqrt binom pi sin cos tan cot sec csc log ln exp arcsin arccos arctan sinh cosh mod"
FUNCTIONS: Final = frozenset(_FUNCTION_NAMES.split())
"""Words that are functions, constants and operators of mathematics, so that none of them is a unit."""

_KNOWN_FUNCTIONS = ("sqrt", "binom")

_SIGNS = {"−": "-", "–": "-", "**": "^"}
_OPEN, _CLOSE = "([{", ")]}"


class Equation(NamedTuple):
    """An equation that a text claims.

    Attributes
    ----------
    left, right
        The values of its sides.
    holds
        If true, they are equal, up to the rounding that the right side's decimals show.
    """

    left: Fraction
    right: Fraction
    holds: bool


class _Token(NamedTuple):
    kind: str
    text: str
    places: int = 0
    percent: bool = False
    unit: bool = False
    joined: bool = False
    """If true, there is no space before it."""


class _Value(NamedTuple):
    value: Fraction
    places: int
    percent: bool
    calculated: bool
    unit: bool = False


class _NoValueError(Exception):
    """The text is not arithmetic."""


def equations(text: str) -> list[Equation]:
    """Return all equations between numbers that a text claims, in order."""
    found = []
    # a calculator's annotation, <<3*4=12>>12, is an equation of its own inside another
    lines = [note[1] for note in _ANNOTATION.finditer(text)]
    lines += _ANNOTATION.sub("", text).splitlines()
    for line in lines:
        if "=" in line or "≈" in line or "\\approx" in line:
            for clause in _CLAUSE_ENDS.split(_BULLET.sub("", _EMPHASIS.sub("", plain(line)))):
                found += _in_clause(_tokens(clause))
    return found


def share_right(text: str) -> float | None:
    """Return the share of a text's equations that hold, or None if it has none."""
    found = equations(text)
    return sum(equation.holds for equation in found) / len(found) if found else None


def _tokens(line: str) -> list[_Token]:
    tokens, end = [], 0
    for match in _TOKEN.finditer(line):
        kind = match.lastgroup or "other"
        if kind == "money":
            continue
        joined, end = match.start() == end, match.end()
        text = _SIGNS.get(match[0], match[0])
        if match["number"]:
            digits = match["number"].replace(",", "")
            kind = "other" if match["unknown"] else "number"
            tokens.append(_Token(kind, digits, len(digits.partition(".")[2]), bool(match["percent"]), joined=joined))
        else:
            tokens.append(_Token(kind, text, joined=joined))
    return _without_units(tokens)


def _is_unknown(token: _Token) -> bool:
    return token.kind == "word" and len(token.text) == 1 and token.text not in "aAI$"


def _without_units(tokens: list[_Token]) -> list[_Token]:
    """Return the tokens without units, words between a number and an operator; "x" between numbers multiplies."""
    kept: list[_Token] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        after = tokens[place + 1] if place + 1 < len(tokens) else None
        if kept and kept[-1].kind == "number" and _per(tokens, place):
            place += 2
            continue
        if token.kind == "word" and kept and _ends_value(kept[-1]):
            if token.text in _TIMES and after and _begins_value(after):
                kept.append(_Token("operator", "*"))
                place += 1
                continue
            end = place
            while end < len(tokens) and end < place + 4 and (tokens[end].kind == "word" or _per(tokens, end)):
                if _is_unknown(tokens[end]) or tokens[end].text in _CHANGING or tokens[end].text in FUNCTIONS:
                    break
                end += 1
            if end > place and (end == len(tokens) or _ends_unit(tokens[end])):
                kept[-1] = kept[-1]._replace(unit=True)
                place = end
                continue
        kept.append(token)
        place += 1
    return kept


def _per(tokens: Sequence[_Token], place: int) -> bool:
    """Return whether a slash stands between two words, as in "miles/hour"."""
    return (
        tokens[place].text == "/"
        and place + 1 < len(tokens)
        and tokens[place + 1].kind == "word"
        and not _is_unknown(tokens[place + 1])
    )


def _ends_unit(token: _Token) -> bool:
    return token.kind in ("operator", "equals") or token.text in (*_CLOSE, *_TIMES)


def _ends_value(token: _Token) -> bool:
    return token.kind == "number" or token.text in tuple(_CLOSE)


def _begins_value(token: _Token) -> bool:
    return token.kind == "number" or token.text in tuple(_OPEN)


def _in_clause(tokens: list[_Token]) -> list[Equation]:
    sides: list[list[_Token]] = [[]]
    rounded = []
    for token in tokens:
        if token.kind == "equals":
            sides.append([])
            rounded.append(token.text == "≈")
        else:
            sides[-1].append(token)
    found = []
    for before, after, about in zip(sides, sides[1:], rounded, strict=False):
        left, right = _last_value(before), _first_value(after)
        if left is not None and right is not None and (left.calculated or right.calculated):
            found.append(Equation(left.value, right.value, _equal(left, right, about)))
    return found


def _last_value(tokens: Sequence[_Token]) -> _Value | None:
    """Return the value of the longest expression at the end of a side."""
    for start in range(max(0, len(tokens) - MOST), len(tokens)):
        if start and _belongs(tokens, start):
            continue  # a part of something larger that is no arithmetic
        value, end = _parse(tokens[start:])
        if value is not None and end == len(tokens) - start:
            named = not value.calculated and (start or value.unit)  # "cost of 2 glasses", "4.5 gallons"
            return None if named else value
    return None


def _belongs(tokens: Sequence[_Token], start: int) -> bool:
    """Return whether a token goes on with what stands before it: "(5)(2", "rest - 3", "sqrt(4", "log_2"."""
    before, token, after = tokens[start - 1], tokens[start], tokens[start + 1 : start + 2]
    if before.kind in ("operator", "number", "time") or _is_unknown(before):
        return True
    if token.kind == "operator":
        return before.text in tuple(_CLOSE) or (before.kind == "word" and not (after and after[0].joined))
    if token.text in tuple(_OPEN) and (before.text in tuple(_CLOSE) or (before.kind == "word" and token.joined)):
        return True
    return token.joined and before.text in tuple(_JOINING)


def _first_value(tokens: Sequence[_Token]) -> _Value | None:
    """Return the value of the longest expression at the beginning of a side, if it ends where a sentence goes on."""
    if any(token.text.casefold() == "remainder" for token in tokens):
        return None
    tokens = tokens[:MOST]
    value, end = _parse(tokens)
    if value is None or end == len(tokens):
        return value
    after, beyond = tokens[end], tokens[end + 1 : end + 2]
    if after.kind == "operator":
        dash = after.text == "-" and beyond and beyond[0].kind == "word" and not _is_unknown(beyond[0])
        return value if dash else None
    goes_on = after.kind == "word" and not _is_unknown(after)
    ends = after.text in tuple(_CLOSE) or (after.kind == "other" and after.text not in _JOINING)
    return value if goes_on or ends else None


def _equal(left: _Value, right: _Value, about: bool) -> bool:
    if left.value == right.value:
        return True
    if left.percent != right.percent and right.value in (left.value * 100, left.value / 100):
        return True  # 30 / 100 * 100 = 30%
    if right.places or about:
        return abs(left.value - right.value) * 2 <= Fraction(1, 10**right.places) / (100 if right.percent else 1)
    return False


def _parse(tokens: Sequence[_Token], *, functions: bool = False) -> tuple[_Value | None, int]:
    """Return the longest expression at the beginning, and how many tokens it has."""
    reader = _Reader(tokens, functions=functions)
    try:
        value = reader.sum()
    except _NoValueError:
        return None, 0
    return value, reader.place


class _Reader:
    """Recursive descent: sums of products of signed powers of atoms.

    Parameters
    ----------
    functions : bool
        If true, square roots, factorials, binomial coefficients and absolute values are atoms too; in prose their signs
        have other meanings.
    """

    def __init__(self, tokens: Sequence[_Token], *, functions: bool = False) -> None:
        self.tokens, self.functions = tokens, functions
        self.place = 0
        self.depth = 0

    def peek(self) -> str:
        """Return the next token's text, if it is an operator or a bracket."""
        token = self.tokens[self.place] if self.place < len(self.tokens) else None
        return token.text if token is not None and token.kind in ("operator", "bracket") else ""

    def sum(self) -> _Value:
        """Products, added and subtracted."""
        return self.chain(self.product, "+-")

    def product(self) -> _Value:
        """Powers, multiplied and divided; a bracket behind a value multiplies."""
        return self.chain(self.power, "*/")

    def chain(self, part: object, operators: str) -> _Value:
        """Return parts between operators of one rank, from the left."""
        assert callable(part)
        result: _Value = part()
        while True:
            operator, before = self.peek(), self.place
            if operators == "*/" and (operator == "(" or (operator == "" and self.function())):
                operator = "*"
            elif not operator or operator not in operators:
                return result
            else:
                self.place += 1
            try:
                following: _Value = part()
            except _NoValueError:
                self.place = before  # a dangling operator ends the expression
                return result
            result = _apply(operator, result, following)

    def power(self) -> _Value:
        """Return an atom with its signs, and its exponent."""
        negative = False
        while (sign := self.peek()) and sign in "+-":
            negative ^= sign == "-"
            self.place += 1
        value = self.atom()
        while self.functions and self.text() == "!":
            self.place += 1
            value = _Value(_factorial(value.value), 0, False, True)
        if self.peek() == "^":
            self.place += 1
            value = _apply("^", value, self.power())
        return value._replace(value=-value.value) if negative else value

    def atom(self) -> _Value:
        """Return a number, or an expression in brackets."""
        if self.place >= len(self.tokens):
            raise _NoValueError
        if self.functions and self.text() in ("|", *_KNOWN_FUNCTIONS):
            return self.call()
        token = self.tokens[self.place]
        if token.kind == "number":
            if len(token.text) > BITS // 4:
                raise _NoValueError
            self.place += 1
            value = Fraction(token.text) / (100 if token.percent else 1)
            return _Value(value, token.places, token.percent, False, token.unit)
        if token.text in tuple(_OPEN) and self.depth < DEEPEST:
            self.place += 1
            return self.inside(_CLOSE[_OPEN.index(token.text)])
        raise _NoValueError

    def text(self) -> str:
        """Return the next token's text, or nothing at the end."""
        return self.tokens[self.place].text if self.place < len(self.tokens) else ""

    def function(self) -> bool:
        """Return whether the next token is the name of a function that is an atom."""
        return self.functions and self.text() in _KNOWN_FUNCTIONS

    def inside(self, end: str) -> _Value:
        """Return the sum before a token that ends it, and go behind that."""
        if self.depth >= DEEPEST:
            raise _NoValueError
        self.depth += 1
        value = self.sum()
        self.depth -= 1
        if self.text() != end:
            raise _NoValueError
        self.place += 1
        return value

    def call(self) -> _Value:
        """Return an absolute value, or a function of what stands behind it in brackets."""
        name = self.text()
        self.place += 1
        if name == "|":
            return _Value(abs(self.inside("|").value), 0, False, True)
        if self.text() != "(":
            raise _NoValueError
        self.place += 1
        if name == "sqrt":
            return _Value(_root(self.inside(")").value, 2), 0, False, True)
        of, taken = self.inside(",").value, self.inside(")").value
        return _Value(_binomial(of, taken), 0, False, True)


def _apply(operator: str, left: _Value, right: _Value) -> _Value:
    a, b = left.value, right.value
    if operator in "+-" and left.percent != right.percent:
        raise _NoValueError  # 50 - 20% may mean 40
    if operator == "/" and not b:
        raise _NoValueError
    if operator == "^":
        if b.denominator > 64 or abs(b) > 64 or (not a and b < 0):
            raise _NoValueError
        value = (a if b.denominator == 1 else _root(a, b.denominator)) ** b.numerator
    else:
        value = {"+": a + b, "-": a - b, "*": a * b}[operator] if operator != "/" else a / b
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > BITS:
        raise _NoValueError
    return _Value(value, 0, left.percent and right.percent, True)


def _root(value: Fraction, index: int) -> Fraction:
    """Return the root of a number that is a power of a fraction."""
    if value < 0:
        raise _NoValueError
    parts = []
    for part in (value.numerator, value.denominator):
        low, high = 0, 1 << (part.bit_length() // index + 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle**index <= part else (low, middle - 1)
        if low**index != part:
            raise _NoValueError
        parts.append(low)
    return Fraction(parts[0], parts[1])


def _factorial(value: Fraction) -> Fraction:
    if value.denominator != 1 or not 0 <= value <= LARGEST_FACTORIAL:
        raise _NoValueError
    return Fraction(math.factorial(int(value)))


def _binomial(of: Fraction, taken: Fraction) -> Fraction:
    if of.denominator != 1 or taken.denominator != 1 or not 0 <= taken <= of <= LARGEST_FACTORIAL:
        raise _NoValueError
    return Fraction(math.comb(int(of), int(taken)))


def evaluate(text: str) -> Fraction | None:
    """Return the value of a text that is one arithmetic expression, exactly; None if it is not, or grows too large.

    Square roots, factorials, binomial coefficients (`binom(7, 2)`), absolute values and mixed numbers are arithmetic,
    if their values are fractions. More than `MOST` tokens are too many, too.
    """
    tokens = _tokens(_MIXED.sub(r"(\1+\2/\3)", plain(text)))
    if len(tokens) > MOST:
        return None
    value, end = _parse(tokens, functions=True)
    return value.value if value is not None and end == len(tokens) else None
