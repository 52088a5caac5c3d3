"""Channels: several kinds of messages in one output, including thinking, as written by gpt-oss.

Control tokens do not appear in decoded text: `<|start|>assistant<|channel|>final<|message|>` leaves the word
`assistant` and the channel's name (openai/harmony, docs/format.md).
"""

from __future__ import annotations

import re
from typing import Final

MESSAGE: Final = "assistant"
"""The word between two messages, before the channel's name; the first message may omit it."""
ANALYSIS: Final = "analysis"
"""The channel for thinking."""
COMMENTARY: Final = "commentary"
"""The channel for tool calls, and for text before them."""
FINAL: Final = "final"
"""The channel for the answer."""
CHANNELS: Final = (ANALYSIS, COMMENTARY, FINAL)
_NEXT: Final = re.compile(rf"{MESSAGE}({'|'.join(CHANNELS)})")
_MARKS: Final = tuple(MESSAGE + channel for channel in CHANNELS)
_BETWEEN: Final = "\n\n"
"""Separator of two messages of the same kind."""


def channel_mark(channel: str) -> str:
    """Return the mark of a channel as it appears in chat templates."""
    return f"<|channel|>{channel}"


class ThinkingChannel:
    """Thinking as messages of the channel `analysis`, at any position (`intact.text.thinking`)."""

    template_mark: Final = channel_mark(ANALYSIS)
    visible_marks: Final[tuple[str, ...]] = ()

    def reader(self, prompt: str = "") -> ChannelReader:
        """Return a reader for one output; the prompt is ignored."""
        return ChannelReader()


HARMONY: Final = ThinkingChannel()
"""Thinking in the format of gpt-oss."""


class ChannelReader:
    """Separates thinking from text by channel names.

    The channel `analysis` is thinking; `commentary` and `final` are text, and `final` extends to the end. Text that
    does not begin with a channel's name, with or without the word `assistant` before it, has no channels. White space
    around messages is dropped, except at the end of `final`; two messages of the same kind are separated by an empty
    line.
    """

    def __init__(self) -> None:
        self._channel = ""  # of the current message; empty before the first one, "text" for a text without channels
        self._space = list[str]()  # white space held back, in pieces that are joined only once
        self._held = ""  # text held back after it that may be part of a mark, so never longer than one
        self._begun = False  # the message has text
        self._written = {True: False, False: False}  # by kind: some has been returned

    def push(self, text: str) -> list[tuple[bool, str]]:
        """Add text; return the parts that are now certain, each with a flag that is true for thinking."""
        return self._read(text, False)

    def flush(self) -> list[tuple[bool, str]]:
        """Return the parts held back, once the text has ended."""
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
        """True if another message may follow the current one."""
        return self._channel in (ANALYSIS, COMMENTARY)

    def _find_channel(self, text: str, ended: bool) -> str:
        """Read the first channel's name; return the text after it, or "" until there is enough text to decide."""
        start = text.lstrip()
        self._space.append(text[: len(text) - len(start)])
        if ended and not (start or any(self._space)):
            return ""  # empty so far: the first message may follow a call
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
        """Add text of the current message; holds back trailing white space, which may have to be dropped."""
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
    """Return the length of the longest suffix of a text that may be part of a mark."""
    most = min(len(text), max(map(len, _MARKS)) - 1)
    return next((n for n in range(most, 0, -1) if any(mark.startswith(text[-n:]) for mark in _MARKS)), 0)
