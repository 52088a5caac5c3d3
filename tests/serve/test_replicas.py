"""Replicas behind one server: the answers of one process, whoever gives them, and whoever dies meanwhile."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.serve.identity import REQUEST, RequestIdentity, new_identifier, new_seed
from intact.serve.replicas.fleet import Fleet
from intact.serve.replicas.gateway import Gateway, _Sent
from intact.serve.replicas.routing import BLOCK, SLACK, PrefixRouter, blocks
from intact.serve.replicas.scaling import FULL, GROW, SHRINK, FleetSize, QueueScaler, ReplicaReport
from intact.serve.settings import ServerSettings
from support.clusters import SOURCES
from support.patience import PATIENCE
from support.serving import running
from support.tiny import write_tiny

READY = 60.0


def request(text, **fields):
    return json.dumps({"model": "m", "prompt": text, **fields}).encode()


@given(st.text(min_size=3 * BLOCK, max_size=6 * BLOCK), st.text(max_size=BLOCK))
def test_requests_share_blocks_as_far_as_their_texts_do(common, rest):
    first, second = blocks(request(common + "a" + rest)), blocks(request(common + "b" + rest))
    shared = len(("m\n" + common).encode("utf-8", "replace")) // BLOCK
    assert first[:shared] == second[:shared]
    assert not set(first[shared:]) & set(second[shared:])


def test_seeds_and_limits_are_no_beginning_and_what_is_no_json_has_none():
    assert blocks(request("x" * 1000, seed=1, max_tokens=5)) == blocks(request("x" * 1000, seed=2))
    assert blocks(request("x" * 1000)) != blocks(request("y" * 1000))
    assert blocks(b"\xff") == blocks(b"[1]") == blocks(b"{}") == blocks(request("short")) == []


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(2, 4))
def test_a_request_goes_where_its_beginning_went_unless_that_replica_is_busy(texts, replicas):
    router, first = PrefixRouter(), {}
    loads = dict.fromkeys(range(replicas), 0)
    for text in texts:
        chosen = router.choose(blocks(request(f"{text}" * 1000)), loads).replica
        assert chosen == first.setdefault(text, chosen)


def test_a_replica_that_is_busy_is_passed_over_and_one_that_is_gone_forgotten():
    router, beginnings = PrefixRouter(), blocks(request("x" * 1000))
    assert router.choose(beginnings, {0: 0, 1: 0}) == (0, 0)
    assert router.choose(beginnings, {0: SLACK, 1: 0}) == (0, len(beginnings))
    assert router.choose(beginnings, {0: SLACK + 1, 1: 0}) == (1, 0)
    router.forget(0)
    assert router.match(0, beginnings) == 0
    assert router.choose(beginnings, {0: 0, 1: 1}) == (1, len(beginnings))


def test_a_request_done_again_has_the_same_identifiers_and_seed_and_another_has_others():
    def made(identity):
        token = REQUEST.set(identity)
        try:
            return [new_identifier(), new_identifier(), new_seed(53)]
        finally:
            REQUEST.reset(token)

    one, other = RequestIdentity(b"one", 0.0), RequestIdentity(b"other", 0.0)
    assert made(one) == made(RequestIdentity(b"one", 1.0))
    assert len({*made(RequestIdentity(b"one", 0.0)), *made(other)}) == 6
    first = made(RequestIdentity(b"one", 0.0))
    assert all(len(name) == 32 and name.startswith(one.tag) for name in first[:2])
    assert first[2] < 1 << 53


@given(st.lists(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=6), min_size=1, max_size=3), st.randoms())
def test_of_a_stream_made_again_each_text_is_sent_once_and_in_order(texts, rng):
    """Texts may be interleaved differently the second time, and the same parts may come again and again."""
    sent = []

    async def send(message):
        sent.append(message["body"])

    def interleaved():
        left = {index: [b"%d:%b" % (index, part) for part in text] for index, text in enumerate(texts)}
        while any(left.values()):
            yield left[rng.choice([index for index, text in left.items() if text])].pop(0)

    async def run():
        response, parts = _Sent(send), list(interleaved())
        for part in parts[: rng.randint(0, len(parts))]:
            await response.send({"type": "http.response.body", "body": part})
        response.again()
        for part in interleaved():
            await response.send({"type": "http.response.body", "body": part})
        response.check(False)

    asyncio.run(run())
    for index, text in enumerate(texts):
        assert [part for part in sent if part.startswith(b"%d:" % index)] == [b"%d:%b" % (index, p) for p in text]


def test_a_stream_that_differs_when_it_is_made_again_is_broken_off():
    async def send(message):
        del message

    async def run():
        response = _Sent(send)
        await response.send({"type": "http.response.body", "body": b"one"})
        response.again()
        await response.send({"type": "http.response.body", "body": b"other"})
        response.check(False)

    with pytest.raises(ConnectionError, match="differs"):
        asyncio.run(run())


@pytest.mark.parametrize(("text", "size"), [("1", (1, 1)), ("3", (3, 3)), ("1-4", (1, 4)), ("2-2", (2, 2))])
def test_a_size_is_a_number_or_two(text, size):
    assert FleetSize.parse(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "4-1", "0-2", "1-", "1-2-3", "two", "1 - 2", "12345", "1.5"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(
        ParameterError, match="is not a number of replicas; expected one from 1 to 9999, or two as in 1-4"
    ):
        FleetSize.parse(text)


LOADS = st.lists(st.tuples(st.floats(0.1, 90), st.integers(0, 2), st.floats(0, 1)), max_size=60)


@given(LOADS, st.integers(1, 3), st.integers(0, 3))
def test_the_number_of_replicas_follows_what_waits_and_what_has_room(looks, least, more):
    """Each change is by one, within the bounds, and what it rests on held for all of the time before it."""
    scaler, now, before = QueueScaler(FleetSize(least, least + more)), 0.0, [(-1e9, 0, 0.0)]
    changed, wanted = 0.0, least
    for seconds, waiting, busy in looks:
        now += seconds
        before.append((now, waiting, busy * wanted))
        became = scaler.look(now, wanted, [ReplicaReport(waiting, busy)] * wanted)
        assert least <= became <= least + more
        if became != wanted:
            assert abs(became - wanted) == 1
            span = GROW if became > wanted else SHRINK
            since = [one for one in before if one[0] > changed]
            assert now - since[0][0] >= span
            recent = [one for one in since if one[0] >= now - span]
            assert all((waits > 0) == (became > wanted) for _, waits, _ in recent)
            assert became > wanted or all(taken <= FULL * became for _, _, taken in recent)
            changed, wanted = now, became


def test_replicas_that_are_on_their_way_are_waited_for():
    scaler = QueueScaler(FleetSize(1, 3))
    waits = [ReplicaReport(5, 1.0)]
    assert [scaler.look(now, 1, waits) for now in (0, GROW / 2, GROW, GROW + 1, 9 * GROW)] == [1, 1, 2, 2, 2]
    assert [scaler.look(10 * GROW + now, 2, waits * 2) for now in (0, GROW)] == [2, 3]
    assert scaler.look(99 * GROW, 3, waits * 3) == 3


class NoMachines:
    """What a fleet needs of Ray where there is no machine."""

    @staticmethod
    def put(value):
        return value

    @staticmethod
    def remote(**options):
        return lambda it: it


def test_a_request_for_which_no_replica_is_ready_in_time_is_answered_so():
    gateway = Gateway(
        Fleet(NoMachines, None, None, FleetSize(1, 1)), ServerSettings(request_seconds=0.05), asyncio.Event()
    )

    async def connection(scope, receive, send):
        await gateway.application()(scope | {"state": {"refusal": None}}, receive, send)

    async def run():
        transport = httpx.ASGITransport(connection)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/v1/completions", content=request("x"))

    answer = asyncio.run(run())
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "no replica was ready within 0.05 seconds"
    assert answer.json()["error"]["code"] == "no_replica"


QUICK = "from intact.serve.replicas import scaling; scaling.SHRINK = 3; from intact.cli import main; main()"
"""The command, by which replicas go after three seconds."""


@contextmanager
def replicas(model, size, *options, program=("-m", "intact.cli")):
    """Serve a model by replicas in a cluster of this machine; yield the address and the server's process."""
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    count = FleetSize.parse(size).least
    words = ["serve", f"tiny={model}", "--ray", "local", "--replicas", size, "--port", "0", "--no-socket"]
    environment = {**os.environ, "PYTHONPATH": SOURCES, "RAY_TMPDIR": "/tmp"}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, *program, *words, "--threads", "1", "--json", *options]
    lines = []
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        threading.Thread(target=lambda: lines.extend(server.stderr), daemon=True).start()
        try:
            port = _until(lambda: next((_port(line) for line in list(lines) if "running on" in line), 0))
            url = f"http://127.0.0.1:{port}"
            _until(lambda: _metrics(url)["intact_replicas"] == count)
            yield url, server
        except BaseException:
            print("".join(lines)[-6000:])
            raise
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(PATIENCE)
            server.kill()


def _port(line):
    return int(line.partition("127.0.0.1:")[2].split()[0])


def _until(done):
    end = time.monotonic() + PATIENCE
    while not (found := done()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)
    return found


def _metrics(url):
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def _pids(server):
    """Return the processes of replicas that descend from a server."""
    parents, found = {}, []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if (place / "cmdline").read_bytes().startswith(b"ray::Replica"):
                found.append(int(place.name))

    def descends(pid):
        while pid in parents and pid != server.pid:
            pid = parents[pid]
        return pid == server.pid

    return sorted(filter(descends, found))


BODIES = [
    {"prompt": "Once upon a time", "max_tokens": 60, "seed": 3, "n": 3, "logprobs": 2},
    {"prompt": "Two", "max_tokens": 40, "seed": 4, "intact": {"receipt": True}},
    {"prompt": "Three", "max_tokens": 300, "seed": 5, "n": 2, "stream": True, "temperature": 1},
    {"prompt": "Four", "max_tokens": 300, "seed": 6, "stream": True, "stream_options": {"include_usage": True}},
]


def answer(url, body):
    """Return what a server answers, without identifiers and times: one value, or the parts of each choice."""
    given = {"model": "tiny", **body}
    if not body.get("stream"):
        reply = httpx.post(f"{url}/v1/completions", json=given, timeout=PATIENCE)
        assert reply.status_code == 200, reply.text
        return _plain(reply.json())
    found, names = [], set()
    with httpx.stream("POST", f"{url}/v1/completions", json=given, timeout=PATIENCE) as reply:
        assert reply.status_code == 200
        for line in reply.iter_lines():
            if line.startswith("data: {"):
                value = json.loads(line.removeprefix("data: "))
                names.add((value["id"], value["created"]))
                found.append(_plain(value))
            elif line:
                found.append(line)
    assert len(names) == 1
    assert found[-1] == "data: [DONE]"

    def index(value):
        return value["choices"][0]["index"] if isinstance(value, dict) and value["choices"] else 99

    return sorted(found, key=index)


def _plain(value):
    return {name: one for name, one in value.items() if name not in ("id", "created")}


@pytest.mark.slow
def test_answers_do_not_depend_on_replicas_nor_on_which_of_them_are_killed_or_restarted(tmp_path):
    model = write_tiny(tmp_path / "tiny.gguf")
    with running({"tiny": model}) as alone:
        expected = [answer(alone.url, body) for body in BODIES]
    rng = random.Random(5)
    with replicas(model, "2") as (url, server), ThreadPoolExecutor(12) as pool:
        assert [answer(url, body) for body in BODIES] == expected

        kept = httpx.post(f"{url}/v1/completions", json={"model": "tiny", **BODIES[1]}).json()
        for name in (kept["id"],) * 4:
            (receipt,) = httpx.get(f"{url}/v1/receipts/{name}").json()["data"]
            assert receipt == kept["choices"][0]["receipt"]
        verdict = httpx.post(f"{url}/v1/verify", json={"receipt": receipt}, timeout=PATIENCE).json()
        assert verdict["outcome"] == "true", verdict

        assert httpx.post(f"{url}/v1/completions", json={"model": "none", "prompt": "x"}).status_code == 404
        missing = httpx.post(f"{url}/v1/messages", json={"model": "tiny", "max_tokens": 1})
        assert (missing.status_code, missing.json()["type"]) == (400, "error")

        kills = 0
        for _ in range(3):
            asked = [index for index in range(len(BODIES)) for _ in range(6)]
            rng.shuffle(asked)
            futures = [pool.submit(answer, url, BODIES[index]) for index in asked]
            time.sleep(rng.uniform(0.02, 0.6))
            if pids := _pids(server):
                os.kill(rng.choice(pids), signal.SIGKILL)
                kills += 1
            for index, future in zip(asked, futures, strict=True):
                assert future.result(PATIENCE) == expected[index]
            _until(lambda: _metrics(url)["intact_replicas"] == 2)
        found = _metrics(url)
        assert found["intact_replicas_lost_total"] == kills == 3
        assert found["intact_requests_rerun_total"] > 0

        before = _pids(server)
        server.send_signal(signal.SIGHUP)
        for index in [*range(len(BODIES))] * 3:
            assert answer(url, BODIES[index]) == expected[index]
        _until(lambda: len(pids := _pids(server)) == 2 and not set(pids) & set(before))
        _until(lambda: _metrics(url)["intact_replicas"] == 2)
        assert _metrics(url)["intact_replicas_lost_total"] == 3
        assert answer(url, BODIES[0]) == expected[0]


@pytest.mark.slow
def test_requests_with_one_beginning_go_to_one_replica_and_find_their_pages_there(tmp_path):
    model = write_tiny(tmp_path / "tiny.gguf")
    texts = [f"{topic} " * 60 for topic in ("alpha", "beta", "gamma", "delta")]
    with replicas(model, "2") as (url, _):
        for i in range(12):
            answer(url, {"prompt": texts[i % 4] + f"question {i}", "max_tokens": 2, "seed": 1})
        _until(lambda: _cached(url)["cached_tokens"] > 8 * 60)  # both replicas have told their counters
        found = _metrics(url)
        assert found["intact_requests_forwarded_total"] == 12
        assert found["intact_requests_matched_total"] == 8


@pytest.mark.slow
def test_a_replica_is_added_while_requests_wait_and_goes_when_they_have_room(tmp_path):
    model = write_tiny(tmp_path / "tiny.gguf")
    body = {"prompt": "Once", "max_tokens": 100, "n": 2, "seed": 7}
    with replicas(model, "1-2", "--running", "2", program=("-c", QUICK)) as (url, _), ThreadPoolExecutor(6) as pool:
        expected, end = answer(url, body), threading.Event()

        def ask_on():
            while not end.is_set():
                assert answer(url, body) == expected

        asked = [pool.submit(ask_on) for _ in range(6)]
        _until(lambda: _metrics(url)["intact_replicas"] == 2)
        end.set()
        for one in asked:
            one.result(PATIENCE)
        _until(lambda: _metrics(url)["intact_replicas"] == 1)
        assert answer(url, body) == expected
        assert _metrics(url)["intact_replicas_lost_total"] == 0


def _cached(url):
    totals = Counter()
    for name, value in _metrics(url).items():
        for field in ("rows", "cached_tokens"):
            if name.startswith(f"intact_engine_{field}_total"):
                totals[field] += value
    return totals
