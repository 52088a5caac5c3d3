"""Find the number that a passage states, either directly or as the result of its arithmetic.

A number that belongs to an expression with an unknown, or to a time, ratio or range does not count: the 4 in `L - 4`
does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from intact.tasks.score import numbers
from intact.tasks.score.arithmetic import FUNCTIONS, evaluate

ASIDE: Final = re.compile(
    r"(?:(?<=\s)|(?<=[\d%}]))[(\[](?=[^()\[\]]*(?:[=≈]|[^\W\d_]{2}))(?!\s*(?:sqrt|binom|pi)\b)[^()\[\]]*[)\]]"
)
"""A bracketed aside with words or an equation, after a number or white space: "5 (where x = 3)", "24 (= 4 * 6)"."""
CLAUSE: Final = re.compile(
    r"[,;:](?=\s|$)|\b(?:where|when|if|since|because|as|for|with|given|assuming|so|which|that|but|after|while|using|rather|not)\b",
    re.IGNORECASE,
)
"""The start of a clause that adds to an answer."""
RELATION: Final = re.compile(r"(?<![<>!:=])=+(?![<>])|≈|[-=]{1,8}>|→|⇒")
"""Symbols that separate the sides of an equation."""
FILLER: Final = re.compile(
    r"^\s*(?:(?:about|approximately|around|exactly|just|nearly|only|roughly|simply|a total of)\s+)+", re.IGNORECASE
)
"""Words that may come before the number at the start of an answer."""
PIECE: Final = re.compile(
    r"(?P<number>(?:[$€£]\s?)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\d.])\.\d+)(?:[eE][-+]?\d{1,3}(?![\w.]))?)"
    r"(?P<ordinal>(?:st|nd|rd|th)\b)?(?P<percent>\s?%)?"
    r"|(?P<command>\\[a-zA-Z]+|\\.)|(?P<word>[^\W\d_]+)|(?P<operator>\*\*|(?<![<>])[<>]=?(?![<>])|[-+*/^_−–×÷±√∛!≤≥≠])|(?P<bracket>[()\[\]{}|])"
    r"|(?P<colon>:(?=\d\d?(?!\d)))|(?P<other>[^\s])"
)
"""A number, command, word, operator, bracket or other sign."""
LONGEST: Final = 2000
"""Strings longer than this are not searched for a stated number."""
LONGEST_RUN: Final = 200
"""Expressions with more numbers, signs and brackets than this have no value."""
_UNITS: Final = frozenset(["m", "g", "s", "h", "L", "l", "J", "N", "W", "V", "F", "C", "K", "d", "k", "M", "B"])
"""Letters that mean units, thousands or millions after a number; any other letters there are unknowns."""
_ARTICLES: Final = frozenset("aAI")
_PRODUCT: Final = re.compile(r"(?<=\d)(\s*)[xX](\s*)(?=\d)")


class _Piece(NamedTuple):
    """A match of `PIECE`."""

    kind: str
    text: str
    start: int
    end: int


_NOTHING: Final = _Piece("", "", -1, -1)
_NUMBERS: Final = ("number", "ordinal")
_OPENING: Final = ("(", "[", "{")
_CLOSING: Final = (")", "]", "}")


def stated_value(text: str) -> Fraction | None:
    """Return the number that the text of an answer states, such as 7 for "3 + 4 = 7 apples, since they are red".

    In an equation, the last side with a number counts; among several numbers, the first one.
    """
    if len(text) > LONGEST:
        return None
    whole = value_of(text)
    if whole is not None:
        return whole
    text = ASIDE.sub(" ", text)
    head = _head(text)
    for side in reversed(RELATION.split(head)):
        value = value_of(side)
        if value is not None:
            return value
        runs = list(_runs(side))
        if runs:
            return runs[0].value
    return None


def last_value(text: str) -> Fraction | None:
    """Return the last number that is not part of a larger expression, or the result of the last arithmetic."""
    for line in reversed(text.split("\n")):
        for side in reversed(RELATION.split(line)):
            for run in reversed(list(_runs(side))):
                if run.value is not None:
                    return run.value
    return None


class _Run(NamedTuple):
    """An expression in a passage, with its value if it is a number."""

    text: str
    value: Fraction | None


def _head(text: str) -> str:
    """Return the answer at the start of a passage, up to the clause after it.

    Commas inside brackets do not start a clause.
    """
    depth = 0
    for match in re.finditer(rf"[(\[{{]|[)\]}}]|{CLAUSE.pattern}", text, CLAUSE.flags):
        if match[0] in _OPENING:
            depth += 1
        elif match[0] in _CLOSING:
            depth -= 1
        elif depth <= 0:
            head = FILLER.sub("", text[: match.start()])
            if value_of(RELATION.split(head)[-1]) is not None:
                return head
    return text


def value_of(text: str) -> Fraction | None:
    """Return the value of a string that is a number or arithmetic, possibly with units."""
    bare = text.strip().rstrip(".,;").strip()
    value = numbers.as_number(bare)
    if value is None and re.search(r"\d", bare) and "%" not in bare and not _RANGE.search(bare):
        value = evaluate(bare)
    return value


_RANGE: Final = re.compile(r"(?<![\w.^*/+(-])\d+(?:\.\d+)?[-–]\d+(?:\.\d+)?(?=\s+[^\W\d_]{2})")
"""A range: two numbers joined by a dash, followed by a word."""


def _parts_of(text: str) -> list[_Piece]:
    """Return the pieces of a passage; function names and single letters have their own kinds."""
    found = []
    for match in PIECE.finditer(text):
        kind = match.lastgroup or "other"
        if match["number"]:
            kind = "ordinal" if match["ordinal"] else "number"
        elif kind == "word" and match[0] in FUNCTIONS:
            kind = "function"
        elif kind == "word" and len(match[0]) == 1:
            kind = "letter"
        found.append(_Piece(kind, match[0], *match.span()))
    return found


def _runs(text: str) -> Iterator[_Run]:
    """Yield the expressions in a passage that contain a number."""
    text = _PRODUCT.sub(r"\1*\2", text)
    pieces = _parts_of(text)
    place = 0
    while place < len(pieces):
        end, depth = place, 0
        while end < len(pieces) and _is_mathematics(pieces, end, place, depth > 0):
            if pieces[end].kind == "bracket":
                depth += (pieces[end].text in _OPENING) - (pieces[end].text in _CLOSING)
            end += 1
        if end == place:
            place += 1
            continue
        if end - place > LONGEST_RUN:
            yield _Run(text[pieces[place].start : pieces[end - 1].end], None)
            place = end
            continue
        before = pieces[place - 1] if place else _NOTHING
        run = _trimmed(pieces[place:end], before)
        if any(piece.kind in _NUMBERS for piece in run):
            first, last = pieces.index(run[0], place), pieces.index(run[-1], place)
            written = text[run[0].start : run[-1].end]
            joined = _is_joined_before(before, pieces[place:first], run[0]) or _is_joined_after(
                pieces[last + 1 : last + 7]
            )
            yield _Run(written, None if joined else _arithmetic(run, written))
        place = end


def _is_mathematics(pieces: Sequence[_Piece], place: int, start: int, inside: bool) -> bool:
    """Return true if a piece continues the expression that began at `start`, or begins one.

    If `inside` is true, a bracket of the expression is open, so a comma belongs to a pair or an interval.
    """
    piece = pieces[place]
    if piece.kind == "letter":
        return _is_unknown(pieces, place)
    if piece.text == ",":
        return inside
    if piece.kind == "number" and place > start and pieces[place - 1].kind in _NUMBERS:
        before, after = pieces[place - 1], pieces[place + 1 : place + 2]
        return before.text.isdigit() and bool(after) and after[0].text == "/"  # a mixed number
    if piece.text in ("-", "−", "–") and place > start and place + 1 < len(pieces):
        following = pieces[place + 1]
        if following.kind == "word" and pieces[place - 1].end < piece.start:
            return False  # a dash
    return piece.kind in (*_NUMBERS, "command", "operator", "bracket", "function", "colon")


def _is_unknown(pieces: Sequence[_Piece], place: int) -> bool:
    """Return true if a single letter is an unknown rather than an article or a unit."""
    piece = pieces[place]
    before = pieces[place - 1] if place else _NOTHING
    after = pieces[place + 1] if place + 1 < len(pieces) else _NOTHING
    operated = _operates(piece, after)
    if before.kind in _NUMBERS:
        if piece.text in _UNITS and not (operated and after.text not in ("/", "^")):
            return False
        return piece.text not in _ARTICLES or before.end == piece.start or operated
    attached = before.end == piece.start and (before.kind in ("letter", "command") or before.text in _CLOSING)
    return operated or before.kind == "operator" or attached


def _operates(letter: _Piece, after: _Piece) -> bool:
    """Return true if a letter is followed by an operator, or directly by a number or an opening bracket."""
    joined = letter.end == after.start
    if after.kind == "operator":
        return after.text != "-" or joined or letter.text not in _ARTICLES
    return joined and (after.kind == "number" or after.text in _OPENING)


def _trimmed(run: Sequence[_Piece], before: _Piece) -> Sequence[_Piece]:
    """Return a run without unbalanced brackets and dangling operators at its ends."""
    while run:
        if _ends_with_nothing(run):
            run = run[:-1]
        elif _begins_with_nothing(run, before):
            run = run[1:]
        else:
            break
    return run


def _ends_with_nothing(run: Sequence[_Piece]) -> bool:
    """Return true if the last piece of a run is an unbalanced bracket, or an operator without an operand."""
    last = run[-1]
    if last.text == "!":
        return len(run) > 1 and run[-2].end < last.start
    if last.text == "|":
        return sum(piece.text == "|" for piece in run) % 2 == 1
    if last.text in _CLOSING:
        return _balance(run) < 0
    return last.text in _OPENING or last.text in (",", "-", "−", "–", "*", "**", "_", "+", "/")


def _begins_with_nothing(run: Sequence[_Piece], before: _Piece) -> bool:
    """Return true if the first piece of a run is an unbalanced bracket, or an operator without an operand.

    A minus after a word, or before white space, is a dash rather than a sign.
    """
    first = run[0]
    if first.text in _OPENING:
        return _balance(run) > 0
    if first.text in ("-", "−", "–"):
        attached = before.end == first.start and before.kind not in ("", "other")
        return len(run) < 2 or run[1].start > first.end or attached
    return first.text in _CLOSING or first.text in ("*", "**", "_", "/", "+", "^", "!")


def _balance(run: Sequence[_Piece]) -> int:
    """Return the number of opening brackets minus the number of closing ones."""
    return sum((piece.text in _OPENING) - (piece.text in _CLOSING) for piece in run)


def _is_joined_before(word: _Piece, left: Sequence[_Piece], first: _Piece) -> bool:
    """Return true if an expression continues the word before it, as in `total - 4` and `H2`.

    `left` holds the pieces between them, which are not part of the expression itself.
    """
    if word.kind not in ("word", "letter"):
        return False
    if not left:
        return word.end == first.start
    sign = left[0]
    even = (sign.start > word.end) == (first.start > sign.end)  # white space on both sides, or on neither
    if len(left) > 1 or not even or sign.text not in ("+", "*", "/", "^", "-", "−"):
        return False
    return sign.text != "-" or sign.start > word.end


def _is_joined_after(following: Sequence[_Piece]) -> bool:
    """Return true if an expression continues after its end or after its unit, as in `5 * width`, `5 apples + tax`."""
    words = 0
    while words < min(4, len(following)) and following[words].kind == "word":
        words += 1
    if words + 1 >= len(following) or following[words].kind != "operator":
        return False
    sign, operand = following[words], following[words + 1]
    if words and sign.start == following[words - 1].end:
        return False
    return sign.text in ("+", "*", "^") or (words > 0 and sign.text in ("-", "−") and operand.kind != "word")


def _arithmetic(run: Sequence[_Piece], written: str) -> Fraction | None:
    """Return the value of a run that is a number or arithmetic."""
    if run[-1].kind == "ordinal" and len(run) == 1:
        return numbers.as_number(written[:-2])
    tight = len(run) == 3 and run[1].text in ("-", "–") and run[0].end == run[1].start and run[1].end == run[2].start
    if tight and run[0].kind == run[2].kind == "number":
        return None  # a range
    value = numbers.as_number(written)
    return evaluate(written) if value is None else value
