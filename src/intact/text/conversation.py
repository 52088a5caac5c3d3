"""A conversation as a prompt: what the chat template is given, the time included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from intact.clock import current
from intact.errors import ParameterError
from intact.text.template import Message
from intact.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Conversation:
    """Messages for a model's chat template.

    Attributes
    ----------
    messages : sequence of mappings
        The turns, each with `role` and `content`.
    variables : mapping
        What else the template is given, such as `tools`; also `add_generation_prompt`, true unless it says otherwise.
    now : datetime
        The time, for a template that asks; by default the clock's.
    """

    messages: Sequence[Message]
    variables: Mapping[str, Any] = field(default_factory=dict)
    now: datetime = field(default_factory=current)

    def encode(self, tokenizer: Tokenizer, most: int | None = None) -> list[int]:
        """The tokens of the prompt; `most` and errors as of `Tokenizer.encode` and `Tokenizer.render_chat`."""
        text = tokenizer.render_chat(self.messages, **self.variables, now=self.now)
        if not self.messages:
            raise ParameterError("there are no messages: give turns like {'role': 'user', 'content': 'Hello'}")
        for index, message in enumerate(self.messages):
            if set(message) == {"role"}:
                raise ParameterError(f"messages[{index}] says nothing: it needs a 'content', got {message!r:.60}")
        return tokenizer.encode(text, bos=False, most=most)
