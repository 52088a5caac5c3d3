"""Control tokens spelled out in the messages of a conversation, kept as plain text while a template is rendered.

A template writes turns with control tokens such as `<|im_end|>`, and copies message contents unchanged, so content that
spells a control token would end its turn. Each of these strings is therefore replaced by a mark before rendering; the
marks in the result show where the strings belong.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from intact._base.errors import ParameterError

if TYPE_CHECKING:
    import tokenizers

_DIGITS: Final = 32
"""Number of decimal digits in a mark that come from a digest of all strings; 8 more digits number the string."""
_CUT: Final = 10**8 - 1
"""Number of a mark that does not represent a string, but separates strings that a template joins."""


class PromptPart(NamedTuple):
    """Part of a prompt; if `is_content`, a control token's text as spelled out in a message."""

    text: str
    is_content: bool


class ControlTexts:
    """The spellings of a tokenizer's control tokens.

    Parameters
    ----------
    parsing : tokenizers.Tokenizer
        Tokenizer that recognises control tokens in text.
    kept : collection of str
        Control tokens that are also recognised in message contents.
    """

    def __init__(self, parsing: tokenizers.Tokenizer, kept: Collection[str] = ()) -> None:
        listed = parsing.get_added_tokens_decoder().values()
        added = [token for token in listed if token.special and token.content and token.content not in kept]
        self._pattern = _any_of(token.content for token in added)
        self._normalizer = parsing.normalizer
        self._normalized = [token.content for token in added if token.normalized]

    @cached_property
    def _pattern_of_normalized(self) -> re.Pattern[str] | None:
        """Pattern of the control tokens that are matched in normalised text, in their normalised form."""
        if self._normalizer is None:
            return None
        return _any_of(map(self._normalizer.normalize_str, self._normalized))

    def spelled(self, text: str) -> list[tuple[int, int]]:
        """Return the spans of control tokens spelled in a string, or all of it if only its normal form has one."""
        if self._pattern is None:
            return []
        found = [match.span() for match in self._pattern.finditer(text)]
        if not found and (pattern := self._pattern_of_normalized) is not None:
            return [(0, len(text))] if pattern.search(self._normalizer.normalize_str(text)) else []
        return found

    def mark(self, values: Mapping[str, Any]) -> MarkedTexts | None:
        """Replace control tokens spelled in a template's variables with marks; return None if nothing is replaced.

        Parameters
        ----------
        values : mapping
            Template variables. Strings are replaced in lists, tuples and mappings, including keys, at any depth.

        Raises
        ------
        ParameterError
            If the variables are nested too deeply.
        """
        texts = _texts(values)
        if not any(map(self.spelled, texts)):
            return None
        digest = hashlib.sha256()
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        try:
            return MarkedTexts(self, f"{int(digest.hexdigest(), 16) % 10**_DIGITS:0{_DIGITS}}", values)
        except RecursionError:
            raise ParameterError("the variables of the chat template are nested too deeply") from None


class MarkedTexts:
    """Template variables in which marks replace spelled control tokens.

    Attributes
    ----------
    values : dict
        The variables with marks.
    """

    def __init__(self, controls: ControlTexts, mark: str, values: Mapping[str, Any]) -> None:
        self._controls, self._mark = controls, mark
        self._numbers: dict[str, int] = {}
        self.values: dict[str, Any] = self._marked(values)

    def split(self, prompt: str) -> Iterator[PromptPart]:
        """Yield the parts of a rendered prompt in order."""
        texts, at = list(self._numbers), 0
        for match in re.finditer(f"{self._mark}([0-9]{{8}})", prompt):
            yield PromptPart(prompt[at : match.start()], False)
            if (number := int(match[1])) < len(texts):
                yield PromptPart(texts[number], True)
            at = match.end()
        yield PromptPart(prompt[at:], False)

    def _marked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._marked_text(value)
        if isinstance(value, Mapping):
            return {self._marked(name): self._marked(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            if (joined := _joined(value)) is not None and self._controls.spelled(joined):
                cut = f"{self._mark}{_CUT:08}"  # a control token may begin in one part and end in the next
                return [self._marked(part) | {"text": self._marked_text(part["text"]) + cut} for part in value]
            items = map(self._marked, value)
            return tuple(items) if isinstance(value, tuple) else list(items)
        return value

    def _marked_text(self, text: str) -> str:
        made, at = [], 0
        for start, end in self._controls.spelled(text):
            number = self._numbers.setdefault(text[start:end], len(self._numbers))
            made.append(f"{text[at:start]}{self._mark}{number:08}")
            at = end
        return "".join([*made, text[at:]])


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that finds the longest of several strings; None if there are none."""
    found = sorted({text for text in texts if text})
    return re.compile(_tree_of(found)) if found else None


def _tree_of(texts: list[str]) -> str:
    """Return a pattern for sorted strings that tests each common prefix only once, to keep hostile input cheap."""
    groups = [(first, [text[1:] for text in group]) for first, group in groupby(filter(None, texts), itemgetter(0))]
    branches = "|".join([re.escape(first) + _tree_of(rest) for first, rest in groups])
    if not groups:
        return ""
    is_end = texts[0] == ""
    return branches if len(groups) == 1 and not is_end else f"(?:{branches})" + "?" * is_end


def _texts(value: Any) -> list[str]:
    """Return all strings in lists, tuples and mappings, including keys, plus the joined text of multi-part contents."""
    found, waiting = list[str](), [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, Mapping):
            waiting += [*one, *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
            found += [joined] if (joined := _joined(one)) is not None else []
    return found


def _joined(parts: list[Any] | tuple[Any, ...]) -> str | None:
    """Return the joined text of a content that is a list of text parts; None for other lists."""
    if len(parts) < 2 or not all(isinstance(one, Mapping) and isinstance(one.get("text"), str) for one in parts):
        return None
    return "".join([one["text"] for one in parts])
