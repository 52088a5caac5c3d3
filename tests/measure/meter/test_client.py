"""What an endpoint may send: anything; and how its API is found."""

import asyncio
import json

import pytest

from intact._base.errors import EndpointError, ParameterError
from intact.measure.meter import client
from intact.measure.meter.apis.base import Question, Setting
from intact.measure.meter.client import MeteredEndpoint
from intact.measure.meter.spending import Caps, Spending
from support.moody import Moody, serve

QUESTION = Question("s", "How much is 1 plus 1?", Setting(0.5, 3), 8)


def ask(moody, question=QUESTION, **options):
    async def scene(url):
        async with MeteredEndpoint(url, Spending(Caps()), **options) as endpoint:
            await endpoint.find(1)
            return await endpoint.ask(question)

    with serve(moody):
        return asyncio.run(scene(moody.url))


@pytest.mark.parametrize("api", ["openai", "ollama", "anthropic"])
def test_a_stream_has_the_answer_of_the_whole(api):
    whole, streamed = (ask(Moody(apis=(api,)), QUESTION._replace(stream=s), api=api) for s in (False, True))
    assert whole.answers[0].text == streamed.answers[0].text
    assert whole.answers[0] == streamed.answers[0]
    assert whole.answers[0].text


@pytest.mark.parametrize(("apis", "path"), [(("openai",), "/v1/chat/completions"), (("ollama",), "/api/chat")])
def test_the_api_is_found(apis, path):
    moody = Moody(apis=apis)
    ask(moody)
    assert {path for path, _, _ in moody.asked} == {path}


def test_an_endpoint_without_a_list_needs_two_names():
    with pytest.raises(EndpointError, match="name --api and --model if the endpoint has none"):
        ask(Moody(listing=404))
    assert ask(Moody(listing=404), api="anthropic", model="m").request["model"] == "m"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not JSON",
        b"[" * 500,
        b"{}",
        b"[]",
        b'{"choices": []}',
        b'{"choices": 3}',
        b'{"choices": [3]}',
        b'{"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"token": 1}]}}]}',
        json.dumps({"choices": [{"message": {"content": "x"}, "index": "y"}, {"message": {}}]}).encode(),
        b'data: {"error": "it broke"}\n\n',
        b"data: 3\n\n",
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_that_is_no_answer_is_an_error_of_the_endpoint(raw, stream):
    with pytest.raises(EndpointError):
        ask(Moody(raw=raw), QUESTION._replace(stream=stream))


def test_a_large_response_is_cut_off(monkeypatch):
    monkeypatch.setattr(client, "LARGEST", 1000)
    with pytest.raises(EndpointError, match="larger than 1,000 bytes"):
        ask(Moody(raw=b"x" * 2000))


def test_what_was_reserved_is_kept_if_no_tokens_are_counted():
    spending = Spending(Caps(prices=(1e6, 2e6)))
    spending.settle(spending.reserve(QUESTION), None, None)
    assert spending.tokens == QUESTION.most_tokens
    assert spending.cost == QUESTION.most_tokens + QUESTION.tokens
    spending.settle(spending.reserve(QUESTION), 5, 2)
    assert spending.tokens == QUESTION.most_tokens + 7
    assert spending.requests == 2


def test_a_key_that_no_header_can_carry_is_refused(monkeypatch):
    monkeypatch.setenv("INTACT_API_KEY", "a\nb")
    with pytest.raises(ParameterError, match="not allowed in a header"):
        MeteredEndpoint("http://127.0.0.1:9", Spending(Caps()))
