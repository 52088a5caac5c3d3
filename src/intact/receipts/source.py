"""What a prompt's tokens were made from: written into a receipt, and made into tokens again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from intact.clock import exact_time
from intact.errors import ParameterError, ReceiptError
from intact.receipts.document import Source
from intact.text import Conversation, Tokenizer


def source_of_text(text: str | bytes) -> Source:
    """The source of a prompt that is a text."""
    return Source("text", text.decode("utf-8") if isinstance(text, bytes) else text)


def source_of_chat(conversation: Conversation, tokenizer: Tokenizer) -> Source:
    """The source of a prompt that is a conversation.

    Raises
    ------
    ParameterError
        If it holds what JSON cannot.
    """
    try:
        given = {"messages": list(conversation.messages), **conversation.variables}
        text = json.dumps(given, ensure_ascii=False, allow_nan=False, default=_object)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"a receipt needs messages that JSON can hold: {error}") from error
    return Source("chat", text, conversation.now.isoformat() if _asks(tokenizer) else None)


def _asks(tokenizer: Tokenizer) -> bool:
    """Whether the chat template asks for the time."""
    template = tokenizer.chat_template
    return template is not None and template.dated


def _object(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is none of its types")


def tokens_of(source: Source, tokenizer: Tokenizer, most: int | None = None) -> list[int]:
    """The tokens that a source becomes; `most` as of `Tokenizer.encode`.

    Raises
    ------
    IntactError
        If it is no conversation, or the template fails on it.
    """
    if source.now is not None and (source.kind == "text" or not _asks(tokenizer)):
        raise ReceiptError(f"request.source.now must be null, as nothing asks for the time, got {source.now!r:.60}")
    if source.kind == "text":
        return tokenizer.encode(source.text, most=most)
    given = source.conversation()
    messages = given.pop("messages")
    if "now" in given:
        raise ReceiptError("request.source.text has a variable named now; the time stands beside it")
    return Conversation(messages, given, _time(source.now)).encode(tokenizer, most)


def _time(text: str | None) -> datetime:
    if text is None:
        return datetime.min
    time = exact_time(text)
    if time is None:
        raise ReceiptError(f"request.source.now must be a time such as 2026-11-20T17:45:00, got {text!r:.60}")
    return time
