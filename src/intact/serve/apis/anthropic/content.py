"""The content of an answer, as blocks and as stream events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from intact.serve.identity import new_identifier
from intact.serve.replies import ChunkTemplate

Event = Mapping[str, Any]
"""A stream event; its `type` is also its name."""


class Content:
    """The blocks of an answer so far; the methods return the events for new content.

    Attributes
    ----------
    blocks : list of dict
        The blocks; complete once `end` has been called.
    """

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = []
        self._open: str | None = None
        self._parts: list[str] = []

    def add_text(self, text: str, is_thought: bool = False) -> list[Event]:
        """Add text or thinking."""
        kind = "thinking" if is_thought else "text"
        events = [] if self._open == kind else self._close() + self._start(kind)
        self._parts += (text,)
        return [*events, self._delta.with_text(text)]

    def add_call(self, name: str, arguments: str) -> list[Event]:
        """Add a tool call, whose arguments are a JSON object as text."""
        events, index = self._close(), len(self.blocks)
        block = {"type": "tool_use", "id": f"toolu_{new_identifier()[:24]}", "name": name, "input": {}}
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
        events = [] if self.blocks else self._start("text")
        return events + self._close()

    def _start(self, kind: str) -> list[Event]:
        block, index = {"type": kind, kind: ""} | ({"signature": ""} if kind == "thinking" else {}), len(self.blocks)
        self.blocks.append(block)
        self._open, self._parts = kind, []
        first = {"type": "content_block_delta", "index": index}
        self._delta = ChunkTemplate(lambda text: {**first, "delta": {"type": f"{kind}_delta", kind: text}})
        return [{"type": "content_block_start", "index": index, "content_block": dict(block)}]

    def _close(self) -> list[Event]:
        if self._open is None:
            return []
        self.blocks[-1][self._open] = "".join(self._parts)
        self._open = None
        return [{"type": "content_block_stop", "index": len(self.blocks) - 1}]
