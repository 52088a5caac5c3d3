"""The source of a prompt: the text or conversation that was tokenized."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from intact._base.errors import ParameterError, ReceiptError
from intact._base.strict_json import Fields
from intact.receipts import canonical
from intact.text import ChatPrompt, Tokenizer
from intact.text.template import exact_time

Kind = Literal["text", "chat"]
_KINDS: Final[tuple[Kind, ...]] = ("text", "chat")
_CONTENTS: Final[tuple[Literal["text"]]] = ("text",)


@dataclass(frozen=True)
class PromptSource:
    """The text or conversation from which the prompt's tokens were made.

    Attributes
    ----------
    kind : {'text', 'chat'}
        Plain text, or the variables of the chat template.
    text : str
        The text itself; or a JSON object, whose members keep their order, with `messages` and any other variables given
        to the template.
    now : str or None
        The time given to the template, such as 2026-11-20T17:45:00, if it uses the time.
    contents : {'text'} or None
        'text' if the conversation spells out control tokens and these are encoded as text. None if they are encoded as
        control tokens, as in earlier versions, or if there are none.
    """

    kind: Kind
    text: str
    now: str | None = None
    contents: Literal["text"] | None = None

    @classmethod
    def of_text(cls, text: str | bytes) -> PromptSource:
        """Describe a text prompt."""
        return cls("text", text.decode("utf-8") if isinstance(text, bytes) else text)

    @classmethod
    def of_chat(cls, conversation: ChatPrompt, tokenizer: Tokenizer) -> PromptSource:
        """Describe a prompt that is a conversation.

        Raises
        ------
        ParameterError
            If the conversation contains a value that JSON cannot represent.
        """
        try:
            given = {"messages": list(conversation.messages), **conversation.variables}
            text = json.dumps(given, ensure_ascii=False, allow_nan=False, default=_as_dict)
        except (TypeError, ValueError, RecursionError) as error:
            raise ParameterError(f"a receipt needs messages that can be written as JSON: {error}") from error
        now = conversation.now.isoformat() if _uses_time(tokenizer) else None
        spells = tokenizer.spells_control_tokens(conversation.messages, conversation.variables)
        return cls("chat", text, now, "text" if spells and not conversation.control_tokens else None)

    def to_document(self) -> dict[str, Any]:
        """Return the source as a JSON object for the receipt."""
        contents = {} if self.contents is None else {"contents": self.contents}
        return {"kind": self.kind, "text": self.text, "now": self.now, **contents}

    @classmethod
    def from_document(cls, value: Any, where: str) -> PromptSource:
        """Parse the result of `to_document`; `where` is its path in the receipt."""
        fields = Fields(value, where, ("kind", "text", "now"), ("contents",))
        kind = fields.choice("kind", _KINDS)
        contents = fields.choice("contents", _CONTENTS) if "contents" in value else None
        return cls(kind, fields.text("text"), fields.maybe("now", fields.text), contents)

    def conversation(self) -> dict[str, Any]:
        """Return the variables of the template, including `messages`.

        Raises
        ------
        ReceiptError
            If the source is not a conversation.
        """
        value = canonical.read(self.text.encode(), "request.source.text", floats=True)
        if self.kind != "chat" or not isinstance(value, dict) or not isinstance(value.get("messages"), list):
            raise ReceiptError("request.source.text must be a JSON object with a list of messages")
        return value

    def encode(self, tokenizer: Tokenizer, most: int | None = None) -> list[int]:
        """Return the tokens of the prompt; `most` is as for `Tokenizer.encode`.

        Raises
        ------
        IntactError
            If the source is not a conversation, or the template fails on it.
        """
        if self.now is not None and (self.kind == "text" or not _uses_time(tokenizer)):
            raise ReceiptError(f"request.source.now must be null, because nothing uses the time; got {self.now!r:.60}")
        if self.kind == "text":
            if self.contents is not None:
                raise ReceiptError("request.source.contents must be absent, because the source is not a conversation")
            return tokenizer.encode(self.text, most=most)
        given = self.conversation()
        messages = given.pop("messages")
        if self.contents is not None and not tokenizer.spells_control_tokens(messages, given):
            raise ReceiptError("request.source.contents must be absent, because no content spells a control token")
        if "now" in given:
            raise ReceiptError(
                "request.source.text has a variable named now, but the time belongs in request.source.now"
            )
        time = datetime.min if self.now is None else exact_time(self.now)
        if time is None:
            expected = "a time such as 2026-11-20T17:45:00"
            raise ReceiptError(f"request.source.now must be {expected}, got {self.now!r:.60}")
        prompt = ChatPrompt(messages, given, time, reads_arguments=False, control_tokens=self.contents is None)
        return prompt.encode(tokenizer, most)


def _uses_time(tokenizer: Tokenizer) -> bool:
    """Return true if the chat template uses the time."""
    template = tokenizer.chat_template
    return template is not None and template.uses_time


def _as_dict(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON type")
