"""Anthropic's interface through the official client: texts, streams, tools, schemas, errors."""

import asyncio
import json
from typing import Literal

import pytest
from pydantic import BaseModel

anthropic = pytest.importorskip("anthropic")

from intact.measure.bench.shapes import tokenizer_metadata  # noqa: E402
from serve.test_messages import DEADLINES, KEY, QUESTION, THINKING, TIME, WEATHER  # noqa: E402
from serve.test_tools import OPENS, TEMPLATE  # noqa: E402
from support.models import real_model  # noqa: E402
from support.serving import running  # noqa: E402
from support.tiny import write_tiny  # noqa: E402

ASKED = {"model": "tiny", "messages": QUESTION, "max_tokens": 16, "extra_body": {"seed": 7, "temperature": 0.8}}


@pytest.fixture(scope="module")
def server(tiny_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("anthropic")
    own = tokenizer_metadata(OPENS) | {"tokenizer.chat_template": TEMPLATE}
    own["tokenizer.ggml.tokens"].append("<tool_call>")
    own["tokenizer.ggml.token_type"].append(4)
    tools = write_tiny(folder / "tools.gguf", "qwen3", context=1024, vocabulary=OPENS + 1, metadata=own)
    template = {"tokenizer.chat_template": THINKING}
    thinking = write_tiny(folder / "thinking.gguf", "qwen3", context=512, metadata=template)
    long = write_tiny(folder / "long.gguf", "qwen3", context=8192)
    with running({"tiny": tiny_path, "tools": tools, "thinking": thinking, "long": long}, keys=(KEY,)) as there:
        yield there


@pytest.fixture(scope="module")
def messages(server):
    with anthropic.Anthropic(base_url=server.url, api_key=KEY, max_retries=0) as made:
        yield made.messages


def test_an_answer_is_that_of_the_openai_endpoint(server, messages, openai_client):
    chat = openai_client.chat.completions.create(
        model="tiny",
        messages=[{"role": "system", "content": "Be brief."}, *QUESTION],
        max_tokens=16,
        temperature=0.8,
        seed=7,
        stop=["e"],
    )
    message = messages.create(**ASKED, system="Be brief.", stop_sequences=["e"])
    assert [(block.type, block.text) for block in message.content] == [("text", chat.choices[0].message.content)]
    assert message.usage.input_tokens == chat.usage.prompt_tokens
    assert message.usage.output_tokens == chat.usage.completion_tokens
    assert message.system_fingerprint == chat.system_fingerprint
    assert (message.type, message.role, message.model) == ("message", "assistant", "tiny")


@pytest.fixture(scope="module")
def openai_client(server):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as made:
        yield made


def test_a_stream_is_the_whole_message(messages):
    whole = messages.create(**ASKED)
    kinds = [event.type for event in messages.create(**ASKED, stream=True)]
    assert kinds[:2] == ["message_start", "content_block_start"]  # the client passes over pings
    assert kinds[-2:] == ["message_delta", "message_stop"]
    with messages.stream(**ASKED) as stream:
        text = "".join(stream.text_stream)
        last = stream.get_final_message()
    assert text == whole.content[0].text
    assert last.model_dump(exclude={"id", "content"}) == whole.model_dump(exclude={"id", "content"})


def test_tokens_are_counted(messages):
    asked = {"model": "tools", "messages": QUESTION, "tools": [WEATHER], "system": "Be brief."}
    counted = messages.count_tokens(**asked)
    assert counted.input_tokens == messages.create(**asked, max_tokens=1).usage.input_tokens


@pytest.mark.parametrize("seed", range(3))
def test_a_call_streams_as_it_is_given_whole(messages, seed):
    asked = {"model": "tools", "messages": QUESTION, "max_tokens": 300, "extra_body": {"seed": seed}}
    choice = {"type": "tool", "name": "weather"}
    whole = messages.create(**asked, tools=[WEATHER, TIME], tool_choice=choice)
    (call,) = whole.content
    assert (call.type, call.name, whole.stop_reason) == ("tool_use", "weather", "tool_use")
    assert call.input["city"] in ("Rome", "Oslo")
    assert 1 <= call.input["days"] <= 9
    with messages.stream(**asked, tools=[WEATHER, TIME], tool_choice=choice) as stream:
        deltas = [event.partial_json for event in stream if event.type == "input_json"]
        last = stream.get_final_message()
    assert json.loads("".join(deltas)) == call.input
    assert [(block.name, block.input) for block in last.content] == [("weather", call.input)]
    assert last.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns = [*QUESTION, {"role": "assistant", "content": whole.content}, {"role": "user", "content": [result]}]
    after = messages.create(**asked | {"messages": turns, "max_tokens": 3}, tools=[WEATHER, TIME])
    assert after.usage.input_tokens > whole.usage.input_tokens


def test_the_client_s_own_loop_runs_tools(server):
    done = []

    @anthropic.beta_tool
    def lookup(city: Literal["Rome", "Oslo"]) -> str:
        """Look up the weather.

        Args:
            city: The city.
        """
        done.append(city)
        return "sunny"

    with anthropic.Anthropic(base_url=server.url, api_key=KEY, max_retries=0) as client:
        runner = client.beta.messages.tool_runner(
            model="tools",
            messages=QUESTION,
            max_tokens=300,
            tools=[lookup],
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
            max_iterations=2,
            extra_body={"intact": {"id": "loop"}},
        )
        answers = list(runner)
    calls = [block for answer in answers for block in answer.content if block.type == "tool_use"]
    assert len(calls) == len(answers) == 2
    assert done[0] == calls[0].input["city"]


class Trip(BaseModel):
    """A journey."""

    city: Literal["Rome", "Oslo"]
    by_train: bool


def test_types_of_the_client(messages):
    if not hasattr(messages, "parse"):
        pytest.skip("this client has no parse")
    answer = messages.parse(model="tiny", messages=QUESTION, max_tokens=400, output_format=Trip)
    assert isinstance(answer.parsed_output, Trip)


def test_thoughts(messages):
    own = {"model": "thinking", "messages": QUESTION, "max_tokens": 60}
    own["extra_body"] = {"intact": {"regex": "<think>\nHm\\.\n</think>\n\nAir\\."}}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with messages.stream(**own, thinking=thinking) as stream:
        last = stream.get_final_message()
    assert [block.type for block in last.content] == ["thinking", "text"]
    assert (last.content[0].thinking, last.content[1].text) == ("Hm.", "Air.")
    whole = messages.create(**own, thinking=thinking)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    turns = [*QUESTION, {"role": "assistant", "content": last.content}, *QUESTION]
    assert messages.create(**own | {"messages": turns}).usage.input_tokens > last.usage.input_tokens


def test_a_last_turn_that_is_empty_changes_nothing(messages):
    plain = messages.create(**ASKED)
    for content in ("", []):
        turns = [*ASKED["messages"], {"role": "assistant", "content": content}]
        assert messages.create(**ASKED | {"messages": turns}).content == plain.content
        with messages.stream(**ASKED | {"messages": turns}) as stream:
            assert stream.get_final_text() == plain.content[0].text


def test_errors_are_those_of_the_client(server, messages):
    for more, error in [
        ({"model": "other"}, anthropic.NotFoundError),
        ({"max_tokens": 0}, anthropic.BadRequestError),
        ({"tools": [TIME, TIME]}, anthropic.BadRequestError),
    ]:
        with pytest.raises(error) as raised:
            messages.create(**ASKED | more)
        assert raised.value.body["type"] == "error"
    with (
        anthropic.Anthropic(base_url=server.url, api_key="other", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.create(**ASKED)
    with anthropic.Anthropic(base_url=server.url, auth_token=KEY, max_retries=0) as client:
        assert client.messages.create(**ASKED).content


def test_an_error_amid_a_stream_is_raised(messages):
    messages.create(**ASKED | {"model": "long"})
    for deadline in DEADLINES:
        own = {"intact": {"deadline": deadline}, "ignore_eos": True}
        with pytest.raises(anthropic.APIStatusError, match="exceeded the time limit") as raised:
            list(messages.create(**ASKED | {"model": "long", "max_tokens": 8000, "extra_body": own}, stream=True))
        assert raised.value.body["error"]["type"] == "timeout_error"
        if raised.value.status_code == 200:  # the stream had begun
            return
    pytest.fail("no stream began before its deadline")


def test_many_at_a_time(server, messages):
    async def scene():
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key=KEY, max_retries=0) as client:
            several = [client.messages.create(**ASKED | {"extra_body": {"seed": seed}}) for seed in range(8)]
            return await asyncio.gather(*several)

    for seed, answer in enumerate(asyncio.run(scene())):
        alone = messages.create(**ASKED | {"extra_body": {"seed": seed}})
        assert answer.content == alone.content


@pytest.mark.slow
def test_a_real_model_calls_a_tool():
    with (
        running({"qwen": real_model("qwen-coder-0.5b")}) as server,
        anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as client,
    ):
        asked = {"model": "qwen", "max_tokens": 60, "tools": [WEATHER], "extra_body": {"temperature": 0}}
        question = [{"role": "user", "content": "What is the weather in Oslo for the next 3 days?"}]
        message = client.messages.create(**asked, messages=question, tool_choice={"type": "any"})
        call = message.content[0]
        assert (call.name, call.input) == ("weather", {"city": "Oslo", "days": 3})
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "3 days of snow"}
        turns = [*question, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        answer = client.messages.create(**asked, messages=turns, tool_choice={"type": "none"})
        assert "snow" in answer.content[0].text
        assert answer.stop_reason == "end_turn"
