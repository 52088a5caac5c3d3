"""Tools: shown to a model by its template, read from what it writes, and imposed where they are required or strict.

The notation is that of the templates of Qwen and of Hermes, on which it was modelled: a JSON object with name and
arguments between `<tool_call>` and `</tool_call>`; SmolLM2 puts a list of such objects there.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from intact.engine.sampling.grammars import SPACE
from intact.serve.errors import ApiError
from intact.serve.requests import ChatRequest, NamedTool
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
    text = "" if template is None else template.sources[-1]
    if "tools" not in text or OPEN not in text:
        raise ApiError(400, "the chat template of this model knows no tools", "tools", "unsupported")
    return [tool.model_dump(exclude_none=True) for tool in tools]


def reads_calls(request: ChatRequest) -> bool:
    """Whether calls are looked for in what is written."""
    return bool(request.tools) and request.tool_choice != "none"


def alone(request: ChatRequest) -> bool:
    """Whether there may be one call at most."""
    return reads_calls(request) and (request.parallel_tool_calls is False or isinstance(request.tool_choice, NamedTool))


def stops(request: ChatRequest) -> tuple[str, ...]:
    """What ends a text beside what the request says: the first closing tag, where a second call may not follow."""
    return (CLOSE,) if alone(request) else ()


def imposed(request: ChatRequest, schema: dict[str, Any] | None) -> str | None:
    """A grammar of the text, in Lark's notation, where calls are required or strict, or stand beside a schema.

    A model that may choose writes text as it likes, or JSON of the schema where there is one; once it opens a tag, a
    call follows. Arguments fit the parameters of their function where a call is required, or the function is strict.
    """
    choice, tools = request.tool_choice, request.tools or []
    if not reads_calls(request):
        return None
    required = choice == "required" or isinstance(choice, NamedTool)
    if isinstance(choice, NamedTool):
        tools = [tool for tool in tools if tool.function.name == choice.function.name]
    elif not required and schema is None and not any(tool.function.strict for tool in tools):
        return None
    lines = [f"call: {' | '.join(f'call_{i}' for i in range(len(tools)))}"]
    for i, tool in enumerate(tools):
        name, fits = tool.function.name, required or tool.function.strict
        taken = (tool.function.parameters if fits else None) or {"type": "object"}
        before, after = json.dumps(f'\n{{"name": "{name}", "arguments": '), json.dumps(f"}}\n{CLOSE}")
        lines += [f"call_{i}: {before} taken_{i} {after}", f"taken_{i}: %json {_json(taken, _SPACING)}"]
    calls = f'"{OPEN}" call ("\\n{OPEN}" call)*'
    if required:
        lines.append(f"start: {calls}")
    elif schema is None:
        lines += ["start: (opened call)* rest", f'opened[lazy]: TEXT "{OPEN}"', "rest: TEXT", "TEXT: /(?s:.*)/"]
    else:
        lines += [f"start: {calls} | said", f"said: %json {_json(schema, {'whitespace_pattern': SPACE})}"]
    return "\n".join(lines) + "\n"


def _json(schema: dict[str, Any], spacing: dict[str, Any]) -> str:
    return json.dumps(schema | {"x-guidance": spacing})


class CallReader:
    """Reads calls from a text that comes in pieces; what it gives does not depend on how it was cut.

    A piece between the tags that is no call stays text. White space around calls is dropped. A whole call is one even
    if the text ends before its closing tag.

    Parameters
    ----------
    alone : bool
        Whether of a list of calls only the first is one.
    """

    def __init__(self, alone: bool = False) -> None:
        self._held, self._alone = "", alone
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
            found = self._calls(self._held[start + len(OPEN) : end])
            if found:
                content += self._held[:start].rstrip()
                calls += found
            else:
                content += self._held[: end + len(CLOSE)]
            self._held = self._held[end + len(CLOSE) :]
        return content, calls

    def flush(self) -> tuple[str, list[dict[str, Any]]]:
        """The same of what was held back, once nothing more will come; after calls not the beginning of a tag."""
        held, self._held = self._held, ""
        before, tag, rest = held.partition(OPEN)
        if tag and (found := self._calls(rest)):
            return before.rstrip(), found
        return "" if self.calls and not tag else held, []

    def finish(self, finish: str) -> str:
        """Why the text ended, in OpenAI's words: for calls, unless it was cut off."""
        return "tool_calls" if self.calls and finish == "stop" else finish

    def _calls(self, text: str) -> list[dict[str, Any]]:
        """The calls that stand behind an opening tag; none, if it is something else."""
        found, first = _functions(text)[: 1 if self._alone else None], self.calls
        self.calls += len(found)
        return [
            {"index": index, "id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}
            for index, function in enumerate(found, first)
        ]


def _beginning(text: str) -> int:
    """Where white space, or a part of the opening tag, begins that ends a text."""
    cut = len(text)
    for length in range(min(len(OPEN) - 1, len(text)), 0, -1):
        if OPEN.startswith(text[-length:]):
            cut -= length
            break
    return len(text[:cut].rstrip())


def _functions(text: str) -> list[dict[str, str]]:
    """The functions that a text calls, with their arguments; none, if it is no call or list of calls."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    found: list[dict[str, str]] = []
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            return []
        written = _arguments(one.get("arguments", one.get("parameters")))
        if written is None:
            return []
        found.append({"name": one["name"], "arguments": written})
    return found


def _arguments(given: Any) -> str | None:
    """Arguments as JSON: an object, which may be spelt as a text, or nothing; None for what is none of these."""
    try:
        value = json.loads(given or "{}") if isinstance(given, str) else {} if given is None else given
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return given if given and isinstance(given, str) else json.dumps(value, ensure_ascii=False)
