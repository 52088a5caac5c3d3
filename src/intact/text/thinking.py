"""Thinking before an answer: the formats in which models mark it, and readers that separate it from the answer."""

from __future__ import annotations

import re
from functools import cache
from typing import Final, Literal, NamedTuple, Protocol

from intact.text.channels import ANALYSIS, FINAL, HARMONY, MESSAGE

VERSION: Final = 1
"""Version of `answer_part`; raise it when the function changes (`intact.solving.receipts.versions`)."""
SWITCH: Final = "enable_thinking"
"""Template variable that switches thinking on or off in most chat templates."""
SWITCHES: Final = (SWITCH, "thinking")
"""Names of that variable: DeepSeek V3.1 and Granite 3 use the second."""
BUDGET: Final = "thinking_budget"
"""Template variable for the thinking budget in tokens, in some chat templates such as Seed-OSS's."""
PROMPT_TAIL: Final = 16
"""Number of tokens at the end of a prompt to search for the opening mark of thinking."""


class ThoughtReader(Protocol):
    """Separates thinking from text that arrives in chunks; the result does not depend on how the text is chunked."""

    def push(self, text: str) -> list[tuple[bool, str]]:
        """Add text; return the parts that are now certain, each with a flag that is true for thinking."""

    def flush(self) -> list[tuple[bool, str]]:
        """Return the parts held back, once the text has ended."""


class ThinkingFormat(Protocol):
    """The format in which a family of models marks its thinking."""

    @property
    def visible_marks(self) -> tuple[str, ...]:
        """Control tokens that stay visible in decoded text because they mark thinking."""

    @property
    def template_mark(self) -> str:
        """Text in a chat template that identifies this format."""

    def reader(self, prompt: str = "") -> ThoughtReader:
        """Return a reader that separates the thinking of one output from the rest.

        Parameters
        ----------
        prompt : str
            End of the prompt, including control tokens.
        """


class ThinkingTags(NamedTuple):
    """Thinking between two marks.

    Attributes
    ----------
    opens, closes : str
        Marks before and after the thinking.
    visible_marks : tuple of str
        Control tokens that stay visible in decoded text because the marks consist of them.
    """

    opens: str
    closes: str
    visible_marks: tuple[str, ...] = ()

    @property
    def template_mark(self) -> str:
        """The opening mark."""
        return self.opens

    def is_open(self, text: str) -> bool:
        """Return true if text ends within thinking."""
        return text.rfind(self.opens) > text.rfind(self.closes)

    def reader(self, prompt: str = "") -> TagReader:
        """Return a reader for one output, which begins within thinking if the prompt ends with the opening mark."""
        return TagReader(self, prompt.rstrip().endswith(self.opens))


class TagReader:
    """Separates thinking between two marks from text; only marks at the beginning count. Drops surrounding white space.

    Parameters
    ----------
    tags : ThinkingTags
        Marks of the thinking.
    begun : bool
        If true, the text begins within thinking, because the prompt ended with the opening mark.
    """

    def __init__(self, tags: ThinkingTags, begun: bool = False) -> None:
        self._tags, self._is_empty = tags, True
        self._space = list[str]()  # white space held back, in pieces that are joined only once
        self._held = ""  # text held back after it that may begin a mark, so never longer than one
        self._stage: Literal["before", "thoughts", "behind", "text"] = "thoughts" if begun else "before"

    def push(self, text: str) -> list[tuple[bool, str]]:
        """Add text; return the parts that are now certain, each with a flag that is true for thinking."""
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
        """Return the parts held back, once the text has ended."""
        held = self._take()
        return [(self._stage == "thoughts", held)] if held else []

    def _take(self) -> str:
        """Return the text held back and clear it."""
        held = "".join(self._space) + self._held
        self._space, self._held = [], ""
        return held

    def _find_beginning(self, text: str) -> str:
        """Read the text before the opening mark; return the text after it, or all the text if no mark can follow."""
        if not self._held:
            start = text.lstrip()
            self._space.append(text[: len(text) - len(start)])
            text = start
        self._held += text
        opens = self._tags.opens
        if self._held.startswith(opens):
            rest = self._held[len(opens) :]
            self._take()  # drop white space before the thinking
            self._stage = "thoughts"
            return rest
        if not opens.startswith(self._held):
            self._stage = "text"
            return self._take()
        return ""

    def _read_thoughts(self, text: str) -> tuple[str, str]:
        """Return the certain part of the thinking, and the text after its closing mark.

        White space or part of the mark at the end is not yet certain.
        """
        closes = self._tags.closes
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


THINK_TAGS: Final = ThinkingTags("<think>", "</think>")
"""Thinking marks of DeepSeek-R1, Qwen3, SmolLM3, EXAONE 4, GLM-Z1, Hunyuan and many others."""
SEED_TAGS: Final = ThinkingTags("<seed:think>", "</seed:think>")
"""Thinking marks of Seed-OSS."""
GEMMA_TAGS: Final = ThinkingTags("<|channel>thought", "<channel|>", ("<|channel>", "<channel|>"))
"""Thinking marks of Gemma 4."""
TAGS: Final = (THINK_TAGS, SEED_TAGS, GEMMA_TAGS)
FORMATS: Final[tuple[ThinkingFormat, ...]] = (*TAGS, HARMONY)


def find_thinking(source: str) -> ThinkingFormat | None:
    """Return the thinking format that a chat template uses, or None."""
    return next((form for form in FORMATS if form.template_mark in source), None)


_CHANNELS: Final = re.compile(rf"\s*(?:{MESSAGE})?{ANALYSIS}.*{MESSAGE}{FINAL}", re.DOTALL)


def prompt_mark(source: str, prompt: str) -> str:
    """Return the mark of the thinking in which an output begins because of its prompt, or "".

    This is the opening mark if the prompt ends with it; for a model that writes channels, whose marks do not appear in
    text, it is the mark of the thinking channel.

    Parameters
    ----------
    source : str
        Source of the model's chat template; "" if it has none.
    prompt : str
        End of the prompt, including control tokens.
    """
    form = find_thinking(source) or THINK_TAGS
    if isinstance(form, ThinkingTags):
        return form.opens if prompt.rstrip().endswith(form.opens) else ""
    return form.template_mark


def answer_part(text: str, mark: str = "") -> str | None:
    """Return the part of an output after its thinking, which may hold the answer; None if it ends within thinking.

    Everything up to the last closing mark is thinking, with or without an opening mark, which may be the end of the
    prompt. An opening mark counts only at the beginning of a line, and marks in quotation marks are text. Output
    without marks is returned unchanged.

    Parameters
    ----------
    mark : str
        Mark with which the prompt begins the output's thinking (`prompt_mark`).
    """
    if mark == HARMONY.template_mark or _CHANNELS.match(text):
        return _final_channel(text)
    for tags in TAGS:
        is_open, end = mark == tags.opens, 0
        for found in _marks(tags).finditer(text):
            is_open = found["opens"] is not None
            end = end if is_open else found.end()
        if is_open:
            return None
        if end:
            return text[end:].lstrip()
    return text


def _final_channel(text: str) -> str | None:
    """Return an output with several channels without its thinking; None if there is nothing else."""
    reader = HARMONY.reader()
    parts = reader.push(text) + reader.flush()
    rest = "".join([part for is_thought, part in parts if not is_thought])
    return rest if rest or not parts else None


@cache
def _marks(tags: ThinkingTags) -> re.Pattern[str]:
    """Return a pattern for marks outside quotation marks."""
    opens, closes = re.escape(tags.opens), re.escape(tags.closes)
    return re.compile(rf"^[ \t]*(?P<opens>{opens})|(?<![\"'`])(?P<closes>{closes})(?![\"'`])", re.MULTILINE)
