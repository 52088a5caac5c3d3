"""Ollama's official client: what it sends is understood, and what it reads are the texts of OpenAI's interface."""

import asyncio
import json
from typing import Literal

import jsonschema
import pytest
from pydantic import BaseModel

ollama = pytest.importorskip("ollama", reason="needs ollama (extra test)")

from serve.test_ollama_http import OWN_DEFAULTS  # noqa: E402
from serve.test_tools import OPENS, TEMPLATE  # noqa: E402
from support.serving import running  # noqa: E402
from support.tiny import tokenizer_metadata, write_tiny  # noqa: E402

KNOWN = OWN_DEFAULTS.keys() & ollama.Options.model_fields.keys()
TURNS = [{"role": "user", "content": "Why is the sky blue?"}]
OPTIONS = {"seed": 5, "temperature": 0.9, "num_predict": 16}
FIELDS = {"seed": 5, "temperature": 0.9, "max_tokens": 16}


class Weather(BaseModel):
    """An answer with a form."""

    city: Literal["Rome", "Oslo"]
    sunny: bool


def weather(city: str, days: int = 1) -> str:
    """Tell the weather.

    Args:
        city: The city.
        days: How many days ahead.
    """
    return f"{city}: sunny for {days} days"


@pytest.fixture(scope="module")
def server(tiny_path, tmp_path_factory):
    own = tokenizer_metadata(OPENS) | {"tokenizer.chat_template": TEMPLATE}
    own["tokenizer.ggml.tokens"].append("<tool_call>")
    own["tokenizer.ggml.token_type"].append(4)
    path = tmp_path_factory.mktemp("ollama") / "tools.gguf"
    tools = write_tiny(path, "qwen3", context=2048, vocabulary=OPENS + 1, metadata=own)
    with running({"tiny": tiny_path, "tools": tools}) as there:
        yield there
        there.settle(there.idle)


@pytest.fixture(scope="module")
def made(server):
    return ollama.Client(host=server.url)


@pytest.fixture(scope="module")
def wanted(client):
    return client.chat.completions.create(model="tiny", messages=TURNS, **FIELDS)


def test_a_chat(made, wanted):
    answer = made.chat("tiny", TURNS, options=OPTIONS)
    assert answer.message.content == wanted.choices[0].message.content
    assert (answer.done, answer.done_reason) == (True, wanted.choices[0].finish_reason)
    assert answer.prompt_eval_count == wanted.usage.prompt_tokens
    assert answer.eval_count == wanted.usage.completion_tokens
    assert answer.total_duration >= answer.eval_duration > 0


def test_all_options_at_the_defaults_of_ollama_itself(made):
    for options in (OWN_DEFAULTS, ollama.Options(**{name: OWN_DEFAULTS[name] for name in KNOWN})):
        assert made.chat("tiny", TURNS, options=options).done
    empty = {"role": "assistant", "content": ""}
    plain, ended = (made.chat("tiny", turns, options=OPTIONS) for turns in (TURNS, [*TURNS, empty]))
    assert plain.message.content == ended.message.content


def test_a_chat_in_pieces(made, wanted):
    pieces = list(made.chat("tiny", TURNS, options=ollama.Options(**OPTIONS), stream=True, keep_alive="10m"))
    assert "".join(piece.message.content for piece in pieces) == wanted.choices[0].message.content
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_coroutines(server, wanted):
    async def scene():
        client = ollama.AsyncClient(host=server.url)
        whole = await client.chat("tiny", TURNS, options=OPTIONS)
        pieces = [piece async for piece in await client.chat("tiny", TURNS, options=OPTIONS, stream=True)]
        return whole.message.content, "".join(piece.message.content for piece in pieces)

    assert asyncio.run(scene()) == (wanted.choices[0].message.content,) * 2


def test_prompts(made, client, wanted):
    assert made.generate("tiny", TURNS[0]["content"], options=OPTIONS).response == wanted.choices[0].message.content
    raw = client.completions.create(model="tiny", prompt="The sky", **FIELDS).choices[0].text
    pieces = list(made.generate("tiny", "The sky", raw=True, options=OPTIONS, stream=True))
    assert "".join(piece.response for piece in pieces) == raw
    assert made.generate("tiny").done_reason == "load"


def test_log_probabilities(made, client):
    told = client.chat.completions.create(model="tiny", messages=TURNS, logprobs=True, top_logprobs=2, **FIELDS)
    answer = made.chat("tiny", TURNS, options=OPTIONS, logprobs=True, top_logprobs=2)
    entries = told.choices[0].logprobs.content
    assert [entry.logprob for entry in answer.logprobs] == [entry.logprob for entry in entries]
    assert [len(entry.top_logprobs) for entry in answer.logprobs] == [2] * len(entries)


def test_structured_output(made):
    answer = made.chat("tiny", TURNS, format=Weather.model_json_schema(), options={"num_predict": 200})
    Weather.model_validate_json(answer.message.content)
    answer = made.generate("tiny", "Hi", format="json", options={"num_predict": 400, "temperature": 0})
    if answer.done_reason == "stop":
        jsonschema.validate(json.loads(answer.response), {"type": "object"})


def test_tools(server):
    class Client(ollama.Client):
        """The official one, with a field that makes the tiny model call."""

        def _request(self, *args, json=None, **kwargs):
            return super()._request(*args, json={**json, "intact": {"regex": CALL}}, **kwargs)

    client, turns = Client(host=server.url), [{"role": "user", "content": "Weather in Rome?"}]
    answer = client.chat("tools", turns, tools=[weather], options={"num_predict": 200})
    (call,) = answer.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Rome", "days": 2})
    turns += [answer.message, {"role": "tool", "tool_name": "weather", "content": weather(**call.function.arguments)}]
    pieces = list(client.chat("tools", turns, tools=[weather], options={"num_predict": 200}, stream=True))
    assert sum(len(piece.message.tool_calls or ()) for piece in pieces) == 1
    assert pieces[-1].prompt_eval_count > answer.prompt_eval_count


CALL = r'<tool_call>\{"name": "weather", "arguments": \{"city": "Rome", "days": 2\}\}</tool_call>'


def test_models(made, tiny_path):
    listed = {model.model: model for model in made.list().models}
    assert listed["tiny"].size == tiny_path.stat().st_size
    assert listed["tiny"].details.family == "qwen3"
    shown = made.show("tools")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo["qwen3.context_length"] == 2048
    made.generate("tiny")
    assert "tiny" in [model.model for model in made.ps().models]
    assert made.pull("tiny").status == "success"
    assert [line.status for line in made.pull("tiny", stream=True)] == ["success"]


def test_errors(made):
    for work, status, words in [
        (lambda: made.chat("other", TURNS), 404, "not found"),
        (lambda: list(made.chat("other", TURNS, stream=True)), 404, "not found"),
        (lambda: made.chat("tiny", TURNS, think=True), 400, "does not support thinking"),
        (lambda: made.embed("tiny", "Hi"), 400, "does not support embeddings"),
        (lambda: made.embeddings("tiny", "Hi"), 400, "does not support embeddings"),
        (lambda: made.generate("tiny", "Hi", suffix="you"), 400, "cannot fill in text before a suffix"),
        (lambda: made.delete("tiny"), 403, "cannot change the models"),
    ]:
        with pytest.raises(ollama.ResponseError) as raised:
            work()
        assert raised.value.status_code == status
        assert words in raised.value.error


def test_langchain(server, wanted):
    langchain = pytest.importorskip("langchain_ollama", reason="needs langchain-ollama (extra test)")
    own = {"base_url": server.url, "seed": 5, "temperature": 0.9}
    chat = langchain.ChatOllama(model="tiny", num_predict=16, validate_model_on_init=True, **own)
    answer = chat.invoke(TURNS)
    assert answer.content == wanted.choices[0].message.content
    assert answer.usage_metadata["output_tokens"] == wanted.usage.completion_tokens
    assert "".join(piece.content for piece in chat.stream(TURNS)) == answer.content
    formed = langchain.ChatOllama(model="tiny", num_predict=200, **own).with_structured_output(Weather)
    assert formed.invoke(TURNS).city in ("Rome", "Oslo")
    assert langchain.OllamaLLM(model="tiny", num_predict=4, **own).invoke("Hi")


def test_langchains_tools(server):
    langchain = pytest.importorskip("langchain_ollama", reason="needs langchain-ollama (extra test)")
    from langchain_core.messages import HumanMessage, ToolMessage

    chat = langchain.ChatOllama(model="tools", num_predict=200, base_url=server.url, seed=5)
    turns = [HumanMessage("Weather in Rome?")]
    answer = chat.bind_tools([weather]).invoke(turns)  # which the tiny model may or may not call
    called = answer.model_copy(
        update={"tool_calls": [{"name": "weather", "args": {"city": "Rome"}, "id": "call_1", "type": "tool_call"}]}
    )
    back = chat.bind_tools([weather]).invoke([*turns, called, ToolMessage("sunny", tool_call_id="call_1")])
    assert back.usage_metadata["input_tokens"] > answer.usage_metadata["input_tokens"]
