"""Tools: shown to a model through its template, read from what it writes, and imposed where a call is required.

The notation is that of the templates of Qwen and of Hermes, on which it was modelled: a JSON object with name and
arguments between `<tool_call>` and `</tool_call>`; SmolLM2 puts a list of such objects there.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from intact.serve.errors import ApiError
from intact.serve.requests import ChatRequest, NamedTool, Tool
from intact.text import Tokenizer

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def shown(request: ChatRequest, tokenizer: Tokenizer) -> list[dict[str, Any]] | None:
    """The tools as a template writes them; None, if there are none, or none may be called.

    Raises
    ------
    ApiError
        400, if the model's template knows no tools, or the choice names none of them.
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
    template = tokenizer.chat_template
    if template is None or "tools" not in template.source_text or OPEN not in template.source_text:
        raise ApiError(400, "the chat template of this model knows no tools", "tools", "unsupported")
    return [tool.model_dump(exclude_none=True) for tool in tools]


def reads_calls(request: ChatRequest) -> bool:
    """Whether calls are looked for in what is written."""
    return bool(request.tools) and request.tool_choice != "none"


def imposed(request: ChatRequest) -> str | None:
    """A grammar of the calls that are required, in Lark's notation; None, where the model may choose."""
    choice, tools = request.tool_choice, request.tools or []
    if isinstance(choice, NamedTool):
        tools = [tool for tool in tools if tool.function.name == choice.function.name]
    elif choice != "required":
        return None
    one = json.dumps({"anyOf": [_schema(tool) for tool in tools], "x-guidance": _SPACING})
    several = "" if request.parallel_tool_calls is False or isinstance(choice, NamedTool) else '("\\n" call)*'
    return f'start: call {several}\ncall: "{OPEN}\\n" body "\\n{CLOSE}"\nbody: %json {one}\n'


def _schema(tool: Tool) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "name": {"const": tool.function.name},
            "arguments": tool.function.parameters or {"type": "object"},
        },
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


class CallReader:
    """Reads calls from a text that comes in pieces; what it gives does not depend on how it was cut.

    A piece between the tags that is no call stays text. White space around calls is dropped.
    """

    def __init__(self) -> None:
        self._held = ""
        self.calls = 0

    def push(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """Take more text: what of it is content for certain, and calls that are complete."""
        self._held += text
        content, calls = "", list[dict[str, Any]]()
        while True:
            start = self._held.find(OPEN)
            if start < 0:
                keep = _beginning(self._held)
                content += self._held[:keep]
                self._held = self._held[keep:]
                break
            end = self._held.find(CLOSE, start)
            if end < 0:
                before = self._held[:start].rstrip()
                content += before
                self._held = self._held[len(before) :]
                break
            found = _calls(self._held[start + len(OPEN) : end], self.calls)
            if found:
                content += self._held[:start].rstrip()
                calls += found
                self.calls += len(found)
            else:
                content += self._held[: end + len(CLOSE)]
            self._held = self._held[end + len(CLOSE) :]
        return content, calls

    def flush(self) -> str:
        """What was held back, once nothing more will come; after calls not the beginning of a tag."""
        held, self._held = self._held, ""
        return "" if self.calls and OPEN not in held else held

    def finish(self, finish: str) -> str:
        """Why the text ended, in OpenAI's words: for calls, unless it was cut off."""
        return "tool_calls" if self.calls and finish == "stop" else finish


def _beginning(text: str) -> int:
    """Where white space, or a part of the opening tag, begins that ends a text."""
    cut = len(text)
    for length in range(min(len(OPEN) - 1, len(text)), 0, -1):
        if OPEN.startswith(text[-length:]):
            cut -= length
            break
    return len(text[:cut].rstrip())


def _calls(text: str, first: int) -> list[dict[str, Any]]:
    """The calls that stand between two tags; none, if it is something else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    calls: list[dict[str, Any]] = []
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            return []
        arguments = one.get("arguments", one.get("parameters", {}))
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        calls.append(
            {
                "index": first + len(calls),
                "id": f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": one["name"], "arguments": written},
            }
        )
    return calls
