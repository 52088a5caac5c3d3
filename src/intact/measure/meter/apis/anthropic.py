"""Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from intact.measure.meter.answers import EndpointAnswer
from intact.measure.meter.apis.base import Api, ParsedResponse, Question, count, refuse_error


class Anthropic(Api):
    """Anthropic's Messages API: one answer per request, without seeds or log-probabilities."""

    name, models, path = "anthropic", "models", "messages"
    optional: ClassVar[tuple[str, ...]] = ("temperature",)
    several = False

    def headers(self, secret: str) -> dict[str, str]:
        """Return a separate header for the key, and the API version."""
        return {"anthropic-version": "2023-06-01"} | ({"x-api-key": secret} if secret else {})

    def first_model(self, listing: Mapping[str, Any]) -> str:
        """Return the first entry of ``data``."""
        return str(listing["data"][0]["id"])

    def body(self, question: Question, model: str) -> dict[str, Any]:
        """Put the system message into a separate field."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": question.user}],
            "max_tokens": question.tokens,
            "temperature": question.setting.temperature,
        }
        if question.system:
            body["system"] = question.system
        return body | ({"stream": True} if question.stream else {})

    def read(self, body: Mapping[str, Any]) -> ParsedResponse:
        """Join the blocks of thinking and text."""
        usage = body.get("usage") or {}
        text = "".join(block.get("thinking") or block.get("text") or "" for block in body["content"])
        answer = EndpointAnswer(text, str(body.get("stop_reason") or ""))
        return ParsedResponse([answer], count(usage.get("input_tokens")), count(usage.get("output_tokens")))

    def read_events(self, events: Sequence[Mapping[str, Any]]) -> ParsedResponse:
        """Join the deltas of all blocks."""
        text: list[str] = []
        usage: dict[str, Any] = {}
        finish = ""
        for event in events:
            refuse_error(event)
            delta = event.get("delta") or {}
            text.append(delta.get("thinking") or delta.get("text") or "")
            finish = str(delta.get("stop_reason") or finish)
            usage |= (event.get("message") or {}).get("usage") or {}
            usage |= event.get("usage") or {}
        return ParsedResponse(
            [EndpointAnswer("".join(text), finish)], count(usage.get("input_tokens")), count(usage.get("output_tokens"))
        )
