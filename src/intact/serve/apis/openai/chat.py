"""`/v1/chat/completions`: a conversation goes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from intact.engine.completion import LOGPROB_SCALE, Chunk, Completion
from intact.serve.admission import Ticket
from intact.serve.apis.openai.tools import (
    ToolCallStream,
    call_format,
    call_grammar,
    call_stops,
    single_call,
    template_tools,
)
from intact.serve.errors import ApiError
from intact.serve.generation import (
    HEEDED,
    Order,
    Service,
    admitted,
    apart,
    choices,
    heed,
    limit_of,
    pieces,
    sampling_of,
    schema_of,
    time_of,
    write,
)
from intact.serve.messages import conversation
from intact.serve.models import Served
from intact.serve.replies import FINISH, head, receipt_of, usage, used
from intact.serve.requests import ChatRequest
from intact.serve.sse import Frame
from intact.text import Conversation, Tokenizer

_RESERVED = {"messages", "tools", "add_generation_prompt", "now", "self", "raise_exception", "strftime_now"}


@asynccontextmanager
async def _placed(service: Service, request: ChatRequest, client: str) -> AsyncIterator[tuple[Served, Order, Ticket]]:
    """A model, what it is to write, and a place at its gate."""
    heed(request.intact, HEEDED | {"now"}, "without a reasoning method")
    n = choices(request, service.settings)
    wanted = limit_of(request, service.settings)
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs to be true", "top_logprobs")
    async with service.models.lease(request.model) as served:
        tokenizer = served.loaded.tokenizer
        form, context = call_format(request, tokenizer), served.loaded.context
        said = _conversation(request, template_tools(request, form))
        prompt = await apart(lambda: said.encode(tokenizer, context), "messages")
        room = max(1, context - len(prompt))
        limit = min(room, service.settings.max_tokens) if wanted is None else wanted
        schema = schema_of(request.response_format)
        grammar = call_grammar(request, schema, form)
        constraint = {"json_schema": schema} if grammar is None else {"grammar": grammar}
        parameters = sampling_of(request, limit, request.top_logprobs or 0, call_stops(request, form), **constraint)
        own = request.intact
        source = "tools" if grammar else "response_format" if schema else None
        order = Order(prompt, n, parameters, client, own.priority, own.id, source, own.receipt)
        async with admitted(served, [order], "messages") as ticket:
            yield served, order, ticket


def _conversation(request: ChatRequest, tools: list[dict[str, Any]] | None) -> Conversation:
    """What the chat template is given."""
    messages, variables = conversation(request.messages), request.chat_template_kwargs or {}
    for name in _RESERVED & set(variables):
        raise ApiError(400, f"chat_template_kwargs cannot set {name}", "chat_template_kwargs")
    if tools:
        variables = variables | {"tools": tools}
    now = time_of(request.intact)
    return Conversation(messages, variables) if now is None else Conversation(messages, variables, now)


async def answer(service: Service, request: ChatRequest, client: str) -> dict[str, Any]:
    """The whole answer."""
    async with _placed(service, request, client) as (served, order, ticket):
        completions = await write(served, order, bool(request.logprobs))
        ticket.used = used(order, completions)
        tokenizer, first = served.loaded.tokenizer, head(served, "chat.completion", request.model)
        if order.receipt:
            service.receipts.add(client, first["id"], completions)
        return {
            **first,
            "choices": [
                {
                    "index": index,
                    **_message(request, tokenizer, completion),
                    "logprobs": _logprobs(tokenizer, completion, _ends(tokenizer, order)) if request.logprobs else None,
                    **receipt_of(order, completion),
                }
                for index, completion in enumerate(completions)
            ],
            "usage": usage([order], completions),
        }


def _message(request: ChatRequest, tokenizer: Tokenizer, completion: Completion) -> dict[str, Any]:
    """What was said, and why it ended there."""
    message: dict[str, Any] = {"role": "assistant", "content": completion.text, "refusal": None}
    finish = FINISH[completion.finish]
    if (form := call_format(request, tokenizer)) is not None:
        reader = ToolCallStream(form, single_call(request))
        content, calls = reader.push(completion.text)
        rest, last = reader.flush()
        content, calls = content + rest, calls + last
        if calls:
            message["content"] = content or None
            message["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in calls]
            finish = reader.finish(finish)
    return {"message": message, "finish_reason": finish}


async def chunks(service: Service, request: ChatRequest, client: str) -> AsyncGenerator[dict[str, Any], None]:
    """The answer in pieces, a token each."""
    async with _placed(service, request, client) as (served, order, ticket):
        first, tokenizer = head(served, "chat.completion.chunk", request.model), served.loaded.tokenizer
        ends, completions = _ends(tokenizer, order), dict[int, Completion]()
        form = call_format(request, tokenizer)
        readers = [] if form is None else [ToolCallStream(form, single_call(request)) for _ in range(order.n)]
        with_usage = bool(request.stream_options and request.stream_options.include_usage)
        if with_usage:
            first["usage"] = None

        def chunk(index: int, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return {**first, "choices": [choice]}

        def frame(index: int) -> Frame:
            return Frame(lambda text: chunk(index, {"content": text}))

        frames = [frame(i) for i in range(order.n)]
        begun = False
        async with aclosing(pieces(served, order, bool(request.logprobs))) as coming:
            async for index, piece in coming:
                if not begun:  # only now: what goes wrong before the first token has a status of its own
                    begun = True
                    for i in range(order.n):
                        yield chunk(i, {"role": "assistant", "content": "", "refusal": None})
                if isinstance(piece, Completion):
                    completions[index] = piece
                    ticket.used = used(order, list(completions.values()))
                    finish = FINISH[piece.finish]
                    if readers:
                        rest, calls = readers[index].flush()
                        if rest:
                            yield chunk(index, {"content": rest})
                        for call in calls:
                            yield chunk(index, {"tool_calls": [call]})
                        finish = readers[index].finish(finish)
                    last = chunk(index, {}, None, finish)
                    last["choices"][0] |= receipt_of(order, piece)
                    yield last
                    continue
                entry = None
                if request.logprobs and piece.token not in ends:
                    entry = {"content": [_entry(tokenizer, piece)], "refusal": None}
                text, calls = readers[index].push(piece.text) if readers else (piece.text, [])
                if entry:
                    yield chunk(index, {"content": text}, entry)
                elif text:
                    yield frames[index].with_text(text)
                for call in calls:
                    yield chunk(index, {"tool_calls": [call]})
        texts = [completions[index] for index in range(order.n)]
        if order.receipt:
            service.receipts.add(client, first["id"], texts)
        if with_usage:
            yield {**first, "choices": [], "usage": usage([order], texts)}


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
