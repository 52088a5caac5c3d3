"""`/v1/responses`: the commonly used part of OpenAI's newer API, built on `/v1/chat/completions`.

A response is stored unless the request says `store: false` (`stored.py`), and later requests can continue it by its
identifier.

This module is optional.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

from fastapi import APIRouter
from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter
from starlette.responses import Response

from intact.serve.apis.openai import chat
from intact.serve.apis.openai.stored import ResponseStore, StoredResponse, TheResponses, as_items, previous_items
from intact.serve.errors import ApiError
from intact.serve.forms import Form, FormRoute, Many, few, validate
from intact.serve.identity import new_identifier
from intact.serve.replies import CancellableResponse, EventStream, JsonReply, event
from intact.serve.requests import (
    TURNS,
    BodySampling,
    ChatRequest,
    ContentPart,
    Extension,
    NoEffectFields,
    Stop,
    StreamOptions,
)
from intact.serve.service import Client, Service, TheService

_NAMES = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
}
"""Maps field names of a chat to their names in this API."""
_SPEAKERS = {"system": "system", "developer": "system", "assistant": "assistant"}
"""Item types whose consecutive items form one turn, with the turn's role."""
_CHAT, _RESPONSE = "chatcmpl-", "resp_"
"""ID prefixes of chats and of responses."""
Events: TypeAlias = AsyncGenerator[tuple[str, dict[str, Any]], None]
Items: TypeAlias = list[dict[str, Any]]
_SAME = (*BodySampling.model_fields, "stop", "model", "parallel_tool_calls", "metadata", "user", "stream")
"""Fields with the same name in a chat."""


class InputItem(Form):
    """An item of the input; `id` and `status`, which clients send back from earlier responses, have no effect."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"] = "message"
    id: str | None = None
    status: str | None = None


class MessageItem(InputItem):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Many[ContentPart]
    phase: str | None = None


class CallItem(InputItem):
    """A function call."""

    call_id: str
    name: str
    arguments: str = "{}"


class CallOutputItem(InputItem):
    """The output of a call."""

    call_id: str
    output: str | Many[ContentPart]


class ReasoningItem(InputItem):
    """Reasoning from an earlier response: its text, or else its summary."""

    content: Many[ContentPart] | None = None
    summary: Many[ContentPart] | None = None

    @property
    def text(self) -> str:
        """The reasoning."""
        return "\n".join(part.text or "" for part in self.content or self.summary or ())


def _kind(item: Any) -> str:
    kind = item.get("type") if isinstance(item, dict) else None
    return kind if kind in ("function_call", "function_call_output", "reasoning") else "message"


AnyItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind),
]


class TextOptions(Form):
    """The output format; only OpenAI's default verbosity is accepted, since others would have no effect."""

    format: dict[str, Any] | None = None
    verbosity: Literal["medium"] | None = None


Input = str | Annotated[Many[AnyItem], Field(min_length=1, max_length=TURNS)]
_ITEMS: TypeAdapter[list[Any]] = TypeAdapter(Many[AnyItem], config=ConfigDict(strict=True))


class ResponsesRequest(BodySampling, NoEffectFields):
    """`/v1/responses`; OpenAI's fields, and for benchmarks a chat's sampling parameters and stop strings."""

    narrow: ClassVar[Collection[str]] = ()

    model: str
    input: Input
    previous_response_id: str | None = None
    store: bool | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    stop: Stop | None = None
    stream: bool | None = None
    text: TextOptions | None = None
    tools: Annotated[Many[dict[str, Any]], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | Annotated[dict[str, str], few(8)] | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    truncation: Literal["disabled"] | None = None
    # these have no effect either
    include: Many[Literal["reasoning.encrypted_content"]] | None = None
    background: Literal[False] | None = None
    stream_options: StreamOptions | None = None
    intact: Extension = Extension()


router = APIRouter(route_class=FormRoute)


@router.post("/v1/responses")
async def create_response(
    body: ResponsesRequest, service: TheService, store: TheResponses, client: Client
) -> CancellableResponse:
    """Answer in the format of OpenAI's newer API."""
    seconds, events = service.seconds(body.intact.deadline), _events(service, store, body, client)
    return EventStream(_encoded(events), seconds) if body.stream else JsonReply(lambda: _whole_of(events), seconds)


@router.get("/v1/receipts/resp_{name}")
async def receipts(name: str, service: TheService, client: Client) -> Response:
    """Return the receipts of a recent response."""
    return service.receipts.response(client, _CHAT + name)


def as_chat(request: ResponsesRequest) -> ChatRequest:
    """Return the same request as a chat.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    request.intact.accept_only(Extension.model_fields.keys() - {"progress"}, "on /v1/responses")
    body: dict[str, Any] = {name: getattr(request, name) for name in _SAME}
    body["messages"] = _messages(request)
    body["max_completion_tokens"] = request.max_output_tokens
    body["intact"] = request.intact.model_dump(exclude_unset=True)
    if request.text is not None and request.text.format is not None:
        format_ = dict(request.text.format)
        kind = format_.pop("type", None)
        body["response_format"] = {"type": kind} | ({"json_schema": format_} if format_ else {})
    if request.tools:
        for i, tool in enumerate(request.tools):
            if tool.get("type") != "function":
                raise ApiError(400, f"tools[{i}].type: only functions are supported", f"tools[{i}].type", "unsupported")
        body["tools"] = [_nested(tool) for tool in request.tools]
    choice = request.tool_choice
    body["tool_choice"] = _nested(choice) if isinstance(choice, dict) else choice
    try:
        return validate(ChatRequest, body)
    except ApiError as error:
        raise renamed(error) from error


def _nested(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool or a tool choice in a chat's format, with its fields nested in `function`."""
    return {"type": tool.get("type"), "function": {name: value for name, value in tool.items() if name != "type"}}


def renamed(error: ApiError) -> ApiError:
    """Return a chat's error with the field name of this API."""
    param = error.param or ""
    renamed = re.sub(r"^(tools\[\d+\]|tool_choice)\.function", r"\1", param)
    for chat_name, name in _NAMES.items():
        if param.startswith(chat_name):
            renamed = name if chat_name != "response_format" else param.replace(chat_name, name)
    if renamed != param:
        error.param, error.message = renamed, error.message.replace(param, renamed)
    return error


def _messages(request: ResponsesRequest) -> list[dict[str, Any]]:
    """Return the turns of a chat, merging consecutive assistant items, and likewise consecutive system items.

    The text parts of a turn are joined by line feeds, like the parts of a message.
    """
    turns: list[dict[str, Any]] = []
    if request.instructions is not None:
        turns.append({"role": "system", "content": request.instructions})
    if isinstance(request.input, str):
        return [*turns, {"role": "user", "content": request.input}]
    for item in request.input:
        turn = _turn(item)
        if turns and _SPEAKERS.get(turn["role"]) == _SPEAKERS.get(turns[-1]["role"], ""):
            _join(turns[-1], turn)
        else:
            turns.append(turn)
    return turns


def _turn(item: MessageItem | CallItem | CallOutputItem | ReasoningItem) -> dict[str, Any]:
    match item:
        case MessageItem():
            return {"role": item.role, "content": _content(item.content)}
        case CallOutputItem():
            return {"role": "tool", "tool_call_id": item.call_id, "content": _content(item.output)}
        case ReasoningItem():
            return {"role": "assistant", "content": None, "reasoning_content": item.text}
    function = {"name": item.name, "arguments": item.arguments}
    call = {"id": item.call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _join(turn: dict[str, Any], more: dict[str, Any]) -> None:
    """Merge a turn into the previous one of the same role, in place."""
    texts = [_parts(one["content"]) for one in (turn, more) if one["content"] is not None]
    turn["content"] = [part for text in texts for part in text] if texts else None
    if thoughts := [one["reasoning_content"] for one in (turn, more) if one.get("reasoning_content")]:
        turn["reasoning_content"] = "\n".join(thoughts)
    if calls := turn.get("tool_calls", []) + more.get("tool_calls", []):
        turn["tool_calls"] = calls


def _parts(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _content(content: str | list[ContentPart]) -> Any:
    return content if isinstance(content, str) else [part.model_dump() for part in content]


class _TextItem(NamedTuple):
    """A kind of output item that consists of text.

    Attributes
    ----------
    prefix : str
        Prefix of the item's identifier.
    item, part : mapping
        Fields of the item, and of its only part, apart from the text.
    event : str
        Prefix of its events' names.
    more : mapping
        Additional fields of these events.
    """

    prefix: str
    item: Mapping[str, Any]
    part: Mapping[str, Any]
    event: str
    more: Mapping[str, Any]

    def described(self, name: str, text: str, status: str = "completed") -> dict[str, Any]:
        """Return the item with its text."""
        content = [self.with_text(text)] if status == "completed" else []
        return {**self.item, "id": name, "status": status, "content": content}

    def with_text(self, text: str) -> dict[str, Any]:
        """Return the item's part with its text."""
        return {**self.part, "text": text}


_MESSAGE = _TextItem(
    "msg_",
    {"type": "message", "role": "assistant"},
    {"type": "output_text", "annotations": [], "logprobs": []},
    "response.output_text",
    more={"logprobs": []},
)
_REASONING = _TextItem(
    "rs_", {"type": "reasoning", "summary": []}, {"type": "reasoning_text"}, "response.reasoning_text", more={}
)


def _call(call: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"] if status == "completed" else ""
    name = "fc_" + call["id"].removeprefix("call_")
    head = {"type": "function_call", "id": name, "call_id": call["id"], "status": status}
    return {**head, "name": function["name"], "arguments": arguments}


def _whole(request: ResponsesRequest, first: dict[str, Any], output: list[Any], finish: str | None) -> dict[str, Any]:
    """Return a response; if it has no finish reason, it is in progress."""
    status = "in_progress" if finish is None else "incomplete" if finish == "length" else "completed"
    usage = first.get("usage")
    return {
        "id": first["id"].replace(_CHAT, _RESPONSE),
        "object": "response",
        "created_at": first["created"],
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "model": first["model"],
        "output": output,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "text": {"format": (request.text and request.text.format) or {"type": "text"}},
        "tool_choice": request.tool_choice or "auto",
        "tools": request.tools or [],
        "truncation": "disabled",
        "metadata": request.metadata or {},
        "store": request.store is not False,
        "usage": usage and _usage(usage),
        "system_fingerprint": first["system_fingerprint"],
        **{name: first[name] for name in ("intact", "receipt") if name in first},
    }


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    details = usage.get("completion_tokens_details", {})
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": details.get("reasoning_tokens", 0)},
        "total_tokens": usage["total_tokens"],
    }


async def _whole_of(events: Events) -> dict[str, Any]:
    """Return the complete response, as in its last event."""
    whole: dict[str, Any] = {}
    async with aclosing(events):
        async for _, fields in events:
            whole = fields.get("response", whole)
    return whole


async def _encoded(events: Events) -> AsyncGenerator[bytes, None]:
    """Yield the response as named events."""
    number = 0
    async with aclosing(events):
        async for kind, fields in events:
            yield event({"type": kind, "sequence_number": number, **fields}, kind)
            number += 1


def _continued(request: ResponsesRequest, before: list[dict[str, Any]]) -> tuple[ResponsesRequest, Items]:
    """Prepend the items of the continued response to a request's input; return the request, and all items to store.

    Raises
    ------
    ApiError
        400, if there are too many.
    """
    given = request.input
    own = as_items(given if isinstance(given, str) else [item.model_dump(exclude_none=True) for item in given])
    items = [*before, *own]
    if len(items) > TURNS:
        raise ApiError(
            400, f"input: the conversation has {len(items):,} items, more than the limit of {TURNS:,}", "input"
        )
    if before:
        request = request.model_copy(update={"input": _ITEMS.validate_python(items)})
    return request, items


async def _events(service: Service, store: ResponseStore, request: ResponsesRequest, client: str) -> Events:
    """Yield the names and fields of events; the last contains the complete response, which has been stored by then."""
    name = request.previous_response_id
    before = [] if name is None else await previous_items(store, client, name)
    request, items = await asyncio.to_thread(_continued, request, before)  # may have thousands of turns
    chat_request = await asyncio.to_thread(as_chat, request)
    body = chat_request.model_copy(update={"stream_options": StreamOptions(include_usage=True)})
    output = _Output()
    first: dict[str, Any] | None = None
    finish = None
    async with aclosing(chat.chunks(service, body, client)) as chunks:
        try:
            async for chunk in chunks:
                if first is None:
                    first = chunk
                    for kind in ("response.created", "response.in_progress"):
                        yield kind, {"response": _whole(request, chunk, [], None)}
                if chunk.get("usage"):
                    first = first | {"usage": chunk["usage"]}
                if chunk.get("intact", {}).get("event") == "result":
                    result = {name: value for name, value in chunk["intact"].items() if name != "event"}
                    first = first | {"intact": result}
                for choice in chunk["choices"]:
                    finish = choice["finish_reason"] or finish
                    if "receipt" in choice:
                        first = first | {"receipt": choice["receipt"]}
                    for event in output.add(choice["delta"]):
                        yield event
        except ApiError as error:
            raise renamed(error) from error
    for event in output.end():
        yield event
    assert first is not None
    whole = _whole(request, first, output.items, finish or "stop")
    if request.store is not False:
        whole["store"] = await store.add(client, StoredResponse(whole, items))
    yield "response." + whole["status"], {"response": whole}


class _Output:
    """The output of a response so far; its methods return the events for new content."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._open: _TextItem | None = None
        self._name = self._text = ""

    def add(self, delta: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Add the thinking, content and tool calls of a chat chunk."""
        events: list[tuple[str, dict[str, Any]]] = []
        for kind, field in ((_REASONING, "reasoning_content"), (_MESSAGE, "content")):
            if text := delta.get(field):
                events += [] if self._open is kind else self._end_text() + self._begin(kind)
                self._text += text
                events.append((f"{kind.event}.delta", {**self._place, "delta": text, **kind.more}))
        for call in delta.get("tool_calls") or []:
            events += self._end_text() + self._call(call)
        return events

    def end(self) -> list[tuple[str, dict[str, Any]]]:
        """End the output, which has at least one item."""
        begun = [] if self.items or self._open else self._begin(_MESSAGE)
        return begun + self._end_text()

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._name, "output_index": len(self.items), "content_index": 0}

    def _begin(self, kind: _TextItem) -> list[tuple[str, dict[str, Any]]]:
        self._open, self._name, self._text = kind, kind.prefix + new_identifier(), ""
        item = kind.described(self._name, "", "in_progress")
        return [
            ("response.output_item.added", {"output_index": len(self.items), "item": item}),
            ("response.content_part.added", {**self._place, "part": kind.with_text("")}),
        ]

    def _end_text(self) -> list[tuple[str, dict[str, Any]]]:
        if self._open is None:
            return []
        kind, place, text = self._open, self._place, self._text
        item, self._open = kind.described(self._name, text), None
        self.items.append(item)
        return [
            (f"{kind.event}.done", {**place, "text": text, **kind.more}),
            ("response.content_part.done", {**place, "part": kind.with_text(text)}),
            ("response.output_item.done", {"output_index": place["output_index"], "item": item}),
        ]

    def _call(self, call: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        item, index = _call(call), len(self.items)
        self.items.append(item)
        place = {"item_id": item["id"], "output_index": index}
        return [
            ("response.output_item.added", {"output_index": index, "item": _call(call, "in_progress")}),
            ("response.function_call_arguments.delta", {**place, "delta": item["arguments"]}),
            ("response.function_call_arguments.done", {**place, "arguments": item["arguments"], "name": item["name"]}),
            ("response.output_item.done", {"output_index": index, "item": item}),
        ]
