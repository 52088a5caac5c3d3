"""Translation of Anthropic's requests to `intact.serve.chat`, and of error fields back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any

from intact.serve.apis.anthropic.errors import THREADS
from intact.serve.apis.anthropic.forms import (
    Block,
    ClientTool,
    MessagesRequest,
    TextBlock,
    ThinkingBlock,
    TokensRequest,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
)
from intact.serve.errors import ApiError
from intact.serve.forms import validate
from intact.serve.requests import BodySampling, ChatRequest, Function, FunctionTool, Message, Tool, ToolCall
from intact.text.thinking import SWITCH

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_ALLOWED = {
    "user": (TextBlock, ToolResultBlock),
    "assistant": (TextBlock, ThinkingBlock, ToolUseBlock),
    "system": (TextBlock,),
}
"""The blocks allowed in a turn, by role."""
_NAMES = {"stop": "stop_sequences", "response_format": "output_config.format", "chat_template_kwargs": "thinking"}
"""Maps field names of a chat to their names in this API."""


def as_chat(request: TokensRequest) -> ChatRequest:
    """Return the same request as a chat.

    Consecutive turns of one role are merged, and each tool result becomes a separate turn. The text blocks of a turn
    are joined by line feeds, like the parts of OpenAI's messages. A final assistant turn is continued; an empty one has
    no effect.

    Raises
    ------
    ApiError
        400, usually naming the field of the chat (`translated` restores the names of this API).
    """
    if isinstance(request, MessagesRequest) and request.thread is not None:
        message = "this server keeps no conversations: send all of it, without thread"
        raise ApiError(400, message, "thread", THREADS)
    messages = _messages(request)
    body: dict[str, Any] = {"model": request.model, "messages": messages, "intact": request.intact}
    if messages[-1].role == "assistant":
        body["continue_final_message"] = True
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if (choice := request.tool_choice) is not None:
        if choice.type in ("any", "tool") and not request.tools:
            raise ApiError(400, f"tool_choice is {choice.type}, but there are no tools", "tool_choice")
        if choice.type != "tool":
            body["tool_choice"] = _CHOICES[choice.type]
        elif choice.name is None:
            raise ApiError(400, "tool_choice.name is missing", "tool_choice.name", "missing_field")
        else:
            body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
        if choice.disable_parallel_tool_use:
            body["parallel_tool_calls"] = False
    if request.thinking is not None:
        body["chat_template_kwargs"] = {SWITCH: request.thinking.type != "disabled"}
    if request.output_config is not None and (form := request.output_config.format) is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": form.schema_}}
    if isinstance(request, MessagesRequest):
        body |= {name: getattr(request, name) for name in BodySampling.model_fields}
        body |= {"max_tokens": request.max_tokens, "stop": request.stop_sequences, "stream": request.stream}
    return validate(ChatRequest, body)


@asynccontextmanager
async def translated(request: TokensRequest) -> AsyncIterator[ChatRequest]:
    """Translate a request in a thread, since it may contain thousands of turns; errors use Anthropic's field names."""
    try:
        yield await asyncio.to_thread(as_chat, request)
    except ApiError as error:
        raise _renamed(error) from error


def _renamed(error: ApiError) -> ApiError:
    """Return a chat's error with the field name of this API."""
    param = error.param or ""
    name = re.sub(r"^(tools\[\d+\]|tool_choice)\.function", r"\1", param)
    name = re.sub(r"^(tools\[\d+\])\.parameters", r"\1.input_schema", name)
    first = re.match(r"\w*", param)
    if first is not None and first[0] in _NAMES:
        name = _NAMES[first[0]]
    if name != param:
        error.param, error.message = name, re.sub(rf"^{re.escape(param)}\b", name, error.message)
    return error


def _messages(request: TokensRequest) -> list[Message]:
    turns = request.messages[:-1] if _is_empty_answer(request.messages[-1]) else request.messages
    turns = turns or request.messages
    for index, turn in enumerate(turns):
        _check_blocks(turn, f"messages[{index}]")
    system = [] if request.system is None else [Turn.model_construct(role="system", content=request.system)]
    messages = list[Message]()
    for role, group in groupby([*system, *turns], lambda turn: turn.role):
        blocks = [block for turn in group for block in _blocks(turn)]
        messages += _user_turns(blocks) if role == "user" else [_own_turn(role, blocks)]
    return messages


def _is_empty_answer(turn: Turn) -> bool:
    """Return true if a turn is an empty assistant turn, which Anthropic allows at the end."""
    return turn.role == "assistant" and all(isinstance(one, TextBlock) and not one.text for one in _blocks(turn))


def _check_blocks(turn: Turn, where: str) -> None:
    """Raise if there is no block, or one that is not allowed in turns of this role."""
    if turn.content == []:
        raise ApiError(
            400, f"{where}.content has no blocks; expected a string, or at least one block", f"{where}.content"
        )
    for index, block in enumerate([] if isinstance(turn.content, str) else turn.content):
        if not isinstance(block, _ALLOWED[turn.role]):
            place = f"{where}.content[{index}]"
            raise ApiError(400, f"{place}: a turn of the role {turn.role} cannot have {block.type}", place)


def _blocks(turn: Turn) -> Sequence[Block]:
    return [TextBlock(type="text", text=turn.content)] if isinstance(turn.content, str) else turn.content


def _turn(role: str, **fields: Any) -> Message:
    """Build a turn of a chat from validated values."""
    return Message.model_construct(role=role, **fields)


def _user_turns(blocks: Sequence[Block]) -> list[Message]:
    turns = []
    for is_result, group in groupby(blocks, lambda block: isinstance(block, ToolResultBlock)):
        if is_result:
            turns += [
                _turn("tool", content=_joined(block.content or ""), tool_call_id=block.tool_use_id)
                for block in group
                if isinstance(block, ToolResultBlock)
            ]
        else:
            turns.append(_turn("user", content=_joined(list(group))))
    return turns


def _own_turn(role: str, blocks: Sequence[Block]) -> Message:
    """Return an assistant or system turn."""
    fields: dict[str, Any] = {"content": _joined(blocks)}
    if thoughts := [block.thinking for block in blocks if isinstance(block, ThinkingBlock)]:
        fields["reasoning_content"] = "\n".join(thoughts)
    if calls := [block for block in blocks if isinstance(block, ToolUseBlock)]:
        fields["tool_calls"] = [
            ToolCall.model_construct(
                id=call.id, function=Function.model_construct(name=call.name, arguments=json.dumps(call.input))
            )
            for call in calls
        ]
    return _turn(role, **fields)


def _joined(content: str | Sequence[Block]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block.text for block in content if isinstance(block, TextBlock))


def _tool(tool: ClientTool) -> Tool:
    """Convert a tool to a chat tool without validating it again, since OpenAI's limit on names is shorter."""
    function = FunctionTool.model_construct(
        name=tool.name, description=tool.description, parameters=tool.input_schema, strict=tool.strict
    )
    return Tool.model_construct(type="function", function=function)
