"""Requests to ``/v1/chat/completions`` from inspect_ai's messages, tools and options, as JSON.

The provider writes requests from them; `intact verify` writes the same requests from a log, where they have the same
form. inspect_ai itself is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from intact._base.errors import ParameterError

MAX_TOKENS: Final = 2048
"""Maximum number of tokens of an answer whose task sets none."""
STOP_REASONS: Final = {"stop": "stop", "length": "max_tokens", "tool_calls": "tool_calls"}
"""Maps the server's finish reasons to inspect_ai's."""
_SAME: Final = (
    *("temperature", "top_p", "frequency_penalty", "presence_penalty", "top_k", "logprobs", "top_logprobs"),
    "parallel_tool_calls",
)
"""Options whose names are the same."""
_RENAMED: Final = {"stop_seqs": "stop", "num_choices": "n"}


def request_of(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    tool_choice: str | Mapping[str, Any] | None,
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the body of a request, without its seed.

    Parameters
    ----------
    messages, tools : sequence of mappings
        Inputs of a generation, as inspect_ai writes them in a log.
    tool_choice : 'auto', 'any', 'none' or mapping, optional
        The tool choice; a mapping names a tool.
    config : mapping
        Options that were set.

    Raises
    ------
    ParameterError
        If a message has content that is not text.
    """
    body: dict[str, Any] = {"model": model, "messages": [_message(one) for one in messages]}
    body["max_tokens"] = config.get("max_tokens") or MAX_TOKENS
    body |= {name: config[name] for name in _SAME if config.get(name) is not None}
    body |= {own: config[name] for name, own in _RENAMED.items() if config.get(name) is not None}
    if config.get("logit_bias"):
        body["logit_bias"] = {str(token): bias for token, bias in config["logit_bias"].items()}
    if (schema := config.get("response_schema")) is not None:
        own = {"name": schema["name"], "schema": schema["json_schema"], "strict": schema.get("strict")}
        body["response_format"] = {"type": "json_schema", "json_schema": own}
    if tools:
        body["tools"] = [_tool(one) for one in tools]
        body["tool_choice"] = _choice(tool_choice)
    own = dict(config.get("extra_body") or {})
    body["intact"] = {**own.pop("intact", {}), "receipt": True}
    return body | own


def text_of(content: Any, kind: str = "text") -> str:
    """Return the text of a message's content; of its reasoning, if `kind` is 'reasoning'.

    Raises
    ------
    ParameterError
        If it has parts of other kinds than text and reasoning.
    """
    if isinstance(content, str):
        return content if kind == "text" else ""
    texts = []
    for part in content or ():
        if part.get("type") not in ("text", "reasoning"):
            raise ParameterError(f"messages must be text for this model, got a part of type {part.get('type')!r:.40}")
        if part["type"] == kind:
            texts.append(part[kind])
    return "\n".join(texts)


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message in OpenAI's format."""
    role, content = message["role"], message.get("content")
    text = text_of(content)
    if role == "tool":
        error = message.get("error")
        text = f"Error: {error['message']}" if error else text
        named = {name: message[own] for name, own in (("name", "function"),) if message.get(own)}
        return {"role": "tool", "content": text, "tool_call_id": message.get("tool_call_id") or "", **named}
    made: dict[str, Any] = {"role": role, "content": text}
    if role == "assistant":
        if thoughts := text_of(content, "reasoning"):
            made["reasoning_content"] = thoughts
        if calls := message.get("tool_calls"):
            made["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["function"], "arguments": json.dumps(call["arguments"])},
                }
                for call in calls
            ]
    return made


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool in OpenAI's format."""
    function = {"name": tool["name"], "description": tool["description"], "parameters": tool["parameters"]}
    return {"type": "function", "function": function}


def _choice(choice: str | Mapping[str, Any] | None) -> Any:
    """Return a tool choice in OpenAI's format."""
    if isinstance(choice, Mapping):
        return {"type": "function", "function": {"name": choice["name"]}}
    return {"any": "required"}.get(choice or "auto", choice or "auto")
