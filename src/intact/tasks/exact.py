"""Tasks whose answers are text, compared as a whole, ignoring white space, case, and surrounding punctuation."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from intact.tasks.score import answers
from intact.tasks.task import Item, Task

LINES: Final = "lines"
"""The key in an item's data for the number of lines in the answer, if there are several."""

_CUE = re.compile(r"\banswer\s*(?:is|was|:|=)+(?:\s*that)?[\s:*]*", re.IGNORECASE)
_AROUND: Final = " .:*\"'“”‘’«»`"


class Exact(Task):
    """A task whose answers are strings of one line, or of as many lines as the item's data state."""

    version = 2

    def read(self, text: str) -> str | None:
        """Return the text in the last box, else the line after "the answer is", else the first line."""
        return _read(text, 1)

    def read_for(self, item: Item, text: str) -> str | None:
        """Return the same as `read`, but with as many lines as the answer has."""
        return _read(text, item.data.get(LINES, 1))

    def can_judge(self, item: Item) -> bool:
        """Return true if the answer is not empty after normalisation."""
        return _normalise(item.answer) is not None

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if the answer equals the whole right answer."""
        return answer is not None and answer == _normalise(item.answer)


def count_lines(answer: str) -> int:
    """Return the number of non-empty lines in a right answer."""
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
    """Return the text in NFC, case-folded, without empty lines and without the punctuation around each line.

    Return None if nothing is left.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    lines = [" ".join(line.split()).strip(_AROUND) for line in folded.splitlines()]
    return "\n".join(filter(None, lines)) or None
