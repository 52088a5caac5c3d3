"""A conversation with everything that the chat template needs to make a prompt of it, including the time."""

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
        Further variables of the template, such as `tools`; also `add_generation_prompt`, by default true.
    now : datetime
        The time, for a template that writes the date; by default the clock's.
    """

    messages: Sequence[Message]
    variables: Mapping[str, Any] = field(default_factory=dict)
    now: datetime = field(default_factory=current)

    def encode(self, tokenizer: Tokenizer, most: int | None = None) -> list[int]:
        """Return the tokens of the prompt; `most` and errors as for `Tokenizer.encode` and `Tokenizer.render_chat`."""
        text = tokenizer.render_chat(self.messages, **self.variables, now=self.now)
        if not self.messages:
            raise ParameterError("there are no messages: give turns like {'role': 'user', 'content': 'Hello'}")
        for index, message in enumerate(self.messages):
            if set(message) == {"role"}:
                raise ParameterError(f"messages[{index}] has no 'content', got {message!r:.60}")
        return tokenizer.encode(text, bos=False, most=most)
