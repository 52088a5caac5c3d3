"""A patch of httpx records and replays clients whose address is not changed."""

import asyncio
import importlib
import json

import httpx
import openai
import pytest

from intact.serve.cassette.cassette import Cassette
from intact.serve.cassette.recorder import RequestCounts
from intact.serve.cassette.upstream import Upstream, api_of, default_address, read_upstreams, split_address
from serve.cassette.sessions import KEY, session
from support.recorded_endpoint import chat_reply, endpoint

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
MODULES = [importlib.import_module(name) for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]


def parsed(line):
    """Return the value of an event, as a client sees it."""
    data = line.removeprefix("data: ")
    return data if data == "[DONE]" else json.loads(data)


def sync_whole(module, url):
    with module.Client(timeout=None) as client:
        return client.post(f"{url}/v1/chat/completions", json=BODY).json()["choices"][0]["message"]["content"]


def sync_stream(module, url):
    with (
        module.Client(timeout=None) as client,
        client.stream("POST", f"{url}/v1/chat/completions", json=BODY | {"stream": True}) as one,
    ):
        return [parsed(line) for line in one.iter_lines() if line]


def async_whole(module, url):
    async def work():
        async with module.AsyncClient(timeout=None) as client:
            answers = await asyncio.gather(
                *(client.post(f"{url}/v1/chat/completions", json=BODY | {"n": n}) for n in (1, 2))
            )
            return [answer.json()["choices"][0]["message"]["content"] for answer in answers]

    return asyncio.run(work())


def async_stream(module, url):
    async def work():
        body = BODY | {"stream": True}
        async with (
            module.AsyncClient(timeout=None) as client,
            client.stream("POST", f"{url}/v1/chat/completions", json=body) as one,
        ):
            return [parsed(line) async for line in one.aiter_lines() if line]

    return asyncio.run(work())


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
@pytest.mark.parametrize("work", [sync_whole, sync_stream, async_whole, async_stream], ids=lambda work: work.__name__)
def test_clients_are_recorded_and_replayed_at_the_address_that_they_use(tmp_path, module, work):
    file = tmp_path / "c.json"
    with endpoint(lambda path, body: chat_reply(body, "Oslo is it")) as there:
        with session(file, patch=True, missing="ask"):
            seen = work(module, there.url)
        sent = len(there.requests)
        assert there.requests[0][0] == "/v1/chat/completions"
        assert {one.origin.name for one in Cassette.read(file).entries} == {there.url}
    with session(file, patch=True) as (_, recorder):
        assert work(module, there.url) == seen
        assert recorder.counts == RequestCounts(replayed=sent)
    with pytest.raises(module.ConnectError):  # the patch is gone
        work(module, there.url)


def test_a_client_that_exists_already_is_patched_too_and_keys_pass_through(tmp_path):
    file = tmp_path / "c.json"
    with endpoint(lambda path, body: chat_reply(body, "Oslo")) as there:
        client = openai.OpenAI(base_url=f"{there.url}/api/v1", api_key=KEY, max_retries=0)
        with session(file, patch=True):
            assert client.chat.completions.create(**BODY).choices[0].message.content == "Oslo"
        path, headers, _ = there.requests[0]
        assert (path, headers["authorization"]) == ("/api/v1/chat/completions", f"Bearer {KEY}")
        assert not any(name.startswith("x-intact") for name in headers)
    assert KEY not in file.read_text()
    assert Cassette.read(file).entries[0].request.path == "/v1/chat/completions"
    with session(file, patch=True):
        assert client.chat.completions.create(**BODY).choices[0].message.content == "Oslo"
    client.close()


@pytest.mark.parametrize("base", [False, True])
def test_aiohttp_is_patched_too(tmp_path, base):
    aiohttp = pytest.importorskip("aiohttp")

    async def work(url):
        options = {"base_url": url} if base else {}
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}, **options) as client:
            path = "/v1/chat/completions" if base else f"{url}/v1/chat/completions"
            async with client.post(path, json=BODY | {"stream": True}) as answer:
                events = [parsed(line.decode().strip()) async for line in answer.content if line.strip()]
            async with client.get("/weather" if base else f"{url}/weather") as answer:
                return events, answer.status

    def reply(path, body):
        return chat_reply(body, "Oslo is it") if body else (200, "text/plain", [b"rain"])

    file = tmp_path / "c.json"
    with endpoint(reply) as there:
        with session(file, patch=True):
            seen = asyncio.run(work(there.url))
        assert there.requests[0][1]["authorization"] == f"Bearer {KEY}"
        with session(file, patch=True) as (_, recorder):
            assert asyncio.run(work(there.url)) == seen
            assert recorder.counts == RequestCounts(replayed=1)
        assert [path for path, _, _ in there.requests] == ["/v1/chat/completions", "/weather", "/weather"]


def test_requests_to_others_are_left_alone(tmp_path):
    with (
        endpoint(lambda path, body: (200, "text/plain", [path.encode()])) as there,
        session(tmp_path / "c.json", patch=True) as (_, recorder),
        httpx.Client(timeout=None) as client,
    ):
        assert client.get(f"{there.url}/weather?city=Oslo").text == "/weather"
        assert recorder.counts == RequestCounts()


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1", "/v1/chat/completions"),
        ("https://openrouter.ai/api/v1/chat/completions", "https://openrouter.ai/api/v1", "/v1/chat/completions"),
        ("https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1", "/v1/messages"),
        ("http://127.0.0.1:11434/api/chat", "http://127.0.0.1:11434", "/api/chat"),
        ("https://a.example/deployments/g/chat/completions", "https://a.example", "/deployments/g/chat/completions"),
        ("https://user:key@a.example/v1/responses/resp_1", "https://a.example/v1", "/v1/responses/resp_1"),
    ],
)  # fmt: skip
def test_addresses_are_split_so_that_a_file_fits_both_ways_of_attaching(url, base, path):
    assert split_address(url) == (base, path)
    assert Upstream(base).url(path) == url.replace("user:key@", "")


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://h/v1beta/openai/", "/v1/chat/completions", "https://h/v1beta/openai/chat/completions"),
        ("https://h/anthropic", "/v1/messages", "https://h/anthropic/v1/messages"),
        ("http://h:1/v1", "/api/chat", "http://h:1/api/chat"),
        ("http://h:1/v1", "/v1/messages", "http://h:1/v1/messages"),
        ("http://h:1", "/v1/models", "http://h:1/v1/models"),
    ],
)
def test_paths_go_to_where_the_client_of_each_api_would_send_them(base, path, url):
    assert Upstream(base).url(path) == url
    assert Upstream(base).url(path, "a=1") == f"{url}?a=1"


def test_addresses_come_from_options_then_the_environment_then_the_api(monkeypatch):
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    assert {api: one.host for api, one in read_upstreams([]).items()} == {
        "openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com", "ollama": "http://127.0.0.1:11434",
    }  # fmt: skip
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:9000")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://h:1/v1")
    assert (default_address("ollama"), default_address("openai")) == ("http://127.0.0.1:9000", "http://h:1/v1")
    found = read_upstreams(["http://all", "anthropic=http://a"])
    assert [found[api].base for api in ("openai", "anthropic", "ollama")] == ["http://all", "http://a", "http://all"]
    assert [api_of(path) for path in ("/v1/messages", "/api/chat", "/v1/responses")] == [
        "anthropic",
        "ollama",
        "openai",
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["ftp://h"], "is no address"),
        (["http://"], "is no address"),
        (["http://h:99999"], "is no address"),
        (["https://user:key@h"], "no credentials"),
        (["http://h?key=1"], "no credentials, query"),
        (["http://a", "http://b"], "two addresses for all"),
        (["openai=http://a", "openai=http://b"], "two addresses for openai"),
    ],
)
def test_wrong_addresses_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        read_upstreams(texts)
