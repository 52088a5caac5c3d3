"""A wall clock that jumps by hours, both ways, expires nothing: only the time that a document shows follows it."""

import asyncio
import http.client
import itertools
import threading
import time
from contextlib import closing

import httpx
import pytest

from support.patience import PATIENCE
from support.serving import running

KEYS = ("first-client-0123456789",)
HEADERS = {"authorization": f"Bearer {KEYS[0]}"}
SHORT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, "ignore_eos": True}
LONG = SHORT | {"max_tokens": 900}
HOUR = 3600.0
REAL = time.time


@pytest.fixture
def jumping(monkeypatch):
    """The wall clock is some hours ahead or behind, another number at each look."""
    hours = itertools.cycle([6, -6, 0, 48, -48])
    looks = []

    def jump():
        looks.append(next(hours))
        return REAL() + looks[-1] * HOUR

    monkeypatch.setattr(time, "time", jump)
    monkeypatch.setattr(time, "time_ns", lambda: int(jump() * 1e9))
    return looks


@pytest.fixture
def server(tiny_path, jumping):
    with running({"tiny": tiny_path}, running=2, waiting=2, keys=KEYS, request_seconds=60.0) as there:
        there.settle(lambda: there.service.models.served["tiny"].model)
        yield there
        there.settle(there.idle)


def post(server, body):
    return httpx.post(server.url + "/v1/chat/completions", json=body, headers=HEADERS, timeout=PATIENCE)


def test_requests_wait_and_end_as_ever(server, jumping, monkeypatch):
    served = server.service.models.served["tiny"]
    admission, engine = served.admission, served.loaded.engine
    url, may_step, step = server.url + "/v1/chat/completions", threading.Event(), engine.step
    monkeypatch.setattr(engine, "step", lambda: may_step.wait(PATIENCE) and step())  # nothing ends before all came

    async def scene():
        async with httpx.AsyncClient(headers=HEADERS, timeout=PATIENCE) as client:
            under_way = [asyncio.create_task(client.post(url, json=LONG | {"seed": i})) for i in range(4)]
            while admission.running < 2 or admission.waiting < 2:
                await asyncio.sleep(0.002)
            refused = await client.post(url, json=SHORT)
            may_step.set()
            return refused, await asyncio.gather(*under_way)

    refused, answers = asyncio.run(scene())
    assert [answer.status_code for answer in answers] == [200] * 4
    assert {answer.json()["usage"]["completion_tokens"] for answer in answers} == {900}
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    created = [answer.json()["created"] - REAL() for answer in answers]
    assert any(abs(off) > HOUR for off in created)  # this is the clock's, as it says
    assert len(jumping) >= 4


def test_a_deadline_is_neither_early_nor_late(server, monkeypatch):
    assert post(server, SHORT | {"intact": {"deadline": PATIENCE}}).status_code == 200
    engine = server.service.models.served["tiny"].loaded.engine
    before, step = engine.counters.steps, engine.step
    monkeypatch.setattr(engine, "step", lambda: time.sleep(0.01) or step())  # else a slow loop would be too late
    late = post(server, LONG | {"n": 2, "intact": {"deadline": 0.05}})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
    server.settle(server.idle)
    assert engine.counters.steps - before < 900, "texts that nobody waits for were written to their ends"


def test_what_is_kept_stays_and_connections_stay_open(server):
    answer = post(server, SHORT | {"intact": {"receipt": True}}).json()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as quiet:
        quiet.connect()
        for _ in range(3):
            connection = quiet.sock
            time.time()  # another jump
            quiet.request("GET", "/health")
            assert quiet.getresponse().read() == b'{"status":"ok"}'
            assert quiet.sock is connection
            time.sleep(0.05)
    kept = httpx.get(f"{server.url}/v1/receipts/{answer['id']}", headers=HEADERS)
    assert kept.json()["data"] == [answer["choices"][0]["receipt"]]


def test_a_stream_under_way_goes_on(server):
    with httpx.stream(
        "POST", server.url + "/v1/chat/completions", json=LONG | {"stream": True}, headers=HEADERS, timeout=PATIENCE
    ) as answer:
        assert b"[DONE]" in answer.read()
