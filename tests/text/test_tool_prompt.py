"""The prompt that lists tools for models whose templates know none: its text is pinned, all templates can write it."""

import time

import pytest

from intact.text import ChatTemplate
from intact.text.tool_calls import CallReader
from intact.text.tool_calls.hermes import Hermes
from intact.text.tool_prompt import VERSION, tool_prompt, with_tools

TOOLS = [
    {"type": "function", "function": {"name": "time", "description": "Café hours.", "strict": True}},
    {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}},
]
FIRST = """\
You can call these tools:
<tools>
{"name": "time", "description": "Café hours."}
{"name": "add", "parameters": {"type": "object"}}
</tools>

To call a tool, write its name and its arguments as a JSON object between these tags, and nothing after them:
<tool_call>
{"name": "NAME", "arguments": {}}
</tool_call>

Its result comes in the next message, between <tool_response> and </tool_response>. Call a tool only where it helps; \
otherwise answer in plain text."""
CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
TURNS = [
    {"role": "user", "content": "1 and 2?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": "3", "tool_call_id": "1"},
    {"role": "tool", "content": "4", "tool_call_id": "1"},
    {"role": "user", "content": "And?"},
]
GEMMA = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}[{{ message.role }}]{{ message.content }}{% endfor %}"
)


def test_the_text_of_a_version_stays():
    assert VERSION == 1
    assert tool_prompt(TOOLS) == FIRST


def test_a_system_message_gets_the_tools():
    assert with_tools(TURNS[:1], TOOLS, True) == [{"role": "system", "content": FIRST}, TURNS[0]]
    system = {"role": "system", "content": "Be brief."}
    assert with_tools([system, TURNS[0]], TOOLS, True)[0]["content"] == f"Be brief.\n\n{FIRST}"


def test_calls_and_results_become_text_that_is_read_as_these_calls():
    turns = with_tools(TURNS, None, True)
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    reader = CallReader(Hermes())
    content, calls = reader.push(turns[1]["content"])
    assert content + reader.flush()[0] == ""
    assert [call.name for call in calls] == ["add", "add"]
    results = "<tool_response>\n3\n</tool_response>\n<tool_response>\n4\n</tool_response>\nAnd?"
    assert turns[2] == {"role": "user", "content": results}
    said = {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]}
    assert with_tools([said], None, True)[0]["content"].startswith("Let me see.\n<tool_call>\n")


def test_a_template_that_takes_no_system_message():
    template = ChatTemplate(GEMMA)
    assert not template.takes_system
    assert not template.knows_tools
    turns = with_tools(TURNS, TOOLS, template.takes_system)
    assert turns[0] == {"role": "user", "content": f"{FIRST}\n\n1 and 2?"}
    assert template.render(turns).startswith(f"[user]{FIRST}")
    assert with_tools([], TOOLS, False) == [{"role": "user", "content": FIRST}]


@pytest.mark.parametrize(
    ("text", "takes"),
    [("{% for m in messages %}{{ m.content }}{% endfor %}", True), ("{{ messages[-1].content }}", False)],
)
def test_whether_a_template_takes_a_system_message(text, takes):
    assert ChatTemplate(text).takes_system is takes


def test_thousands_of_results_are_one_turn_in_linear_time():
    began = time.process_time()
    turns = with_tools(
        [{"role": "user", "content": "?"}, *({"role": "tool", "content": "x" * 800},) * 10_000], None, True
    )
    assert [turn["role"] for turn in turns] == ["user"]
    assert turns[0]["content"].count("<tool_response>") == 10_000
    assert time.process_time() - began < 3
