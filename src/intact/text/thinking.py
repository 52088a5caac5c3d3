"""Thoughts before an answer: the formats in which models set them apart, and what tells them from the text."""

from __future__ import annotations

import re
from functools import cache
from typing import Final, Literal, NamedTuple, Protocol

from intact.text.channels import ANALYSIS, FINAL, HARMONY, MESSAGE

VERSION: Final = 1
"""Version of `answer_part`; raise it when that changes (`intact.solving.receipts.versions`)."""
SWITCH: Final = "enable_thinking"
"""The variable by which most chat templates know whether a model should think first."""
SWITCHES: Final = (SWITCH, "thinking")
"""The names of that variable: DeepSeek V3.1 and Granite 3 have the second."""
BUDGET: Final = "thinking_budget"
"""The variable by which some chat templates, such as Seed-OSS's, tell the model how many tokens it may think."""
PROMPT_TAIL: Final = 16
"""Tokens at the end of a prompt in which the opening mark of a thought is looked for."""


class ThoughtReader(Protocol):
    """Tells thoughts from text that arrives in pieces; the result does not depend on how it was cut."""

    def push(self, text: str) -> list[tuple[bool, str]]:
        """Take more text; return the parts of it that are certain, each with true if it is thoughts."""

    def flush(self) -> list[tuple[bool, str]]:
        """Return the same of what was held back, once nothing more will come."""


class ThinkingFormat(Protocol):
    """The way in which a family of models sets its thoughts apart."""

    @property
    def visible_marks(self) -> tuple[str, ...]:
        """Control tokens that are seen in the text, as marks of thoughts are made of them."""

    @property
    def template_mark(self) -> str:
        """A text by which a chat template shows that it is in this format."""

    def reader(self, prompt: str = "") -> ThoughtReader:
        """Return what tells the thoughts of one text from the rest.

        Parameters
        ----------
        prompt : str
            The end of the text's prompt, with control tokens.
        """


class ThinkingTags(NamedTuple):
    """Thoughts that stand between two marks.

    Attributes
    ----------
    opens, closes : str
        The marks before and behind the thoughts.
    visible_marks : tuple of str
        Control tokens that are seen in the text, as the marks are made of them.
    """

    opens: str
    closes: str
    visible_marks: tuple[str, ...] = ()

    @property
    def template_mark(self) -> str:
        """The opening mark."""
        return self.opens

    def is_open(self, text: str) -> bool:
        """Return whether a text ends within thoughts."""
        return text.rfind(self.opens) > text.rfind(self.closes)

    def reader(self, prompt: str = "") -> TagReader:
        """Return the reader of one text, which begins within thoughts if its prompt ends with the opening mark."""
        return TagReader(self, prompt.rstrip().endswith(self.opens))


class TagReader:
    """Tell thoughts between two marks from text; only those at the beginning count. White space around them is dropped.

    Parameters
    ----------
    tags : ThinkingTags
        The marks of the thoughts.
    begun : bool
        If true, the text begins within thoughts: the prompt ended with the opening mark.
    """

    def __init__(self, tags: ThinkingTags, begun: bool = False) -> None:
        self._tags, self._is_empty = tags, True
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
        opens = self._tags.opens
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
"""Thoughts as DeepSeek-R1, Qwen3, SmolLM3, EXAONE 4, GLM-Z1, Hunyuan and many others mark them."""
SEED_TAGS: Final = ThinkingTags("<seed:think>", "</seed:think>")
"""Thoughts as Seed-OSS marks them."""
GEMMA_TAGS: Final = ThinkingTags("<|channel>thought", "<channel|>", ("<|channel>", "<channel|>"))
"""Thoughts as Gemma 4 marks them."""
TAGS: Final = (THINK_TAGS, SEED_TAGS, GEMMA_TAGS)
FORMATS: Final[tuple[ThinkingFormat, ...]] = (*TAGS, HARMONY)


def find_thinking(source: str) -> ThinkingFormat | None:
    """Return the format of thoughts that a chat template shows, or None if it shows none."""
    return next((form for form in FORMATS if form.template_mark in source), None)


_CHANNELS: Final = re.compile(rf"\s*(?:{MESSAGE})?{ANALYSIS}.*{MESSAGE}{FINAL}", re.DOTALL)


def prompt_mark(source: str, prompt: str) -> str:
    """Return the mark of the thoughts that a text begins with because of its prompt; empty if there are none.

    It is the opening mark where the prompt ends with it, and the name of the channel of thoughts where the model writes
    channels, whose marks a text does not show.

    Parameters
    ----------
    source : str
        The model's chat template; empty if it has none.
    prompt : str
        The end of the prompt, with control tokens.
    """
    form = find_thinking(source) or THINK_TAGS
    if isinstance(form, ThinkingTags):
        return form.opens if prompt.rstrip().endswith(form.opens) else ""
    return form.template_mark


def answer_part(text: str, mark: str = "") -> str | None:
    """Return the part of a text that may hold its answer: what follows its thoughts; None if it ends within them.

    Everything up to the last closing mark is thoughts, whether or not the text has the opening mark: it may be the end
    of the prompt. An opening mark counts at the beginning of a line, and marks in quotation marks are text. A text
    without marks is returned as it is.

    Parameters
    ----------
    mark : str
        The mark that the prompt begins the text's thoughts with (`prompt_mark`).
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
    """Return a text of several channels without its thoughts; None if it is nothing but thoughts."""
    reader = HARMONY.reader()
    parts = reader.push(text) + reader.flush()
    rest = "".join([part for is_thought, part in parts if not is_thought])
    return rest if rest or not parts else None


@cache
def _marks(tags: ThinkingTags) -> re.Pattern[str]:
    """Return the pattern of marks that are no quotations."""
    opens, closes = re.escape(tags.opens), re.escape(tags.closes)
    return re.compile(rf"^[ \t]*(?P<opens>{opens})|(?<![\"'`])(?P<closes>{closes})(?![\"'`])", re.MULTILINE)
