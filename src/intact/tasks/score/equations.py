r"""Check the equations in a completion: "3 * 4 = 12 eggs" is right, "so 5 + 5 = 11" is not.

The arithmetic is exact (`intact.tasks.score.arithmetic`). Units, currencies, percent signs and thousands separators are
understood. Equations with unknowns, functions or remainders are skipped, and so are restatements without a calculation
("1 hour = 60 minutes"). A chain a = b = c counts as two equations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from intact.tasks.score.arithmetic import CLOSE, MOST, OPEN, Token, Value, is_unknown, parse, tokenize
from intact.tasks.score.latex import plain

VERSION: Final = 2
"""Version of the code that finds and checks equations; increment it on changes (`intact.solving.receipts.versions`)."""

_NEXT = r"\s*[,;.]?\s*(?:(?:and|so|then|thus|hence|therefore)\b,?\s*)?"
_FORMULAS = re.compile(
    r"\\\\(?![a-zA-Z])|\\q?quad\b"  # lines and gaps within a display
    rf"|(?<=\\\])(?=[^=+*/\\-]*\\\[)|(?<=\\\))(?={_NEXT}\\\()|(?<=\$\$)(?={_NEXT}\$\$)"
    rf"|(?<=[\w)}}]\$)(?={_NEXT}\$[\d\\({{])"
)
"""Boundaries between two formulas on a line: the terms on either side do not belong to the same expression."""
_ALIGNMENT = re.compile(r"&(?==)|\\(?:begin|end)\{\w+\*?\}")
_ANNOTATION = re.compile(r"<<([^<>\n]*)>>")
_CLAUSE_ENDS = re.compile(r"[.;:,!?](?=\s|$)")
_EMPHASIS = re.compile(r"(?<![\d)])(?<![\d)] )\*\*|\*\*(?! ?[\d(-])|__")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_JOINING = "_\\√∛!"
"""Symbols that bind to the expression after them."""


class Equation(NamedTuple):
    """An equation stated in a completion.

    Attributes
    ----------
    left, right
        The values of its sides.
    holds
        If true, the sides are equal, up to the rounding implied by the right side's decimals.
    """

    left: Fraction
    right: Fraction
    holds: bool


def equations(text: str) -> list[Equation]:
    """Return all equations between numbers in a completion, in order."""
    found = []
    # a calculator annotation, <<3*4=12>>12, is a separate equation inside another
    lines = [note[1] for note in _ANNOTATION.finditer(text)]
    lines += _ANNOTATION.sub("", text).splitlines()
    for line in lines:
        if "=" in line or "≈" in line or "\\approx" in line:
            for formula in _FORMULAS.split(_ALIGNMENT.sub("", line)):
                for clause in _CLAUSE_ENDS.split(_BULLET.sub("", _EMPHASIS.sub("", plain(formula)))):
                    found += _in_clause(tokenize(clause))
    return found


def share_right(text: str) -> float | None:
    """Return the share of a completion's equations that hold, or None if it has none."""
    found = equations(text)
    return sum(equation.holds for equation in found) / len(found) if found else None


def _in_clause(tokens: list[Token]) -> list[Equation]:
    sides: list[list[Token]] = [[]]
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


def _last_value(tokens: Sequence[Token]) -> Value | None:
    """Return the value of the longest expression at the end of a side."""
    for start in range(max(0, len(tokens) - MOST), len(tokens)):
        if start and _belongs(tokens, start):
            continue  # part of a larger expression that is not arithmetic
        value, end = parse(tokens[start:])
        if value is not None and end == len(tokens) - start:
            named = not value.calculated and (start or value.unit)  # "cost of 2 glasses", "4.5 gallons"
            return None if named else value
    return None


def _belongs(tokens: Sequence[Token], start: int) -> bool:
    """Return true if a token continues the expression before it: "(5)(2", "rest - 3", "sqrt(4", "log_2"."""
    before, token, after = tokens[start - 1], tokens[start], tokens[start + 1 : start + 2]
    if before.kind in ("operator", "number", "time") or is_unknown(before):
        return True
    if token.kind == "operator":
        return before.text in tuple(CLOSE) or (before.kind == "word" and not (after and after[0].joined))
    if token.text in tuple(OPEN) and (before.text in tuple(CLOSE) or (before.kind == "word" and token.joined)):
        return True
    return token.joined and before.text in tuple(_JOINING)


def _first_value(tokens: Sequence[Token]) -> Value | None:
    """Return the value of the longest expression at the beginning of a side, unless the text after it extends it."""
    if any(token.text.casefold() == "remainder" for token in tokens):
        return None
    tokens = tokens[:MOST]
    value, end = parse(tokens)
    if value is None or end == len(tokens):
        return value
    after, beyond = tokens[end], tokens[end + 1 : end + 2]
    if after.kind == "operator":
        dash = after.text == "-" and beyond and beyond[0].kind == "word" and not is_unknown(beyond[0])
        return value if dash else None
    goes_on = after.kind == "word" and not is_unknown(after)
    ends = after.text in tuple(CLOSE) or (after.kind == "other" and after.text not in _JOINING)
    return value if goes_on or ends else None


def _equal(left: Value, right: Value, about: bool) -> bool:
    if left.value == right.value:
        return True
    if left.percent != right.percent and right.value in (left.value * 100, left.value / 100):
        return True  # 30 / 100 * 100 = 30%
    if right.places or about:
        return abs(left.value - right.value) * 2 <= Fraction(1, 10**right.places) / (100 if right.percent else 1)
    return False
