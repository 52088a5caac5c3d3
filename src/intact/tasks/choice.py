"""Multiple-choice tasks: each answer is the letter of a choice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar, Final, NamedTuple

from intact.tasks.score import answers
from intact.tasks.score.latex import plain
from intact.tasks.task import Item, Task

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
USUAL: Final = "ABCDE"
"""The letters accepted when the number of choices is unknown.

Later letters are more likely to be variables.
"""

_CUE = re.compile(r"(?:answer|option|choice)\s*(?:is|:|=)+[\s:*]*", re.IGNORECASE)
_AROUND: Final = " *$.:\n\"'“”‘’`"
_OPEN, _CLOSE = r"[\"'“‘`(*]*", r"[\"'”’`)*]*"


class _Patterns(NamedTuple):
    """The regular expressions for a set of letters.

    Attributes
    ----------
    beginning : re.Pattern
        A letter at the beginning of the text. A lower-case letter counts only in brackets or at the end of its line.
    alone : re.Pattern
        A letter on its own. `I` and `A` may be words, and so may lower-case letters.
    rejected : re.Pattern
        A mention of a choice that is rejected: "not A", "over A", "A is wrong".
    """

    beginning: re.Pattern[str]
    alone: re.Pattern[str]
    rejected: re.Pattern[str]


@cache
def _patterns(letters: str) -> _Patterns:
    large, small = f"[{letters}]", f"[{letters.casefold()}]"
    words = "".join([letter for letter in letters if letter in "AI"])
    sure = "".join([letter for letter in letters if letter not in "AI"])
    named = r"(?i:option|choice|answer|letter)\s+"
    chosen = r"(?i:choose|chose|pick|picked|select|selected|go(?:ing)?\s+with|went\s+with)\s+"
    ways = [
        rf"(?:{named}|{chosen}){_OPEN}({large})(?![\w'’])",
        rf"{named}(?:\(({small})\)|({small})(?=\s*(?:[).:,;\"'”’]|$)))",
        rf"\(({large})\)",
        rf"[\"'“‘`]({large})[\"'”’`](?!\w)",
        *([rf"([{sure}])(?![\w'’])"] if sure else []),
        rf"([{words}])(?=\s*(?:[).:,]|$))",
    ]
    one = rf"(?:(?i:the|option|choice|answer|letter)\s+)*{_OPEN}{large}{_CLOSE}(?![\w'’])"
    against = r"(?i:not|nor|over|than|instead\s+of|unlike|except|isn['’]t)"
    wrong = r"\s+(?i:is|are|was)\s+(?i:wrong|incorrect|not\b[^.,;\n]*)"
    return _Patterns(
        re.compile(
            rf"(?:(?i:option|choice)\s+)?(?:\(({small})\)|\(?({large})(?![\w'’])|({small})\)?[\s.*$\"'”’]*$)",
            re.MULTILINE,
        ),
        re.compile(rf"(?<![\w'’])(?:{'|'.join(ways)})", re.MULTILINE),
        re.compile(rf"\b{against}\s+{one}|(?<![\w'’]){_OPEN}{large}{_CLOSE}{wrong}"),
    )


class Choice(Task):
    """A task whose answers are letters.

    Attributes
    ----------
    words : mapping
        The letter that each word stands for, in tasks whose choices are always the same.
    """

    version = 2
    words: ClassVar[Mapping[str, str]] = {}
    instruction = "Please reason step by step, and put the letter of the right choice within \\boxed{}."

    def read(self, text: str) -> str | None:
        """Return the letter in the last box, else after the last "answer is", else the last letter on its own.

        A lower-case letter counts only in brackets or at the end of its line, because "a" may be a word. A rejected
        letter ("not A", "over A", "A is wrong") does not count.
        """
        return self.read_letter(text, USUAL)

    def read_letter(self, text: str, letters: str) -> str | None:
        """Return the same as `read`, for the given letters."""
        in_box, found = self._stated(text, letters)
        if in_box or found is not None:
            return found
        patterns = _patterns(letters)
        alone = [next(filter(None, groups)) for groups in patterns.alone.findall(patterns.rejected.sub(" ", text))]
        return alone[-1].upper() if alone else self._last_word(text)

    def read_stated(self, item: Item, text: str) -> str | None:
        """Return the letter in the last box or after the last "answer is".

        A letter elsewhere in the text does not count.
        """
        return self.read_stated_letter(text, USUAL)

    def read_stated_letter(self, text: str, letters: str) -> str | None:
        """Return the same as `read_stated`, for the given letters."""
        return self._stated(text, letters)[1]

    def _stated(self, text: str, letters: str) -> tuple[bool, str | None]:
        """Return true if there is a box, and the letter in the last box or after the last "answer is"."""
        inside = answers.boxed(text)
        if inside is not None or "\\boxed" in text:
            return True, None if inside is None else self._meant(plain(inside), letters)
        after = (self._meant(text[cue.end() :], letters) for cue in reversed(list(_CUE.finditer(text))))
        return False, next(filter(None, after), None)

    def _meant(self, text: str, letters: str) -> str | None:
        """Return the letter at the beginning of the text, or the letter that its first word stands for."""
        text = text.strip(_AROUND)
        letter = _patterns(letters).beginning.match(text)
        if letter:
            return letter[letter.lastindex or 0].upper()
        return next((mean for word, mean in self.words.items() if re.match(rf"{word}\b", text, re.IGNORECASE)), None)

    def _last_word(self, text: str) -> str | None:
        found = re.findall(rf"\b({'|'.join(self.words)})\b", text, re.IGNORECASE) if self.words else []
        known = {word.casefold(): letter for word, letter in self.words.items()}
        return known[found[-1].casefold()] if found else None

    def can_judge(self, item: Item) -> bool:
        """Return true if the answer is a single letter."""
        return len(item.answer) == 1 and item.answer in LETTERS


def with_choices(question: str, choices: Sequence[str]) -> str:
    """Return a question followed by its lettered choices, one per line.

    Raises
    ------
    ValueError
        If there are more choices than letters.
    """
    if len(choices) > len(LETTERS):
        raise ValueError(
            f"there are {len(choices)} choices, but only {len(LETTERS)} letters, {LETTERS[0]} to {LETTERS[-1]}"
        )
    return "\n".join([question, *(f"{letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=False))])


def place_of(answer: str, choices: Sequence[str], *, is_place: bool = False) -> int:
    """Return the index of the right choice, which the data may give as its letter, its index from 0, or its text.

    Letters may be lower-case, in brackets, or followed by a bracket or a full stop.

    Parameters
    ----------
    is_place : bool
        If true, the data give the answer as a number, so it is an index.

    Raises
    ------
    ValueError
        If the answer matches none of the choices, or more than one.
    """
    count, given = len(choices), answer.strip()
    letters = LETTERS[:count]
    found = {place for place, choice in enumerate(choices) if choice.strip().casefold() == given.casefold()}
    letter = re.fullmatch(r"\(?([A-Za-z])[).:]?", given)
    if letter and letter[1].upper() in letters:
        found.add(letters.index(letter[1].upper()))
    if given.isdecimal() and int(given) < count:
        found = {int(given)} if is_place else found | {int(given)}
    if not found:
        expected = f"its letter, {letters[:1]} to {letters[-1:]}, its place, 0 to {count - 1}, or its text"
        raise ValueError(f"the answer {answer!r:.80} is not one of {count} choices; it must be {expected}")
    if len(found) > 1:
        meant = " or ".join([f"{LETTERS[place : place + 1]}) {choices[place]:.40}" for place in sorted(found)])
        raise ValueError(f"the answer {answer!r:.80} may mean {meant}; give the right choice by its text or its letter")
    return found.pop()
