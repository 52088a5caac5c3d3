"""The number that a piece of text states: one by itself, or what its arithmetic comes to.

A number that is part of an expression with an unknown, of a time, of a ratio or of a range is none: of `L - 4` not 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final, NamedTuple

from intact.score import numbers
from intact.score.equations import FUNCTIONS, evaluate

ASIDE: Final = re.compile(
    r"(?:(?<=\s)|(?<=[\d%}]))[(\[](?=[^()\[\]]*(?:[=≈]|[^\W\d_]{2}))(?!\s*(?:sqrt|binom|pi)\b)[^()\[\]]*[)\]]"
)
"""Brackets with words or an equation in them, behind a number or white space: "5 (where x = 3)", "24 (= 4 * 6)"."""
CLAUSE: Final = re.compile(
    r"[,;:](?=\s|$)|\b(?:where|when|if|since|because|as|for|with|given|assuming|so|which|that|but|after|while|using|rather|not)\b",
    re.IGNORECASE,
)
"""The beginning of a clause that says more about an answer."""
RELATION: Final = re.compile(r"(?<![<>!:=])=+(?![<>])|≈|[-=]+>|→|⇒")
"""Signs between the sides of an equation."""
FILLER: Final = re.compile(
    r"^\s*(?:(?:about|approximately|around|exactly|just|nearly|only|roughly|simply|a total of)\s+)+", re.IGNORECASE
)
"""Words before a number that begins an answer."""
PIECE: Final = re.compile(
    r"(?P<number>(?:[$€£]\s?)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\d.])\.\d+)(?:[eE][-+]?\d{1,3}(?![\w.]))?)"
    r"(?P<ordinal>(?:st|nd|rd|th)\b)?(?P<percent>\s?%)?"
    r"|(?P<command>\\[a-zA-Z]+|\\.)|(?P<word>[^\W\d_]+)|(?P<operator>\*\*|(?<![<>])[<>]=?(?![<>])|[-+*/^_−–×÷±√∛!≤≥≠])|(?P<bracket>[()\[\]{}|])"
    r"|(?P<colon>:(?=\d\d?(?!\d)))|(?P<other>[^\s])"
)
"""A number, command, word, operator, bracket or other sign."""
LONGEST: Final = 2000
"""Characters beyond which a text is too long to state a number."""
LONGEST_RUN: Final = 200
"""Numbers, signs and brackets beyond which an expression has no value."""
_UNITS: Final = frozenset(["m", "g", "s", "h", "L", "l", "J", "N", "W", "V", "F", "C", "K", "d", "k", "M", "B"])
"""Letters that are units, or thousands and millions, behind a number; other letters there are unknowns."""
_ARTICLES: Final = frozenset("aAI")
_PRODUCT: Final = re.compile(r"(?<=\d)(\s*)[xX](\s*)(?=\d)")


class _Piece(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


def stated_value(text: str) -> Fraction | None:
    """Return the number that the text of an answer states, such as 7 for "3 + 4 = 7 apples, since they are red".

    Of an equation it is the last side with a number, of several numbers the first one.
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
    """Return the last number of a text that is no part of a larger expression, or what the last arithmetic comes to."""
    for line in reversed(text.split("\n")):
        for side in reversed(RELATION.split(line)):
            for run in reversed(list(_runs(side))):
                if run.value is not None:
                    return run.value
    return None


class _Run(NamedTuple):
    """An expression in a text, and its value if that is a number."""

    text: str
    value: Fraction | None


def _head(text: str) -> str:
    """Return a text up to the clause behind an answer that begins it; commas inside brackets begin none."""
    depth = 0
    for match in re.finditer(rf"[(\[{{]|[)\]}}]|{CLAUSE.pattern}", text, CLAUSE.flags):
        if match[0] in "([{":
            depth += 1
        elif match[0] in ")]}":
            depth -= 1
        elif depth <= 0:
            head = FILLER.sub("", text[: match.start()])
            if value_of(RELATION.split(head)[-1]) is not None:
                return head
    return text


def value_of(text: str) -> Fraction | None:
    """Return the value of a text that is a number or arithmetic, with units at most."""
    bare = text.strip().rstrip(".,;").strip()
    value = numbers.as_number(bare)
    if value is None and re.search(r"\d", bare) and "%" not in bare and not _RANGE.search(bare):
        value = evaluate(bare)
    return value


_RANGE: Final = re.compile(r"(?<![\w.^*/+(-])\d+(?:\.\d+)?[-–]\d+(?:\.\d+)?(?=\s+[^\W\d_]{2})")
"""A range: two numbers with a dash between them, before a word."""


def _pieces(text: str) -> list[_Piece]:
    found = []
    for match in PIECE.finditer(_PRODUCT.sub(r"\1*\2", text)):
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
    """Yield the expressions with a number in a text."""
    text = _PRODUCT.sub(r"\1*\2", text)
    pieces = _pieces(text)
    place = 0
    while place < len(pieces):
        end, depth = place, 0
        while end < len(pieces) and _is_mathematics(pieces, end, place, depth > 0):
            if pieces[end].kind == "bracket":
                depth += (pieces[end].text in "([{") - (pieces[end].text in ")]}")
            end += 1
        if end == place:
            place += 1
            continue
        if end - place > LONGEST_RUN:
            yield _Run(text[pieces[place].start : pieces[end - 1].end], None)
            place = end
            continue
        run = _trimmed(pieces[place:end], pieces[place - 1] if place else None)
        if any(piece.kind in ("number", "ordinal") for piece in run):
            written = text[run[0].start : run[-1].end]
            alone = not _is_part(pieces, place, end, run)
            yield _Run(written, _arithmetic(run, written) if alone else None)
        place = end


def _is_mathematics(pieces: list[_Piece], place: int, start: int, inside: bool) -> bool:
    """Return whether a piece is part of an expression that began at a place, or begins one.

    If `inside` is true, a bracket of the expression is open, so that a comma is that of a pair or an interval.
    """
    piece = pieces[place]
    if piece.kind == "letter":
        return _is_unknown(pieces, place)
    if piece.text == ",":
        return inside
    if piece.kind == "number" and place > start and pieces[place - 1].kind in ("number", "ordinal"):
        before, after = pieces[place - 1], pieces[place + 1 : place + 2]
        return before.text.isdigit() and bool(after) and after[0].text == "/"  # a mixed number
    if piece.text in ("-", "−", "–") and place > start and place + 1 < len(pieces):
        following = pieces[place + 1]
        if following.kind == "word" and pieces[place - 1].end < piece.start:
            return False  # a dash
    return piece.kind in ("number", "ordinal", "command", "operator", "bracket", "function", "colon")


def _is_unknown(pieces: list[_Piece], place: int) -> bool:
    """Return whether a single letter is an unknown, and no article, unit, or word's beginning."""
    piece = pieces[place]
    before = pieces[place - 1] if place else None
    after = pieces[place + 1] if place + 1 < len(pieces) else None
    joined = after is not None and after.start == piece.end
    operated = (
        after is not None
        and after.kind == "operator"
        and not (after.text == "-" and not joined and piece.text in _ARTICLES)
    )
    operated = operated or (
        joined and after is not None and after.kind in ("bracket", "number") and after.text not in ")]}|"
    )
    led = before is not None and before.kind == "operator"
    if before is not None and before.kind in ("number", "ordinal"):
        if piece.text in _UNITS and not (operated and after is not None and after.text not in ("/", "^")):
            return False
        return piece.text not in _ARTICLES or before.end == piece.start or operated
    attached = before is not None and before.end == piece.start and before.kind in ("letter", "bracket", "command")
    return operated or led or (attached and before is not None and before.text not in "([{|")


def _trimmed(run: list[_Piece], before: _Piece | None) -> list[_Piece]:
    """Return a run without the brackets of its sentence and operators that join nothing in it."""
    while run:
        first, last = run[0], run[-1]
        opened = sum(piece.text in "([{" for piece in run if piece.kind == "bracket")
        closed = sum(piece.text in ")]}" for piece in run if piece.kind == "bracket")
        if (
            (
                last.text in (",", "-", "−", "–", "*", "**", "!", "_", "+", "/")
                and (last.text != "!" or (len(run) > 1 and run[-2].end < last.start))
            )
            or (last.kind == "bracket" and last.text in ")]}" and closed > opened)
            or last.text in "([{"
        ):
            run = run[:-1]
        elif first.kind == "bracket" and ((first.text in "([{" and opened > closed) or first.text in ")]}"):
            run = run[1:]
        elif last.text == "|" and sum(piece.text == "|" for piece in run) % 2:
            run = run[:-1]
        elif first.text in ("*", "**", "_", "/", "+", "^", "!") or (
            first.text in ("-", "−", "–") and _is_dash(run, before)
        ):
            run = run[1:]
        else:
            break
    return run


def _is_dash(run: list[_Piece], before: _Piece | None) -> bool:
    """Return whether a run begins with a dash that is no sign: behind a word or before white space."""
    return (
        len(run) < 2
        or run[1].start > run[0].end
        or (before is not None and before.end == run[0].start and before.kind != "other")
    )


def _is_part(pieces: list[_Piece], start: int, end: int, run: list[_Piece]) -> bool:
    """Return whether an operator joins a run to words around it, as in `total - 4` and `5 apples + tax`."""
    first = next(i for i in range(start, end) if pieces[i] == run[0])
    if (
        first > start
        and pieces[first - 1].kind == "operator"
        and start
        and pieces[start - 1].kind in ("word", "letter")
    ):
        sign, word = pieces[first - 1], pieces[start - 1]
        if (
            sign.text in ("+", "*", "/", "^", "-", "−")
            and first - 1 == start
            and (sign.start > word.end) == (run[0].start > sign.end)
        ):
            return sign.text != "-" or sign.start > word.end
    if start and pieces[start - 1].kind in ("word", "letter") and pieces[start - 1].end == run[0].start:
        return True  # a name such as H2
    last = max(i for i in range(start, end) if pieces[i] == run[-1])
    behind = last + 1
    if (
        behind < len(pieces)
        and pieces[behind].kind == "operator"
        and pieces[behind].text in ("+", "*", "^")
        and behind + 1 < len(pieces)
    ):
        return True
    words = behind
    while words < len(pieces) and words < behind + 4 and pieces[words].kind == "word":
        words += 1
    operator = words > behind and words + 1 < len(pieces) and pieces[words].kind == "operator"
    if not operator or pieces[words].start == pieces[words - 1].end:
        return False
    joins = ("+", "*", "^") if pieces[words + 1].kind == "word" else ("+", "*", "^", "-", "−")
    return pieces[words].text in joins


def _arithmetic(run: list[_Piece], written: str) -> Fraction | None:
    """Return the value of a run that is a number or arithmetic."""
    if run[-1].kind == "ordinal" and len(run) == 1:
        return numbers.as_number(written[:-2])
    tight = len(run) == 3 and run[1].text in ("-", "–") and run[0].end == run[1].start and run[1].end == run[2].start
    if tight and run[0].kind == run[2].kind == "number":
        return None  # a range
    value = numbers.as_number(written)
    return evaluate(written) if value is None else value
