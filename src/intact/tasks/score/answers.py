r"""Extract the answer from a completion in canonical form, so that votes can be counted by comparing strings.

A text gives its answer in a box (``\boxed{...}``), as a bare number after ``####``, after "the answer is", or else as
its last number. The last box counts. A box that is never closed means that the text was truncated; it then has no
answer, whatever came before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final

from intact.reason.problem import whole_text
from intact.tasks.score import numbers, symbolic
from intact.tasks.score.latex import plain, undressed
from intact.tasks.score.quantity import last_value, stated_value, value_of

_BOX = re.compile(r"\\f?boxed\b\s*")
_CUE = re.compile(r"answer\s*(?:is|was|:|=)+(?:\s*that)?[\s:*]*", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '-][^\W\d_]+)*")
_CHOICE = re.compile(r"\(?[A-Z]\)")
_SENTENCE = re.compile(r"(?:[.?]|!(?!\s*[-=+*/^]))(?=\s|$)")
_EMPHASIS = re.compile(r"(?:^|(?<=[\s(]))[*_`]+(?=\S)|(?<=\S)[*_`]+(?=[\s.,;:!?)]|$)")
_KNOWN = r"(?:and|or|pi|sqrt|sin|cos|tan|log|ln|exp)\b"
_PROSE = re.compile(rf"(?:^|(?<=[\s(]))(?!{_KNOWN}|[^\W\d_]{{2}}\s*[+*^])[^\W\d_]{{2,}}")
_NOTE = re.compile(
    r"(?<=[\w%}$)])\s+\((?=[^()]*[=≈]|(?:where|since|because|when|if|for|with|as|rounded|approximately|exactly|in)\b)[^()]*\)"
)
_LOOSE = re.compile(r"(?:[\s,;:(–—-]|\b(?:and|or)$)+$")
_BASED = re.compile(r"(\d[\dA-Z]*)_\{?(\d+)\}?")
_FORMULA = re.compile(r"\$[^$]+\$(?!\d)|\\\(.+?\\\)")


def _box(text: str) -> tuple[bool, str | None]:
    """Return true if there is a box, and the content of the last one, or None if it is never closed."""
    last = None
    for last in _BOX.finditer(text):  # noqa: B007 the last one counts
        pass
    if last is None:
        return False, None
    inside = text[last.end() :]
    if not inside.startswith("{"):
        word = re.match(r"\S+", inside)
        return True, None if word is None else word[0].rstrip("$.,")
    depth, place = 0, 0
    while place < len(inside):
        if inside[place] == "\\":
            place += 1  # an escaped brace nests nothing
        elif inside[place] in "{}":
            depth += 1 if inside[place] == "{" else -1
            if not depth:
                return True, inside[1:place].strip()
        place += 1
    return True, None


def boxed(text: str) -> str | None:
    """Return the content of the last box; None if there is no box or its brace is never closed."""
    return _box(text)[1]


def _after_cue(text: str) -> str | None:
    """Return the rest of the sentence after the last "the answer is"."""
    cues = list(_CUE.finditer(text))
    if not cues:
        return None
    line = _EMPHASIS.sub("", text[cues[-1].end() :].partition("\n")[0])
    return _SENTENCE.split(line, maxsplit=1)[0]


def _read_sentence(sentence: str) -> str:
    """Return the canonical answer in the rest of a sentence: the text before any prose, or else a value within it.

    Computer algebra reads words as products of letters, so it is given only formulas.
    """
    sentence = _NOTE.sub("", sentence)
    words = " ".join(plain(sentence).split())
    choice = re.match(_CHOICE.pattern + r"(?=[\s.,:]|$)", words)
    if choice is not None:
        return choice[0].strip("()")
    prose = _PROSE.search(words)
    if prose is None:
        return simplest(_right_side(sentence))
    formula = _FORMULA.search(sentence)
    if formula is not None:
        return simplest(_right_side(formula[0]))
    before = _LOOSE.sub("", words[: prose.start()])
    if re.search(r"[\d\\]", before):
        return simplest(_right_side(before))
    phrase = re.split(r"[,;(]", words)[0].strip()
    if _WORDS.fullmatch(phrase):
        return simplest(phrase)
    value = stated_value(words)
    return before or words.casefold() if value is None else numbers.canonical(value)


def _right_side(formula: str) -> str:
    """Return the result of a calculation, such as 42 for "17 + 25 = 42"; leave an equation with unknowns unchanged."""
    left, _, right = formula.rpartition("=")
    calculated = re.fullmatch(r"[^<>:a-zA-Z\\]+", plain(left)) and not left.endswith("!")
    return right if right.strip() and calculated else formula


def number(text: str) -> str | None:
    """Return the number that a completion gives as its answer, in canonical form, for GSM8K and similar tasks.

    Negative numbers, decimals, fractions, thousands separators and currencies are supported; "50%" is read as 50.
    """
    in_box, value = _stated_number(text)
    if value is None and not in_box:
        value = last_value(plain(text))
    return None if value is None else numbers.canonical(value)


def stated_number(text: str) -> str | None:
    """Return the number that a completion explicitly states as its answer.

    Unlike `number`, this does not fall back to the last number: in a truncated text, it may belong to any intermediate
    calculation.
    """
    value = _stated_number(text)[1]
    return None if value is None else numbers.canonical(value)


def _stated_number(text: str) -> tuple[bool, Fraction | None]:
    """Return true if there is a box, and the number in the box, after ``####`` or after "the answer is"."""
    in_box, inside = _box(text)
    if in_box:
        return True, None if inside is None else stated_value(plain(inside))
    _, mark, rest = text.rpartition("####")
    value = value_of(plain(rest.partition("\n")[0])) if mark else None
    if value is None:
        sentence = _after_cue(text)
        value = None if sentence is None else stated_value(plain(sentence))
    return False, value


def expression(text: str) -> str | None:
    r"""Return the expression that a completion gives as its answer, in canonical form, for MATH and similar tasks.

    It is read from a box or after "the answer is"; there is no fallback to the last number, since these answers are
    rarely plain numbers.

    Raises
    ------
    ParameterError
        If math-verify is needed and missing.
    """
    in_box, inside = _box(text)
    if in_box:
        return simplest(_right_side(_NOTE.sub("", inside))) if inside else None
    sentence = _after_cue(text)
    return None if sentence is None or not sentence.strip() else _read_sentence(sentence)


def read_answer(text: str) -> str | None:
    """Return the answer in a completion: an expression in a box or after "the answer is", else its last number."""
    found = expression(text)
    return number(text) if found is None else found


READERS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "text": whole_text,
    "number": number,
    "expression": read_answer,
}
"""Named ways to read an answer."""
KINDS: Final[Mapping[str, str]] = {"number": "a number", "expression": "an expression or number"}
"""Descriptions of the expected answers, for readers that may not find one."""
VERSIONS: Final[Mapping[str, int]] = {"text": 1, "number": 2, "expression": 2}
"""Version of each reader; increment it when its results change (`intact.solving.receipts.versions`)."""


def simplest(latex: str) -> str:
    r"""Return the canonical form of a LaTeX expression: numbers as numbers, the rest as SymPy orders and prints it.

    Words are lower-cased, and choice letters lose their brackets. Expressions that cannot be parsed in time stay as
    written (`symbolic.noting`).
    """
    value = numbers.as_number(plain(latex))
    if value is not None:
        return numbers.canonical(value)
    words = " ".join(plain(latex).split()).rstrip(".")
    if _CHOICE.fullmatch(words):
        return words.strip("()")
    if _WORDS.fullmatch(words):
        return words.casefold()
    bare = undressed(latex)
    based = _BASED.fullmatch("".join(bare.split()))
    if based is not None:
        return f"{based[1]}_{based[2]}"  # algebra would drop the base
    value = numbers.as_number(plain(bare))
    if value is not None:
        return numbers.canonical(value)
    found = undressed(symbolic.canonical(bare) or "", spaces=True) or "".join(bare.split())
    value = numbers.as_number(plain(found))  # expressions that had to be evaluated first
    return found if value is None else numbers.canonical(value)


def same(right: str, given: str) -> bool:
    """Return true if two LaTeX expressions, canonical or not, are equivalent.

    Return false if the comparison hits a limit (`noting`). A number may omit its base, but must not state a wrong one.
    Ordered pairs and intervals never equal sets.

    Raises
    ------
    ParameterError
        If math-verify is needed and missing.
    """
    one, other = simplest(right), simplest(given)
    if one == other:
        return True
    bases = [_BASED.fullmatch(text) for text in (one, other)]
    if any(bases):
        digits = [simplest(base[1]) if base else text for base, text in zip(bases, (one, other), strict=True)]
        return not all(bases) and digits[0] == digits[1]
    if None not in (numbers.as_number(one), numbers.as_number(other)):
        return False
    return symbolic.equal(one, other) or symbolic.equal(undressed(right), undressed(given))
