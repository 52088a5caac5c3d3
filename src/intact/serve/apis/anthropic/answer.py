"""The response of `/v1/messages`: its stream events, and the complete message."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from intact.serve import methods
from intact.serve.apis.anthropic import thinking
from intact.serve.apis.anthropic.content import Content, Event
from intact.serve.apis.anthropic.forms import MessagesRequest
from intact.serve.apis.anthropic.translation import translated
from intact.serve.apis.openai import reasoning
from intact.serve.chat import CallsDelta, Chat, ChatBegin, ChatEnd, TextDelta, TextEnd, open_chat
from intact.serve.models import Served
from intact.serve.replies import event, head
from intact.serve.requests import ChatRequest, Extension
from intact.serve.service import Service

CHAT, MESSAGE = "chatcmpl-", "msg_"
"""ID prefixes of chats and of messages."""
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_LAST_FIELDS = ("usage", "receipt", "intact")
"""Fields of a `message_delta` event in addition to the changed fields of the message."""


@dataclass(frozen=True)
class MessageAnswer:
    """The response to a request, generated once: as a whole, or as events."""

    service: Service
    request: MessagesRequest
    client: str
    _content: Content = field(default_factory=Content)

    async def whole(self) -> dict[str, Any]:
        """Return the complete message."""
        message: dict[str, Any] = {}
        async with self._opened() as happening:
            async for each in happening:
                if each["type"] == "message_start":
                    message = each["message"]
                elif each["type"] == "message_delta":
                    message |= each["delta"] | {name: each[name] for name in _LAST_FIELDS if name in each}
        return message | {"content": self._content.blocks}

    async def encoded_events(self) -> AsyncGenerator[bytes, None]:
        """Yield the events encoded as server-sent events."""
        async with self._opened() as happening:
            async for each in happening:
                yield event(each, each["type"])

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncGenerator[Event, None]]:
        """Translate the request, and open its event stream.

        Raises
        ------
        ApiError
            400, naming the field in Anthropic's API; others as for `open_chat`.
        """
        request = self.request
        request.intact.accept_only(Extension.model_fields.keys() - {"progress"}, "on /v1/messages")
        async with translated(request) as chat_request:
            chosen = methods.choice_of(chat_request, self.service.models)
            write = self._chat_events(chat_request) if chosen is None else self._method_events(chat_request, chosen)
            async with aclosing(write) as happening:
                yield happening

    async def _chat_events(self, chat_request: ChatRequest) -> AsyncGenerator[Event, None]:
        content = self._content
        is_apart = thinking.is_enabled(self.request)
        async with open_chat(self.service, chat_request, self.client, self._prepare, thoughts=is_apart) as chat:
            first = head("chat.completion", self.request.model, chat.served.fingerprint, chat.job.parameters.seed)
            last: dict[str, Any] = {}
            async with aclosing(chat.events()) as events:
                async for each in events:
                    more: list[Event] = []
                    match each:
                        case TextDelta(text=text, is_thought=is_thought):
                            more = content.add_text(text, is_thought)
                        case CallsDelta(calls=calls):
                            more = [one for call in calls for one in content.add_call(**call["function"])]
                        case TextEnd():
                            more, last = content.end(), self._end(chat, each)
                        case ChatBegin():
                            more = _start(first, chat.job.read)
                        case ChatEnd(completions, usage):
                            if chat.job.own.receipt:
                                self.service.receipts.add(self.client, first["id"], completions)
                            more = _stop(last, usage)
                    for one in more:
                        yield one

    def _prepare(self, chat_request: ChatRequest, served: Served) -> ChatRequest:
        thinking.check(self.request, served)
        return chat_request

    def _end(self, chat: Chat, end: TextEnd) -> dict[str, Any]:
        """Return the stop reason, the request's stop sequence that ended the text, and the receipt, if requested."""
        reason, sequence = _REASONS[end.finish], None
        if end.completion.stop in (self.request.stop_sequences or ()):
            reason, sequence = "stop_sequence", end.completion.stop
        elif end.completion.finish == "context":
            reason = "model_context_window_exceeded"
        return {"delta": {"stop_reason": reason, "stop_sequence": sequence}, **chat.job.receipt(end.completion)}

    async def _method_events(
        self, chat_request: ChatRequest, chosen: methods.MethodChoice
    ) -> AsyncGenerator[Event, None]:
        """Yield the events for the completion that a reasoning method chose, once it is known."""
        answer = await reasoning.answer(self.service, chat_request, self.client, chosen)
        (choice,) = answer["choices"]
        last: dict[str, Any] = {
            "delta": {"stop_reason": _REASONS[choice["finish_reason"]], "stop_sequence": None},
            "intact": answer["intact"],
            **({"receipt": choice["receipt"]} if "receipt" in choice else {}),
        }
        text = [*self._content.add_text(choice["message"]["content"]), *self._content.end()]
        for one in (*_start(answer, answer["usage"]["prompt_tokens"]), *text, *_stop(last, answer["usage"])):
            yield one


def _start(first: dict[str, Any], prompt_tokens: int) -> list[Event]:
    """Return the opening events, given the first fields of a chat."""
    message = {
        "id": first["id"].replace(CHAT, MESSAGE),
        "type": "message",
        "role": "assistant",
        "model": first["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage({"prompt_tokens": prompt_tokens, "completion_tokens": 0}),
        "system_fingerprint": first["system_fingerprint"],
        "seed": first["seed"],
    }
    return [{"type": "message_start", "message": message}, {"type": "ping"}]


def _stop(last: dict[str, Any], usage: dict[str, Any]) -> list[Event]:
    return [{"type": "message_delta", **last, "usage": _usage(usage)}, {"type": "message_stop"}]


def _usage(usage: dict[str, Any]) -> dict[str, int]:
    """Return the token counts, without cache hits, which depend on other requests."""
    return {
        "input_tokens": usage["prompt_tokens"],
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": usage["completion_tokens"],
    }
