"""Tools for chat templates without tool support: a prompt that lists them, and turns that any template can render."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from intact.text.template import Message

VERSION: Final = 1
"""Version of these texts: any change to them is a new version, since prompts and answers change with it."""
PROMPT: Final = """\
You can call these tools:
<tools>
{tools}
</tools>

To call a tool, write its name and its arguments as a JSON object between these tags, and nothing after them:
<tool_call>
{{"name": "NAME", "arguments": {{}}}}
</tool_call>

Its result comes in the next message, between <tool_response> and </tool_response>. Call a tool only where it helps; \
otherwise answer in plain text."""
"""The prompt text, with one line of JSON per tool. Calls use the format `hermes`, which many models have seen."""
_LISTED = ("name", "description", "parameters")


def tool_prompt(tools: Sequence[Mapping[str, Any]]) -> str:
    """Return the prompt for tools in the format of OpenAI's field `tools`."""
    lines = [{name: tool["function"][name] for name in _LISTED if name in tool["function"]} for tool in tools]
    return PROMPT.format(tools="\n".join(json.dumps(line, ensure_ascii=False) for line in lines))


def with_tools(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None, takes_system: bool
) -> list[dict[str, Any]]:
    """Rewrite messages for a template that does not support tools.

    Calls and their results become text of the assistant and the user; consecutive user turns that result from this are
    merged, as some templates require turns to alternate.

    Parameters
    ----------
    tools : sequence of mapping, optional
        Tools to list in the system message, or before the first question if the template does not support a system
        message.
    takes_system : bool
        If true, the template supports a system message (`ChatTemplate.takes_system`).
    """
    turns: list[dict[str, Any]] = []
    contents: list[list[Any]] = []  # per turn, joined only at the end, as there may be thousands of results in a row
    follows_result = False
    for message in messages:
        turn = _as_text(message)
        is_result = message["role"] == "tool"
        if turns and turn["role"] == turns[-1]["role"] == "user" and (is_result or follows_result):
            contents[-1].append(turn["content"])
        else:
            turns.append(turn)
            contents.append([turn["content"]])
        follows_result = is_result
    turns = [
        turn | {"content": "\n".join(parts)} if len(parts) > 1 else turn
        for turn, parts in zip(turns, contents, strict=True)
    ]
    if not tools:
        return turns
    prompt, wanted = tool_prompt(tools), "system" if takes_system else "user"
    place = next((i for i, turn in enumerate(turns) if turn["role"] == wanted), None)
    if place is None:
        return [{"role": wanted, "content": prompt}, *turns]
    content = turns[place]["content"]
    both = f"{content}\n\n{prompt}" if takes_system else f"{prompt}\n\n{content}"
    turns[place] = turns[place] | {"content": both}
    return turns


def _as_text(message: Message) -> dict[str, Any]:
    """Return a turn with calls and results as plain text."""
    content = message.get("content") or ""
    if message["role"] == "tool":
        return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}
    calls = message.get("tool_calls") or ()
    written = [json.dumps(call["function"], ensure_ascii=False) for call in calls]
    parts = [*([content] if content or not calls else []), *(f"<tool_call>\n{one}\n</tool_call>" for one in written)]
    return {**{name: value for name, value in message.items() if name != "tool_calls"}, "content": "\n".join(parts)}
