"""The content of an answer as blocks, and as the events of a stream."""

from __future__ import annotations

import json
import uuid
from typing import Any

from intact.text.thinking import ThoughtReader

Event = dict[str, Any]
"""An event of a stream; its `type` is also its name."""


class Content:
    """The blocks of an answer so far; the methods return the events of what is new.

    Attributes
    ----------
    blocks : list of dict
        The blocks, complete once `end` was called.
    thoughts : ThoughtReader or None
        Tells thoughts from text; None if all is text. Set before text is added.
    """

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = []
        self.thoughts: ThoughtReader | None = None
        self._open: str | None = None

    def add_text(self, text: str) -> list[Event]:
        """Add text, or thoughts."""
        if self.thoughts is None:
            return self._add("text", text)
        return [event for is_thought, part in self.thoughts.push(text) for event in self._add_part(is_thought, part)]

    def add_call(self, name: str, arguments: str) -> list[Event]:
        """Add a call of a tool, whose arguments are a JSON object as text."""
        events, index = self._flush() + self._close(), len(self.blocks)
        block = {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": name, "input": {}}
        self.blocks.append({**block, "input": json.loads(arguments)})
        delta = {"type": "input_json_delta", "partial_json": arguments}
        return [
            *events,
            {"type": "content_block_start", "index": index, "content_block": block},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]

    def end(self) -> list[Event]:
        """End the content, which has at least one block."""
        events = self._flush()
        if not self.blocks:
            events += self._start("text")
        return events + self._close()

    def _flush(self) -> list[Event]:
        parts = [] if self.thoughts is None else self.thoughts.flush()
        return [event for is_thought, part in parts for event in self._add_part(is_thought, part)]

    def _add_part(self, is_thought: bool, text: str) -> list[Event]:
        return self._add("thinking" if is_thought else "text", text)

    def _add(self, kind: str, text: str) -> list[Event]:
        if not text:
            return []
        events = [] if self._open == kind else self._close() + self._start(kind)
        self.blocks[-1][kind] += text
        delta = {"type": f"{kind}_delta", kind: text}
        return [*events, {"type": "content_block_delta", "index": len(self.blocks) - 1, "delta": delta}]

    def _start(self, kind: str) -> list[Event]:
        block = {"type": kind, kind: ""} | ({"signature": ""} if kind == "thinking" else {})
        self.blocks.append(block)
        self._open = kind
        return [{"type": "content_block_start", "index": len(self.blocks) - 1, "content_block": dict(block)}]

    def _close(self) -> list[Event]:
        if self._open is None:
            return []
        self._open = None
        return [{"type": "content_block_stop", "index": len(self.blocks) - 1}]
