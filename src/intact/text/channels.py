"""Messages of several channels in one text, as gpt-oss writes them; names of channels stand between its messages."""

from __future__ import annotations

import re
from typing import Final

_CHANNELS: Final = ("analysis", "commentary", "final")
_MESSAGE: Final = "assistant"
_NEXT: Final = re.compile(rf"{_MESSAGE}({'|'.join(_CHANNELS)})")
_MARKS: Final = tuple(_MESSAGE + channel for channel in _CHANNELS)
_BETWEEN: Final = "\n\n"
"""Text between two messages of the same kind."""


class ChannelReader:
    """Tell thoughts from text as `ThoughtReader` does, where control tokens around channels' names are not seen.

    The channel `analysis` is thoughts, `commentary` and `final` are text; `final` goes to the end of the text. A text
    that does not begin with a channel's name, alone or behind the word `assistant`, has none. White space around
    messages is dropped, but at the end of `final`; two messages of the same kind have an empty line between them.
    """

    def __init__(self) -> None:
        self._channel = ""  # of the message that is being read; empty before the first, "text" where there are none
        self._space = list[str]()  # held back, in pieces: joined only once, however many come
        self._held = ""  # held back behind it: perhaps part of a mark, so never longer than one
        self._begun = False  # the message has text
        self._written = {True: False, False: False}  # kinds of which there is some

    def push(self, text: str) -> list[tuple[bool, str]]:
        """Take more text; return the parts of it that are certain, each with true if it is thoughts."""
        return self._read(text, False)

    def flush(self) -> list[tuple[bool, str]]:
        """Return the same of what was held back, once nothing more will come."""
        return self._read("", True)

    def _read(self, text: str, ended: bool) -> list[tuple[bool, str]]:
        parts = list[tuple[bool, str]]()
        text, self._held = self._held + text, ""
        if not self._channel:
            text = self._find_channel(text, ended)
        while self._may_end and (mark := _NEXT.search(text)):
            self._add(parts, text[: mark.start()])
            text, self._channel, self._begun, self._space = text[mark.end() :], mark[1], False, []
        if self._may_end and not ended:
            part = _part(text)
            text, self._held = text[: len(text) - part], text[len(text) - part :]
        if self._channel:
            self._add(parts, text)
        return parts

    @property
    def _may_end(self) -> bool:
        """If true, another message may follow the one that is being read."""
        return self._channel in ("analysis", "commentary")

    def _find_channel(self, text: str, ended: bool) -> str:
        """Read the first channel's name; return what stands behind it, nothing while more text decides."""
        start = text.lstrip()
        self._space.append(text[: len(text) - len(start)])
        if ended and not (start or any(self._space)):
            return ""  # nothing has come: the first message may follow a call
        marks = (*_CHANNELS, *_MARKS)
        found = next((mark for mark in marks if start.startswith(mark)), "")
        if not found and not ended and any(mark.startswith(start) for mark in marks):
            self._held = start
            return ""
        self._channel, self._begun = found.removeprefix(_MESSAGE) or "text", not found
        if not found:
            start = "".join(self._space) + start
        self._space = []
        return start[len(found) :]

    def _add(self, parts: list[tuple[bool, str]], text: str) -> None:
        """Add text of the message that is being read, but white space at its end, which may be dropped."""
        if not self._begun:
            text = text.lstrip()
        sure = text.rstrip() if self._may_end else text
        if not sure:
            self._space += [text] * self._begun
            return
        is_thought = self._channel == "analysis"
        between = _BETWEEN if not self._begun and self._written[is_thought] else ""
        parts.append((is_thought, between + "".join(self._space) + sure))
        self._begun = self._written[is_thought] = True
        self._space = [text[len(sure) :]]


def _part(text: str) -> int:
    """Return how much of the end of a text may be part of a mark."""
    most = min(len(text), max(map(len, _MARKS)) - 1)
    return next((n for n in range(most, 0, -1) if any(mark.startswith(text[-n:]) for mark in _MARKS)), 0)
