"""LangChain's client for OpenAI: what it sends is understood, and what it reads is what the official client reads."""

import asyncio
from typing import Literal

import pytest

langchain_openai = pytest.importorskip("langchain_openai", reason="needs langchain-openai (extra test)")
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage  # noqa: E402
from langchain_core.tools import tool  # noqa: E402

from serve.test_tools import TEMPLATE  # noqa: E402
from support.models import real_model  # noqa: E402
from support.serving import running  # noqa: E402
from support.tiny import write_tiny  # noqa: E402

TURNS = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello."), HumanMessage("Why is the sky blue?")]
PLAIN = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Why is the sky blue?"},
]
SAMPLED = {"seed": 5, "temperature": 0.9, "max_tokens": 16}


def chat(server, name="tiny", **fields):
    return langchain_openai.ChatOpenAI(
        base_url=server.url + "/v1", api_key="none", model=name, max_retries=0, **SAMPLED | fields
    )


@pytest.fixture
def wanted(client):
    return client.chat.completions.create(model="tiny", messages=PLAIN, **SAMPLED)


def test_an_answer(server, wanted):
    answer = chat(server).invoke(TURNS)
    assert answer.content == wanted.choices[0].message.content
    assert answer.usage_metadata["output_tokens"] == wanted.usage.completion_tokens
    assert answer.usage_metadata["input_tokens"] == wanted.usage.prompt_tokens
    assert answer.response_metadata["finish_reason"] == wanted.choices[0].finish_reason
    assert answer.response_metadata["system_fingerprint"] == wanted.system_fingerprint


def test_an_answer_in_pieces(server, wanted):
    pieces = list(chat(server, stream_usage=True).stream(TURNS))
    assert len(pieces) > 5
    assert "".join(piece.content for piece in pieces) == wanted.choices[0].message.content
    used = [piece.usage_metadata for piece in pieces if piece.usage_metadata]
    assert sum(one["output_tokens"] for one in used) == wanted.usage.completion_tokens


def test_several_at_once_and_for_coroutines(server, wanted):
    model = chat(server)
    texts = [answer.content for answer in model.batch([TURNS, TURNS[:2], TURNS])]
    assert texts[0] == texts[2] == wanted.choices[0].message.content != texts[1]

    async def pieces():
        return [piece.content async for piece in model.astream(TURNS)]

    assert "".join(asyncio.run(pieces())) == texts[0]


def test_log_probabilities(server, client):
    answer = chat(server, logprobs=True, top_logprobs=2).invoke(TURNS)
    told = client.chat.completions.create(model="tiny", messages=PLAIN, logprobs=True, top_logprobs=2, **SAMPLED)
    assert answer.response_metadata["logprobs"]["content"] == told.choices[0].logprobs.model_dump()["content"]


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output(server, method):
    schema = {
        "title": "weather",
        "type": "object",
        "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    model = chat(server, max_tokens=300)
    found = model.with_structured_output(schema, method=method, include_raw=True).invoke(TURNS)
    if method == "json_schema":
        assert found["parsed"]["city"] in ("Rome", "Oslo")
        assert 1 <= found["parsed"]["days"] <= 9
    else:
        assert found["raw"].content.startswith("{")


def test_tools(tmp_path):
    @tool
    def weather(city: Literal["Rome", "Oslo"], days: Literal[1, 2, 3]) -> str:
        """Of a city."""
        return f"{city}: rain for {days} days"

    metadata = {"tokenizer.chat_template": TEMPLATE}
    path = write_tiny(tmp_path / "tools.gguf", "qwen3", context=1024, metadata=metadata)
    with running({"tools": path}) as there:
        called = chat(there, "tools", max_tokens=300).bind_tools([weather], tool_choice="weather").invoke(TURNS)
        assert called.response_metadata["finish_reason"] == "tool_calls"
        call = called.tool_calls[0]
        assert call["name"] == "weather"
        result = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
        after = chat(there, "tools", max_tokens=8).bind_tools([weather]).invoke([*TURNS, called, result])
        assert after.usage_metadata["output_tokens"] > 0
        strict = chat(there, "tools", max_tokens=8).bind_tools([weather], strict=True, parallel_tool_calls=False)
        assert strict.invoke(TURNS).usage_metadata["output_tokens"] > 0


@pytest.mark.slow
def test_a_real_model_calls_a_bound_tool_in_a_stream():
    @tool
    def weather(city: str, days: int) -> str:
        """Get the weather of a city for some days."""
        return f"{city}: rain for {days} days"

    asked = [HumanMessage("What is the weather in Oslo for the next 3 days?")]
    with running({"qwen": real_model("qwen-coder-0.5b")}) as there:
        for strict in (None, True):
            bound = chat(there, "qwen", temperature=0, max_tokens=80).bind_tools([weather], strict=strict)
            whole, *pieces = bound.invoke(asked), *bound.stream(asked)
            assert [call["args"] for call in whole.tool_calls] == [{"city": "Oslo", "days": 3}]
            streamed = [call for piece in pieces for call in piece.tool_call_chunks]
            assert [call["name"] for call in streamed] == ["weather"]
            assert "".join(piece.content for piece in pieces) == whole.content == ""


def test_a_method_and_its_votes(server):
    own = {"method": "self_consistency", "n": 3}
    answer = chat(server, extra_body={"intact": own}).invoke([HumanMessage("What is 2 + 2?")])
    named = chat(server, "tiny:self-consistency-3").invoke([HumanMessage("What is 2 + 2?")])
    assert answer.content == named.content


def test_errors_name_the_field(server):
    import openai

    with pytest.raises(openai.BadRequestError, match="temperature"):
        chat(server, temperature=-1).invoke(TURNS)
    with pytest.raises(openai.NotFoundError, match="no model named"):
        chat(server, "huge").invoke(TURNS)
