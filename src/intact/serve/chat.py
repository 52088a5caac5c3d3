"""Conversations for every API: requests are validated and admitted, and answers are returned whole or as typed events.

An API translates its requests to `ChatRequest`, opens them (`open_chat`), and formats what `Chat.answers` returns or
`Chat.events` yields. Completions depend only on the `ChatRequest`, so they are the same in all APIs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from intact._base.errors import ConstraintError
from intact.engine.completion import Chunk, Completion
from intact.numerics.sampling import LOGPROB_SCALE
from intact.serve.admission import Admission
from intact.serve.errors import ApiError
from intact.serve.generation import FINISH, TextJob, admitted, stream, usage, write
from intact.serve.listing import TokenListing, tokens_of
from intact.serve.mixes import shadow_turns
from intact.serve.models import Served
from intact.serve.requests import (
    CHAT_FIELDS,
    MIX_FIELDS,
    SHADOW,
    TEXT_FIELDS,
    ChatRequest,
    CheckedChat,
    RenderedForm,
)
from intact.serve.service import Service, in_thread, text_length
from intact.serve.thinking import MakeReader, can_think, template_source, thought_readers, thought_tokens
from intact.serve.tools import (
    RequestTools,
    ToolCallStream,
    begun_thought,
    call_grammar,
    name_fault,
    prompted,
    tool_use,
)
from intact.text import ChatPrompt, Tokenizer
from intact.text.template import current
from intact.text.thinking import ThoughtReader

Prepare: TypeAlias = Callable[[ChatRequest, Served], ChatRequest]
_RESERVED = {"messages", "tools", *RenderedForm.model_fields, "now", "self", "raise_exception", "strftime_now"}


class ChatAnswer(NamedTuple):
    """A complete, parsed answer.

    Attributes
    ----------
    content : str
        The text without its tool calls, and without its thinking if that is separated.
    thoughts : str
        The thinking before it.
    calls : list of dict
        Tool calls in OpenAI's format, each with an `index`.
    finish : {'stop', 'length', 'tool_calls'}
        The finish reason.
    """

    content: str
    thoughts: str
    calls: list[dict[str, Any]]
    finish: str
    completion: Completion


class ChatBegin(NamedTuple):
    """The first event of a stream, sent with the first token. An error replaces it, or ends the stream later."""


class TextDelta(NamedTuple):
    """More content or thinking of an answer.

    Attributes
    ----------
    chunks : tuple of Chunk
        If log-probabilities are requested, the tokens that are certain to be in the answer, without end tokens.
    """

    sample: int
    text: str
    is_thought: bool = False
    chunks: tuple[Chunk, ...] = ()


class CallsDelta(NamedTuple):
    """Complete tool calls, in OpenAI's format."""

    sample: int
    calls: list[dict[str, Any]]


class TextEnd(NamedTuple):
    """The end of an answer; `finish` as in `ChatAnswer`."""

    sample: int
    finish: str
    completion: Completion


class ChatEnd(NamedTuple):
    """The last event of a stream: all answers in order of their index, and the numbers of prompt and generated tokens.

    `usage` has `prompt_tokens`, `completion_tokens` and `total_tokens`, and `completion_tokens_details` for thinking
    tokens, if thinking is separated.
    """

    completions: list[Completion]
    usage: dict[str, Any]


ChatEvent: TypeAlias = ChatBegin | TextDelta | CallsDelta | TextEnd | ChatEnd


@dataclass(frozen=True)
class Chat:
    """An admitted conversation or prompt, to be continued once.

    Attributes
    ----------
    calls : callable or None
        Returns a parser for the tool calls in one answer; None if calls are not parsed.
    thoughts : callable or None
        Returns a parser for the thinking in one answer; None if thinking is part of the text.
    logprobs : bool
        If true, log-probabilities are requested.
    """

    served: Served
    job: TextJob
    admission: Admission
    calls: Callable[[], ToolCallStream] | None = None
    thoughts: MakeReader | None = None
    logprobs: bool = False

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end an answer without being part of it."""
        return frozenset() if self.job.parameters.ignore_eos else self.served.loaded.tokenizer.eos_ids

    async def answers(self) -> tuple[list[ChatAnswer], dict[str, Any]]:
        """Return all answers, and the token counts (as in `ChatEnd`)."""
        completions = await write(self.served, self.job, self.logprobs)
        return [self.parse(completion) for completion in completions], self._usage(completions)

    def listed(self, completion: Completion) -> list[Chunk]:
        """Return the tokens of an answer with their log-probabilities, without those that ended it."""
        tokens = tokens_of(self.served.loaded.tokenizer, completion)
        return [chunk for chunk in tokens if chunk.token not in self.ends]

    async def events(self) -> AsyncGenerator[ChatEvent, None]:
        """Yield `ChatBegin`; the deltas and the end of each answer; `ChatEnd`."""
        ends, tokenizer = self.ends, self.served.loaded.tokenizer
        is_plain = self.calls is None and self.thoughts is None and not self.logprobs
        readers = [self._reader() for _ in range(self.job.n)]
        listings = [TokenListing(tokenizer) for _ in range(self.job.n)]
        completions, begun = dict[int, Completion](), False
        async with aclosing(stream(self.served, self.job, self.logprobs)) as parts:
            async for index, part in parts:
                if not begun:
                    begun = True
                    yield ChatBegin()
                if is_plain and isinstance(part, Chunk):
                    if part.text:
                        yield TextDelta(index, part.text)
                    continue
                listed: tuple[Chunk, ...] = ()
                if self.logprobs:
                    listing = listings[index]
                    chunks = listing.push(part) if isinstance(part, Chunk) else listing.end(part)
                    listed = tuple([chunk for chunk in chunks if chunk.token not in ends])
                read = readers[index].push(part.text) if isinstance(part, Chunk) else readers[index].flush()
                for is_thought, text in read.parts or ([(False, "")] if listed else []):
                    yield TextDelta(index, text, is_thought, listed)
                    listed = ()
                if read.calls:
                    yield CallsDelta(index, read.calls)
                if isinstance(part, Completion):
                    completions[index] = part
                    self._count(list(completions.values()))
                    yield TextEnd(index, readers[index].finish(FINISH[part.finish]), part)
        texts = [completions[index] for index in range(self.job.n)]
        yield ChatEnd(texts, self._usage(texts))

    def _reader(self) -> _ReplyReader:
        calls = None if self.calls is None else self.calls()
        return _ReplyReader(calls, None if self.thoughts is None else self.thoughts())

    def parse(self, completion: Completion) -> ChatAnswer:
        """Parse the thoughts and tool calls in a complete text."""
        reader = self._reader()
        first, last = reader.push(completion.text), reader.flush()
        parts = first.parts + last.parts
        content = "".join(text for is_thought, text in parts if not is_thought)
        thoughts = "".join(text for is_thought, text in parts if is_thought)
        finish = reader.finish(FINISH[completion.finish])
        return ChatAnswer(content, thoughts, first.calls + last.calls, finish, completion=completion)

    def _count(self, completions: list[Completion]) -> dict[str, Any]:
        """Count tokens, and charge them to the client's account."""
        counts = usage([self.job], completions)
        self.admission.used = counts["total_tokens"]
        return counts

    def _usage(self, completions: list[Completion]) -> dict[str, Any]:
        """Count tokens, including thinking tokens."""
        counts, thoughts, tokenizer = self._count(completions), self.thoughts, self.served.loaded.tokenizer
        if thoughts is None:
            return counts
        tokens = sum(thought_tokens(tokenizer, thoughts(), completion.tokens) for completion in completions)
        return {**counts, "completion_tokens_details": {"reasoning_tokens": tokens}}


class _ReadPart(NamedTuple):
    """The certain part of an answer: pieces, each with a flag that is true for thinking, followed by tool calls."""

    parts: list[tuple[bool, str]]
    calls: list[dict[str, Any]]


class _ReplyReader:
    """Incremental parser of the thinking and tool calls in an answer."""

    def __init__(self, calls: ToolCallStream | None, thoughts: ThoughtReader | None) -> None:
        self._calls, self._thoughts = calls, thoughts

    def push(self, text: str) -> _ReadPart:
        """Consume more text; return the part that is certain."""
        text, calls = (text, []) if self._calls is None else self._calls.push(text)
        return _ReadPart(self._split(text), calls)

    def flush(self) -> _ReadPart:
        """Return what was held back, at the end of the text."""
        text, calls = ("", []) if self._calls is None else self._calls.flush()
        parts = self._split(text)
        return _ReadPart(parts if self._thoughts is None else parts + self._thoughts.flush(), calls)

    def finish(self, finish: str) -> str:
        """Return the finish reason, as `ToolCallStream.finish` does."""
        return finish if self._calls is None else self._calls.finish(finish)

    def _split(self, text: str) -> list[tuple[bool, str]]:
        if not text:
            return []
        return [(False, text)] if self._thoughts is None else self._thoughts.push(text)


@asynccontextmanager
async def open_chat(
    service: Service,
    request: ChatRequest,
    client: str,
    prepare: Prepare | None = None,
    thoughts: bool | None = None,
) -> AsyncIterator[Chat]:
    """Validate a request without a reasoning method, lease its model, and wait for admission.

    Parameters
    ----------
    prepare : callable, optional
        Called once the model is loaded; returns the request to answer, for example with variables that the model's
        template supports. (A lease around this call could deadlock.)
    thoughts : bool, optional
        If true, separate thinking from the text; this is the default if the chat template supports thinking and no
        constraint excludes it.

    Raises
    ------
    ApiError
        400, naming the field of `ChatRequest`; 404 and 503 for the model; 429, if the queue is full.
    """
    n = request.choices(service.settings)
    chat = request.checked(service.settings, TEXT_FIELDS | MIX_FIELDS | CHAT_FIELDS, "without a reasoning method")
    request, own, limit = chat.request, chat.request.intact, chat.limit
    async with service.models.lease(request.model) as leased:
        served = leased.mixing(chat.mix)
        tokenizer, context = served.loaded.tokenizer, served.loaded.context
        if prepare is not None:
            request = prepare(request, served)
            chat = chat._replace(request=request)
        tools = tool_use(request, tokenizer)
        prompt = await _encode(served, chat, tools, chat.turns, field="messages")
        shadow = None
        if own.shadow is not None:
            shadow = await _encode(served, chat, tools, shadow_turns(request), field=SHADOW)
        if limit is None:
            limit = min(max(1, context - len(prompt)), service.settings.max_tokens)
        schema = request.response_format.required_schema() if request.response_format else None
        form = tools.form
        grammar = None if form is None else await in_thread(lambda: call_grammar(request, schema, form))
        constraint = {"json_schema": schema} if grammar is None else {"grammar": grammar}
        parameters = request.sampling(limit, request.top_logprobs or 0, **constraint)
        source = "tools" if grammar else "response_format" if schema else None
        job = TextJob(prompt, n, parameters, client, own=own, constraint=source, shadow=shadow)
        if thoughts is None:
            is_bound = schema is not None or tools.imposed
            thoughts = can_think(template_source(served)) and not is_bound
        reader = None
        if form is not None:
            reader = partial(ToolCallStream.of, request, form, begun_thought(request, tokenizer, prompt))
        apart = thought_readers(served, request, prompt) if thoughts else None
        try:
            async with admitted(served, [job], "chat", "messages") as admission:
                yield Chat(served, job, admission, reader, thoughts=apart, logprobs=bool(request.logprobs))
        except ApiError as error:
            if error.param == "tools" and not isinstance(error.__cause__, ConstraintError):
                await in_thread(partial(name_fault, request, error))
            raise


def token_logprobs(tokenizer: Tokenizer, chunk: Chunk) -> dict[str, Any]:
    """Return the log-probabilities of a token and the likeliest alternatives, as in OpenAI's and Ollama's APIs."""
    top = [_token(tokenizer, token, logprob) for token, logprob in chunk.top]
    return {**_token(tokenizer, chunk.token, chunk.logprob), "top_logprobs": top}


def _token(tokenizer: Tokenizer, token: int, logprob: int) -> dict[str, Any]:
    spelling = tokenizer.token_bytes(token) if token < tokenizer.size else b""
    return {"token": spelling.decode(errors="replace"), "logprob": logprob / LOGPROB_SCALE, "bytes": list(spelling)}


async def encode_prompt(served: Served, chat: CheckedChat) -> list[int]:
    """Return the tokens of a conversation's prompt.

    Raises
    ------
    ApiError
        400, naming the field of `ChatRequest`.
    """
    return await _encode(served, chat, tool_use(chat.request, served.loaded.tokenizer), chat.turns, field="messages")


async def _encode(
    served: Served, chat: CheckedChat, tools: RequestTools, turns: list[dict[str, Any]], field: str
) -> list[int]:
    """Return the tokens of turns, rendered in the same way as the chat."""
    request, tokenizer, context = chat.request, served.loaded.tokenizer, served.loaded.context
    variables = request.chat_template_kwargs or {}
    for name in _RESERVED & set(variables):
        raise ApiError(400, f"chat_template_kwargs cannot set {name}", "chat_template_kwargs")
    variables = variables | ({"tools": tools.listed} if tools.listed else {}) | chat.ending
    prompt = ChatPrompt(turns, variables, chat.now or current(), control_tokens=request.intact.control_tokens)
    length = text_length([turns, tools.listed])
    return await in_thread(lambda: prompted(prompt, request, tokenizer).encode(tokenizer, context), field, length)
