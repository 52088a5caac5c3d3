"""Messages as chat templates take them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from intact.serve.errors import ApiError
from intact.serve.requests import Message


def conversation(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns as a template reads them: text alone, arguments of calls as values, developers as the system.

    Raises
    ------
    ApiError
        400, for what no model here can see, or arguments that are no JSON.
    """
    return [_turn(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _turn(message: Message, where: str) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    turn["content"] = _content(message, where)
    for name in ("name", "tool_call_id", "reasoning_content"):
        if (value := getattr(message, name)) is not None:
            turn[name] = value
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.function.name,
                    "arguments": _arguments(call.function.arguments, f"{where}.tool_calls[{i}].function.arguments"),
                },
            }
            for i, call in enumerate(message.tool_calls)
        ]
    return turn


def _content(message: Message, where: str) -> str:
    if message.content is None:
        if message.tool_calls is None:
            raise ApiError(400, f"{where}.content is missing", f"{where}.content", "missing_field")
        return ""
    if isinstance(message.content, str):
        return message.content
    texts = []
    for i, part in enumerate(message.content):
        place = f"{where}.content[{i}]"
        if part.type not in ("text", "input_text", "output_text"):
            raise ApiError(400, f"{place}: this model reads text alone, got {part.type!r:.60}", place, "unsupported")
        if part.text is None:
            raise ApiError(400, f"{place}.text is missing", f"{place}.text", "missing_field")
        texts.append(part.text)
    return "\n".join(texts)


def _arguments(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"{where} is no JSON: {error}", where) from error
    if not isinstance(value, dict):
        raise ApiError(400, f"{where} must be a JSON object, got {text!r:.60}", where)
    return value
