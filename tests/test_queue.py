"""Thousands of requests, and thousands of forks, on a model that computes."""

import random
import tracemalloc

import pytest

import intact
from support.asks import Ask, completions, job_of, together
from support.tiny import write_tiny

KINDS = (
    {},
    {"temperature": 0.9, "top_k": 30},
    {"temperature": 1.0, "frequency_penalty": 0.5, "repetition_penalty": 1.1},
    {"temperature": 1.3, "logit_bias": {2: 9.0}},
)


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_many_requests_under_a_cap_equal_their_solitary_runs(tmp_path, count):
    path = write_tiny(tmp_path / "tiny.gguf", "gemma3", context=256)
    draw = random.Random(0)
    shared = [draw.randrange(3, 259) for _ in range(40)]
    asks = []
    for i in range(count):
        own = [draw.randrange(3, 259) for _ in range(draw.randint(1, 24))]
        fields = draw.choice(KINDS) | {"max_tokens": draw.randint(1, 16), "seed": i}
        asks.append(Ask(shared * (i % 3 == 0) + own, fields, n=1 + (i % 10 == 0), priority=draw.choice((0, 0, 1, -1))))
    plain = intact.load(path, threads=1, prefix_cache=False, drafter="off")
    page_bytes = plain.executor.page_bytes
    model = intact.load(path, threads=1, rows=128, chunk=64, cache_bytes=30 * page_bytes)
    found = together(model, asks)
    for ask, several in zip(asks, found, strict=True):
        assert several == together(plain, [ask])[0]
    counters, index = model.engine.counters, model.engine.index
    assert min(counters.preemptions, counters.cache_hits, index.evictions) > count / 100
    assert model.engine.pool.used <= 30
    assert counters.largest_step > 30


def test_ten_thousand_forks_hold_little_beyond_their_pages(tmp_path):
    model = intact.load(write_tiny(tmp_path / "tiny.gguf", context=256), threads=1, rows=1024, drafter="off")
    engine = model.engine
    job = job_of(model, Ask([7] * 200, {"max_tokens": 40, "temperature": 100.0, "ignore_eos": True}))
    engine.add(job.request)
    while 0 not in job.writers or len(job.writers[0].tokens) < 3:
        engine.step()
    text, pages = job.writers[0].tokens.copy(), engine.pool.used
    request = job.request
    sink, request.sink = request.sink, lambda event: None  # the texts are the caller's
    tracemalloc.start()
    engine.fork(request, 0, list(range(10_000)))
    engine.step()  # they part into as many as there are tokens,
    engine.step()  # and again
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sequences = len(engine.queue)
    assert sequences > 8000
    assert size < 10e6
    assert engine.pool.used - pages <= 301  # a page for each of the texts that the second step went on with
    tokens = {tuple(s.tokens(0, s.length)[200:]) for s in engine.queue}
    assert len(tokens) == sequences
    assert all(list(t[:3]) == text for t in tokens)
    engine.cancel(request)
    assert engine.held == 0
    request.sink = sink
    assert completions(job)[0].finish == "cancelled"
