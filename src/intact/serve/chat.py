"""`/v1/chat/completions`: a conversation goes on."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from intact.engine.completion import LOGPROB_SCALE, Chunk, Completion
from intact.serve.errors import ApiError
from intact.serve.gate import Ticket
from intact.serve.generation import Order, Service, admitted, apart, choices, pieces, sampling_of, write
from intact.serve.messages import conversation
from intact.serve.models import Served
from intact.serve.requests import ChatRequest
from intact.serve.sse import DONE, event
from intact.text import Tokenizer

FINISH = {"stop": "stop", "length": "length", "context": "length"}


@asynccontextmanager
async def _placed(service: Service, request: ChatRequest, client: str) -> AsyncIterator[tuple[Served, Order, Ticket]]:
    """A model, what it is to write, and a place at its gate."""
    n = choices(request, service.settings)
    wanted = request.max_completion_tokens or request.max_tokens
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs to be true", "top_logprobs")
    async with service.models.lease(request.model) as served:
        tokenizer = served.loaded.tokenizer
        messages = conversation(request.messages)
        variables = request.chat_template_kwargs or {}
        prompt = await apart(lambda: tokenizer.encode_chat(messages, **variables), "messages")
        room = max(1, served.loaded.context - len(prompt))
        limit = min(room, service.settings.max_tokens) if wanted is None else wanted
        parameters = sampling_of(request, limit, request.top_logprobs or 0)
        own = request.intact
        order = Order(prompt, n, parameters, client, own.priority, own.id)
        async with admitted(served, [order], "messages") as ticket:
            yield served, order, ticket


async def answer(service: Service, request: ChatRequest, client: str) -> dict[str, Any]:
    """The whole answer."""
    async with _placed(service, request, client) as (served, order, ticket):
        completions = await write(served, order, bool(request.logprobs))
        ticket.used = _used(order, completions)
        tokenizer = served.loaded.tokenizer
        return {
            **_head(served, "chat.completion"),
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": completion.text, "refusal": None},
                    "logprobs": _logprobs(tokenizer, completion, _ends(tokenizer, order)) if request.logprobs else None,
                    "finish_reason": FINISH[completion.finish],
                }
                for index, completion in enumerate(completions)
            ],
            "usage": usage(order, completions),
        }


async def stream(service: Service, request: ChatRequest, client: str) -> AsyncGenerator[bytes, None]:
    """The answer as events, a token each."""
    async with _placed(service, request, client) as (served, order, ticket):
        head, tokenizer = _head(served, "chat.completion.chunk"), served.loaded.tokenizer
        ends = _ends(tokenizer, order)
        with_usage = bool(request.stream_options and request.stream_options.include_usage)
        if with_usage:
            head["usage"] = None
        completions: dict[int, Completion] = {}

        def chunk(index: int, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return event({**head, "choices": [choice]})

        for index in range(order.n):
            yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
        async for index, piece in pieces(served, order, bool(request.logprobs)):
            if isinstance(piece, Completion):
                completions[index] = piece
                ticket.used = _used(order, list(completions.values()))
                yield chunk(index, {}, None, FINISH[piece.finish])
                continue
            entry = None
            if request.logprobs and piece.token not in ends:
                entry = {"content": [_entry(tokenizer, piece)], "refusal": None}
            if piece.text or entry:
                yield chunk(index, {"content": piece.text}, entry)
        if with_usage:
            yield event({**head, "choices": [], "usage": usage(order, list(completions.values()))})
        yield DONE


def _head(served: Served, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": served.name,
        "system_fingerprint": served.fingerprint,
    }


def _used(order: Order, completions: list[Completion]) -> int:
    return len(order.prompt) + sum(len(completion.tokens) for completion in completions)


def usage(order: Order, completions: list[Completion]) -> dict[str, int]:
    """Tokens that were read and written. What the cache saved is not told: it depends on others."""
    read, written = len(order.prompt), sum(len(completion.tokens) for completion in completions)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _token(tokenizer: Tokenizer, token: int, logprob: int) -> dict[str, Any]:
    spelling = tokenizer.token_bytes(token) if token < tokenizer.size else b""
    return {"token": spelling.decode(errors="replace"), "logprob": logprob / LOGPROB_SCALE, "bytes": list(spelling)}


def _entry(tokenizer: Tokenizer, chunk: Chunk) -> dict[str, Any]:
    top = [_token(tokenizer, token, logprob) for token, logprob in chunk.top]
    return {**_token(tokenizer, chunk.token, chunk.logprob), "top_logprobs": top}


def _ends(tokenizer: Tokenizer, order: Order) -> frozenset[int]:
    """Tokens that end a text, and are no part of it."""
    return frozenset() if order.parameters.ignore_eos else tokenizer.eos_ids


def _logprobs(tokenizer: Tokenizer, completion: Completion, ends: frozenset[int]) -> dict[str, Any]:
    tops = completion.top or ((),) * len(completion.tokens)
    drawn = zip(completion.tokens, completion.logprobs or (), tops, strict=True)
    return {"content": [_entry(tokenizer, Chunk("", *one)) for one in drawn if one[0] not in ends], "refusal": None}
