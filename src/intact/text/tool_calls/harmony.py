"""gpt-oss calls: `<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{...}<|call|>`."""

from __future__ import annotations

import re
from itertools import product
from typing import Final

from intact.text.channels import CHANNELS, COMMENTARY, FINAL, MESSAGE, channel_mark
from intact.text.tool_calls.base import Region, ToolCallFormat, read_arguments
from intact.text.tool_calls.calls import ParsedCall

_RECIPIENT: Final = " to=functions."
_CONSTRAIN: Final = "<|constrain|>"
_BEGIN: Final = re.compile(rf"({MESSAGE})?({'|'.join(CHANNELS)})?{re.escape(_RECIPIENT)}")
_LAST: Final = re.compile(rf"{MESSAGE}{FINAL}")
_HEADER: Final = re.compile(rf"([A-Za-z0-9_.-]+)(?:\s*{re.escape(_CONSTRAIN)}\s*\w*|\s+\w+)?\s*")
_HEADER_PART: Final = re.compile(r"[\w.<|>\s-]*")
_LONGEST_HEADER: Final = 160
"""Maximum number of characters between the recipient's mark and the arguments; tool names have up to 64."""
_STRING: Final = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_STRUCTURE: Final = re.compile(r'["{}\[\]]')


class Harmony(ToolCallFormat):
    """A message whose recipient is a function, with a JSON object as arguments.

    A message starts at the beginning of the text, after the word `assistant`, or after a call; anything that looks like
    one elsewhere, for example within `analysis`, is text, and so is the whole message of the channel `final`, which
    extends to the end. A call counts on any channel: the documentation assigns functions to `commentary`, but models
    also use others.

    Of the control tokens, only `<|constrain|>` appears in text, where it ends the name. The others do not, so the
    channel's name appears after the word `assistant`, or at the beginning of the text. The recipient may also precede
    the channel (`assistant to=functions.NAME<|channel|>commentary json`), as the chat template writes earlier calls,
    and `<|constrain|>` may be missing. `<|call|>` ends the model's turn, so a gpt-oss turn has one call; if further
    calls follow, they are read too.

    Documentation: the harmony response format (openai/harmony, docs/format.md).
    """

    name = "harmony"
    opens = f"{COMMENTARY}{_RECIPIENT}"
    closes = "<|call|>"
    visible_marks = (_CONSTRAIN,)
    marks = (channel_mark(COMMENTARY),)

    def parse(self, text: str) -> list[ParsedCall]:
        """Parse one call after the recipient's mark; anything else makes the result empty."""
        name, brace, arguments = text.partition("{")
        header = _HEADER.fullmatch(name)
        read = read_arguments(brace + arguments.strip())
        return [] if header is None or not brace or read is None else [ParsedCall(header[1], read)]

    def frame(self, name: str) -> tuple[str, str]:
        """Return the rest of the header as text: a schema cannot constrain control tokens."""
        return f"{name} {_CONSTRAIN}json", ""

    def finder(self) -> HarmonyCalls:
        """Return a finder for the calls of one text, which end with their JSON."""
        return HarmonyCalls(self)


class HarmonyCalls:
    """Finds calls in text that arrives in chunks; each character of the arguments is visited once."""

    literals = tuple(message + channel + _RECIPIENT for message, channel in product((MESSAGE, ""), (*CHANNELS, "")))

    def __init__(self, form: Harmony) -> None:
        self._form = form
        self._decided = 0  # counted from the beginning of the text, like the position of the scan
        self._scan: tuple[int, _ObjectScan] | None = None
        self._last_end = 0  # the end of the last call
        self._is_last = False  # a message of the channel `final` has begun, which extends to the end

    def find(self, text: str, offset: int, ended: bool) -> Region | None:
        """Return the first region, or None; the parameters are the same as for `CallFinder.find`."""
        if self._is_last:
            return None
        last = self._last(text, offset, ended)
        while begin := _BEGIN.search(text, max(0, self._decided - offset)):
            start, rest = begin.start(), text[begin.start() :]
            if last is not None and start >= last:
                break
            is_first = self._last_end >= offset and not text[self._last_end - offset : start].strip()
            may_be_call = bool(begin[1]) or is_first
            end, call = self._read(rest, begin, offset + start, ended) if may_be_call else (0, None)
            if end is None:
                return Region(start, None, [])
            if call is not None:
                self._last_end = offset + start + end
                return Region(start, start + end, [call])
            self._decided = offset + begin.end()
        self._is_last = last is not None
        return None

    def _last(self, text: str, offset: int, ended: bool) -> int | None:
        """Return the start of a message of the channel `final` that is not a call; None if there is none so far."""
        at = max(0, self._decided - offset)
        places = [found.span() for found in _LAST.finditer(text, at)]
        start = len(text) - len(text.lstrip())
        if offset == 0 and text.startswith(FINAL, start):
            places.insert(0, (start, start + len(FINAL)))
        for first, end in places:
            after = text[end : end + len(_RECIPIENT)]
            if after != _RECIPIENT and (ended or not _RECIPIENT.startswith(after)):
                return first
        return None

    def _read(self, rest: str, begin: re.Match[str], place: int, ended: bool) -> tuple[int | None, ParsedCall | None]:
        """Return the end of a call, or None while more text is needed, and the call, or None if it is not a call."""
        length = len(begin[0])
        first = rest.find("{", length, length + _LONGEST_HEADER)
        if first < 0:
            header = rest[length:]
            may_go_on = not ended and len(header) < _LONGEST_HEADER and _HEADER_PART.fullmatch(header)
            return (None if may_go_on else 0), None
        if self._scan is None or self._scan[0] != place:
            self._scan = place, _ObjectScan(first)
        scan = self._scan[1]
        if not scan.advance(rest):
            return (0 if ended else None), None
        end, closes = scan.at, self._form.closes
        tail = rest[end : end + len(closes)]
        if tail == closes:
            end += len(closes)
        elif closes.startswith(tail) and not ended:
            return None, None
        found = self._form.parse(rest[length : scan.at])
        name = found[0].name if found else ""
        if not begin[2]:  # the recipient came before the channel
            name = next((name.removesuffix(one) for one in CHANNELS if name.endswith(one)), "")
        return end, found[0]._replace(name=name) if name else None


class _ObjectScan:
    """Finds the end of a JSON object in growing text by counting brackets; errors are left to the JSON parser.

    Attributes
    ----------
    at : int
        Position of the scan; once it is done, the end of the object.
    """

    def __init__(self, at: int) -> None:
        self.at, self._depth, self._in_string, self._done = at, 0, False, False

    def advance(self, text: str) -> bool:
        """Continue with the text, which has grown at its end; return true once the object is complete."""
        while self.at < len(text) and not self._done:
            if self._in_string:
                self.at = _STRING.match(text, self.at).end()  # type: ignore[union-attr]
                if self.at >= len(text) or text[self.at] == "\\":
                    return False
                self.at, self._in_string = self.at + 1, False
                continue
            found = _STRUCTURE.search(text, self.at)
            if found is None:
                self.at = len(text)
                return False
            self.at, self._in_string = found.end(), found[0] == '"'
            self._depth += (found[0] in "{[") - (found[0] in "}]")
            self._done = not self._depth and not self._in_string
        return self._done
