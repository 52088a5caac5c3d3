"""Completions in Ollama's API: parts and whole completions, stream lines, and timings."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from intact.serve import methods
from intact.serve.apis.ollama.forms import TextForm, renamed
from intact.serve.apis.ollama.thinking import ThinkChoice
from intact.serve.apis.openai import reasoning
from intact.serve.chat import CallsDelta, Chat, ChatBegin, ChatEnd, TextDelta, TextEnd, open_chat, token_logprobs
from intact.serve.errors import ApiError
from intact.serve.identity import request_time
from intact.serve.models import Served
from intact.serve.replies import LINES, CancellableResponse, ChunkTemplate, EventStream, JsonReply, line
from intact.serve.requests import ChatRequest
from intact.serve.service import Service

_UNLOAD = ("0", "0.0", "0s", "0m")
"""Values of `keep_alive` that Ollama's clients send to unload a model."""
_REASONS = {"stop": "stop", "length": "length", "tool_calls": "stop"}
"""Maps finish reasons to Ollama's."""


class ReplyPart(NamedTuple):
    """A part of a completion, or the whole."""

    content: str = ""
    thinking: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()


class Final(NamedTuple):
    """The end of a completion: finish reason in OpenAI's terms, token counts, and the content of the field `intact`."""

    finish: str
    prompt_tokens: int
    tokens: int
    own: dict[str, Any]


Parts = AsyncGenerator[ReplyPart | Final, None]


@dataclass
class Stopwatch:
    """Times at which a request arrived, got its model, and got its first token, in nanoseconds."""

    began: int = field(default_factory=time.perf_counter_ns)
    loaded: int | None = None
    first: int | None = None

    def durations(self) -> dict[str, int]:
        """Return the duration of each phase up to now."""
        now = time.perf_counter_ns()
        loaded = self.began if self.loaded is None else self.loaded
        first = now if self.first is None else self.first
        return {
            "total_duration": now - self.began,
            "load_duration": loaded - self.began,
            "prompt_eval_duration": first - loaded,
            "eval_duration": now - first,
        }


Begin = Callable[[Stopwatch], Awaitable[Parts]]
"""Validates a request, and returns its completion in parts."""
Render = Callable[[ReplyPart], dict[str, Any]]
"""Returns the fields of a line that contain a part of a completion."""


def respond(service: Service, request: TextForm, begin: Begin, render: Render) -> CancellableResponse:
    """Return the response to a generation request: a stream of lines, or one value with the whole completion."""
    seconds = service.seconds(request.intact.deadline)
    if request.streamed:
        return EventStream(_lines(request.model, begin, Stopwatch(), render), seconds, LINES)
    return JsonReply(lambda: _whole(request.model, begin, Stopwatch(), render), seconds)


def load(service: Service, request: TextForm, name: str, render: Render) -> CancellableResponse:
    """Return the response to a request without a prompt, which clients send to load a model.

    Raises
    ------
    ApiError
        400, if the request asks to unload the model instead.
    """
    if str(request.keep_alive) in _UNLOAD:
        message = "keep_alive has no effect: models stay loaded until --memory has no room for another"
        raise ApiError(400, message, "keep_alive", "unsupported")

    async def answer() -> dict[str, Any]:
        async with service.models.lease(methods.split(name)[0]):
            return {**_head(request.model), **render(ReplyPart()), "done": True, "done_reason": "load"}

    return JsonReply(answer, service.seconds(request.intact.deadline))


def _head(model: str) -> dict[str, Any]:
    return {"model": model, "created_at": timestamp(datetime.fromtimestamp(request_time(), UTC))}


def timestamp(when: datetime) -> str:
    """Format a time as Go programs do."""
    return when.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _last(final: Final, watch: Stopwatch) -> dict[str, Any]:
    return {
        "done": True,
        "done_reason": _REASONS[final.finish],
        **watch.durations(),
        "prompt_eval_count": final.prompt_tokens,
        "eval_count": final.tokens,
        "intact": final.own,
    }


async def _whole(model: str, begin: Begin, watch: Stopwatch, render: Render) -> dict[str, Any]:
    whole, last = list[ReplyPart](), dict[str, Any]()
    with _ollama_names():
        async with aclosing(await begin(watch)) as parts:
            async for part in parts:
                if isinstance(part, Final):
                    last = _last(part, watch)
                else:
                    whole.append(part)
    return {**_head(model), **_rendered(_joined(whole), render), **last}


@contextmanager
def _ollama_names() -> Iterator[None]:
    """Use Ollama's field names in errors raised in the block."""
    try:
        yield
    except ApiError as error:
        raise renamed(error) from error


def _joined(parts: list[ReplyPart]) -> ReplyPart:
    return ReplyPart(
        "".join(part.content for part in parts),
        "".join(part.thinking for part in parts),
        tuple(call for part in parts for call in part.calls),
        tuple(entry for part in parts for entry in part.logprobs),
    )


async def _lines(model: str, begin: Begin, watch: Stopwatch, render: Render) -> AsyncGenerator[bytes, None]:
    head = _head(model)
    template = ChunkTemplate(lambda text: {**head, **render(ReplyPart(text)), "done": False})
    with _ollama_names():
        async with aclosing(await begin(watch)) as parts:
            async for part in parts:
                match part:
                    case ReplyPart(content, "", (), ()):
                        yield template.json(content) + b"\n"
                    case ReplyPart():
                        yield line({**_head(model), **_rendered(part, render), "done": False})
                    case Final():
                        yield line({**_head(model), **render(ReplyPart()), **_last(part, watch)})


def _rendered(part: ReplyPart, render: Render) -> dict[str, Any]:
    return render(part) | ({"logprobs": part.logprobs} if part.logprobs else {})


def chat_parts(
    service: Service, request: ChatRequest, client: str, think: bool | str | None, watch: Stopwatch
) -> Parts:
    """Yield the parts of the answer to a conversation."""
    if (chosen := methods.choice_of(request, service.models)) is not None:
        if think is not None:
            raise ApiError(400, "think cannot be combined with a reasoning method", "think", "unsupported")
        return _method_parts(service, request, client, chosen)
    return _chat_parts(service, request, client, ThinkChoice(think), watch=watch)


async def _chat_parts(
    service: Service, request: ChatRequest, client: str, thinking: ThinkChoice, watch: Stopwatch
) -> Parts:
    def prepare(request: ChatRequest, served: Served) -> ChatRequest:
        watch.loaded = time.perf_counter_ns()
        return thinking.prepare(request, served)

    async with (
        open_chat(service, request, client, prepare, thoughts=bool(thinking.think)) as chat,
        aclosing(written(chat, watch)) as parts,
    ):
        async for part in parts:
            yield part


async def _method_parts(service: Service, request: ChatRequest, client: str, chosen: methods.MethodChoice) -> Parts:
    """Yield the completion that a reasoning method chose, once it is known."""
    answer = await reasoning.answer(service, request, client, chosen)
    (choice,), usage = answer["choices"], answer["usage"]
    yield ReplyPart(choice["message"]["content"])
    own = {"system_fingerprint": answer["system_fingerprint"], **answer["intact"]}
    own |= {"receipt": choice["receipt"]} if "receipt" in choice else {}
    yield Final(choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"], own)


async def written(chat: Chat, watch: Stopwatch) -> Parts:
    """Yield the parts of the completion of an admitted request."""
    tokenizer, finish = chat.served.loaded.tokenizer, "stop"
    own: dict[str, Any] = {"system_fingerprint": chat.served.fingerprint, "seed": chat.job.parameters.seed}
    async with aclosing(chat.events()) as events:
        async for event in events:
            match event:
                case TextDelta(_, text, is_thought, tokens):
                    content, thoughts = ("", text) if is_thought else (text, "")
                    logprobs = tuple([token_logprobs(tokenizer, token) for token in tokens])
                    yield ReplyPart(content, thoughts, logprobs=logprobs)
                case CallsDelta(_, calls):
                    yield ReplyPart(calls=tuple(map(_call, calls)))
                case TextEnd(_, finish, completion):
                    own |= chat.job.receipt(completion)
                case ChatBegin():
                    watch.first = time.perf_counter_ns()
                case ChatEnd(_, counts):
                    yield Final(finish, counts["prompt_tokens"], counts["completion_tokens"], own)


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call in Ollama's format, with its arguments as an object."""
    name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
    return {"id": call["id"], "function": {"index": call["index"], "name": name, "arguments": arguments}}
