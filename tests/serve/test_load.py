"""Under load: fair order, bounded queues, deadlines, and clients that leave or do not read."""

import asyncio
import json
import socket
import threading

import httpx
import numpy as np
import openai
import pytest

import intact
from intact.engine.request import GenerateRequest
from intact.numerics.sampling import branch_key, make_sampling
from intact.serve.admission import AdmissionControl
from intact.serve.errors import ApiError
from intact.serve.models import Loading, Models
from intact.serve.service import LONG as LONG_TEXT
from intact.serve.settings import ServerSettings
from intact.text import Tokenizer
from support.patience import PATIENCE
from support.serving import running

LONG = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 900, "ignore_eos": True}
SHORT = LONG | {"max_tokens": 3}
KEYS = ("first-client-0123456789", "second-client-0123456789")


def post(server, body, **options):
    return httpx.post(server.url + "/v1/chat/completions", json=body, timeout=PATIENCE, **options)


async def served(admission, order, client, tokens=10, texts=1, priority=0, held=None):
    async with admission.admit(client, tokens, texts, priority) as ticket:
        order.append(client)
        await (asyncio.sleep(0) if held is None else held.wait())
        ticket.used = tokens


def run(scene):
    return asyncio.run(asyncio.wait_for(scene, PATIENCE))


def test_the_client_that_had_least_goes_first():
    async def scene():
        admission, order, held = AdmissionControl(10, 1, 100), [], asyncio.Event()
        first = asyncio.create_task(served(admission, order, "greedy", held=held))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(served(admission, order, "greedy")) for _ in range(6)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(served(admission, order, "modest")) for _ in range(3)]
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(first, *tasks)
        assert admission.running == admission.waiting == admission.tokens == admission.texts == 0
        return order

    order = run(scene())
    assert order[0] == "greedy"
    assert order[1:7].count("modest") == 3  # in turn, though it came last
    assert order[7:] == ["greedy"] * 3


def test_who_stayed_away_has_saved_up_nothing():
    async def scene():
        admission, order = AdmissionControl(10, 1, 100), []
        for _ in range(50):
            await served(admission, order, "busy")
        held = asyncio.Event()
        holder = asyncio.create_task(served(admission, order, "busy", held=held))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(served(admission, order, name)) for name in ["new"] * 8 + ["busy"] * 8]
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(holder, *tasks)
        return order[51:]

    order = run(scene())
    assert abs(order[:8].count("new") - order[:8].count("busy")) <= 2


def test_priority_orders_the_requests_of_one_client():
    async def scene():
        admission, order, held = AdmissionControl(10, 1, 100), [], asyncio.Event()
        done = []

        async def one(name, priority):
            async with admission.admit("a", 10, 1, priority):
                done.append(name)

        holder = asyncio.create_task(served(admission, order, "a", held=held))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(one(name, priority)) for name, priority in [("x", 0), ("y", 5), ("z", -1)]]
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(holder, *tasks)
        return done

    assert run(scene()) == ["y", "x", "z"]


def test_a_large_request_is_not_passed_for_ever():
    async def scene():
        admission, order, held = AdmissionControl(10, 9, 100), [], asyncio.Event()
        holder = asyncio.create_task(served(admission, order, "a", 5, held=held))
        await asyncio.sleep(0)
        large = asyncio.create_task(served(admission, order, "large", 100))  # more than there is: alone it may
        await asyncio.sleep(0)
        small = asyncio.create_task(served(admission, order, "small", 1))
        await asyncio.sleep(0.01)
        assert order == ["a"]
        held.set()
        await asyncio.gather(holder, large, small)
        return order

    assert run(scene()) == ["a", "large", "small"]


def test_a_full_queue_says_when_to_come_again():
    async def scene():
        admission, held = AdmissionControl(10, 1, 2), asyncio.Event()
        tasks = [asyncio.create_task(served(admission, [], "a", held=held)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as raised:
            await served(admission, [], "b")
        assert raised.value.status == 429
        assert 1 <= raised.value.after <= 60
        tasks[1].cancel()  # who leaves the queue leaves a place
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(served(admission, [], "b")))
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert admission.running == admission.waiting == admission.tokens == 0

    run(scene())


@pytest.fixture(scope="module")
def narrow(tiny_path):
    with running({"tiny": tiny_path}, running=2, waiting=2, keys=KEYS, stall_seconds=1.0) as there:
        there.settle(lambda: there.service.models.served["tiny"].model)
        yield there
        there.settle(there.idle)


def headers(key=0):
    return {"authorization": f"Bearer {KEYS[key]}"}


def raw(body):
    """A request as it goes over the wire."""
    content = json.dumps(body).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: localhost", f"Authorization: Bearer {KEYS[0]}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


def test_too_many_are_turned_away(narrow):
    admission = narrow.service.models.served["tiny"].admission

    async def scene():
        async with httpx.AsyncClient(headers=headers(), timeout=PATIENCE) as client:
            url = narrow.url + "/v1/chat/completions"
            under_way = [asyncio.create_task(client.post(url, json=LONG)) for _ in range(4)]
            while admission.running < 2 or admission.waiting < 2:
                await asyncio.sleep(0.005)
            refused = await client.post(url, json=SHORT)
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            return refused

    refused = run(scene())
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "queue_full"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    narrow.settle(narrow.idle)
    assert post(narrow, SHORT, headers=headers()).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_frees_pages_at_once(narrow, stream):
    engine = narrow.service.models.served["tiny"].loaded.engine
    before = engine.counters.decoded
    with socket.create_connection(("127.0.0.1", narrow.port)) as connection:
        connection.sendall(raw(LONG | {"stream": stream, "n": 2}))
        narrow.settle(lambda: engine.held)
    narrow.settle(narrow.idle)
    assert engine.counters.decoded - before < 2 * 900


def test_a_deadline_ends_a_request(narrow):
    slow = LONG | {"n": 2, "intact": {"deadline": 0.05}}
    refused = post(narrow, slow, headers=headers())
    assert refused.status_code == 504
    assert refused.json()["error"]["code"] == "timeout"
    with httpx.stream(
        "POST", narrow.url + "/v1/chat/completions", json=slow | {"stream": True}, headers=headers(), timeout=PATIENCE
    ) as answer:
        text = answer.read().decode()
    assert "timeout" in text
    narrow.settle(narrow.idle)


def unread(server, request):
    """A connection that asks, and reads nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(request)
    return connection


def test_a_reader_that_reads_nothing_is_left(narrow):
    engine = narrow.service.models.served["tiny"].loaded.engine
    with unread(narrow, raw(LONG | {"stream": True, "logprobs": True, "top_logprobs": 20})):
        narrow.settle(lambda: engine.held)
        assert post(narrow, SHORT, headers=headers(1)).status_code == 200  # others do not notice
        narrow.settle(narrow.idle)
        narrow.settle(lambda: not narrow.connections)


def test_a_reader_that_reads_nothing_of_a_whole_answer_is_left(endless_path, tmp_path):
    """Be it a file, or JSON."""
    size = 300_000
    with running({"tiny": endless_path}, state=tmp_path, stall_seconds=0.5) as there:
        with httpx.Client(base_url=there.url, timeout=PATIENCE) as client:
            sent = {"files": {"file": ("x", b"x" * size)}, "data": {"purpose": "batch"}}
            name = client.post("/v1/files", **sent).json()["id"]
        content = f"GET /v1/files/{name}/content HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        tokens = raw({"prompt": "a " * 100_000}).replace(b"/v1/chat/completions", b"/tokenize")
        for request in (content, tokens):
            with unread(there, request) as connection:
                there.settle(lambda: there.connections)
                there.settle(lambda: not there.connections)
                length = 0
                while part := connection.recv(1 << 16):
                    length += len(part)
                assert 0 < length < size


def test_long_texts_wait_for_each_other_and_nothing_else_does(tiny_path, monkeypatch):
    begun, may_end, encode = [], threading.Event(), Tokenizer.encode

    def slow(self, text, *arguments, **options):
        if len(text) >= LONG_TEXT:
            begun.append(len(text))
            may_end.wait(PATIENCE)
        return encode(self, text[:8], *arguments, **options)

    monkeypatch.setattr(Tokenizer, "encode", slow)
    words = "a " * LONG_TEXT
    bodies = [
        ("/tokenize", {"model": "tiny", "prompt": words}),
        ("/tokenize", {"model": "tiny", "messages": [{"role": "user", "content": words}]}),
        ("/v1/messages/count_tokens", {"model": "tiny", "messages": [{"role": "user", "content": words}]}),
        ("/v1/completions", {"model": "tiny", "prompt": words}),
        ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": words}]}),
    ]

    async def ask(server):
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client:
            waiting = [asyncio.create_task(client.post(path, json=body)) for path, body in 4 * bodies]
            try:
                while not begun:
                    await asyncio.sleep(0.002)
                assert (await client.post("/v1/chat/completions", json=SHORT)).status_code == 200
            finally:
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)

    with running({"tiny": tiny_path}) as there:
        asyncio.run(ask(there))
        there.settle(lambda: not there.connections)
        may_end.set()
        there.settle(there.idle)
    assert len(begun) == 1


def test_texts_that_cannot_fit_the_context_are_refused_before_they_are_read(tiny_path, monkeypatch):
    conversation = {"messages": [{"role": "user", "content": "a " * 20_000}], "model": "tiny"}
    with running({"tiny": tiny_path}) as there:
        for path, body, field in (
            ("/tokenize", {"prompt": "a " * 20_000}, "prompt"),
            ("/tokenize", conversation, "messages"),
            ("/v1/chat/completions", conversation, "messages"),
        ):
            refused = httpx.post(there.url + path, json=body, timeout=PATIENCE)
            assert refused.status_code == 400
            assert refused.json()["error"]["param"] == field
            assert refused.json()["error"]["code"] == "context_length_exceeded"
        refused = httpx.post(there.url + "/v1/messages/count_tokens", json=conversation, timeout=PATIENCE)
        assert refused.status_code == 400
        assert "does not fit in the context of 1024 tokens" in refused.json()["error"]["message"]


def test_models_share_a_cap_of_memory(tiny_path):
    size = tiny_path.stat().st_size
    cache = 600_000
    cap = int(2.5 * (1.1 * size + cache))
    paths = {"a": tiny_path, "b": tiny_path, "c": tiny_path}
    with running(paths, Loading(threads=1, cache_bytes=cache), memory_bytes=cap) as server:
        models = server.service.models.served
        with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
            texts = []
            for name in "abcabc":
                answer = client.chat.completions.create(**SHORT_OPENAI | {"model": name})
                texts.append(answer.choices[0].message.content)
                assert models[name].model is not None
                assert sum(one.model is not None for one in models.values()) <= 2
        assert len(set(texts)) == 1
    with running(paths, Loading(threads=1, cache_bytes=cache), memory_bytes=1000) as server:
        refused = post(server, SHORT | {"model": "a"})
        assert refused.status_code == 503
        assert refused.json()["error"]["param"] == "model"


class Held(Models):
    """Loads no model before `go` is set."""

    def __init__(self, *given):
        super().__init__(*given)
        self.go, self.loads = threading.Event(), 0

    def _open(self, path):
        self.loads += 1
        self.go.wait(PATIENCE)
        return super()._open(path)


async def leased(models, order, name, held=None):
    async with models.lease(name):
        order.append(name)
        await (asyncio.sleep(0) if held is None else held.wait())


def test_a_model_is_loaded_once_whoever_leaves(tiny_path):
    async def scene():
        models, order = Held({"a": str(tiny_path)}, Loading(threads=1), ServerSettings()), []
        for _ in range(6):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await leased(models, order, "a")
        models.go.set()
        await leased(models, order, "a")
        assert (models.loads, order) == (1, ["a"])
        await models.close()

    run(scene())


def test_a_model_in_use_keeps_no_other_out(tiny_path):
    async def scene():
        paths, loading = {"a": str(tiny_path), "b": str(tiny_path)}, Loading(threads=1, cache_bytes=600_000)
        cap = int(1.5 * (1.1 * tiny_path.stat().st_size + 600_000))
        models, order, held = Models(paths, loading, ServerSettings(memory_bytes=cap, waiting=1)), [], asyncio.Event()
        tasks = [asyncio.create_task(leased(models, order, "a", held))]
        while not order:
            await asyncio.sleep(0.005)
        for name in ("b", "a", "b"):
            tasks.append(asyncio.create_task(leased(models, order, name)))
            await asyncio.sleep(0)
        with pytest.raises(ApiError) as raised:
            await leased(models, order, "b")
        assert (raised.value.status, raised.value.code) == (429, "queue_full")
        tasks.pop().cancel()  # who leaves leaves a place, and holds up nobody
        held.set()
        await asyncio.gather(*tasks)
        assert order == ["a", "b", "a"]
        assert not any(served.users or served.coming for served in models.served.values())
        await models.close()

    run(scene())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_a_model_that_nobody_uses_is_unloaded_and_loaded_again(tiny_path):
    async def scene():
        settings = ServerSettings(unload_seconds=PATIENCE)
        models, order, held = Models({"a": tiny_path}, Loading(threads=1), settings), [], asyncio.Event()
        (one,) = models.served.values()
        using = asyncio.create_task(leased(models, order, "a", held))
        await until(lambda: order)
        await leased(models, order, "a")
        assert one.unloading is None  # in use
        held.set()
        await using
        first = one.unloading
        await leased(models, order, "a")
        assert first.cancelled()  # used again before the time
        assert one.unloading.when() > first.when()
        models._idle = 0.05
        await leased(models, order, "a")
        await until(lambda: one.model is None)
        await leased(models, order, "a")
        assert one.model is not None
        await models.close()
        assert one.unloading is None or one.unloading.cancelled()

    run(scene())


def test_a_model_whose_clients_left_while_it_was_loaded_is_unloaded(tiny_path):
    async def scene():
        models = Held({"a": tiny_path}, Loading(threads=1), ServerSettings(unload_seconds=0.05))
        (one,) = models.served.values()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await leased(models, [], "a")
        await asyncio.sleep(0.1)  # the time is over while it is loaded
        models.go.set()
        await until(lambda: one.model is not None)
        await until(lambda: one.model is None)
        await models.close()

    run(scene())


def test_the_same_answer_after_unloading(tiny_path):
    with running({"tiny": tiny_path}, Loading(threads=1), unload_seconds=0.1) as server:
        (one,) = server.service.models.served.values()
        first = post(server, SHORT).json()["choices"]
        server.settle(lambda: one.model is None)
        assert httpx.get(server.url + "/ready").status_code == 200
        assert post(server, SHORT).json()["choices"] == first


SHORT_OPENAI = {"messages": SHORT["messages"], "max_tokens": 3}


def test_a_model_whose_file_is_gone(tiny_path, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_path.read_bytes())
    with running({"tiny": tiny_path, "gone": path}) as server:
        path.unlink()
        refused = post(server, SHORT | {"model": "gone"})
        assert refused.status_code == 503
        assert "gone" in refused.json()["error"]["message"]
        assert post(server, SHORT).status_code == 200


def test_health_and_figures(server, client):
    assert httpx.get(server.url + "/health").json() == {"status": "ok"}
    assert httpx.get(server.url + "/version").json() == {"version": intact.__version__}
    client.chat.completions.create(**SHORT_OPENAI, model="tiny")
    assert httpx.get(server.url + "/ready").json() == {"status": "ready"}
    text = httpx.get(server.url + "/metrics").text
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(figures['intact_requests_total{route="/v1/chat/completions",status="200"}']) >= 1
    assert float(figures['intact_engine_steps_total{model="tiny"}']) >= 1
    assert figures['intact_requests_running{model="tiny"}'] == "0.0"
    for line in text.splitlines():
        if line.startswith("# HELP"):
            assert len(line.split(maxsplit=3)) == 4


def test_shutting_down_lets_requests_end(tiny_path):
    with running({"tiny": tiny_path}) as server:
        engine_ready = server.service.models.served["tiny"]
        server.settle(lambda: engine_ready.model)

        async def scene():
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                task = asyncio.create_task(
                    client.post(server.url + "/v1/chat/completions", json=LONG | {"max_tokens": 300})
                )
                while not engine_ready.admission.running:
                    await asyncio.sleep(0.002)
                server.stop()
                return await task

        assert run(scene()).json()["usage"]["completion_tokens"] == 300


@pytest.mark.parametrize("before", [None, 900])
def test_a_short_prompt_is_not_held_up_by_those_who_write_or_by_a_long_one(tiny_path, before):
    model = intact.load(tiny_path, threads=1)
    first: list[int] = []

    def request(length, limit, seed, sink):
        prompt = np.array([5 + (7 * seed + 13 * i) % 250 for i in range(length)], np.int32)
        return GenerateRequest(
            prompt=prompt,
            keys=[branch_key(seed, ("load",))],
            sampling=make_sampling(1.0),
            limit=limit,
            sink=sink,
            ended=lambda *_: None,
        )

    with model.exclusive() as engine:
        for seed in range(64):
            engine.add(request(12, 200, seed, lambda _: None))
        for _ in range(6):
            engine.step()
        if before is not None:
            engine.add(request(before, 1, 98, lambda _: None))
        arrived = engine.counters.steps
        engine.add(request(20, 4, 99, lambda _: first.append(engine.counters.steps)))
        for _ in range(4):
            engine.step()
    assert first[0] - arrived <= 2
