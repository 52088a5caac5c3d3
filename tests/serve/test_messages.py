"""Anthropic's interface over plain HTTP: the texts of OpenAI's, events in order, errors, keys, limits."""

import json
import re
import threading

import httpx
import pytest

from intact.measure.bench.shapes import tokenizer_metadata
from intact.serve.apis.anthropic.content import Content
from serve.test_tools import OPENS, PARAMETERS, TEMPLATE
from support.patience import PATIENCE
from support.serving import running
from support.tiny import write_tiny

KEY = "correct-horse-battery-staple"
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
ASKED = {"model": "tiny", "messages": QUESTION, "max_tokens": 16}
THINKING = (
    "{% for message in messages %}{% if message.reasoning_content %}({{ message.reasoning_content }}){% endif %}"
    "{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)
OPENED = "{{ messages[-1].content }}{% if enable_thinking %}<think>\n{% endif %}"
WEATHER = {"name": "weather", "description": "Of a city.", "input_schema": PARAMETERS}
TIME = {"name": "time", "input_schema": {"type": "object", "properties": {}, "additionalProperties": False}}
LONG_NAME = {"name": "mcp__" + 100 * "x", "input_schema": {"type": "object"}}


def openai_tool(tool):
    """A tool as OpenAI's interface has it."""
    function = {name: tool[name] for name in ("name", "description") if name in tool}
    return {"type": "function", "function": function | {"parameters": tool["input_schema"]}}


@pytest.fixture(scope="module")
def server(tiny_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("messages")
    own = tokenizer_metadata(OPENS) | {"tokenizer.chat_template": TEMPLATE}
    own["tokenizer.ggml.tokens"].append("<tool_call>")
    own["tokenizer.ggml.token_type"].append(4)
    paths = {"tiny": tiny_path, "tools": folder / "tools.gguf"}
    write_tiny(paths["tools"], "qwen3", context=1024, vocabulary=OPENS + 1, metadata=own)
    for name, template in (("thinking", THINKING), ("opened", OPENED)):
        paths[name] = write_tiny(
            folder / f"{name}.gguf", "qwen3", context=512, metadata={"tokenizer.chat_template": template}
        )
    paths["long"] = write_tiny(folder / "long.gguf", "qwen3", context=8192)
    with running(paths) as there:
        yield there
        for name in paths:
            if there.service.models.served[name].model:
                there.settle(lambda name=name: there.idle(name))


def post(server, body, path="/v1/messages", **options):
    return httpx.post(server.url + path, json=body, timeout=PATIENCE, **options)


def ask(server, **more):
    answer = post(server, ASKED | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def chat(server, **more):
    """The first choice of OpenAI's interface."""
    answer = httpx.post(server.url + "/v1/chat/completions", json=ASKED | more, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]


def events(server, **more):
    """The events of a stream, each named as its type says."""
    answer = post(server, ASKED | more | {"stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for part in answer.text.removesuffix("\n\n").split("\n\n"):
        name, data = part.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def joined(happening):
    """The message that events describe."""
    message = None
    for event in happening:
        if event["type"] == "message_start":
            message = event["message"]
        elif event["type"] == "content_block_start":
            assert event["index"] == len(message["content"])
            message["content"].append(dict(event["content_block"]))
            arguments = ""
        elif event["type"] == "content_block_delta":
            kind, block = event["delta"]["type"].removesuffix("_delta"), message["content"][event["index"]]
            if kind == "input_json":
                arguments += event["delta"]["partial_json"]
                block["input"] = json.loads(arguments)
            else:
                block[kind] += event["delta"][kind]
        elif event["type"] == "message_delta":
            message |= event["delta"] | {"usage": event["usage"]}
    return message


def without_names(message):
    """A message without its identifiers, the only part that differs between an answer and its repetition."""
    blocks = [{name: value for name, value in block.items() if name != "id"} for block in message["content"]]
    return {name: value for name, value in message.items() if name not in ("id", "content")} | {"content": blocks}


SAME = {
    "defaults": ({}, {}),
    "sampled": ({"seed": 7, "temperature": 0.7, "top_k": 20, "top_p": 0.9},) * 2,
    "greedy": ({"temperature": 0, "top_k": 1}, {"temperature": 0}),
    "a system prompt": (
        {"system": "Be brief."},
        {"messages": [{"role": "system", "content": "Be brief."}, *QUESTION]},
    ),
    "a system prompt in blocks": (
        {
            "system": [
                {"type": "text", "text": "Be", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "brief."},
            ]
        },
        {"messages": [{"role": "system", "content": "Be\nbrief."}, *QUESTION]},
    ),
    "blocks": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
        {"messages": [{"role": "user", "content": "a\nb"}]},
    ),
    "a last turn that is empty": (
        {"messages": [*QUESTION, {"role": "assistant", "content": ""}]},
        {},
    ),
    "a last turn without blocks": (
        {"messages": [*QUESTION, {"role": "assistant", "content": []}]},
        {},
    ),
    "a last turn of an empty block": (
        {"messages": [*QUESTION, {"role": "assistant", "content": [{"type": "text", "text": ""}]}]},
        {},
    ),
    "a system prompt and a turn of the system": (
        {"system": "Be brief.", "messages": [{"role": "system", "content": "Be kind."}, *QUESTION]},
        {"messages": [{"role": "system", "content": "Be brief.\nBe kind."}, *QUESTION]},
    ),
    "turns of one role": (
        {"messages": [{"role": "user", "content": text} for text in "ab"]},
        {"messages": [{"role": "user", "content": "a\nb"}]},
    ),
    "turns": (
        {"messages": [*QUESTION, {"role": "assistant", "content": [{"type": "text", "text": "Air."}]}, *QUESTION]},
        {"messages": [*QUESTION, {"role": "assistant", "content": "Air."}, *QUESTION]},
    ),
    "own fields": ({"intact": {"id": "x", "regex": "[a-f]{9}"}, "min_p": 0.1, "repetition_penalty": 1.1},) * 2,
    "what has no effect": (
        {
            "metadata": {"user_id": "zoe"},
            "service_tier": "auto",
            "thinking": {"type": "disabled"},
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
            "output_config": {"effort": "high"},
            "stop_sequences": [],
            "container": None,
        },
        {},
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_a_message_is_the_chat_s_answer_whole_or_streamed(server, case):
    own, openai = SAME[case]
    wanted, message = chat(server, **openai), ask(server, **own)
    assert message["content"] == [{"type": "text", "text": wanted["message"]["content"]}]
    assert message["stop_reason"] == {"stop": "end_turn", "length": "max_tokens"}[wanted["finish_reason"]]
    assert without_names(joined(events(server, **own))) == without_names(message)


def test_headers_and_the_query_of_a_beta_change_nothing(server):
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "a-beta-2026-01-01", "x-api-key": "any"}
    answer = post(server, ASKED, "/v1/messages?beta=true", headers=headers)
    assert without_names(answer.json()) == without_names(ask(server))


def test_events_come_in_order(server):
    happening = events(server)
    assert [event["type"] for event in happening[:3]] == ["message_start", "ping", "content_block_start"]
    assert [event["type"] for event in happening[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
    assert {event["type"] for event in happening[3:-3]} == {"content_block_delta"}
    start, last = happening[0]["message"], happening[-2]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 0)
    assert start["id"].startswith("msg_")
    assert last["usage"]["output_tokens"] == 16
    assert last["usage"]["input_tokens"] == start["usage"]["input_tokens"]


def test_a_stop_sequence_is_named(server):
    own = {"intact": {"regex": "one two three"}, "max_tokens": 40}
    assert ask(server, **own)["stop_reason"] == "end_turn"
    message = ask(server, stop_sequences=["thr", "two"], **own)
    assert message["content"] == [{"type": "text", "text": "one "}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "two")
    assert joined(events(server, stop_sequences=["thr", "two"], **own))["stop_sequence"] == "two"


def test_the_context_s_end_is_no_limit_of_the_client_s(server):
    message = ask(server, max_tokens=2000, ignore_eos=True)
    assert message["stop_reason"] == "model_context_window_exceeded"
    assert message["usage"]["input_tokens"] + message["usage"]["output_tokens"] == 1024


def test_an_empty_answer_has_a_block(server):
    own = {"intact": {"regex": "x?y"}, "stop_sequences": ["x", "y"]}
    message = ask(server, **own)
    assert message["content"] == [{"type": "text", "text": ""}]
    assert without_names(joined(events(server, **own))) == without_names(message)


CHOICES = {
    "any": ({"type": "any"}, "required"),
    "any, one": ({"type": "any", "disable_parallel_tool_use": True}, "required"),
    "tool": ({"type": "tool", "name": "time"}, {"type": "function", "function": {"name": "time"}}),
    "none": ({"type": "none"}, "none"),
    "auto": ({"type": "auto"}, "auto"),
    "default": (None, None),
}


@pytest.mark.parametrize("case", CHOICES)
def test_calls_are_those_of_the_chat(server, case):
    choice, openai = CHOICES[case]
    asked = {"model": "tools", "max_tokens": 300, "seed": 3}
    single = {"parallel_tool_calls": False} if case == "any, one" else {}
    wanted = chat(server, **asked, **single, tools=[openai_tool(tool) for tool in (WEATHER, TIME)], tool_choice=openai)
    message = ask(server, **asked, tools=[WEATHER, TIME], tool_choice=choice)
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    wanted_calls = [call["function"] for call in wanted["message"].get("tool_calls", [])]
    assert [(call["name"], call["input"]) for call in calls] == [
        (call["name"], json.loads(call["arguments"])) for call in wanted_calls
    ]
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    assert text == (wanted["message"]["content"] or "")
    reasons = {"tool_calls": "tool_use", "length": "max_tokens", "stop": "end_turn"}
    assert message["stop_reason"] == reasons[wanted["finish_reason"]]
    assert bool(calls) == (case in ("any", "any, one", "tool"))
    assert len(calls) < 2 or case == "any"
    assert len({call["id"] for call in calls if call["id"].startswith("toolu_")}) == len(calls)
    streamed = joined(events(server, **asked, tools=[WEATHER, TIME], tool_choice=choice))
    assert without_names(streamed) == without_names(message)


def test_text_and_calls_are_blocks_in_their_order(server):
    calls = [f'<tool_call>\n{{"name": "time", "arguments": {{"{key}": 1}}}}\n</tool_call>' for key in "ab"]
    own = {"model": "tools", "max_tokens": 300, "tools": [TIME | {"input_schema": {"type": "object"}}]}
    own["intact"] = {"regex": re.escape("Well. " + calls[0] + "\nOr\n" + calls[1])}
    message = ask(server, **own)
    kinds = [block.get("text", block.get("input")) for block in message["content"]]
    assert kinds == ["Well.", {"a": 1}, "\nOr", {"b": 1}]
    assert message["stop_reason"] == "tool_use"
    assert without_names(joined(events(server, **own))) == without_names(message)
    one = ask(server, **own, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert [block["type"] for block in one["content"]] == ["text", "tool_use"]
    assert (one["stop_reason"], one["stop_sequence"]) == ("tool_use", None)


def test_results_of_tools_go_back(server):
    asked = {"model": "tools", "tools": [WEATHER]}
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome", "days": 1}}
    blocks = [{"type": "text", "text": "sunny"}, {"type": "text", "text": "warm"}]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": blocks, "is_error": False}
    turns = [
        *QUESTION,
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Let me see."}, use | {"caller": {"type": "direct"}}],
        },
        {"role": "user", "content": [result, {"type": "text", "text": "So?"}]},
    ]
    call = {"id": "toolu_1", "type": "function"}
    call["function"] = {"name": "weather", "arguments": json.dumps(use["input"])}
    wanted = [
        *QUESTION,
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny\nwarm"},
        {"role": "user", "content": "So?"},
    ]
    message = ask(server, **asked, messages=turns)
    openai = chat(server, model="tools", tools=[openai_tool(WEATHER)], messages=wanted)
    assert message["content"][0]["text"] == openai["message"]["content"]
    without = result | {"content": None, "cache_control": {"type": "ephemeral"}}
    turns[-1] = {"role": "user", "content": [without]}
    assert ask(server, **asked, messages=turns)["usage"]["output_tokens"]


def test_names_of_tools_may_be_long(server):
    message = ask(server, model="tools", max_tokens=300, tools=[LONG_NAME], tool_choice={"type": "any"})
    assert message["content"][0].get("name", LONG_NAME["name"]) == LONG_NAME["name"]


def test_tokens_are_counted_as_they_are_read(server):
    asked = {"model": "tools", "messages": QUESTION, "system": "Be brief.", "tools": [WEATHER, TIME]}
    for more in ({}, {"tool_choice": {"type": "none"}}, {"tools": None}, {"system": None}):
        counted = post(server, asked | more, "/v1/messages/count_tokens").json()
        assert counted == {"input_tokens": ask(server, **asked | more)["usage"]["input_tokens"]}
    long = [{"role": "user", "content": "word " * 1000}]
    assert post(server, asked | {"messages": long}, "/v1/messages/count_tokens").json()["input_tokens"] > 1024
    refused = post(server, asked | {"intact": {"receipt": True}}, "/v1/messages/count_tokens")
    assert "intact.receipt has no effect" in refused.json()["error"]["message"]
    refused = post(server, asked | {"messages": long, "max_tokens": 1})
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_method_answers_too(server):
    own = {"model": "tiny:self-consistency-3", "intact": {"answer": "text", "receipt": True}, "max_tokens": 6}
    wanted, message = chat(server, **own), ask(server, **own)
    assert message["content"][0]["text"] == wanted["message"]["content"]
    assert message["intact"]["votes"]
    assert message["receipt"] == wanted["receipt"]
    assert without_names(joined(events(server, **own))) | {"intact": 0, "receipt": 0} == without_names(message) | {
        "intact": 0,
        "receipt": 0,
    }


def test_receipts_of_a_message_are_kept(server):
    for own in ({}, {"model": "tiny:best-of-n-2"}):
        message = ask(server, intact={"receipt": True}, **own)
        (kept,) = httpx.get(f"{server.url}/v1/receipts/{message['id']}").json()["data"]
        assert kept == message["receipt"]
        verdict = httpx.post(server.url + "/v1/verify", json={"receipt": kept}, timeout=PATIENCE).json()
        assert verdict["outcome"] == "true"


def test_thoughts_are_a_block_of_their_own(server):
    own = {"model": "thinking", "intact": {"regex": re.escape("<think>\nHm, air?\n</think>\n\nAir.")}}
    enabled = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 60}
    message = ask(server, **own, **enabled)
    assert message["content"] == [
        {"type": "thinking", "thinking": "Hm, air?", "signature": ""},
        {"type": "text", "text": "Air."},
    ]
    assert without_names(joined(events(server, **own, **enabled))) == without_names(message)
    plain = ask(server, **own, max_tokens=60)
    assert plain["content"] == [{"type": "text", "text": "<think>\nHm, air?\n</think>\n\nAir."}]
    adaptive = {"thinking": {"type": "adaptive"}, "max_tokens": 60}
    assert ask(server, **own, **adaptive)["content"] == message["content"]
    for regex, blocks in (("No thoughts.", ["text"]), ("<think>Hm", ["thinking"])):
        own["intact"] = {"regex": re.escape(regex)}
        assert [block["type"] for block in ask(server, **own, **enabled)["content"]] == blocks
    own = {"model": "opened", "intact": {"regex": re.escape("Hm.\n</think>\nSo.")}}
    assert [block.get("thinking") for block in ask(server, **own, **enabled)["content"]] == ["Hm.", None]


def test_what_agents_send_for_larger_models_changes_nothing(server, tiny_path):
    cleared = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    sent = {
        "context_management": cleared,
        "output_config": {"effort": "max"},
        "max_tokens": 32_000,
        "stop_sequences": ["e"],
    }
    answer = post(server, ASKED | sent | {"thinking": {"type": "adaptive"}})
    plain = ask(server, max_tokens=8192, stop_sequences=["e"])
    assert answer.status_code == 200, answer.text
    assert without_names(answer.json()) == without_names(plain)
    assert answer.headers["intact-warning"] == (
        "context_management is ignored; output_config.effort is ignored; "
        "max_tokens 32000 is read as 8192, the most that this server allows"
    )
    counted = {name: item for name, item in ASKED.items() if name in ("model", "messages")}
    count = post(server, counted | {"context_management": cleared}, "/v1/messages/count_tokens")
    assert count.json()["input_tokens"] == plain["usage"]["input_tokens"]
    with running({"tiny": tiny_path}, strict=True) as strict:
        for name, item in sent.items():
            assert (post(strict, ASKED | {name: item}).status_code == 200) == (name == "stop_sequences"), name


def test_thinking_is_disabled_by_the_template_s_switch(server):
    wanted = chat(server, model="thinking", chat_template_kwargs={"enable_thinking": False})
    message = ask(server, model="thinking", thinking={"type": "disabled"})
    assert message["content"][0]["text"] == wanted["message"]["content"]
    assert message["usage"]["input_tokens"] > ask(server, model="thinking")["usage"]["input_tokens"]


def test_thoughts_come_back_as_the_template_shows_them(server):
    turns = [
        *QUESTION,
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "Air."}],
        },
        *QUESTION,
    ]
    wanted = [*QUESTION, {"role": "assistant", "content": "Air.", "reasoning_content": "Hm."}, *QUESTION]
    message = ask(server, model="thinking", messages=turns)
    assert message["content"][0]["text"] == chat(server, model="thinking", messages=wanted)["message"]["content"]


DEADLINES = (0.2, 0.4, 0.8, 1.6)
"""Seconds, of which some are too few for 8,000 tokens, and enough for the first."""
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
USE = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
BAD = {
    "max_tokens is missing": {"max_tokens": None},
    "max_tokens must be an integer from 1 to 8192": {"max_tokens": 0},
    "messages is missing": {"messages": None},
    "messages: list should have at least 1": {"messages": []},
    "messages[0].role: input should be 'user'": {"messages": [{"role": "king", "content": "x"}]},
    "messages[0].content is missing": {"messages": [{"role": "user"}]},
    "messages[0].content has no blocks": {"messages": [{"role": "user", "content": []}]},
    "messages[1].content has no blocks": {
        "messages": [*QUESTION, {"role": "assistant", "content": []}, {"role": "user", "content": "So?"}]
    },
    "messages[0].content[0].type: this model reads only text": {"messages": [{"role": "user", "content": [IMAGE]}]},
    "got 'image'": {
        "messages": [
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [IMAGE]}]},
        ]
    },
    "got 'document'": {"system": [{"type": "document"}]},
    "unknown field: messages[0].content[0].zzz": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "zzz": 1}]}]
    },
    "messages[0].content[0].text is missing": {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
    "messages[0].content[0].type is missing": {"messages": [{"role": "user", "content": [{}]}]},
    "messages[0].content[0] must be a JSON object, got 3": {"messages": [{"role": "user", "content": [3]}]},
    "messages[0].content[0]: a turn of the role user cannot have tool_use": {
        "messages": [{"role": "user", "content": [USE]}]
    },
    "the last message cannot be continued": {"messages": [*QUESTION, {"role": "assistant", "content": [USE]}]},
    "this server keeps no conversations": {"thread": {"type": "create"}},
    "unknown field: temprature": {"temprature": 1},
    "unknown field: stop": {"stop": ["x"]},
    "temperature": {"temperature": -1},
    "top_k": {"top_k": -2},
    "stop_sequences[0] is empty": {"stop_sequences": [""]},
    "stop_sequences: list should have at most 16": {"stop_sequences": ["x"] * 17},
    "two tools have the same name": {"tools": [TIME, TIME]},
    "tools[0].input_schema.properties.x: not cannot be enforced": {
        "model": "tools",
        "tools": [TIME | {"input_schema": {"type": "object", "properties": {"x": {"not": {}}}}}],
        "tool_choice": {"type": "any"},
    },
    "tools[0].type: input should be 'custom'": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "tools[0].name: string should match": {"tools": [TIME | {"name": "no spaces"}]},
    "tools[0].input_schema is missing": {"tools": [{"name": "f"}]},
    "tool_choice is any, but there are no tools": {"tool_choice": {"type": "any"}},
    "tool_choice.name is missing": {"model": "tools", "tools": [TIME], "tool_choice": {"type": "tool"}},
    "no tool named 'g'; available: time": {
        "model": "tools",
        "tools": [TIME],
        "tool_choice": {"type": "tool", "name": "g"},
    },
    "thinking cannot be enabled: the chat template of tiny": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "thinking cannot be enabled if": {
        "model": "thinking",
        "thinking": {"type": "adaptive"},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    },
    "output_config.effort: input should be 'high', got 'hasty'": {"output_config": {"effort": "hasty"}},
    "unknown field: output_config.zzz": {"output_config": {"zzz": 1}},
    "intact.progress has no effect": {"model": "tiny:best-of-n-2", "intact": {"progress": True}},
    "intact.trace has no effect": {"intact": {"trace": True}},
    "stop_sequences cannot be combined with a reasoning method": {
        "model": "tiny:best-of-n-2",
        "stop_sequences": ["x"],
    },
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_requests_are_errors_that_name_the_field(server, message, stream):
    body = {name: value for name, value in (ASKED | BAD[message]).items() if value is not None}
    answer = post(server, body | {"stream": stream})
    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"type", "error"}
    assert answer.json()["type"] == "error"
    assert answer.json()["error"].keys() - {"details"} == {"type", "message"}
    assert ("details" in answer.json()["error"]) == ("thread" in body)
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert message in answer.json()["error"]["message"]


def test_errors_have_anthropic_s_statuses_and_types(server):
    cases = [
        (post(server, ASKED | {"model": "other"}), 404, "not_found_error"),
        (post(server, ASKED, "/v1/messages/batches"), 404, "not_found_error"),
        (httpx.get(server.url + "/v1/messages"), 405, "invalid_request_error"),
        (httpx.post(server.url + "/v1/messages", content=b"x"), 415, "invalid_request_error"),
        (
            httpx.post(server.url + "/v1/messages", json=ASKED, headers={"host": "evil.example"}),
            403,
            "permission_error",
        ),
        (post(server, ASKED | {"messages": [{}] * 300_000}), 413, "request_too_large"),
        (
            post(server, ASKED | {"max_tokens": 900, "ignore_eos": True, "intact": {"deadline": 0.01}}),
            504,
            "timeout_error",
        ),
    ]
    for answer, status, kind in cases:
        assert answer.status_code == status, answer.text
        assert (answer.json()["type"], answer.json()["error"]["type"]) == ("error", kind)
    other = httpx.post(server.url + "/v1/chat/completions", json=ASKED | {"model": "other"}).json()
    assert other["error"]["code"] == "model_not_found"  # other paths keep their form


def test_an_error_amid_a_stream_is_its_last_event(server):
    ask(server, model="long")
    wanted = {"type": "timeout_error", "message": "the request exceeded the time limit"}
    for deadline in DEADLINES:
        body = ASKED | {"model": "long", "max_tokens": 8000, "ignore_eos": True, "stream": True}
        answer = post(server, body | {"intact": {"deadline": deadline}})
        if answer.status_code == 200:  # the stream had begun
            break
        assert (answer.status_code, answer.json()) == (504, {"type": "error", "error": wanted})
    assert answer.text.startswith("event: message_start\n")
    name, data = answer.text.removesuffix("\n\n").split("\n\n")[-1].split("\n")
    assert (name, json.loads(data.removeprefix("data: "))) == ("event: error", {"type": "error", "error": wanted})


def test_a_key_may_come_in_either_header(tiny_path):
    with running({"tiny": tiny_path}, keys=(KEY,), body_bytes=5000) as there:
        for headers, status in [
            ({"x-api-key": KEY}, 200),
            ({"authorization": f"Bearer {KEY}"}, 200),
            ({"authorization": "Bearer other", "x-api-key": KEY}, 200),
            ({"authorization": f"Bearer {KEY}", "x-api-key": "other"}, 200),
            ({"authorization": f"Basic {KEY}"}, 401),
            ({"x-api-key": KEY + "x"}, 401),
            ({"x-api-key": ""}, 401),
            ({}, 401),
        ]:
            answer = post(there, ASKED, headers=headers)
            assert answer.status_code == status, headers
            assert KEY not in answer.text
            if status == 401:
                assert answer.json()["error"]["type"] == "authentication_error"
            assert httpx.get(there.url + "/v1/models", headers=headers).status_code == status
        long = ASKED | {"system": "x" * 5000}
        answer = post(there, long, headers={"x-api-key": KEY})
        assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")
        there.settle(there.idle)


def test_a_full_queue_is_an_overload(tiny_path):
    with running({"tiny": tiny_path}, running=1, waiting=0) as there:
        served, answers = there.service.models.served["tiny"], []
        there.settle(lambda: served.model)
        slow = ASKED | {"max_tokens": 900, "ignore_eos": True}
        thread = threading.Thread(target=lambda: answers.append(post(there, slow)))
        with there.held():
            thread.start()
            there.settle(lambda: served.admission.running)
            for stream in (False, True):
                refused = post(there, ASKED | {"stream": stream})
                assert refused.status_code == 529
                assert refused.json()["error"]["type"] == "overloaded_error"
                assert int(refused.headers["retry-after"]) >= 1
        thread.join()
        assert answers[0].status_code == 200
        there.settle(there.idle)


def test_a_client_that_leaves_ends_its_text(server):
    engine = server.service.models.served["tiny"].loaded.engine
    before = engine.counters.decoded
    body = ASKED | {"max_tokens": 900, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", server.url + "/v1/messages", json=body, timeout=PATIENCE) as answer:
        next(answer.iter_lines())
    server.settle(server.idle)
    assert engine.counters.decoded - before < 800


def test_each_block_ends_before_the_next_begins():
    content = Content()
    happening = content.add_text("a", True) + content.add_text("b", True) + content.add_text("c")
    happening += content.add_call("f", '{"x": 1}')
    happening += content.add_text("d") + content.end()
    assert [(event["type"].removeprefix("content_block_"), event["index"]) for event in happening] == [
        *[("start", 0), ("delta", 0), ("delta", 0), ("stop", 0)],
        *[("start", 1), ("delta", 1), ("stop", 1)],
        *[("start", 2), ("delta", 2), ("stop", 2)],
        *[("start", 3), ("delta", 3), ("stop", 3)],
    ]
    assert [block["type"] for block in content.blocks] == ["thinking", "text", "tool_use", "text"]
    assert content.blocks[2]["input"] == {"x": 1}
