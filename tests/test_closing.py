"""Closing a model: what runs ends, what comes later is a plain error, and the memory is free."""

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import intact
from intact._base.errors import ModelError
from support.models import real_model
from support.patience import PATIENCE
from support.tiny import write_tiny

CLOSED = r"the model tiny\.gguf has been closed: load it again"
ENDLESS = {"max_tokens": 4000, "temperature": 1.0, "ignore_eos": True}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=4096)


@pytest.fixture(params=["native", "reference"])
def model(path, request):
    return intact.load(path, threads=1, executor=request.param)


def test_a_block_closes_its_model(path):
    with intact.load(path, threads=1) as model:
        expected = model.generate("some", max_tokens=4)
        assert repr(model) == "Model('tiny.gguf', qwen3, int8)"
    assert repr(model) == "Model('tiny.gguf', closed)"
    with pytest.raises(ZeroDivisionError), intact.load(path, threads=1) as model:
        1 // (model.generate("some", max_tokens=4) != expected)
    with pytest.raises(ModelError, match=CLOSED):
        model.generate("some")


USES = {
    "generate": lambda model: model.generate("some"),
    "stream": lambda model: next(model.stream("some")),
    "chat": lambda model: model.chat([{"role": "user", "content": "some"}]),
    "agenerate": lambda model: asyncio.run(model.agenerate("some")),
    "ascores": lambda model: asyncio.run(model.ascores("some")),
    "logits": lambda model: model.logits("some"),
    "logprobs": lambda model: model.logprobs("some"),
    "solve": lambda model: intact.solve(model, "self_consistency", "some", n=2),
    "conversation": lambda model: intact.Conversation(model).say("some"),
    "info": lambda model: model.info(),
    "sampling_defaults": lambda model: model.sampling_defaults,
    "exclusive": lambda model: model.exclusive().__enter__(),
    "tokenizer": lambda model: model.tokenizer.encode("some"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_every_use_of_a_closed_model_is_a_plain_error(path, use):
    model = intact.load(path, threads=1)
    model.close()
    model.close()
    with pytest.raises(ModelError, match=CLOSED):
        use(model)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = model.nothing


def test_what_runs_ends_with_the_error(model):
    """Streams, threads and coroutines that wait for tokens when another thread closes the model."""
    found = {}

    def ask(name, call):
        try:
            found[name] = call()
        except ModelError as error:
            found[name] = str(error)

    async def read():
        return [chunk async for chunk in model.astream("four", **ENDLESS)]

    stream = model.stream("one", **ENDLESS)
    next(stream)
    calls = {
        "generate": lambda: model.generate("two", **ENDLESS),
        "agenerate": lambda: asyncio.run(model.agenerate("three", **ENDLESS)),
        "astream": lambda: asyncio.run(read()),
    }
    threads = [threading.Thread(target=ask, args=call) for call in calls.items()]
    for thread in threads:
        thread.start()
    limit = time.monotonic() + PATIENCE
    while len(model.engine.queue.running) < 4 and time.monotonic() < limit:
        time.sleep(0.01)
    closers = [threading.Thread(target=model.close) for _ in range(3)]
    for thread in closers:
        thread.start()
    for thread in closers + threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    ask("stream", lambda: list(stream))
    assert found == dict.fromkeys([*calls, "stream"], CLOSED.replace("\\", ""))


def test_who_holds_the_engine_cannot_close_the_model(model):
    with model.exclusive(), pytest.raises(RuntimeError, match="this thread already holds the engine"):
        model.close()
    assert model.generate("some", max_tokens=2)[0][0].tokens


def test_closing_one_model_leaves_another_of_the_same_file(path):
    first, second = intact.load(path, threads=1), intact.load(path, threads=1)
    expected = first.generate("some", max_tokens=9)
    first.close()
    assert second.generate("some", max_tokens=9) == expected


MEASURE = """
import sys, threading
from pathlib import Path

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

import tokenizers, intact.executors.native, intact.library, intact._base.memory
for name in sys.argv[1:]:
    before, threads = status("VmRSS:"), status("Threads:")
    with intact.load(name, threads=2) as model:
        model.generate([1] * 600, max_tokens=20, n=4, temperature=1.0, ignore_eos=True)
        kept = model.stream([1] * 50, max_tokens=20, ignore_eos=True)
        next(kept)
        loaded = status("VmRSS:")
    del kept  # a stream keeps the tokenizer by which it writes, and is part of a cycle
    intact._base.memory.give_back()
    print(loaded - before, status("VmRSS:") - before, status("Threads:") - threads)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_the_memory_of_a_closed_model_is_free():
    """Of a second one too: nothing adds up."""
    path = str(real_model("qwen-coder-0.5b"))
    done = subprocess.run([sys.executable, "-c", MEASURE, path, path], capture_output=True, text=True, check=True)
    (taken, left, threads), (again, more, _) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert taken > 400_000  # kB
    assert left < 0.1 * taken  # packages that came with the model, holes in Python's heap
    assert again > 0.9 * taken
    assert more < 0.05 * taken
    assert threads == 0
