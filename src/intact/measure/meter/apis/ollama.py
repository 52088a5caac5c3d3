"""Ollama's chat API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from intact.measure.meter.answers import EndpointAnswer
from intact.measure.meter.apis.base import Api, ParsedResponse, Question, count, refuse_error


class Ollama(Api):
    """Ollama's chat API: one answer per request, without log-probabilities."""

    name, models, path = "ollama", "api/tags", "api/chat"
    filters: ClassVar[tuple[str, ...]] = ("options",)
    several = False

    def headers(self, secret: str) -> dict[str, str]:
        """Return the key as a bearer token, as proxies in front of Ollama expect it."""
        return {"Authorization": f"Bearer {secret}"} if secret else {}

    def first_model(self, listing: Mapping[str, Any]) -> str:
        """Return the first entry of ``models``."""
        return str(listing["models"][0]["name"])

    def body(self, question: Question, model: str) -> dict[str, Any]:
        """Put the settings into ``options``."""
        options: dict[str, Any] = {"num_predict": question.tokens, "temperature": question.setting.temperature}
        options |= {"top_p": 1, "top_k": 0, "min_p": 0, "repeat_penalty": 1}
        if question.setting.seed is not None:
            options["seed"] = question.setting.seed
        roles = {"system": question.system, "user": question.user}
        messages = [{"role": role, "content": text} for role, text in roles.items() if text]
        return {"model": model, "messages": messages, "stream": question.stream, "options": options}

    def read(self, body: Mapping[str, Any]) -> ParsedResponse:
        """Read a whole answer."""
        answer = EndpointAnswer(_text(body["message"]), str(body.get("done_reason") or ""))
        return ParsedResponse([answer], count(body.get("prompt_eval_count")), count(body.get("eval_count")))

    def read_events(self, events: Sequence[Mapping[str, Any]]) -> ParsedResponse:
        """Join the parts of an answer."""
        for event in events:
            refuse_error(event)
        answer = EndpointAnswer(
            "".join(_text(event.get("message") or {}) for event in events), str(events[-1].get("done_reason") or "")
        )
        last = events[-1]
        return ParsedResponse([answer], count(last.get("prompt_eval_count")), count(last.get("eval_count")))


def _text(message: Mapping[str, Any]) -> str:
    return "".join(part for name in ("thinking", "content") if isinstance(part := message.get(name), str))
