"""Exchanges with OpenAI-style endpoints (vLLM, llama.cpp's server, others) as records of the audit's own format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intact.errors import LogError


def unfold(record: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """One record for each choice of an exchange.

    The exchange is ``{"request": body, "response": body}`` or a response's body with the request's fields beside
    ``choices``; a line of a batch's output, with the body inside ``response["body"]``, is understood too.

    Raises
    ------
    LogError
        Naming what is missing or of the wrong kind.
    """
    response = _object(record, "response", where) if "response" in record else record
    response = _object(response, "body", where) if "body" in response and "choices" not in response else response
    request = _object(record, "request", where) if "request" in record else record
    request = _object(request, "body", where) if "body" in request and "messages" not in request else request
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise LogError(
            f"{where}: the response has no choices: expected those of a completed answer, got {choices!r:.40}"
        )
    common = {name: value for name, value in request.items() if name not in ("logprobs", "choices", "response")}
    common["engine"] = record.get("engine") or request.get("engine")
    common["batch"] = len(choices)  # an endpoint that draws several gives each another seed, or one generator for all
    return [common | _choice(choice, where) for choice in choices]


def _choice(choice: Mapping[str, Any], where: str) -> dict[str, Any]:
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    found: dict[str, Any] = {"text": text}
    if isinstance(choice.get("token_ids"), list):  # vLLM's return_token_ids
        found["output_tokens"] = choice["token_ids"]
    told = choice.get("logprobs")
    if not isinstance(told, dict):
        return found
    if isinstance(told.get("content"), list):
        tokens = told["content"]
        if not all(isinstance(token, dict) for token in tokens):
            raise LogError(f"{where}: logprobs.content must be a list of objects")
        pieces = tuple(_bytes(token, where) for token in tokens)
        return found | {"pieces": pieces, "logprobs": [token.get("logprob") for token in tokens]}
    if isinstance(told.get("tokens"), list) and isinstance(told.get("token_logprobs"), list):  # the older completions
        pieces = tuple(_bytes({"token": token}, where) for token in told["tokens"])
        return found | {"pieces": pieces, "logprobs": told["token_logprobs"]}
    return found


def _bytes(token: Mapping[str, Any], where: str) -> bytes:
    raw, name = token.get("bytes"), token.get("token")
    try:
        if isinstance(raw, list):
            return bytes(raw)
        if isinstance(name, str):
            return name.encode("utf-8")
    except (ValueError, TypeError):
        pass
    raise LogError(f"{where}: a token of logprobs has neither bytes (0 to 255) nor a text: {name!r:.40}")


def _object(record: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = record[name]
    if not isinstance(value, dict):
        raise LogError(f"{where}: {name} must be an object, got {value!r:.40}")
    return value
