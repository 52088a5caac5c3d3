"""Tasks whose answers are one of a few choices, by letter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from intact.score import answers
from intact.score.latex import plain
from intact.tasks.task import Item, Task

LETTERS = "ABCDE"

_CUE = re.compile(r"(?:answer|option|choice)\s*(?:is|:|=)+[\s:*]*", re.IGNORECASE)
_LETTER = re.compile(r"\(([a-e])\)|\(?([A-E])(?![\w'’])|([a-e])\)?[\s.*$]*$", re.MULTILINE)
_ALONE = re.compile(
    r"(?<![\w'’])(?:(?i:option|choice|answer)\s+(A)(?![\w'’])|\(([A-E])\)|([B-E])(?![\w'’])|(A)(?=\s*(?:[).:,]|$)))",
    re.MULTILINE,
)


class Choice(Task):
    """A task whose answers are letters.

    Attributes
    ----------
    words : mapping
        Where the choices are always the same, the letter that each word means.
    """

    words: ClassVar[Mapping[str, str]] = {}
    instruction = "Please reason step by step, and put the letter of the right choice within \\boxed{}."

    def read(self, text: str) -> str | None:
        """Return the letter in the last box, behind the last "answer is", or else the last that stands alone.

        A small letter counts in brackets, or where nothing follows it on its line: "a" may be a word.
        """
        in_box, found = self._stated(text)
        if in_box or found is not None:
            return found
        alone = [next(filter(None, groups)) for groups in _ALONE.findall(text)]
        return alone[-1] if alone else self._last_word(text)

    def read_stated(self, item: Item, text: str) -> str | None:
        """Return the letter in the last box, or behind the last "answer is"; one that stands alone is none."""
        return self._stated(text)[1]

    def _stated(self, text: str) -> tuple[bool, str | None]:
        """Return true if there is a box, and the letter in the last box or behind the last "answer is"."""
        inside = answers.boxed(text)
        if inside is not None or "\\boxed" in text:
            return True, None if inside is None else self._meant(plain(inside))
        after = (self._meant(text[cue.end() :]) for cue in reversed(list(_CUE.finditer(text))))
        return False, next(filter(None, after), None)

    def _meant(self, text: str) -> str | None:
        """Return the letter at the beginning of a text, or that of the word there."""
        text = text.strip(" *$.:\n")
        letter = _LETTER.match(text)
        if letter:
            return letter[letter.lastindex or 0].upper()
        return next((mean for word, mean in self.words.items() if re.match(rf"{word}\b", text, re.IGNORECASE)), None)

    def _last_word(self, text: str) -> str | None:
        found = re.findall(rf"\b({'|'.join(self.words)})\b", text, re.IGNORECASE) if self.words else []
        known = {word.casefold(): letter for word, letter in self.words.items()}
        return known[found[-1].casefold()] if found else None

    def can_judge(self, item: Item) -> bool:
        """A letter."""
        return len(item.answer) == 1 and item.answer in LETTERS


def with_choices(question: str, choices: Sequence[str]) -> str:
    """Return a question with its choices below, by letter.

    Raises
    ------
    ValueError
        If there are more choices than letters.
    """
    if len(choices) > len(LETTERS):
        raise ValueError(
            f"there are {len(choices)} choices, but letters for {len(LETTERS)}: {LETTERS[0]} to {LETTERS[-1]}"
        )
    return "\n".join([question, *(f"{letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=False))])
