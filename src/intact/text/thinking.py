"""Marks around what a model thinks before it answers."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from intact.text.channels import ChannelReader


class ThinkingFormat(NamedTuple):
    """The marks with which a family of models sets its thoughts apart.

    Attributes
    ----------
    opens, closes : str
        The marks before and behind the thoughts.
    template_mark : str
        What a chat template has of the marks; empty: the first.
    channels : bool
        If true, thoughts are messages of one of several channels (`ChannelReader`), and the marks are words.
    """

    opens: str
    closes: str
    template_mark: str = ""
    channels: bool = False

    def reader(self, begun: bool = False) -> AnyThoughtReader:
        """Return what tells the thoughts of one text from the rest; `begun` as of `ThoughtReader`."""
        return ChannelReader() if self.channels else ThoughtReader(self, begun)


class ThoughtReader:
    """Tell thoughts from text that arrives in pieces; the result does not depend on how it was cut.

    Only thoughts at the beginning count. White space around them is dropped.

    Parameters
    ----------
    form : ThinkingFormat
        The marks of the thoughts.
    begun : bool
        If true, the text begins within thoughts: the prompt ended with the opening mark.
    """

    def __init__(self, form: ThinkingFormat, begun: bool = False) -> None:
        self._form, self._is_empty = form, True
        self._space = list[str]()  # held back, in pieces: joined only once, however many come
        self._held = ""  # held back behind it: perhaps the beginning of a mark, so never longer than one
        self._stage: Literal["before", "thoughts", "behind", "text"] = "thoughts" if begun else "before"

    def push(self, text: str) -> list[tuple[bool, str]]:
        """Take more text; return the parts of it that are certain, each with true if it is thoughts."""
        parts = list[tuple[bool, str]]()
        if self._stage == "before":
            text = self._find_beginning(text)
        if self._stage == "thoughts":
            thoughts, text = self._read_thoughts(text)
            if thoughts:
                parts.append((True, thoughts))
        if self._stage == "behind" and (text := text.lstrip()):
            self._stage = "text"
        if self._stage == "text" and text:
            parts.append((False, text))
        return parts

    def flush(self) -> list[tuple[bool, str]]:
        """Return the same of what was held back, once nothing more will come."""
        held = self._take()
        return [(self._stage == "thoughts", held)] if held else []

    def _take(self) -> str:
        """Return what was held back, which is held no longer."""
        held = "".join(self._space) + self._held
        self._space, self._held = [], ""
        return held

    def _find_beginning(self, text: str) -> str:
        """Read the text before the opening mark; return what stands behind it, or all if there will be none."""
        if not self._held:
            start = text.lstrip()
            self._space.append(text[: len(text) - len(start)])
            text = start
        self._held += text
        opens = self._form.opens
        if self._held.startswith(opens):
            rest = self._held[len(opens) :]
            self._take()  # white space before thoughts is dropped
            self._stage = "thoughts"
            return rest
        if not opens.startswith(self._held):
            self._stage = "text"
            return self._take()
        return ""

    def _read_thoughts(self, text: str) -> tuple[str, str]:
        """Return the certain part of the thoughts, and what stands behind their closing mark.

        White space, or part of the mark, at the end of the thoughts is not certain.
        """
        closes = self._form.closes
        thoughts, mark, rest = (self._held + text).partition(closes)
        part = 0 if mark else next((n for n in range(len(closes) - 1, 0, -1) if thoughts.endswith(closes[:n])), 0)
        body, self._held = thoughts[: len(thoughts) - part], thoughts[len(thoughts) - part :]
        sure = body.rstrip()
        space = body[len(sure) :]
        if sure:
            before = "" if self._is_empty else "".join(self._space)
            sure = before + (sure.lstrip() if self._is_empty else sure)
            self._space, self._is_empty = [], False
        if mark:
            self._stage, self._space = "behind", []
        elif not self._is_empty:
            self._space.append(space)
        return sure, rest


AnyThoughtReader: TypeAlias = ThoughtReader | ChannelReader
"""Tells thoughts from text, in any format."""

THINK_TAGS = ThinkingFormat("<think>", "</think>")
"""Thoughts as DeepSeek-R1, Qwen3, SmolLM3, EXAONE 4, GLM-Z1, Hunyuan and many others mark them."""
SEED_TAGS = ThinkingFormat("<seed:think>", "</seed:think>")
"""Thoughts as Seed-OSS marks them."""
HARMONY = ThinkingFormat("analysis", "assistantfinal", template_mark="<|channel|>analysis", channels=True)
"""Thoughts as gpt-oss marks them: names of channels, between control tokens, which are not seen in the text."""
FORMATS = (THINK_TAGS, SEED_TAGS, HARMONY)


def find_thinking(source: str) -> ThinkingFormat | None:
    """Return the marks that a chat template shows, or None if it shows none."""
    return next((form for form in FORMATS if (form.template_mark or form.opens) in source), None)
