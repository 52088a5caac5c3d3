"""Answers that are texts: compared as a whole, but for white space, capitals, quotation marks and full stops around."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from intact.tasks.score import answers
from intact.tasks.task import Item, Task

LINES: Final = "lines"
"""The name under which an item's data say how many lines an answer has, if several."""

_CUE = re.compile(r"\banswer\s*(?:is|was|:|=)+(?:\s*that)?[\s:*]*", re.IGNORECASE)
_AROUND: Final = " .:*\"'“”‘’«»`"


class Exact(Task):
    """A task whose answers are texts of one line, or of as many as the item's data say."""

    version = 2

    def read(self, text: str) -> str | None:
        """Return the text in the last box, or the line behind "the answer is", or else the first line."""
        return _read(text, 1)

    def read_for(self, item: Item, text: str) -> str | None:
        """Return the same, of as many lines as an answer has."""
        return _read(text, item.data.get(LINES, 1))

    def can_judge(self, item: Item) -> bool:
        """Whatever is more than marks around nothing."""
        return _normalise(item.answer) is not None

    def correct(self, item: Item, answer: str | None) -> bool:
        """Compare with the whole right answer."""
        return answer is not None and answer == _normalise(item.answer)


def count_lines(answer: str) -> int:
    """Return the number of lines of a right answer that are not empty."""
    return sum(bool(line.strip()) for line in answer.splitlines())


def _read(text: str, lines: int) -> str | None:
    boxed = answers.boxed(text)
    if boxed is not None:
        return _normalise(boxed)
    cue = None
    for cue in _CUE.finditer(text):  # noqa: B007 the last one counts
        pass
    rest = text if cue is None else text[cue.end() :]
    return _normalise("\n".join([line for line in rest.splitlines() if line.strip()][:lines]))


def _normalise(text: str) -> str | None:
    """Return a text in NFC and small letters, without empty lines, without what stands around lines; None if empty."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    lines = [" ".join(line.split()).strip(_AROUND) for line in folded.splitlines()]
    return "\n".join(filter(None, lines)) or None
