"""The newer interface through the official client: the chat's texts, events in order, calls, errors."""

import json

import openai
import pytest

from intact.serve.apis.openai.responses import _Output
from support.serving import running
from support.tiny import write_tiny

QUESTION = "Why is the sky blue?"
ASKED = {"model": "tiny", "input": QUESTION, "max_output_tokens": 16, "temperature": 0.8}


def test_a_response_is_the_chat_s_answer(client):
    chat = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
        max_tokens=16,
        temperature=0.8,
    )
    parts = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
    for given in (QUESTION, [{"role": "user", "content": QUESTION}], parts):
        response = client.responses.create(**(ASKED | {"input": given}), instructions="Be brief.")
        assert response.output_text == chat.choices[0].message.content
        assert response.usage.output_tokens == chat.usage.completion_tokens
        assert response.status == ("incomplete" if chat.choices[0].finish_reason == "length" else "completed")


def test_events_come_in_order(client):
    whole = client.responses.create(**ASKED)
    events = list(client.responses.create(**ASKED, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:4]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert events[-1].type == f"response.{whole.status}"
    assert events[-1].response.output_text == whole.output_text
    assert events[-1].response.usage == whole.usage
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text


def test_each_part_of_what_is_said_between_calls_is_an_item():
    stage = _Output()
    call = {"id": "call_1", "function": {"name": "f", "arguments": "{}"}}
    deltas = [{"content": "a"}, {"content": "b"}, {"tool_calls": [call]}, {"content": "c"}]
    events = [event for delta in deltas for event in stage.add(delta)] + stage.end()
    assert [item["type"] for item in stage.items] == ["message", "function_call", "message"]
    assert [item["content"][0]["text"] for item in stage.items[::2]] == ["ab", "c"]
    assert len({item["id"] for item in stage.items}) == 3
    added = [fields["item"]["id"] for kind, fields in events if kind == "response.output_item.added"]
    assert added == [item["id"] for item in stage.items]


def test_a_method_answers_too(client):
    own = {"intact": {"answer": "text"}}
    asked = ASKED | {"model": "tiny:self-consistency-3"}
    whole = client.responses.create(**asked, extra_body=own)
    *_, last = client.responses.create(**asked, extra_body=own, stream=True)
    assert whole.intact["votes"] == last.response.intact["votes"]
    assert whole.output_text == last.response.output_text


def test_items_of_a_response_come_back_as_the_client_has_them(client):
    said = client.responses.create(**ASKED).output
    question, more = {"role": "user", "content": QUESTION}, {"role": "user", "content": "And at night?"}
    texts = [item.content[0].text for item in said]
    plain = [question, *({"role": "assistant", "content": text} for text in texts), more]
    wanted = client.responses.create(**(ASKED | {"input": plain}), text={"verbosity": "medium"}).output_text
    for items in (said, [item.model_dump() for item in said]):
        assert client.responses.create(**(ASKED | {"input": [question, *items, more]})).output_text == wanted


def test_what_agents_send_beside_changes_nothing(client):
    wanted = client.responses.create(**ASKED).output_text
    beside = {"include": [], "tools": [], "prompt_cache_key": "a", "prompt_cache_retention": "24h", "background": False}
    beside |= {"stream_options": {"include_obfuscation": False}}
    beside |= {"reasoning": None, "prompt": None, "conversation": None}
    assert client.responses.create(**ASKED, extra_body=beside).output_text == wanted
    assert client.responses.create(**ASKED, include=["reasoning.encrypted_content"]).output_text == wanted


def test_stops_and_sampling_are_those_of_a_chat(client):
    """guidellm asks for texts of a set length with `ignore_eos`, and writes a stop that is null."""
    more = {"ignore_eos": True, "seed": 5, "top_k": 40, "min_p": 0.01, "presence_penalty": 0.5}
    messages = [{"role": "user", "content": "Hi"}]
    body = {"model": "tiny", "temperature": 1.5}
    for stop in (None, "e", ["a", "e"]):
        beside = more | {"stop": stop}
        chat = client.chat.completions.create(**body, messages=messages, max_tokens=24, extra_body=beside)
        response = client.responses.create(**body, input="Hi", max_output_tokens=24, extra_body=beside)
        assert response.output_text == chat.choices[0].message.content
        assert response.usage.output_tokens == chat.usage.completion_tokens
        assert stop or response.usage.output_tokens == 24


def test_calls_and_what_came_of_them(tmp_path):
    template = (
        "{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{% for message in messages %}{{ message.content }}"
        "{% for call in message.tool_calls or [] %}{{ call.function.name }}{% endfor %}\n{% endfor %}"
    )
    path = write_tiny(tmp_path / "tools.gguf", "qwen3", context=1024, metadata={"tokenizer.chat_template": template})
    schema = {"type": "object", "properties": {"x": {"enum": [1, 2]}}, "required": ["x"], "additionalProperties": False}
    tool = {"type": "function", "name": "pick", "parameters": schema}
    with running({"tools": path}) as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
        asked = {"model": "tools", "input": "Pick.", "tools": [tool], "max_output_tokens": 200}
        choice = {"type": "function", "name": "pick"}
        response = client.responses.create(**asked, tool_choice=choice)
        (call,) = response.output
        assert json.loads(call.arguments)["x"] in (1, 2)
        events = list(client.responses.create(**asked, tool_choice=choice, stream=True))
        (done,) = [event for event in events if event.type == "response.function_call_arguments.done"]
        assert done.arguments == call.arguments
        items = [
            {"role": "user", "content": "Pick."},
            call.model_dump(),
            {"type": "function_call_output", "call_id": call.call_id, "output": "taken"},
        ]
        assert client.responses.create(**(asked | {"input": items, "max_output_tokens": 4})).usage.output_tokens
        client.close()


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"role": "king", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": "x"}, {"content": "x"}]}, "input[1].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": "x", "zzz": 1}]}, "input[0].zzz"),
        ({"input": [{"role": "user", "content": "x", "name": "zoe"}]}, "input[0].name"),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0].type"),
        ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}]}, "input[0].encrypted_content"),
        ({"input": [{"type": "function_call", "call_id": "1"}]}, "input[0].name"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"extra_body": {"min_tokens": 9, "max_output_tokens": 8}}, "min_tokens"),
        ({"extra_body": {"stop": ["x"] * 17}}, "stop"),
        ({"store": "always"}, "store"),
        ({"include": ["message.output_text.logprobs"]}, "include[0]"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"stream": True, "extra_body": {"intact": {"method": "best_of_n", "progress": True}}}, "intact.progress"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "name": "no spaces"}]}, "tools[0].name"),
        (
            {
                "tools": [{"type": "function", "name": "f", "parameters": {}}],
                "tool_choice": {"type": "function", "name": "g"},
            },
            "tool_choice.name",
        ),
    ],
    ids=str,
)
def test_bad_requests_name_the_field(client, more, param):
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(**(ASKED | more))
    assert raised.value.param == param
