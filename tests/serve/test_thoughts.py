"""Thoughts apart from the text in OpenAI's interfaces, and their way back into the conversation."""

import re

import httpx
import pytest

from support.serving import running
from support.tiny import write_tiny

THINKS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n"
    "</think>\n\n{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ALWAYS = THINKS.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
CALLS = "{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}" + THINKS
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
TEXT = "<think>\nHm, air?\n</think>\n\nAir."


@pytest.fixture(scope="module")
def server(tiny_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("thinking")
    paths = {"tiny": tiny_path}
    for name, template in (("thinks", THINKS), ("always", ALWAYS), ("calls", CALLS)):
        metadata = {"tokenizer.chat_template": template}
        paths[name] = write_tiny(folder / f"{name}.gguf", "qwen3", context=2048, metadata=metadata)
    with running(paths) as there:
        yield there
        there.settle(there.idle)


def forced(text, **more):
    """Return arguments of a chat whose text is this one."""
    return {
        "model": "thinks",
        "messages": QUESTION,
        "max_tokens": 200,
        "extra_body": {"intact": {"regex": re.escape(text)}},
        **more,
    }


def streamed(client, **asked):
    """Return thoughts, content and usage of a streamed chat."""
    thoughts, content, usage = "", "", None
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            thoughts += getattr(choice.delta, "reasoning_content", None) or ""
            content += choice.delta.content or ""
    return thoughts, content, usage


@pytest.mark.parametrize(
    ("model", "text", "thoughts", "content"),
    [
        ("thinks", TEXT, "Hm, air?", "Air."),
        ("thinks", "<think>Hm", "Hm", ""),
        ("thinks", "No thoughts.", "", "No thoughts."),
        ("thinks", "Is <think> a mark?", "", "Is <think> a mark?"),
        ("always", "Hm.\n</think>\n\nSo.", "Hm.", "So."),
        ("tiny", TEXT, "", TEXT),
    ],
)
def test_thoughts_are_apart_where_the_template_knows_them(client, model, text, thoughts, content):
    asked = forced(text, model=model)
    answer = client.chat.completions.create(**asked)
    message = answer.choices[0].message
    assert (getattr(message, "reasoning_content", ""), message.content) == (thoughts, content)
    assert streamed(client, **asked) == (thoughts, content, answer.usage)
    if model == "tiny":
        assert answer.usage.completion_tokens_details is None
    else:
        count = answer.usage.completion_tokens_details.reasoning_tokens
        assert bool(count) == bool(thoughts)
        assert (count < answer.usage.completion_tokens) == bool(content)


def test_thoughts_calls_and_text_are_told_apart(client):
    text = '<think>\nHm.\n</think>\n\nI look. <tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    asked = forced(text, model="calls", tools=[tool])
    answer = client.chat.completions.create(**asked)
    message = answer.choices[0].message
    assert (message.reasoning_content, message.content) == ("Hm.", "I look.")
    assert [call.function.name for call in message.tool_calls] == ["look"]
    assert streamed(client, **asked) == ("Hm.", "I look.", answer.usage)
    tokens = client.chat.completions.create(**asked, logprobs=True).choices[0].logprobs.content
    count = answer.usage.completion_tokens_details.reasoning_tokens
    assert "".join(entry.token for entry in tokens[count:]).startswith("I look. <tool_call>")


def test_tokens_of_thoughts_are_those_before_the_answer(client):
    answer = client.chat.completions.create(**forced(TEXT), logprobs=True)
    tokens = [entry.token for entry in answer.choices[0].logprobs.content]
    count = answer.usage.completion_tokens_details.reasoning_tokens
    assert "".join(tokens[count:]) == "Air."


def test_log_probabilities_have_all_tokens_of_thoughts_and_text(client):
    answer = client.chat.completions.create(**forced(TEXT), logprobs=True)
    assert "".join(entry.token for entry in answer.choices[0].logprobs.content) == TEXT
    chunks = list(client.chat.completions.create(**forced(TEXT), logprobs=True, stream=True))
    entries = [
        entry for chunk in chunks for choice in chunk.choices if choice.logprobs for entry in choice.logprobs.content
    ]
    assert entries == answer.choices[0].logprobs.content


def test_text_that_must_be_json_has_no_thoughts(client):
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["a"]}}}
    answer = client.chat.completions.create(model="always", messages=QUESTION, max_tokens=20, response_format=schema)
    assert answer.choices[0].message.content == '"a"'
    tool = {"type": "function", "function": {"name": "pick", "parameters": {"enum": [{"x": 1}]}}}
    answer = client.chat.completions.create(
        model="always", messages=QUESTION, max_tokens=200, tools=[tool], tool_choice="required"
    )
    assert [call.function.name for call in answer.choices[0].message.tool_calls][:1] == ["pick"]


def test_thoughts_that_a_client_began_are_continued_as_thoughts(client):
    for begun, thoughts, content in (
        ("<think>\nHm", ", air?", "Air."),
        ("<think>a</think>b", "", ", air?\n</think>\n\nAir."),
    ):
        asked = forced(", air?\n</think>\n\nAir.", messages=[*QUESTION, {"role": "assistant", "content": begun}])
        asked["extra_body"] |= {"continue_final_message": True}
        message = client.chat.completions.create(**asked).choices[0].message
        assert (getattr(message, "reasoning_content", ""), message.content) == (thoughts, content)


def read_tokens(server, messages):
    body = {"model": "thinks", "messages": messages}
    answer = httpx.post(server.url + "/tokenize", json=body, timeout=60)
    return answer.json().get("count") or answer.json()


def test_thoughts_come_back_under_either_name(server):
    def said(**fields):
        return read_tokens(server, [*QUESTION, {"role": "assistant", "content": "Air.", **fields}, *QUESTION])

    wanted = said(reasoning_content="Hm, air?")
    assert wanted > said()
    assert said(reasoning="Hm, air?") == said(reasoning="Hm, air?", reasoning_content="Hm, air?") == wanted
    assert said(content=None, reasoning="Hm, air?") == said(content="", reasoning="Hm, air?")
    assert said(reasoning="Hm", reasoning_content="Air")["error"]["param"] == "messages[1].reasoning"


def test_thoughts_of_a_response_are_an_item(server, client):
    own = {"intact": {"regex": re.escape(TEXT)}}
    asked = {"model": "thinks", "input": QUESTION, "max_output_tokens": 200, "extra_body": own}
    response = client.responses.create(**asked)
    thoughts, message = response.output
    assert (thoughts.type, [part.text for part in thoughts.content]) == ("reasoning", ["Hm, air?"])
    assert response.output_text == message.content[0].text == "Air."
    count = client.chat.completions.create(**forced(TEXT)).usage.completion_tokens_details.reasoning_tokens
    assert response.usage.output_tokens_details.reasoning_tokens == count > 0
    events = list(client.responses.create(**asked, stream=True))
    assert "".join(one.delta for one in events if one.type == "response.reasoning_text.delta") == "Hm, air?"
    (done,) = [one for one in events if one.type == "response.reasoning_text.done"]
    assert (done.text, done.output_index, done.content_index) == ("Hm, air?", 0, 0)
    assert [one.item.type for one in events if one.type == "response.output_item.added"] == ["reasoning", "message"]
    assert events[-1].response.usage == response.usage
    turn = {"role": "assistant", "content": "Air.", "reasoning_content": "Hm, air?"}
    wanted = read_tokens(server, [*QUESTION, turn, *QUESTION])
    more = {"model": "thinks", "input": QUESTION, "max_output_tokens": 1}
    items = [*QUESTION, *(item.model_dump() for item in response.output), *QUESTION]
    assert client.responses.create(**more, previous_response_id=response.id).usage.input_tokens == wanted
    assert client.responses.create(**(more | {"input": items})).usage.input_tokens == wanted
    summary = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm, air?"}]}
    items = [*QUESTION, summary, {"role": "assistant", "content": "Air."}, *QUESTION]
    assert client.responses.create(**(more | {"input": items})).usage.input_tokens == wanted


def test_items_of_one_turn_are_one_turn(server, client):
    def read(items, **more):
        asked = {"model": "thinks", "input": items, "max_output_tokens": 1}
        return client.responses.create(**asked, **more).usage.input_tokens

    call = {"type": "function_call", "call_id": "1", "name": "look", "arguments": '{"at": "sky"}'}
    output = {"type": "function_call_output", "call_id": "1", "output": "blue"}
    function = {"name": "look", "arguments": '{"at": "sky"}'}
    calls = [{"id": "1", "type": "function", "function": function}]
    results = [{"role": "tool", "tool_call_id": "1", "content": "blue"}, *QUESTION]
    turn = {"role": "assistant", "content": "I look.", "tool_calls": calls}
    wanted = read_tokens(server, [*QUESTION, turn, *results])
    text = {"role": "assistant", "content": "I look."}
    assert read([*QUESTION, text, call, output, *QUESTION]) == wanted
    assert read([*QUESTION, call, text, output, *QUESTION]) == wanted
    parts = {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]}
    assert read([*QUESTION, parts, call, output, *QUESTION]) == wanted
    thoughts = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    wanted = read_tokens(server, [*QUESTION, turn | {"reasoning_content": "Hm.", "content": ""}, *results])
    assert read([*QUESTION, thoughts, call, output, *QUESTION]) == wanted
    system = {"role": "system", "content": "Be brief.\nBe kind."}
    wanted = read_tokens(server, [system, *QUESTION])
    assert read([{"role": "developer", "content": "Be kind."}, *QUESTION], instructions="Be brief.") == wanted
    two = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}]
    assert read([*two, *QUESTION]) == wanted
    assert read([*QUESTION, *QUESTION]) == read_tokens(server, [*QUESTION, *QUESTION])
