"""Incremental scanner for plain JSON, which stops as soon as it can no longer be a call."""

from __future__ import annotations

import re
from enum import Enum

from intact._base.strict_json import MOST_DEPTH
from intact.text.tool_calls.signatures import Signatures

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_WORD = re.compile(r"[-+.0-9A-Za-z]*")
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
_ARGUMENTS = ("arguments", "parameters")
_MEMBERS = frozenset({"name", "function", "type", "id", *_ARGUMENTS})
"""Fields of a call; an object with any other field is not a call."""


class ScanState(Enum):
    """The state of a scan."""

    OPEN = "open"
    """More text is needed to decide."""
    WHOLE = "whole"
    """Complete: an object or a list of objects with the fields of a call."""
    NONE = "none"
    """Not a call, regardless of what follows."""


class _Object:
    """An object being read as a call.

    Attributes
    ----------
    key : str
        Field whose value is being read.
    seen : set of str
        Fields so far.
    nested : bool
        If true, `function` holds the whole call.
    strict : bool
        If true, the call is for a strict tool.
    """

    def __init__(self) -> None:
        self.key, self.seen, self.nested, self.strict = "", set[str](), False, False

    def may_have(self, key: str) -> bool:
        """Return true if a field may come next."""
        is_misplaced = self.strict and key in _ARGUMENTS and self.key != "name"
        return key in _MEMBERS and key not in self.seen and not is_misplaced

    def begins(self) -> str:
        """Return the characters with which the current value may begin, excluding words."""
        if self.key in _ARGUMENTS:
            return "{" if self.strict else '"{'
        return '"{' if self.key == "function" else '"'

    def may_be_word(self, word: str) -> bool:
        """Return true if the current value may be a number, true, false or null with this beginning."""
        return self.key in ("type", "id") or (self.key in _ARGUMENTS and not self.strict and "null".startswith(word))

    def names_tool(self) -> bool:
        """Return true if the current value is a tool's name."""
        return self.key in ("name", "function")

    def may_name(self, name: str, tools: Signatures) -> bool:
        """Return true if the current field may name this tool."""
        self.strict = tools.is_strict(name)
        is_misplaced = self.strict and (self.key == "function" or not self.seen.isdisjoint(_ARGUMENTS))
        return name in tools and not is_misplaced


class CallScan:
    """JSON text that may become a call or a list of calls; each character is visited once.

    Parameters
    ----------
    tools : Signatures
        Available tools; calls to other tools are rejected. A call to a strict tool must have its name right before an
        object of arguments (`ToolSignature.begins`), since the model is constrained from that point on.
    at : int
        Start of the JSON.

    Attributes
    ----------
    at : int
        Position of the scan; once the JSON is complete, its end.
    """

    def __init__(self, tools: Signatures, at: int = 0) -> None:
        self.at = at
        self.state = ScanState.OPEN
        self._tools = tools
        self._stack: list[_Object | str] = []  # open calls, and the closing characters of other open values
        self._expects = "value"
        self._string: int | None = None  # start of the current string

    def advance(self, text: str) -> ScanState:
        """Continue with the text, which has grown at its end."""
        while self.state is ScanState.OPEN and self._step(text):
            pass
        return self.state

    def _step(self, text: str) -> bool:
        """Read one part of the JSON; return false if it needs more text."""
        if self._string is not None:
            return self._read_string(text, self._string)
        self.at = _SPACE.match(text, self.at).end()  # type: ignore[union-attr]
        if self.at >= len(text):
            return False
        found = text[self.at]
        if self._expects == "value" and found not in '{["':
            return self._read_word(text)
        self.at += 1
        if found == '"' and self._expects in ("value", "key", "another key"):
            self._string = self.at
            self._may_begin(found)
        elif self._expects == "value" and found in "{[":
            self._open(found)
        elif self._expects == "colon" and found == ":":
            self._expects = "value"
        elif self._expects == "comma" and found == ",":
            self._expects = "value" if self._closing() == "]" else "another key"
        elif self._expects in ("comma", "key", "first value") and found == self._closing():
            self._close()
        elif self._expects == "first value":
            self.at -= 1
            self._expects = "value"
        else:
            self.state = ScanState.NONE
        return True

    def _closing(self) -> str:
        """Return the character that closes the innermost object or list."""
        top = self._stack[-1] if self._stack else ""
        return top[-1:] if isinstance(top, str) else "}"

    def _may_begin(self, first: str) -> None:
        """End the scan if a value may not begin this way at this position."""
        top = self._stack[-1] if self._stack else None
        if self._expects != "value":
            return
        outside = {None: "{[", "calls]": "{"}
        good = top.begins() if isinstance(top, _Object) else outside.get(top, '"{[')
        if first not in good:
            self.state = ScanState.NONE

    def _open(self, first: str) -> None:
        """Begin an object or a list."""
        self._may_begin(first)
        top = self._stack[-1] if self._stack else None
        if len(self._stack) >= MOST_DEPTH:
            self.state = ScanState.NONE
        elif first == "[":
            self._stack.append("calls]" if top is None else "]")
            self._expects = "value" if top is None else "first value"
        else:
            is_call = top is None or top == "calls]"
            if isinstance(top, _Object) and top.key == "function":
                is_call = top.nested = True
            self._stack.append(_Object() if is_call else "}")
            self._expects = "key"

    def _close(self) -> None:
        """End the innermost object or list."""
        top = self._stack.pop()
        if isinstance(top, _Object) and not top.nested and not top.seen.intersection(_ARGUMENTS):
            self.state = ScanState.NONE
        elif not self._stack:
            self.state = ScanState.WHOLE
        self._expects = "comma"

    def _read_string(self, text: str, start: int) -> bool:
        self.at = _STRING.match(text, self.at).end()  # type: ignore[union-attr]
        if self.at >= len(text) or text[self.at] == "\\":
            return False
        value, self._string = text[start : self.at], None
        self.at += 1
        top = self._stack[-1]
        if self._expects == "value":
            if isinstance(top, _Object) and top.names_tool() and not top.may_name(value, self._tools):
                self.state = ScanState.NONE
            self._expects = "comma"
            return True
        if isinstance(top, _Object):
            if not top.may_have(value):
                self.state = ScanState.NONE
            top.key = value
            top.seen.add(value)
        self._expects = "colon"
        return True

    def _read_word(self, text: str) -> bool:
        """Read a number, true, false or null."""
        end = _WORD.match(text, self.at).end()  # type: ignore[union-attr]
        top = self._stack[-1] if self._stack else None
        word = text[self.at : end]
        is_member = isinstance(top, _Object) and top.may_be_word(word)
        if not word or not (is_member or top in ("]", "}")):
            self.state = ScanState.NONE
            return True
        if end == len(text):
            return False
        self.at = end
        if not _SCALAR.fullmatch(word):
            self.state = ScanState.NONE
        self._expects = "comma"
        return True
