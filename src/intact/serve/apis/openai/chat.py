"""`/v1/chat/completions`: continue a conversation, or answer it by a reasoning method."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi import APIRouter

from intact.engine.completion import LOGPROB_SCALE, Chunk, Completion
from intact.serve import methods
from intact.serve.admission import Admission
from intact.serve.apis.openai import reasoning
from intact.serve.apis.openai.tools import (
    ToolCallStream,
    call_format,
    call_grammar,
    call_stops,
    prompted,
    template_tools,
)
from intact.serve.errors import ApiError
from intact.serve.forms import FormRoute
from intact.serve.generation import FINISH, TextJob, admitted, stream, usage, write
from intact.serve.models import Served
from intact.serve.replies import CancellableResponse, ChunkTemplate, EventStream, JsonReply, as_events, head
from intact.serve.requests import TEXT_FIELDS, ChatRequest, as_turns
from intact.serve.service import Client, Service, TheService, in_thread
from intact.text import Conversation, Tokenizer

_RESERVED = {"messages", "tools", "add_generation_prompt", "now", "self", "raise_exception", "strftime_now"}

router = APIRouter(route_class=FormRoute)


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatRequest, service: TheService, client: Client) -> CancellableResponse:
    """Continue a conversation, or answer it by a reasoning method."""
    seconds = service.seconds(body.intact.deadline)
    if body.stream:
        return EventStream(as_events(chunks(service, body, client)), seconds)
    return JsonReply(lambda: answer(service, body, client), seconds)


async def answer(service: Service, request: ChatRequest, client: str) -> dict[str, Any]:
    """Return the whole answer."""
    if methods.requested(request):
        return await reasoning.answer(service, request, client)
    async with _admitted(service, request, client) as (served, job, admission):
        completions = await write(served, job, bool(request.logprobs))
        tokenizer, first = served.loaded.tokenizer, head("chat.completion", request.model, served.fingerprint)
        counts = usage([job], completions)
        admission.used = counts["total_tokens"]
        if job.own.receipt:
            service.receipts.add(client, first["id"], completions)
        choices = [
            {
                "index": index,
                **_message(request, tokenizer, completion),
                "logprobs": _logprobs(tokenizer, completion, _ends(tokenizer, job)) if request.logprobs else None,
                **job.receipt(completion),
            }
            for index, completion in enumerate(completions)
        ]
        return {**first, "choices": choices, "usage": counts}


def chunks(service: Service, request: ChatRequest, client: str) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the answer in chunks."""
    return (reasoning.chunks if methods.requested(request) else _chunks)(service, request, client)


@asynccontextmanager
async def _admitted(
    service: Service, request: ChatRequest, client: str
) -> AsyncIterator[tuple[Served, TextJob, Admission]]:
    """Validate a request, lease its model, and wait for admission."""
    own = request.intact
    own.accept_only(TEXT_FIELDS | {"now"}, "without a reasoning method")
    n, limit = request.choices(service.settings), request.limit(service.settings)
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs to be true", "top_logprobs")
    async with service.models.lease(request.model) as served:
        tokenizer, context = served.loaded.tokenizer, served.loaded.context
        form = call_format(request, tokenizer)
        conversation = _conversation(request, template_tools(request, form))
        prompt = await in_thread(
            lambda: prompted(conversation, request, tokenizer).encode(tokenizer, context), "messages"
        )
        if limit is None:
            limit = min(max(1, context - len(prompt)), service.settings.max_tokens)
        schema = request.response_format.required_schema() if request.response_format else None
        grammar = call_grammar(request, schema, form)
        constraint = {"json_schema": schema} if grammar is None else {"grammar": grammar}
        parameters = request.sampling(limit, request.top_logprobs or 0, call_stops(request, form), **constraint)
        source = "tools" if grammar else "response_format" if schema else None
        job = TextJob(prompt, n, parameters, client, own, source)
        async with admitted(served, [job], "chat", "messages") as admission:
            yield served, job, admission


def _conversation(request: ChatRequest, tools: list[dict[str, Any]] | None) -> Conversation:
    """Return the arguments of the chat template."""
    messages, variables = as_turns(request.messages), request.chat_template_kwargs or {}
    for name in _RESERVED & set(variables):
        raise ApiError(400, f"chat_template_kwargs cannot set {name}", "chat_template_kwargs")
    if tools:
        variables = variables | {"tools": tools}
    now = request.intact.time()
    return Conversation(messages, variables) if now is None else Conversation(messages, variables, now)


def _message(request: ChatRequest, tokenizer: Tokenizer, completion: Completion) -> dict[str, Any]:
    """Return a choice's message and its finish reason."""
    message: dict[str, Any] = {"role": "assistant", "content": completion.text, "refusal": None}
    finish = FINISH[completion.finish]
    if (form := call_format(request, tokenizer)) is not None:
        reader = ToolCallStream.of(request, form)
        content, calls = reader.push(completion.text)
        rest, last = reader.flush()
        content, calls = content + rest, calls + last
        if calls:
            message["content"] = content or None
            message["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in calls]
            finish = reader.finish(finish)
    return {"message": message, "finish_reason": finish}


async def _chunks(service: Service, request: ChatRequest, client: str) -> AsyncGenerator[dict[str, Any], None]:
    async with _admitted(service, request, client) as (served, job, admission):
        first, tokenizer = head("chat.completion.chunk", request.model, served.fingerprint), served.loaded.tokenizer
        ends, completions = _ends(tokenizer, job), dict[int, Completion]()
        form = call_format(request, tokenizer)
        readers = [] if form is None else [ToolCallStream.of(request, form) for _ in range(job.n)]
        if request.usage_wanted:
            first["usage"] = None

        def chunk(index: int, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return {**first, "choices": [choice]}

        def template(index: int) -> ChunkTemplate:
            return ChunkTemplate(lambda text: chunk(index, {"content": text}))

        templates, begun = [template(i) for i in range(job.n)], False
        async with aclosing(stream(served, job, bool(request.logprobs))) as parts:
            async for index, part in parts:
                if not begun:  # only now: an error before the first token has a status of its own
                    begun = True
                    for i in range(job.n):
                        yield chunk(i, {"role": "assistant", "content": "", "refusal": None})
                if isinstance(part, Completion):
                    completions[index] = part
                    admission.used = usage([job], list(completions.values()))["total_tokens"]
                    finish = FINISH[part.finish]
                    if readers:
                        rest, calls = readers[index].flush()
                        if rest:
                            yield chunk(index, {"content": rest})
                        for call in calls:
                            yield chunk(index, {"tool_calls": [call]})
                        finish = readers[index].finish(finish)
                    last = chunk(index, {}, None, finish)
                    last["choices"][0] |= job.receipt(part)
                    yield last
                    continue
                text, calls = readers[index].push(part.text) if readers else (part.text, [])
                if request.logprobs and part.token not in ends:
                    yield chunk(index, {"content": text}, {"content": [_entry(tokenizer, part)], "refusal": None})
                elif text:
                    yield templates[index].with_text(text)
                for call in calls:
                    yield chunk(index, {"tool_calls": [call]})
        texts = [completions[index] for index in range(job.n)]
        if job.own.receipt:
            service.receipts.add(client, first["id"], texts)
        if request.usage_wanted:
            yield {**first, "choices": [], "usage": usage([job], texts)}


def _token(tokenizer: Tokenizer, token: int, logprob: int) -> dict[str, Any]:
    spelling = tokenizer.token_bytes(token) if token < tokenizer.size else b""
    return {"token": spelling.decode(errors="replace"), "logprob": logprob / LOGPROB_SCALE, "bytes": list(spelling)}


def _entry(tokenizer: Tokenizer, chunk: Chunk) -> dict[str, Any]:
    top = [_token(tokenizer, token, logprob) for token, logprob in chunk.top]
    return {**_token(tokenizer, chunk.token, chunk.logprob), "top_logprobs": top}


def _ends(tokenizer: Tokenizer, job: TextJob) -> frozenset[int]:
    """Return the tokens that end a text, and are no part of it."""
    return frozenset() if job.parameters.ignore_eos else tokenizer.eos_ids


def _logprobs(tokenizer: Tokenizer, completion: Completion, ends: frozenset[int]) -> dict[str, Any]:
    tops = completion.top or ((),) * len(completion.tokens)
    drawn = zip(completion.tokens, completion.logprobs or (), tops, strict=True)
    return {"content": [_entry(tokenizer, Chunk("", *one)) for one in drawn if one[0] not in ends], "refusal": None}
