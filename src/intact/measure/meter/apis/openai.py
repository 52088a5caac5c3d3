"""OpenAI's chat completions API, also supported by vLLM, llama.cpp, SGLang, LM Studio and others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from intact.measure.meter.answers import EndpointAnswer
from intact.measure.meter.apis.base import Api, ParsedResponse, Question, count, refuse_error

TOP = 5
"""Number of likely tokens to request; OpenAI allows up to 20."""


class OpenAI(Api):
    """OpenAI's chat completions."""

    name, models, path = "openai", "models", "chat/completions"
    filters: ClassVar[tuple[str, ...]] = ("top_p", "top_k", "min_p")
    optional: ClassVar[tuple[str, ...]] = ("logprobs", "top_logprobs", "stream_options", "seed", *filters)

    def headers(self, secret: str) -> dict[str, str]:
        """Return the key as a bearer token."""
        return {"Authorization": f"Bearer {secret}"} if secret else {}

    def first_model(self, listing: Mapping[str, Any]) -> str:
        """Return the first entry of ``data``."""
        return str(listing["data"][0]["id"])

    def body(self, question: Question, model: str) -> dict[str, Any]:
        """Ask for log-probabilities, which show how close a diverging token was."""
        roles = {"system": question.system, "user": question.user}
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": role, "content": text} for role, text in roles.items() if text],
            "max_tokens": question.tokens,
            "temperature": question.setting.temperature,
            "top_p": 1,
            "top_k": 0,
            "min_p": 0,
            "logprobs": True,
            "top_logprobs": TOP,
        }
        if question.setting.seed is not None:
            body["seed"] = question.setting.seed
        if question.n > 1:
            body["n"] = question.n
        if question.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def read(self, body: Mapping[str, Any]) -> ParsedResponse:
        """Read a completion with its choices in order."""
        choices = sorted(body["choices"], key=lambda choice: choice.get("index", 0))
        usage = body.get("usage") or {}
        answers = [
            _answer(_text(one["message"]), one.get("finish_reason"), (one.get("logprobs") or {}).get("content") or ())
            for one in choices
        ]
        return ParsedResponse(answers, count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")))

    def read_events(self, events: Sequence[Mapping[str, Any]]) -> ParsedResponse:
        """Join the chunks of each choice."""
        texts: dict[int, list[str]] = defaultdict(list)
        tokens: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        ends: dict[int, Any] = {}
        usage: Mapping[str, Any] = {}
        for event in events:
            refuse_error(event)
            usage = event.get("usage") or usage
            for choice in event.get("choices") or ():
                index = int(choice.get("index", 0))
                texts[index].append(_text(choice.get("delta") or {}))
                tokens[index] += (choice.get("logprobs") or {}).get("content") or ()
                ends[index] = choice.get("finish_reason") or ends.get(index)
        answers = [_answer("".join(texts[index]), ends[index], tokens[index]) for index in sorted(texts)]
        return ParsedResponse(answers, count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")))


def _text(message: Mapping[str, Any]) -> str:
    """Return the generated text, reasoning first; servers use different field names for the reasoning."""
    parts = [message.get(name) for name in ("reasoning_content", "reasoning", "content")]
    return "".join(part for part in parts if isinstance(part, str))


def _answer(text: str, finish: Any, listed: Sequence[Mapping[str, Any]]) -> EndpointAnswer:
    return EndpointAnswer(
        text,
        str(finish or ""),
        tuple(str(one["token"]) for one in listed),
        logprobs=tuple(float(one["logprob"]) for one in listed),
        top=tuple(
            {str(top["token"]): float(top["logprob"]) for top in one.get("top_logprobs") or ()} for one in listed
        ),
    )
