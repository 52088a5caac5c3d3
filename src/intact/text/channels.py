"""Messages of several channels in one text, as gpt-oss writes them: the channels' names, and its thoughts.

Control tokens are not seen in a text: `<|start|>assistant<|channel|>final<|message|>` leaves the word `assistant` and
the channel's name (openai/harmony, docs/format.md).
"""

from __future__ import annotations

import re
from typing import Final

MESSAGE: Final = "assistant"
"""The word between two messages, before the channel's name; the first message may lack it."""
ANALYSIS: Final = "analysis"
"""The channel of thoughts."""
COMMENTARY: Final = "commentary"
"""The channel of calls, and of text before them."""
FINAL: Final = "final"
"""The channel of the answer."""
CHANNELS: Final = (ANALYSIS, COMMENTARY, FINAL)
_NEXT: Final = re.compile(rf"{MESSAGE}({'|'.join(CHANNELS)})")
_MARKS: Final = tuple(MESSAGE + channel for channel in CHANNELS)
_BETWEEN: Final = "\n\n"
"""Text between two messages of the same kind."""


def channel_mark(channel: str) -> str:
    """Return a channel's name as a chat template has it."""
    return f"<|channel|>{channel}"


class ThinkingChannel:
    """Thoughts that are messages of the channel `analysis`, wherever they stand (`intact.text.thinking`)."""

    template_mark: Final = channel_mark(ANALYSIS)
    visible_marks: Final[tuple[str, ...]] = ()

    def reader(self, prompt: str = "") -> ChannelReader:
        """Return the reader of one text, whatever its prompt."""
        return ChannelReader()


HARMONY: Final = ThinkingChannel()
"""Thoughts as gpt-oss marks them."""


class ChannelReader:
    """Tell thoughts from text by the names of channels.

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
        return self._channel in (ANALYSIS, COMMENTARY)

    def _find_channel(self, text: str, ended: bool) -> str:
        """Read the first channel's name; return what stands behind it, nothing while more text decides."""
        start = text.lstrip()
        self._space.append(text[: len(text) - len(start)])
        if ended and not (start or any(self._space)):
            return ""  # nothing has come: the first message may follow a call
        marks = (*CHANNELS, *_MARKS)
        found = next((mark for mark in marks if start.startswith(mark)), "")
        if not found and not ended and any(mark.startswith(start) for mark in marks):
            self._held = start
            return ""
        self._channel, self._begun = found.removeprefix(MESSAGE) or "text", not found
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
        is_thought = self._channel == ANALYSIS
        between = _BETWEEN if not self._begun and self._written[is_thought] else ""
        parts.append((is_thought, between + "".join(self._space) + sure))
        self._begun = self._written[is_thought] = True
        self._space = [text[len(sure) :]]


def _part(text: str) -> int:
    """Return how much of the end of a text may be part of a mark."""
    most = min(len(text), max(map(len, _MARKS)) - 1)
    return next((n for n in range(most, 0, -1) if any(mark.startswith(text[-n:]) for mark in _MARKS)), 0)
