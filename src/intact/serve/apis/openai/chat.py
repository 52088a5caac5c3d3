"""`/v1/chat/completions`: continue a conversation, or answer it with a reasoning method."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter

from intact.engine.completion import Chunk
from intact.serve import methods
from intact.serve.apis.openai import reasoning
from intact.serve.chat import (
    CallsDelta,
    Chat,
    ChatAnswer,
    ChatBegin,
    ChatEnd,
    TextDelta,
    TextEnd,
    open_chat,
    token_logprobs,
)
from intact.serve.forms import FormRoute
from intact.serve.replies import CancellableResponse, ChunkTemplate, EventStream, JsonReply, as_events, head
from intact.serve.requests import ChatRequest
from intact.serve.service import Client, Service, TheService

_THOUGHTS = "reasoning_content"
"""The field of a message or a delta that contains the thinking."""

router = APIRouter(route_class=FormRoute)


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatRequest, service: TheService, client: Client) -> CancellableResponse:
    """Continue a conversation, or answer it with a reasoning method."""
    seconds = service.seconds(body.intact.deadline)
    if body.stream:
        return EventStream(as_events(chunks(service, body, client)), seconds)
    return JsonReply(lambda: answer(service, body, client), seconds)


async def answer(service: Service, request: ChatRequest, client: str) -> dict[str, Any]:
    """Return the complete response."""
    if (chosen := methods.choice_of(request, service.models)) is not None:
        return await reasoning.answer(service, request, client, chosen)
    async with open_chat(service, request, client) as chat:
        answers, counts = await chat.answers()
        first = head("chat.completion", request.model, chat.served.fingerprint, chat.job.parameters.seed)
        if chat.job.own.receipt:
            service.receipts.add(client, first["id"], [each.completion for each in answers])
        choices = [
            {
                "index": index,
                "message": _message(each),
                "finish_reason": each.finish,
                "logprobs": _logprobs(chat, chat.listed(each.completion)) if request.logprobs else None,
                **chat.job.receipt(each.completion),
            }
            for index, each in enumerate(answers)
        ]
        return {**first, "choices": choices, "usage": counts}


def chunks(service: Service, request: ChatRequest, client: str) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the answer in chunks."""
    if (chosen := methods.choice_of(request, service.models)) is not None:
        return reasoning.chunks(service, request, client, chosen)
    return _chunks(service, request, client)


def _message(answer: ChatAnswer) -> dict[str, Any]:
    """Return a choice's message."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.content, "refusal": None}
    if answer.thoughts:
        message[_THOUGHTS] = answer.thoughts
    if answer.calls:
        message["content"] = answer.content or None
        message["tool_calls"] = [
            {name: value for name, value in call.items() if name != "index"} for call in answer.calls
        ]
    return message


async def _chunks(service: Service, request: ChatRequest, client: str) -> AsyncGenerator[dict[str, Any], None]:
    async with open_chat(service, request, client) as chat:
        first = head("chat.completion.chunk", request.model, chat.served.fingerprint, chat.job.parameters.seed)
        job = chat.job
        if request.usage_wanted:
            first["usage"] = None

        def chunk(index: int, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return {**first, "choices": [choice]}

        def template(index: int, is_thought: bool) -> ChunkTemplate:
            return ChunkTemplate(lambda text: chunk(index, {_THOUGHTS if is_thought else "content": text}))

        templates = [[template(i, is_thought) for is_thought in (False, True)] for i in range(job.n)]
        async with aclosing(chat.events()) as events:
            async for event in events:
                match event:
                    case TextDelta(index, text, is_thought, ()):
                        yield templates[index][is_thought].with_text(text)
                    case TextDelta(index, text, is_thought, tokens):
                        yield chunk(index, {_THOUGHTS if is_thought else "content": text}, _logprobs(chat, tokens))
                    case CallsDelta(index, calls):
                        for call in calls:
                            yield chunk(index, {"tool_calls": [call]})
                    case TextEnd(index, finish, completion):
                        last = chunk(index, {}, None, finish)
                        last["choices"][0] |= job.receipt(completion)
                        yield last
                    case ChatBegin():  # only now: an error before the first token has a status of its own
                        for index in range(job.n):
                            yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
                    case ChatEnd(completions, counts):
                        if job.own.receipt:
                            service.receipts.add(client, first["id"], completions)
                        if request.usage_wanted:
                            yield {**first, "choices": [], "usage": counts}


def _logprobs(chat: Chat, tokens: Iterable[Chunk]) -> dict[str, Any]:
    tokenizer = chat.served.loaded.tokenizer
    return {"content": [token_logprobs(tokenizer, token) for token in tokens], "refusal": None}
