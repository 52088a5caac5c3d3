"""Tools and schemas: what a template shows, what is read from a text, what is imposed."""

import json
import re
from itertools import pairwise
from typing import Literal

import httpx
import jsonschema
import llguidance
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from intact.engine.sampling import grammars
from intact.measure.bench.shapes import tokenizer_metadata
from intact.receipts import canonical
from intact.serve.requests import ChatRequest, Message, ToolCall, as_turns
from intact.serve.tools import ToolCallStream, begun_thought, call_grammar
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.verify import verify_run
from intact.text.thinking import THINK_TAGS
from intact.text.tool_calls import CallReader
from intact.text.tool_calls.bare_json import BareJson
from intact.text.tool_calls.harmony import Harmony
from intact.text.tool_calls.hermes import Hermes
from intact.text.tool_calls.llama import LlamaJson
from intact.text.tool_calls.mistral import Mistral
from support.models import real_model
from support.serving import running
from support.tiny import write_tiny

TEMPLATE = (
    "{% if tools %}tools: {% for tool in tools %}{{ tool | tojson }}{% endfor %} call: <tool_call>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function.arguments | tojson }}</tool_call>"
    "{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Of a city.", "parameters": PARAMETERS}}
STRICT = {"type": "function", "function": WEATHER["function"] | {"strict": True}}
TIME = {"type": "function", "function": {"name": "time"}}
ASKED = {"model": "tools", "messages": [{"role": "user", "content": "Weather?"}], "temperature": 1, "max_tokens": 200}

OPENS = 301
"""The token of the opening tag."""

TEXTS = {
    "": ("", []),
    "plain <tool and more": ("plain <tool and more", []),
    '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>': ("", [("f", {"a": 1})]),
    'Let me see. \n<tool_call>{"name": "f", "arguments": {}}</tool_call>\n<tool_call>{"name": "g"}</tool_call>\n': (
        "Let me see.",
        [("f", {}), ("g", {})],
    ),
    '<tool_call>[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]</tool_call>': (
        "",
        [("f", {}), ("g", {})],
    ),
    '<tool_call>{"name": "f"}</tool_call>\n<tool': ("", [("f", {})]),
    "<tool_call>no JSON</tool_call> so": ("<tool_call>no JSON</tool_call> so", []),
    '<tool_call>{"name": 5}</tool_call>': ('<tool_call>{"name": 5}</tool_call>', []),
    '<tool_call>{"name": "f", "argu': ('<tool_call>{"name": "f", "argu', []),
    'So \n<tool_call>\n{"name": "f"}': ("So", [("f", {})]),
    '<tool_call>{"name": "f"}</tool_call>\n<tool_call>{"name": "g"}\n</tool_': (
        '\n<tool_call>{"name": "g"}\n</tool_',
        [("f", {})],
    ),
    "trailing space \n": ("trailing space \n", []),
    r'<tool_call>{"name": "f", "arguments": "{\"a\": 1}"}</tool_call>': ("", [("f", {"a": 1})]),
    '<tool_call>{"name": "f", "arguments": null}</tool_call>': ("", [("f", {})]),
    '<tool_call>{"name": "f", "arguments": ""}</tool_call>': ("", [("f", {})]),
}
TEXTS |= {
    text: (text, [])
    for wrong in ('"no JSON"', "[1, 2]", '"[1]"', "5")
    for text in [f'<tool_call>{{"name": "f", "arguments": {wrong}}}</tool_call>']
}


@given(st.sampled_from(sorted(TEXTS)), st.lists(st.integers(0, 80)))
def test_calls_are_read_however_a_text_is_cut(text, cuts):
    bounds = sorted({0, len(text), *[min(cut, len(text)) for cut in cuts]})
    reader, content, calls = ToolCallStream(CallReader(Hermes())), "", []
    for start, end in pairwise(bounds):
        piece, found = reader.push(text[start:end])
        content += piece
        calls += found
    rest, found = reader.flush()
    content, calls = content + rest, calls + found
    named = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    assert (content, named) == TEXTS[text]
    assert [call["index"] for call in calls] == list(range(len(calls)))
    turn = Message(role="assistant", tool_calls=[ToolCall.model_validate(call) for call in calls])
    back = as_turns([turn])[0].get("tool_calls", [])  # what is given is taken
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in back] == named


@pytest.fixture(scope="module")
def client(tiny_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("tools") / "tools.gguf"
    own = tokenizer_metadata(OPENS) | {"tokenizer.chat_template": TEMPLATE}
    own["tokenizer.ggml.tokens"].append("<tool_call>")
    own["tokenizer.ggml.token_type"].append(4)  # defined by a user: text, but a token of its own
    write_tiny(path, "qwen3", context=1024, vocabulary=OPENS + 1, metadata=own)
    with (
        running({"tools": path, "tiny": tiny_path}) as server,
        openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as made,
    ):
        yield made


@pytest.mark.parametrize("seed", range(3))
def test_a_required_call_fits_its_schema(client, seed):
    more = {"tools": [WEATHER, TIME], "tool_choice": "required", "parallel_tool_calls": False, "seed": seed}
    choice = client.chat.completions.create(**ASKED, **more).choices[0]
    assert choice.finish_reason in ("tool_calls", "length")
    for call in choice.message.tool_calls or []:
        arguments = json.loads(call.function.arguments)
        if call.function.name == "weather":
            jsonschema.validate(arguments, PARAMETERS)
        else:
            assert call.function.name == "time"


def test_calls_that_were_cut_off_are_not_passed_off_as_all(client):
    parameters = {"type": "object", "properties": {}, "additionalProperties": False}
    tools = [{"type": "function", "function": {"name": "time", "parameters": parameters}}]
    asked = ASKED | {"tools": tools, "tool_choice": "required"}
    one = client.chat.completions.create(**asked, parallel_tool_calls=False)
    assert one.choices[0].finish_reason == "tool_calls"
    length = one.usage.completion_tokens  # the call's, and what would stand before a second one
    asked |= {"max_tokens": length, "extra_body": {"min_tokens": length}}
    (choice,) = client.chat.completions.create(**asked).choices
    assert (choice.finish_reason, choice.message.content, len(choice.message.tool_calls)) == ("length", None, 1)
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)]
    assert chunks[-1].finish_reason == "length"
    assert "".join(choice.delta.content or "" for choice in chunks) == ""
    assert sum(len(choice.delta.tool_calls or []) for choice in chunks) == 1


def test_a_named_call_streams_as_it_is_given_whole(client):
    more = {"tools": [WEATHER, TIME], "tool_choice": {"type": "function", "function": {"name": "weather"}}, "n": 2}
    whole = client.chat.completions.create(**ASKED, **more)
    calls, finish = {}, {}
    for chunk in client.chat.completions.create(**ASKED, **more, stream=True):
        for choice in chunk.choices:
            finish[choice.index] = choice.finish_reason or finish.get(choice.index)
            for call in choice.delta.tool_calls or []:
                calls[choice.index] = (call.function.name, call.function.arguments)
    for choice in whole.choices:
        (call,) = choice.message.tool_calls
        assert choice.message.content is None
        assert choice.finish_reason == finish[choice.index] == "tool_calls"
        assert calls[choice.index] == (call.function.name, call.function.arguments)
        jsonschema.validate(json.loads(call.function.arguments), PARAMETERS)


def test_at_most_one_call_where_calls_may_not_be_parallel(client):
    calls = [f'{{"name": "time", "arguments": {{"{key}": 1}}}}' for key in "ab"]
    texts = ["Well. " + "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)]
    texts.append(f"<tool_call>[{', '.join(calls)}]</tool_call>")  # as SmolLM2 writes them
    for text in texts:
        asked = ASKED | {"tools": [TIME], "extra_body": {"intact": {"regex": re.escape(text)}}}
        both = client.chat.completions.create(**asked).choices[0]
        assert [json.loads(call.function.arguments) for call in both.message.tool_calls] == [{"a": 1}, {"b": 1}]
        one = client.chat.completions.create(**asked, parallel_tool_calls=False)
        (call,) = one.choices[0].message.tool_calls
        assert call.function.arguments == '{"a": 1}'
        assert one.choices[0].finish_reason == "tool_calls"
        assert one.choices[0].message.content == both.message.content
        chunks = list(client.chat.completions.create(**asked, parallel_tool_calls=False, stream=True))
        (streamed,) = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
        assert (streamed.function.name, streamed.function.arguments) == ("time", '{"a": 1}')
        assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_calls_as_plain_json(client):
    call = '{"name": "weather", "arguments": {"city": "Rome", "days": 2}}'
    for text, content in ((f"Well.\n```json\n{call}\n```", "Well."), (f"[{call}, {call}] done", " done")):
        asked = ASKED | {"tools": [WEATHER, TIME], "extra_body": {"intact": {"regex": re.escape(text)}}}
        whole = client.chat.completions.create(**asked).choices[0]
        assert (whole.finish_reason, whole.message.content) == ("tool_calls", content)
        assert {json.loads(one.function.arguments)["days"] for one in whole.message.tool_calls} == {2}
        chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)]
        assert "".join(choice.delta.content or "" for choice in chunks) == content
        assert sum(len(choice.delta.tool_calls or []) for choice in chunks) == len(whole.message.tool_calls)
        alone = client.chat.completions.create(**asked, parallel_tool_calls=False).choices[0]
        assert len(alone.message.tool_calls) == 1
        assert "done" not in (alone.message.content or "")
        none = client.chat.completions.create(**(asked | {"tools": [TIME]})).choices[0]
        assert (none.finish_reason, none.message.content, none.message.tool_calls) == ("stop", text, None)


def test_a_template_without_tools_gets_a_prompt_that_lists_them(client):
    shown = ASKED | {"model": "tiny", "tools": [WEATHER, TIME], "max_tokens": 300}
    call = '<tool_call>{"name": "weather", "arguments": {"city": "Rome", "days": 2}}</tool_call>'
    own = {"intact": {"regex": re.escape(call), "receipt": True}}
    choice = client.chat.completions.create(**shown, extra_body=own).choices[0]
    (called,) = choice.message.tool_calls
    assert json.loads(called.function.arguments) == {"city": "Rome", "days": 2}
    prompt = choice.receipt["request"]["prompt"]  # the tiny model's tokens are bytes: the receipt has the whole prompt
    required = client.chat.completions.create(**shown, tool_choice="required", parallel_tool_calls=False).choices[0]
    if required.finish_reason == "tool_calls":
        assert required.message.tool_calls[0].function.name in ("weather", "time")
    turn = {"role": "assistant", "content": None, "tool_calls": [called.model_dump()]}
    result = {"role": "tool", "tool_call_id": called.id, "content": "sunny"}
    more = shown | {"messages": [*ASKED["messages"], turn, result], "max_tokens": 3}
    assert client.chat.completions.create(**more).usage.prompt_tokens > len(prompt)
    assert client.chat.completions.create(**more, tool_choice="none").usage.prompt_tokens > 0


def accepted(grammar, text):
    """Whether a text is a sentence of a grammar."""
    tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(grammars._Bytes()), n_vocab=257, eos_token=[256])
    matcher = grammars.matcher(tokenizer, "grammar", grammar, grammars.LIMITS)
    assert not matcher.is_error(), matcher.get_error()
    tokens = list(text.encode())
    return all(matcher.consume_token(token) for token in tokens) and matcher.is_accepting()


@pytest.mark.parametrize("form", [Harmony(), Hermes(), LlamaJson(), Mistral(), BareJson()], ids=lambda form: form.name)
def test_a_strict_function_is_constrained_as_soon_as_a_call_names_it(form):
    request = ChatRequest.model_validate(ASKED | {"tools": [STRICT, TIME]})
    grammar = call_grammar(request, None, form)
    good = '"arguments": {"city": "Rome", "days": 2}}'
    for around in ("", "```json\n", "Well. [", '{"type": "function", "function": '):
        assert accepted(grammar, around + '{"name": "weather", ' + good)
        assert accepted(
            grammar, around + '{\n  "name" : "weather",\n  "parameters":\n  {"city": "Oslo",\n "days": 1} }; so'
        )
        assert not accepted(grammar, around + '{"name": "weather", "arguments": {"city": "Paris", "days": 2}}')
        assert not accepted(grammar, around + '{"name": "weather", "arguments": "Rome"}')
    for text in ("", "text", '{"name": "time", "arguments": {"x": 1}}', '{"name": "weather"}', '{"name": "Zoe"} [1]'):
        assert accepted(grammar, text)
    assert accepted(grammar, "<tool_call>x") is not isinstance(form, Hermes)


@pytest.mark.parametrize("form", [Harmony(), Hermes(), LlamaJson(), Mistral(), BareJson()], ids=lambda form: form.name)
@pytest.mark.parametrize("alone", [False, True])
def test_required_calls_are_written_as_the_format_has_them(form, alone):
    asked = {"tools": [WEATHER, TIME], "tool_choice": "required", "parallel_tool_calls": not alone}
    request = ChatRequest.model_validate(ASKED | asked)
    grammar = call_grammar(request, None, form)
    before, after = form.frame("weather")
    opens = form.opens if form.closes else ""
    call = opens + before + '{"city": "Rome", "days": 2}' + after + form.closes
    assert accepted(grammar, call)
    assert accepted(grammar, f"{call}\n{call}") is not alone
    assert not accepted(grammar, call.replace("Rome", "Paris"))
    reader = ToolCallStream.of(request, form)
    assert len(reader.push(f"{call}\n{call}")[1] + reader.flush()[1]) == (1 if alone else 2)


@pytest.mark.parametrize("seed", range(3))
def test_a_strict_function_is_called_as_its_schema_says_by_a_model_that_may_choose(client, seed):
    opens = {"logit_bias": {str(OPENS): 100}}
    asked = ASKED | {"tools": [STRICT, TIME], "parallel_tool_calls": False, "seed": seed, "max_tokens": 400}
    (choice,) = client.chat.completions.create(**asked, **opens).choices
    assert choice.finish_reason in ("tool_calls", "length")
    for call in choice.message.tool_calls or []:
        if call.function.name == "weather":
            jsonschema.validate(json.loads(call.function.arguments), PARAMETERS)
        else:
            assert call.function.name == "time"
    assert choice.message.tool_calls or choice.message.content.startswith('<tool_call>\n{"name": "')
    never = {"logit_bias": {str(OPENS): -100}}
    free, plain = (
        client.chat.completions.create(**(asked | {"tools": [tool]}), **never).choices[0] for tool in (STRICT, WEATHER)
    )
    assert free.message.tool_calls is None
    assert plain.message.tool_calls is None
    assert free.message.content


def test_schemas_with_definitions_of_their_own(client):
    days = {"type": "object", "properties": {"first": {"$ref": "#/$defs/day"}}, "required": ["first"]}
    days |= {"$defs": {"day": {"enum": ["Monday", "Sunday"]}}, "additionalProperties": False}
    tools = [{"type": "function", "function": {"name": name, "parameters": days}} for name in ("open", "close")]
    (choice,) = client.chat.completions.create(**ASKED, tools=tools, tool_choice="required").choices
    assert choice.message.tool_calls
    for call in choice.message.tool_calls:
        jsonschema.validate(json.loads(call.function.arguments), days)


def test_a_model_calls_a_tool_or_answers_with_json(client):
    format_ = {"type": "json_schema", "json_schema": {"name": "trip", "schema": PARAMETERS}}
    asked = ASKED | {"tools": [TIME], "response_format": format_, "max_tokens": 400, "parallel_tool_calls": False}
    called, said = (
        client.chat.completions.create(**asked, logit_bias={str(OPENS): bias, "63": bias}).choices[0]
        for bias in (100, -100)  # of the tag, and of the byte that it begins with
    )
    assert called.message.tool_calls or called.message.content.startswith("<tool_call>")
    assert said.message.tool_calls is None
    jsonschema.validate(json.loads(said.message.content), PARAMETERS)


def test_answers_of_tools_go_back(client):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    messages = [
        *ASKED["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    answer = client.chat.completions.create(**(ASKED | {"messages": messages, "max_tokens": 3}), tools=[WEATHER])
    assert answer.usage.completion_tokens


def test_a_method_refuses_what_it_would_not_be_shown(client):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    asked = ASKED | {"model": "tools:best-of-n-2", "max_tokens": 3}
    turns = [*ASKED["messages"], {"role": "assistant", "content": None, "tool_calls": [call]}]
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**(asked | {"messages": turns}))
    assert raised.value.param == "messages[1].tool_calls"
    named = [{**ASKED["messages"][0], "name": "zoe"}]  # which this model's template passes over in any chat
    answers = [client.chat.completions.create(**(asked | {"messages": each})) for each in (named, ASKED["messages"])]
    assert answers[0].choices == answers[1].choices


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [WEATHER, WEATHER]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
            "tool_choice.function.name",
        ),
        (
            {
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "what"}}}],
                "tool_choice": "required",
            },
            "tools[0].function.parameters",
        ),
        (
            {"tools": [TIME], "tool_choice": "required", "extra_body": {"intact": {"grammar": 'start: "a"'}}},
            "intact.grammar",
        ),
        (
            {"tools": [TIME], "tool_choice": "required", "extra_body": {"intact": {"regex": "a"}}},
            "intact.regex",
        ),
        (
            {"tools": [STRICT], "extra_body": {"intact": {"grammar": 'start: "a"'}}},
            "intact.grammar",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "w"}}}]},
            "tools[0].function.parameters",
        ),
    ],
    ids=str,
)
def test_bad_tools_are_named(client, more, param):
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**(ASKED | more))
    assert raised.value.param == param


def test_a_schema_that_cannot_be_imposed_is_refused_by_tool_and_property(client):
    lacking = {"type": "object", "properties": {"tags": {"type": "array", "items": {}, "uniqueItems": True}}}
    asked = ASKED | {"max_tokens": 2}
    other = {"type": "function", "function": {"name": "tag", "parameters": lacking}}
    for more in ({"tool_choice": "required"}, {"tool_choice": {"type": "function", "function": {"name": "tag"}}}):
        with pytest.raises(openai.BadRequestError) as raised:
            client.chat.completions.create(**asked, **more, tools=[WEATHER, other])
        assert raised.value.param == "tools[1].function.parameters"
        message = raised.value.body["message"]
        assert message.startswith("tools[1].function.parameters.properties.tags: uniqueItems cannot be enforced")
        assert message.endswith("(the tool is tag)")
    assert client.chat.completions.create(**asked, tools=[WEATHER, other]).choices  # nothing is imposed
    either = {"oneOf": [{"type": "integer"}, {"type": "number"}]}
    several = {"$defs": {"n": either}, "type": "object", "properties": {"n": {"anyOf": [{"$ref": "#/$defs/n"}]}}}
    other["function"] = {"name": "count", "parameters": several}
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**asked, tools=[WEATHER, other], tool_choice="required")
    assert raised.value.param == "tools[1].function.parameters"
    assert raised.value.body["message"].startswith("tools[1].function.parameters.properties.n.anyOf[0]: oneOf ")
    assert raised.value.body["message"].endswith("(the tool is count)")
    function = {"type": "function", "name": "tag", "parameters": lacking}
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(model="tools", input="Tag.", tools=[function], tool_choice="required")
    assert raised.value.param == "tools[0].parameters"
    format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": lacking}}
    for more in ({}, {"tools": [WEATHER]}):
        with pytest.raises(openai.BadRequestError, match="uniqueItems cannot be enforced") as raised:
            client.chat.completions.create(**asked, **more, response_format=format_)
        assert raised.value.param == "response_format"


def test_a_required_call_may_have_any_format_and_the_bounds_of_64_bits(client):
    properties = {"a": {"enum": ["x"], "format": "isbn"}, "b": {"type": "integer", "minimum": -(2**63), "maximum": 9}}
    schema = {"type": "object", "properties": properties, "required": ["a", "b"], "additionalProperties": False}
    tool = {"type": "function", "function": {"name": "look", "parameters": schema}}
    answer = client.chat.completions.create(**ASKED, tools=[tool], tool_choice="required", parallel_tool_calls=False)
    (call,) = answer.choices[0].message.tool_calls
    jsonschema.validate(json.loads(call.function.arguments), schema)


def test_bad_arguments_are_named(client):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}
    messages = [{"role": "assistant", "tool_calls": [call]}]
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**(ASKED | {"messages": messages}))
    assert raised.value.param == "messages[0].tool_calls[0].function.arguments"


def test_the_time_that_a_template_tells_can_be_fixed(tmp_path):
    template = "{{ strftime_now('%Y') }}{% for message in messages %}{{ message.content }}{% endfor %}"
    path = write_tiny(tmp_path / "dated.gguf", "qwen3", context=512, metadata={"tokenizer.chat_template": template})
    asked = {"model": "dated", "messages": ASKED["messages"], "max_tokens": 3}
    with (
        running({"dated": path}) as server,
        openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client,
    ):
        receipt = {"receipt": True}
        for year in ("1999", "2026"):
            own = {"intact": receipt | {"now": f"{year}-05-06T07:08:09"}}
            answer = client.chat.completions.create(**asked, extra_body=own)
            tokens = answer.choices[0].receipt["request"]["prompt"]
            told = server.service.models.served["dated"].loaded.tokenizer.decode(tokens)
            assert told == f"{year}Weather?"
        for own, now in ({}, "2024-07-26T00:00:00"), ({"now": "1999-05-06T07:08:09"}, "1999-05-06T07:08:09"):
            own |= receipt | {"method": "chain_of_thought", "trace": True}
            answer = client.chat.completions.create(**asked, extra_body={"intact": own})
            assert (answer.choices[0].receipt["now"], answer.intact["trace"]["now"]) == (now, now)
            there = server.service.models.served["dated"].loaded
            assert verify_run(there, RunReceipt.parse(canonical.encode(answer.choices[0].receipt))).outcome == "true"
        with pytest.raises(openai.BadRequestError) as raised:
            client.chat.completions.create(**asked, extra_body={"intact": {"now": "tomorrow"}})
        assert raised.value.param == "intact.now"


def test_schemas_are_kept(client):
    format_ = {"type": "json_schema", "json_schema": {"name": "trip", "schema": PARAMETERS, "strict": True}}
    for seed in range(3):
        answer = client.chat.completions.create(**ASKED, seed=seed, response_format=format_).choices[0]
        if answer.finish_reason == "stop":
            jsonschema.validate(json.loads(answer.message.content), PARAMETERS)
    assert answer.message.content.lstrip().startswith("{")
    text = client.chat.completions.create(**ASKED, response_format={"type": "json_object"}).choices[0].message.content
    assert text.lstrip().startswith("{")
    text = client.chat.completions.create(**ASKED, extra_body={"intact": {"regex": "[a-f]{4}"}}).choices[0]
    assert set(text.message.content) <= set("abcdef")
    assert len(text.message.content) == 4


class Place(BaseModel):
    """A city."""

    city: Literal["Rome", "Oslo"]


class Trip(BaseModel):
    """A journey, in a type within a type."""

    to: Place
    days: int = Field(ge=1, le=9)


def test_types_of_the_official_client(client):
    tools = [openai.pydantic_function_tool(Trip)]
    asked = ASKED | {"max_tokens": 400}
    said = client.chat.completions.parse(**asked, response_format=Trip).choices[0].message
    assert isinstance(said.parsed, Trip)
    opens = {"tools": tools, "logit_bias": {str(OPENS): 100}, "parallel_tool_calls": False}
    whole = client.chat.completions.parse(**asked, **opens).choices[0].message.tool_calls[0]
    assert isinstance(whole.function.parsed_arguments, Trip)
    with client.chat.completions.stream(**asked, **opens) as stream:
        kinds = {event.type for event in stream}
        (call,) = stream.get_final_completion().choices[0].message.tool_calls
    assert "tool_calls.function.arguments.done" in kinds
    assert call.function.parsed_arguments == whole.function.parsed_arguments
    written = client.responses.parse(model="tools", input="Weather?", max_output_tokens=400, text_format=Trip)
    assert isinstance(written.output_parsed, Trip)


@pytest.mark.slow
def test_a_real_model_calls_a_tool():
    with (
        running({"qwen": real_model("qwen-coder-0.5b")}) as server,
        openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client,
    ):
        answer = client.chat.completions.create(
            model="qwen",
            messages=[{"role": "user", "content": "What is the weather in Oslo for the next 3 days?"}],
            temperature=0,
            max_tokens=60,
            tools=[WEATHER],
            tool_choice="required",
        )
        (call, *_) = answer.choices[0].message.tool_calls
        assert json.loads(call.function.arguments) == {"city": "Oslo", "days": 3}


@pytest.mark.slow
def test_a_real_model_calls_a_tool_of_its_own_accord():
    with (
        running({"qwen": real_model("qwen-coder-0.5b")}) as server,
        openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client,
    ):
        for tools in ([WEATHER, TIME], [STRICT, TIME]):
            answer = client.chat.completions.create(
                model="qwen",
                messages=[{"role": "user", "content": "What is the weather in Oslo for the next 3 days?"}],
                temperature=0,
                max_tokens=80,
                tools=tools,
            )
            (call,) = answer.choices[0].message.tool_calls  # in a fenced block, whatever its template asks for
            assert call.function.name == "weather"
            assert json.loads(call.function.arguments) == {"city": "Oslo", "days": 3}
            assert answer.choices[0].finish_reason == "tool_calls"


NOTE = {"type": "function", "function": {"name": "note", "parameters": {"properties": {"text": {"type": "string"}}}}}
MARKED = '<tool_call>\n{"name": "note", "arguments": {"text": "a </tool_call> b"}}\n</tool_call>'


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"parallel_tool_calls": False},
        {"tool_choice": "auto", "parallel_tool_calls": False},
    ],
)
def test_the_closing_mark_in_a_string_ends_neither_call_nor_text(client, more):
    asked = ASKED | {"tools": [NOTE]} | more
    said = "The mark </tool_call> ends a call. "
    for stream in (False, True):
        own = {"intact": {"regex": re.escape(said + MARKED)}}
        content, calls, finish = told(client, asked, own, stream)
        assert (content, finish) == (said.rstrip(), "tool_calls")
        assert [json.loads(arguments) for _, arguments in calls] == [{"text": "a </tool_call> b"}]
        content, calls, finish = told(client, asked, {"intact": {"regex": re.escape(said + said)}}, stream)
        assert (content, calls, finish) == (said + said, [], "stop")


def test_all_interfaces_give_the_same_calls_and_texts(client):
    written = MARKED.replace("a </tool_call> b", "a </tool_call> \\\\ud83d")
    text = f"<think>{MARKED}</think>\nSo `{MARKED}`: {written}"
    content, arguments = f"<think>{MARKED}</think>\nSo `{MARKED}`:", {"text": "a </tool_call> \\ud83d"}
    url, own = str(client.base_url).removesuffix("v1/"), {"regex": re.escape(text)}
    asked = {"model": "tools", "messages": ASKED["messages"], "intact": own}
    flat = {"type": "function"} | NOTE["function"]
    tool = {"name": "note", "input_schema": {"type": "object"} | NOTE["function"]["parameters"]}
    alone = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}

    def post(path, body):
        return httpx.post(url + path, json=body, timeout=60).json()

    said, called = post("v1/messages", asked | alone | {"tools": [tool], "max_tokens": 400})["content"]
    assert (said["text"], called["name"], called["input"]) == (content, "note", arguments)
    message = post("api/chat", asked | {"tools": [NOTE], "stream": False})["message"]
    assert message["content"] == content
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == [arguments]
    body = {"model": "tools", "input": ASKED["messages"], "tools": [flat], "intact": own, "parallel_tool_calls": False}
    said, called = post("v1/responses", body)["output"]
    assert (said["content"][0]["text"], json.loads(called["arguments"])) == (content, arguments)
    chat, calls, finish = told(client, ASKED | {"tools": [NOTE], "max_tokens": 400}, {"intact": own}, True)
    assert (chat, json.loads(calls[0][1]), finish) == (content, arguments, "tool_calls")


def test_a_call_with_half_of_a_surrogate_pair_can_be_sent_back(client):
    text = MARKED.replace("a </tool_call> b", r"\ud83d C:\users")
    asked = ASKED | {"tools": [NOTE]}
    message = (
        client.chat.completions.create(**asked, extra_body={"intact": {"regex": re.escape(text)}}).choices[0].message
    )
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"text": "\ufffd C:\\users"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "done"}
    turns = [*ASKED["messages"], message.model_dump(exclude_none=True), result]
    assert client.chat.completions.create(**(asked | {"messages": turns, "max_tokens": 1})).usage.prompt_tokens


def told(client, asked, own, stream):
    """Return the content, the calls and the finish reason of an answer."""
    if not stream:
        choice = client.chat.completions.create(**asked, extra_body=own).choices[0]
        calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
        return choice.message.content or "", calls, choice.finish_reason
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, extra_body=own, stream=True)]
    calls = [call.function for chunk in chunks for call in chunk.delta.tool_calls or []]
    content = "".join(chunk.delta.content or "" for chunk in chunks)
    return content, [(call.name, call.arguments) for call in calls], chunks[-1].finish_reason


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "note"}}])
def test_an_imposed_call_may_hold_its_closing_mark(client, choice):
    text = {"enum": ["a </tool_call> b"]}
    tool = {"type": "function", "function": {"name": "note", "parameters": {"type": "object", "properties": {}}}}
    tool["function"]["parameters"] |= {
        "properties": {"text": text},
        "required": ["text"],
        "additionalProperties": False,
    }
    asked = ASKED | {"tools": [tool], "tool_choice": choice, "parallel_tool_calls": False}
    for stream in (False, True):
        content, calls, finish = told(client, asked, {}, stream)
        assert (content, finish) == ("", "tool_calls")
        assert [json.loads(arguments) for _, arguments in calls] == [{"text": "a </tool_call> b"}]


def test_calls_of_a_thought_that_the_prompt_begins_are_text(client):
    request = ChatRequest.model_validate(ASKED | {"tools": [NOTE]})
    text = f"Perhaps {MARKED}</think>\n{MARKED}"

    class Ending:
        def decode(self, tokens, skip_special):
            return "assistant\n<think>\n"

    assert begun_thought(request, Ending(), []) is THINK_TAGS
    reader = ToolCallStream.of(request, Hermes(), begun_thought(request, Ending(), []))
    content, calls = reader.push(text)
    assert (content, len(calls)) == (f"Perhaps {MARKED}</think>", 1)
    imposed = ChatRequest.model_validate(ASKED | {"tools": [NOTE], "tool_choice": "required"})
    assert begun_thought(imposed, Ending(), []) is None


@pytest.mark.parametrize(("begun", "calls"), [("<think>Hm,", 0), ("<think>Hm.</think>", 1), ("Hm,", 1)])
def test_calls_of_a_thought_that_is_continued_are_text(client, begun, calls):
    turns = [*ASKED["messages"], {"role": "assistant", "content": begun}]
    own = {"continue_final_message": True, "intact": {"regex": re.escape(f" so {MARKED}")}}
    content, found, _ = told(client, ASKED | {"tools": [NOTE], "messages": turns}, own, False)
    assert len(found) == calls
    assert content == (" so" if calls else f" so {MARKED}")
