"""Evaluate arithmetic in prose exactly: numbers, operators and brackets, possibly with units in between.

Values are fractions. They are computed by a dedicated parser; text is never evaluated as code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from intact.tasks.score.latex import plain

MOST = 80
"""The maximum number of tokens considered on one side of an equals sign."""

DEEPEST = 20
"""Nested brackets beyond this depth are not treated as arithmetic."""

BITS = 512
"""Equations with numbers of more bits than this are skipped."""

LARGEST_FACTORIAL = 90
"""The largest number whose factorial fits in `BITS` bits."""

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
_TIMES = ("x", "X", "times")
_MEANINGFUL = """
    times of per percent half twice double triple third thirds quarter more less than plus minus by pair pairs
    dozen dozens hundred hundreds thousand thousands million millions billion
"""
"""Words that change a number, and therefore cannot be units."""

_CHANGING = frozenset(_MEANINGFUL.split())

_MIXED = re.compile(r"(?<![\w./^*)])(\d+) +(\d+)/(\d+)(?![\d./])")

_FUNCTION_NAMES = "sqrt binom pi sin cos tan cot sec csc log ln exp arcsin arccos arctan sinh cosh mod"
FUNCTIONS: Final = frozenset(_FUNCTION_NAMES.split())
"""Names of mathematical functions, constants and operators, which therefore cannot be units."""

_KNOWN_FUNCTIONS = ("sqrt", "binom")

_SIGNS = {"−": "-", "–": "-", "**": "^"}
OPEN, CLOSE = "([{", ")]}"


class Token(NamedTuple):
    """A number, operator, bracket, word or other symbol; numbers carry their format."""

    kind: str
    text: str
    places: int = 0
    percent: bool = False
    unit: bool = False
    joined: bool = False
    """If true, no space precedes the token."""


class Value(NamedTuple):
    """The value of an expression, with the decimal places, percent sign and unit of its notation."""

    value: Fraction
    places: int
    percent: bool
    calculated: bool
    unit: bool = False


class _NoValueError(Exception):
    """The text is not arithmetic."""


def tokenize(line: str) -> list[Token]:
    """Return the tokens of a string without currency signs and units."""
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
            tokens.append(Token(kind, digits, len(digits.partition(".")[2]), bool(match["percent"]), joined=joined))
        else:
            tokens.append(Token(kind, text, joined=joined))
    return _without_units(tokens)


def is_unknown(token: Token) -> bool:
    """Return true if a token is a single letter and not an article."""
    return token.kind == "word" and len(token.text) == 1 and token.text not in "aAI$"


def _without_units(tokens: list[Token]) -> list[Token]:
    """Return the tokens without units, which are words between a number and an operator.

    "x" between numbers becomes "*".
    """
    kept: list[Token] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        after = tokens[place + 1] if place + 1 < len(tokens) else None
        if kept and kept[-1].kind == "number" and _per(tokens, place):
            place += 2
            continue
        if token.kind == "word" and kept and _ends_value(kept[-1]):
            if token.text in _TIMES and after and _begins_value(after):
                kept.append(Token("operator", "*"))
                place += 1
                continue
            end = place
            while end < len(tokens) and end < place + 4 and (tokens[end].kind == "word" or _per(tokens, end)):
                if is_unknown(tokens[end]) or tokens[end].text in _CHANGING or tokens[end].text in FUNCTIONS:
                    break
                end += 1
            if end > place and (end == len(tokens) or _ends_unit(tokens[end])):
                kept[-1] = kept[-1]._replace(unit=True)
                place = end
                continue
        kept.append(token)
        place += 1
    return kept


def _per(tokens: Sequence[Token], place: int) -> bool:
    """Return true if a slash is followed by a word, as in "miles/hour"."""
    return (
        tokens[place].text == "/"
        and place + 1 < len(tokens)
        and tokens[place + 1].kind == "word"
        and not is_unknown(tokens[place + 1])
    )


def _ends_unit(token: Token) -> bool:
    return token.kind in ("operator", "equals") or token.text in (*CLOSE, *_TIMES)


def _ends_value(token: Token) -> bool:
    return token.kind == "number" or token.text in tuple(CLOSE)


def _begins_value(token: Token) -> bool:
    return token.kind == "number" or token.text in tuple(OPEN)


def parse(tokens: Sequence[Token], *, functions: bool = False) -> tuple[Value | None, int]:
    """Return the longest expression at the beginning, and its number of tokens."""
    reader = _Reader(tokens, functions=functions)
    try:
        value = reader.sum()
    except _NoValueError:
        return None, 0
    return value, reader.place


class _Reader:
    """Recursive-descent parser: sums of products of signed powers of atoms.

    Parameters
    ----------
    functions : bool
        If true, square roots, factorials, binomial coefficients and absolute values are atoms too; in prose, their
        symbols have other meanings.
    """

    def __init__(self, tokens: Sequence[Token], *, functions: bool = False) -> None:
        self.tokens, self.functions = tokens, functions
        self.place = 0
        self.depth = 0

    def peek(self) -> str:
        """Return the next token's text if it is an operator or a bracket, else an empty string."""
        token = self.tokens[self.place] if self.place < len(self.tokens) else None
        return token.text if token is not None and token.kind in ("operator", "bracket") else ""

    def sum(self) -> Value:
        """Parse products that are added and subtracted."""
        return self.chain(self.product, "+-")

    def product(self) -> Value:
        """Parse powers that are multiplied and divided; a bracket directly after a value multiplies."""
        return self.chain(self.power, "*/")

    def chain(self, part: object, operators: str) -> Value:
        """Parse operands joined by operators of equal precedence, from left to right."""
        assert callable(part)
        result: Value = part()
        while True:
            operator, before = self.peek(), self.place
            if operators == "*/" and (operator == "(" or (operator == "" and self.function())):
                operator = "*"
            elif not operator or operator not in operators:
                return result
            else:
                self.place += 1
            try:
                following: Value = part()
            except _NoValueError:
                self.place = before  # a dangling operator ends the expression
                return result
            result = _apply(operator, result, following)

    def power(self) -> Value:
        """Parse an atom with its signs and exponent."""
        negative = False
        while (sign := self.peek()) and sign in "+-":
            negative ^= sign == "-"
            self.place += 1
        value = self.atom()
        while self.functions and self.text() == "!":
            self.place += 1
            value = Value(_factorial(value.value), 0, False, True)
        if self.peek() == "^":
            self.place += 1
            value = _apply("^", value, self.power())
        return value._replace(value=-value.value) if negative else value

    def atom(self) -> Value:
        """Parse a number, or an expression in brackets."""
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
            return Value(value, token.places, token.percent, False, unit=token.unit)
        if token.text in tuple(OPEN) and self.depth < DEEPEST:
            self.place += 1
            return self.inside(CLOSE[OPEN.index(token.text)])
        raise _NoValueError

    def text(self) -> str:
        """Return the next token's text, or an empty string at the end."""
        return self.tokens[self.place].text if self.place < len(self.tokens) else ""

    def function(self) -> bool:
        """Return true if the next token is the name of a supported function."""
        return self.functions and self.text() in _KNOWN_FUNCTIONS

    def inside(self, end: str) -> Value:
        """Parse the sum before a closing token, and move past that token."""
        if self.depth >= DEEPEST:
            raise _NoValueError
        self.depth += 1
        value = self.sum()
        self.depth -= 1
        if self.text() != end:
            raise _NoValueError
        self.place += 1
        return value

    def call(self) -> Value:
        """Parse an absolute value, or a function with its arguments in brackets."""
        name = self.text()
        self.place += 1
        if name == "|":
            return Value(abs(self.inside("|").value), 0, False, True)
        if self.text() != "(":
            raise _NoValueError
        self.place += 1
        if name == "sqrt":
            return Value(_root(self.inside(")").value, 2), 0, False, True)
        of, taken = self.inside(",").value, self.inside(")").value
        return Value(_binomial(of, taken), 0, False, True)


def _apply(operator: str, left: Value, right: Value) -> Value:
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
    return Value(value, 0, left.percent and right.percent, True)


def _root(value: Fraction, index: int) -> Fraction:
    """Return the exact rational root of a number.

    Raises
    ------
    _NoValueError
        If it has none.
    """
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
    """Return the exact value of a string that is a single arithmetic expression; None if it is not, or grows too large.

    Square roots, factorials, binomial coefficients (`binom(7, 2)`), absolute values and mixed numbers are supported if
    their values are fractions. Also return None for a string of more than `MOST` tokens.
    """
    tokens = tokenize(_MIXED.sub(r"(\1+\2/\3)", plain(text)))
    if len(tokens) > MOST:
        return None
    value, end = parse(tokens, functions=True)
    return value.value if value is not None and end == len(tokens) else None
