"""Conversations: {"messages"}, with optional tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intact.train.data.base import EXTRAS, RowFormat, messages_of, variables_of
from intact.train.data.encoder import Encoder
from intact.train.examples import TrainExample


class MessagesFormat(RowFormat):
    """A conversation by the model's chat template; the turns of the assistant count."""

    name = "messages"
    summary = "Conversations, such as {messages: [{role, content}, ...]}; the assistant's turns count"
    needs = ("messages",)
    allows = EXTRAS

    @classmethod
    def row(cls, value: Mapping[str, Any], encoder: Encoder) -> TrainExample:
        """Return the conversation."""
        return encoder.conversation(messages_of(value, "messages"), variables_of(value))
