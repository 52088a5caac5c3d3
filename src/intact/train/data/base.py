"""The interface of row formats, and readers of their members."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from intact._base.errors import ParameterError
from intact.text.template import Message
from intact.train.data.encoder import Encoder
from intact.train.examples import Row

MOST_TURNS: Final = 1 << 12
"""Maximum number of messages of a conversation."""
EXTRAS: Final = ("tools", "chat_template_kwargs")
"""Members of conversations that the template may use."""


class RowFormat(ABC):
    """A row format.

    Attributes
    ----------
    name, summary : str
    needs : tuple of str
        Members that every row has; a file has the format whose members its first row has, the most specific first.
    allows : tuple of str
        Other members that are read.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    allows: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def row(cls, value: Mapping[str, Any], encoder: Encoder) -> Row:
        """Return a row of training data.

        Raises
        ------
        ParameterError
            If a member is malformed, or the row does not suit the model.
        """


def text_of(value: Mapping[str, Any], name: str) -> str:
    """Return a member that is text.

    Raises
    ------
    ParameterError
        If it is not.
    """
    text = value.get(name)
    if not isinstance(text, str):
        raise ParameterError(f"{name} is {text!r:.40}; expected text")
    return text


def messages_of(value: Mapping[str, Any], name: str) -> list[Message]:
    """Return a member that is a list of messages.

    Raises
    ------
    ParameterError
        If it is not.
    """
    messages = value.get(name)
    if not isinstance(messages, list) or not messages:
        raise ParameterError(f"{name} is {messages!r:.40}; expected a list of messages")
    if len(messages) > MOST_TURNS:
        raise ParameterError(f"{name} has {len(messages):,} messages; expected at most {MOST_TURNS:,}")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ParameterError(f"{name}[{number}] is {message!r:.60}; expected a message with role and content")
    return messages


def variables_of(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the template variables of a conversation: its tools, and TRL's `chat_template_kwargs`.

    Raises
    ------
    ParameterError
        If they are malformed.
    """
    tools, others = value.get("tools"), value.get("chat_template_kwargs") or {}
    if tools is not None and not isinstance(tools, list):
        raise ParameterError(f"tools is {tools!r:.40}; expected a list")
    if not isinstance(others, Mapping) or not all(isinstance(key, str) for key in others):
        raise ParameterError(f"chat_template_kwargs is {others!r:.40}; expected an object")
    if taken := {"messages", "add_generation_prompt", "now", "tools", "control_tokens"} & set(others):
        raise ParameterError(f"chat_template_kwargs has {sorted(taken)[0]}, which is not the row's to set")
    return ({"tools": tools} if tools else {}) | dict(others)


def is_chat(value: Mapping[str, Any], *names: str) -> bool:
    """Return true if members are lists of messages rather than text."""
    return all(isinstance(value.get(name), list) for name in names)


def turn(role: str, content: str) -> Message:
    """Return a message."""
    return {"role": role, "content": content}


def check_assistant(messages: Sequence[Message], name: str) -> None:
    """Raise unless messages end with a turn of the assistant.

    Raises
    ------
    ParameterError
        If they do not.
    """
    if not messages or messages[-1].get("role") != "assistant":
        raise ParameterError(f"{name} must end with a message of the assistant")
