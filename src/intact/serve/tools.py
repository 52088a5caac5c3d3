"""Tools: passed to the chat template, parsed from the model's output, and enforced if they are required or strict.

The format of calls depends on the chat template (`intact.text.tool_calls`); for a template without tool support, the
prompt lists them (`intact.text.tool_prompt`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from intact._base.errors import IntactError
from intact.engine.sampling import constraints
from intact.engine.sampling.grammars import SPACE
from intact.serve.errors import ApiError, as_api_error
from intact.serve.identity import new_identifier
from intact.serve.requests import ChatRequest, NamedTool, Tool, as_turns
from intact.text import ChatPrompt, Tokenizer
from intact.text.thinking import PROMPT_TAIL, TAGS, ThinkingTags
from intact.text.tool_calls import (
    CallReader,
    ParsedCall,
    Signatures,
    ToolCallFormat,
    ToolSignature,
    find_format,
)
from intact.text.tool_calls.bare_json import BareJson
from intact.text.tool_calls.hermes import Hermes
from intact.text.tool_prompt import with_tools

_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class RequestTools(NamedTuple):
    """The tools of a request for a model.

    Attributes
    ----------
    form : ToolCallFormat or None
        The format in which calls are parsed from the answer; None if calls are not parsed.
    listed : list of dict or None
        The tools in the form that the chat template expects; None if there are none, or none may be called.
    imposed : bool
        If true, the answer must consist of calls.
    """

    form: ToolCallFormat | None
    listed: list[dict[str, Any]] | None
    imposed: bool


def tool_use(request: ChatRequest, tokenizer: Tokenizer) -> RequestTools:
    """Return the tools of a request for a model, and the format of their calls.

    Raises
    ------
    ApiError
        400, if two tools have the same name, the choice names none of them, or the model lacks a chat template.
    """
    form = _call_format(request, tokenizer)
    return RequestTools(form, _template_tools(request, form), imposes_calls(request))


def _template_tools(request: ChatRequest, form: ToolCallFormat | None) -> list[dict[str, Any]] | None:
    tools, choice = request.tools or [], request.tool_choice
    names = [tool.function.name for tool in tools]
    if len(set(names)) < len(names):
        raise ApiError(400, "two tools have the same name", "tools")
    if choice == "required" and not tools:
        raise ApiError(400, "tool_choice is required, but there are no tools", "tool_choice")
    if isinstance(choice, NamedTool) and choice.function.name not in names:
        where = "tool_choice.function.name"
        raise ApiError(400, f"no tool named {choice.function.name!r:.100}; available: {', '.join(names)}", where)
    if not tools or choice == "none":
        return None
    if form is None:
        raise ApiError(400, "this model has no chat template, so it does not support tools", "tools", "unsupported")
    return [tool.model_dump(exclude_none=True) for tool in tools]


def _call_format(request: ChatRequest, tokenizer: Tokenizer) -> ToolCallFormat | None:
    template = tokenizer.chat_template
    if not request.tools or request.tool_choice == "none" or template is None:
        return None
    if not template.knows_tools:
        return Hermes()  # the format that `intact.text.tool_prompt` requests
    return find_format(template.sources[-1]) or BareJson()


def prompted(conversation: ChatPrompt, request: ChatRequest, tokenizer: Tokenizer) -> ChatPrompt:
    """Return the conversation to render; if the template lacks tool support, its messages list the tools."""
    template = tokenizer.chat_template
    if not request.tools or template is None or template.knows_tools:
        return conversation
    variables = dict(conversation.variables)
    tools = variables.pop("tools", None)
    takes_system = tools is not None and template.takes_system
    return replace(conversation, messages=with_tools(conversation.messages, tools, takes_system), variables=variables)


def single_call(request: ChatRequest) -> bool:
    """Return true if at most one call is allowed."""
    return request.parallel_tool_calls is False or isinstance(request.tool_choice, NamedTool)


def imposes_calls(request: ChatRequest) -> bool:
    """Return true if an answer must consist of calls."""
    return request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool)


def begun_thought(request: ChatRequest, tokenizer: Tokenizer, prompt: Sequence[int]) -> ThinkingTags | None:
    """Return the markers of thinking that a prompt leaves open; None if there is none, or if the format excludes it.

    A prompt ends with the opening marker if the template writes it, and inside thinking if it continues an assistant
    message with unfinished thinking.
    """
    if imposes_calls(request) or not _is_free(request):
        return None
    if request.continue_final_message:
        (turn,) = as_turns(request.messages[-1:])
        return next((tags for tags in TAGS if tags.is_open(turn["content"])), None)
    ending = tokenizer.decode(prompt[-PROMPT_TAIL:], skip_special=False).rstrip()
    return next((tags for tags in TAGS if ending.endswith(tags.opens)), None)


def _is_free(request: ChatRequest) -> bool:
    """Return true if the output format is unrestricted."""
    return request.response_format is None or request.response_format.type == "text"


def signatures(request: ChatRequest) -> Signatures:
    """Return the request's tools in the form that parsers of calls need."""
    return Signatures(map(_signature, request.tools or ()))


def _signature(tool: Tool) -> ToolSignature:
    function = tool.function
    return ToolSignature.of(function.name, function.parameters, bool(function.strict))


def call_grammar(request: ChatRequest, schema: dict[str, Any] | None, form: ToolCallFormat | None) -> str | None:
    """Return a grammar of the output, in Lark's notation, if calls are required or strict, or combined with a schema.

    If calls are optional, the model writes free text, or JSON that matches the schema if there is one; an opening
    marker must be followed by a call, and the name of a strict function in plain JSON by that function's arguments.
    Arguments match the function's parameters if a call is required or the function is strict.

    Raises
    ------
    ApiError
        400, if a schema cannot be enforced, naming the tool and the location.
    """
    choice, tools, required = request.tool_choice, request.tools or [], imposes_calls(request)
    if form is None:
        return None
    tools = [_imposed(tool, f"tools[{i}].function.parameters", required) for i, tool in enumerate(tools)]
    schema = None if schema is None else _schema(schema, "response_format")
    if isinstance(choice, NamedTool):
        tools = [tool for tool in tools if tool.function.name == choice.function.name]
    elif not required and schema is None and not any(tool.function.strict for tool in tools):
        return None
    if not required and schema is None:
        return _text_with_calls(tools, form)
    lines = _call_rules(tools, form, required)
    if required:
        lines.append(f"start: {_calls(form, single_call(request))}")
    else:
        lines += [f"start: {_calls(form, single_call(request))} | said"]
        lines.append(f"said: %json {_json(schema or {}, {'whitespace_pattern': SPACE})}")
    return "\n".join(lines) + "\n"


def _imposed(tool: Tool, where: str, required: bool) -> Tool:
    """Return a tool with its parameters as enforced; a tool that is neither required nor strict is unchanged."""
    function = tool.function
    if function.parameters is None or not (required or function.strict):
        return tool
    try:
        parameters = _schema(function.parameters, where)
    except ApiError as error:
        error.message += f" (the tool is {function.name})"
        raise
    return tool.model_copy(update={"function": function.model_copy(update={"parameters": parameters})})


def name_fault(request: ChatRequest, error: ApiError) -> None:
    """Add the tool at fault, and the location in its schema, to an error in the grammar of all calls."""
    for i, tool in enumerate(request.tools or []):
        where = f"tools[{i}].function.parameters"
        if found := constraints.fault(tool.function.parameters or {}, where):
            error.param, error.message = where, f"{found} (the tool is {tool.function.name})"
            return


def _schema(schema: dict[str, Any], where: str) -> dict[str, Any]:
    try:
        return constraints.imposed(schema, where)
    except IntactError as error:
        raise as_api_error(error, (), where) from error


def _call_rules(tools: Sequence[Tool], form: ToolCallFormat, required: bool) -> list[str]:
    """Return the grammar rules for a call to any of the tools, after the opening marker."""
    lines = [f"call: {' | '.join(f'call_{i}' for i in range(len(tools)))}"]
    for i, tool in enumerate(tools):
        before, after = form.frame(tool.function.name)
        parameters = tool.function.parameters if required or tool.function.strict else None
        lines += [
            f"call_{i}: {json.dumps(before)} taken_{i} {json.dumps(after + form.closes)}",
            f"taken_{i}: %json {_json(parameters or {'type': 'object'}, _SPACING)}",
        ]
    return lines


def _calls(form: ToolCallFormat, alone: bool) -> str:
    """Return the grammar rule for one or several calls."""
    opens = form.opens if form.closes else ""
    call = f"{json.dumps(opens)} call" if opens else "call"
    return call if alone else f"{call} ({json.dumps(chr(10) + opens)} call)*"


def _text_with_calls(tools: Sequence[Tool], form: ToolCallFormat) -> str:
    """Return a grammar for free text in which everything after the start of a call is constrained."""
    lines, parts = ["rest: TEXT", "TEXT: /(?s:.*)/"], []
    if form.closes:
        lines += [*_call_rules(tools, form, False), f"opened[lazy]: TEXT {json.dumps(form.opens)}"]
        parts.append("opened call")
    for i, tool in enumerate(tools):
        if tool.function.strict:
            parameters = tool.function.parameters or {"type": "object"}
            lines += [
                f"begun_{i}[lazy]: TEXT /{_signature(tool).begins}/",
                f"plain_{i}: %json {_json(parameters, {'whitespace_pattern': SPACE})}",
            ]
            parts.append(f"begun_{i} GAP? plain_{i}")
    lines += ["GAP: /[ \\t\\r\\n]{1,40}/", f"start: ({' | '.join(parts)})* rest"]
    return "\n".join(lines) + "\n"


def _json(schema: dict[str, Any], spacing: dict[str, Any]) -> str:
    return json.dumps(schema | {"x-guidance": spacing})


class ToolCallStream:
    """Incremental parser of calls in generated text; returns them in API format, numbered, each with its own id."""

    def __init__(self, reader: CallReader, alone: bool = False) -> None:
        self._reader, self._alone, self._count = reader, alone, 0

    @classmethod
    def of(cls, request: ChatRequest, form: ToolCallFormat, thought: ThinkingTags | None = None) -> ToolCallStream:
        """Return a parser of the calls that a request allows; `thought` is the result of `begun_thought`."""
        alone = single_call(request)
        return cls(CallReader(form, alone, signatures(request), _is_free(request), thought=thought), alone)

    def push(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """Consume more text; return the part that is certainly content, and the completed calls."""
        content, calls = self._reader.push(text)
        return content, self._numbered(calls)

    def flush(self) -> tuple[str, list[dict[str, Any]]]:
        """Return what was held back, in the same form, at the end of the text."""
        content, calls = self._reader.flush()
        return content, self._numbered(calls)

    def finish(self, finish: str) -> str:
        """Return the finish reason in OpenAI's terms: the one for calls, unless the text was cut off in them."""
        return "tool_calls" if self._count and (finish == "stop" or self._alone) else finish

    def _numbered(self, calls: list[ParsedCall]) -> list[dict[str, Any]]:
        first, self._count = self._count, self._count + len(calls)
        return [
            {"index": index, "id": f"call_{new_identifier()[:24]}", "type": "function", "function": call._asdict()}
            for index, call in enumerate(calls, first)
        ]
