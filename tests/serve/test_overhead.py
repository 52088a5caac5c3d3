"""What serving costs beside the engine, counted and not timed: wake-ups a step, function calls a token."""

import asyncio
import re
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

import intact
from support.patience import PATIENCE
from support.serving import running

SOURCE = str(Path(intact.__file__).parent)
STREAMS = 16
FEW, MANY = 20, 120
"""Tokens of an answer: between the two the calls grow by what tokens cost, without what requests do."""
CALLS = 40
"""Calls that a token may take: 31 where each is written alone, fewer where a busy machine writes several at once."""


class Calls:
    """Calls that this package's own functions make, in C or in Python, by thread; and wake-ups of the event loop.

    What its dependencies call inside is not counted: another version of theirs moves no number here.
    """

    def __init__(self):
        self.of, self.wakes = Counter(), 0

    def __call__(self, frame, event, argument):
        caller = frame.f_back if event == "call" else frame
        if event in ("call", "c_call") and caller is not None and caller.f_code.co_filename.startswith(SOURCE):
            name = threading.current_thread().name
            self.of[name] += 1
            self.wakes += event == "call" and (name, frame.f_code.co_name) == ("intact-engine", "call_soon_threadsafe")

    def of_loop(self):
        """Calls of the thread in which the server runs."""
        return sum(count for name, count in self.of.items() if not name.startswith("intact-"))


@pytest.fixture
def counted(tiny_path):
    calls = Calls()
    threading.setprofile(calls)
    try:
        with running({"tiny": tiny_path}) as server:
            server.settle(lambda: server.service.models.served["tiny"].model)
            yield server, calls
            server.settle(server.idle)
    finally:
        threading.setprofile(None)


def stream(server, path, fields, tokens):
    """Have many answers streamed at once; how many tokens they have."""

    async def one(client, seed):
        if path == "/api/chat":
            body, mark = {"options": {"num_predict": tokens, "seed": seed, "ignore_eos": True}}, '"eval_count":'
        elif path == "/v1/messages":
            body, mark = {"max_tokens": tokens, "seed": seed, "ignore_eos": True}, '"output_tokens":'
        else:
            body, mark = {"max_tokens": tokens, "seed": seed, "logit_bias": {"2": -100}}, '"completion_tokens":'
            body |= {"stream_options": {"include_usage": True}}
        answer = await client.post(path, json={"model": "tiny", "stream": True, **body, **fields})
        assert answer.status_code == 200, answer.text
        return int(re.match("[0-9]+", answer.text.rpartition(mark)[2])[0])

    async def scene():
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, limits=limits) as client:
            return sum(await server.together([one(client, seed) for seed in range(STREAMS)]))

    written = asyncio.run(scene())
    server.settle(server.idle)
    return written


KINDS = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Go on"}]}),
    ("/v1/completions", {"prompt": "Go on"}),
    ("/api/chat", {"messages": [{"role": "user", "content": "Go on"}]}),
    ("/v1/messages", {"messages": [{"role": "user", "content": "Go on"}]}),
]


@pytest.mark.parametrize(("path", "fields"), KINDS)
def test_a_step_wakes_the_loop_once_and_a_token_takes_few_calls(counted, path, fields):
    server, calls = counted
    engine = server.service.models.served["tiny"].loaded.engine
    stream(server, path, fields, FEW)  # what happens once is over
    found = []
    for tokens in (FEW, MANY):
        steps, wakes, loop = engine.counters.steps, calls.wakes, calls.of_loop()
        written = stream(server, path, fields, tokens)
        assert 0 < calls.wakes - wakes <= engine.counters.steps - steps
        found.append((written, calls.of_loop() - loop))
    tokens, loop = (many - few for few, many in zip(*found, strict=True))
    assert tokens > STREAMS * (MANY - FEW) / 2
    assert loop / tokens < CALLS
