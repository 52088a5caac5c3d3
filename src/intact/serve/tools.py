"""Tools: given to the chat template, read from what a model writes, and imposed where they are required or strict.

How a model writes calls depends on its chat template (`intact.text.tool_calls`).
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from intact.engine.sampling.grammars import SPACE
from intact.serve.errors import ApiError
from intact.serve.requests import ChatRequest, NamedTool
from intact.text import Tokenizer
from intact.text.tool_calls import CallReader, ParsedCall, ToolCallFormat, find_format

_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def template_tools(request: ChatRequest, form: ToolCallFormat | None) -> list[dict[str, Any]] | None:
    """Return the tools as the chat template takes them; None if there are none, or none may be called.

    Raises
    ------
    ApiError
        400, if two tools have one name, the choice names none of them, or the model's template knows no tools.
    """
    tools, choice = request.tools or [], request.tool_choice
    names = [tool.function.name for tool in tools]
    if len(set(names)) < len(names):
        raise ApiError(400, "two tools have the same name", "tools")
    if choice == "required" and not tools:
        raise ApiError(400, "tool_choice is required, but there are no tools", "tool_choice")
    if isinstance(choice, NamedTool) and choice.function.name not in names:
        where = "tool_choice.function.name"
        raise ApiError(400, f"there is no tool {choice.function.name!r:.100}; there are {', '.join(names)}", where)
    if not tools or choice == "none":
        return None
    if form is None:
        raise ApiError(400, "the chat template of this model knows no tools", "tools", "unsupported")
    return [tool.model_dump(exclude_none=True) for tool in tools]


def call_format(request: ChatRequest, tokenizer: Tokenizer) -> ToolCallFormat | None:
    """Return the format in which calls are read from the answer; None if none are, or the model knows no tools."""
    template = tokenizer.chat_template
    if not request.tools or request.tool_choice == "none" or template is None:
        return None
    return find_format(template.sources[-1])


def single_call(request: ChatRequest) -> bool:
    """Return whether there may be one call at most."""
    return request.parallel_tool_calls is False or isinstance(request.tool_choice, NamedTool)


def call_stops(request: ChatRequest, form: ToolCallFormat | None) -> tuple[str, ...]:
    """Return the stop strings beside the request's: the first closing mark, where a second call may not follow."""
    return (form.closes,) if form is not None and single_call(request) else ()


def call_grammar(request: ChatRequest, schema: dict[str, Any] | None, form: ToolCallFormat | None) -> str | None:
    """Return a grammar of the text, in Lark's notation, where calls are required or strict, or stand beside a schema.

    A model that may choose writes text as it likes, or JSON of the schema where there is one; once it writes an opening
    mark, a call follows. Arguments fit the parameters of their function where a call is required, or the function is
    strict.
    """
    choice, tools = request.tool_choice, request.tools or []
    if form is None:
        return None
    required = choice == "required" or isinstance(choice, NamedTool)
    if isinstance(choice, NamedTool):
        tools = [tool for tool in tools if tool.function.name == choice.function.name]
    elif not required and schema is None and not any(tool.function.strict for tool in tools):
        return None
    opens = json.dumps(form.opens)
    lines = [f"call: {' | '.join(f'call_{i}' for i in range(len(tools)))}"]
    for i, tool in enumerate(tools):
        before, after = form.frame(tool.function.name)
        parameters = tool.function.parameters if required or tool.function.strict else None
        lines += [
            f"call_{i}: {json.dumps(before)} taken_{i} {json.dumps(after + form.closes)}",
            f"taken_{i}: %json {_json(parameters or {'type': 'object'}, _SPACING)}",
        ]
    calls = f"{opens} call ({json.dumps(chr(10) + form.opens)} call)*"
    if required:
        lines.append(f"start: {calls}")
    elif schema is None:
        lines += ["start: (opened call)* rest", f"opened[lazy]: TEXT {opens}", "rest: TEXT", "TEXT: /(?s:.*)/"]
    else:
        lines += [f"start: {calls} | said", f"said: %json {_json(schema, {'whitespace_pattern': SPACE})}"]
    return "\n".join(lines) + "\n"


def _json(schema: dict[str, Any], spacing: dict[str, Any]) -> str:
    return json.dumps(schema | {"x-guidance": spacing})


class ToolCallStream:
    """Calls out of a text that arrives in pieces, as the API writes them: numbered, each with an id of its own."""

    def __init__(self, form: ToolCallFormat, alone: bool = False) -> None:
        self._reader, self._count = CallReader(form, alone), 0

    def push(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """Take more text; return what of it is content for certain, and the calls that are complete."""
        content, calls = self._reader.push(text)
        return content, self._numbered(calls)

    def flush(self) -> tuple[str, list[dict[str, Any]]]:
        """Return the same of what was held back, once nothing more will come."""
        content, calls = self._reader.flush()
        return content, self._numbered(calls)

    def finish(self, finish: str) -> str:
        """Return why the text ended, in OpenAI's words: for calls, unless it was cut off."""
        return "tool_calls" if self._count and finish == "stop" else finish

    def _numbered(self, calls: list[ParsedCall]) -> list[dict[str, Any]]:
        first, self._count = self._count, self._count + len(calls)
        return [
            {"index": index, "id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": call._asdict()}
            for index, call in enumerate(calls, first)
        ]
