"""Coroutines and threads on one model: the same bits, back-pressure, cancellation, and errors where they belong."""

import asyncio
import gc
import subprocess
import sys
import threading
import time

import pytest

import intact
from intact._base.errors import CapacityError, ParameterError
from intact.engine.driver import LINGER
from intact.engine.sampling import constraints
from intact.engine.streaming import UNREAD
from support.patience import PATIENCE
from support.tiny import write_tiny

CONTEXT = 1024
SAMPLED = {"temperature": 1.0, "seed": 3, "ignore_eos": True}
DRAFTED = 32  # more tokens than one step can bring by drafts


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=CONTEXT)


@pytest.fixture(scope="module")
def plain(path):
    """A model that only answers calls, one at a time."""
    return intact.load(path, threads=1, drafter="off")


@pytest.fixture
def model(path):
    """A model on which nothing may be left behind."""
    model = intact.load(path, threads=1, page_size=16)
    yield model
    settle(lambda: not model.engine.queue)
    settle(lambda: model.engine.held == 0)
    assert not model._driver._posted
    assert model.generate("after all", max_tokens=5, **SAMPLED)[0][0].finish == "length"


def settle(done):
    """Wait for what another thread does."""
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.002)


async def until(done):
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        await asyncio.sleep(0.002)


def prompt_of(i):
    return [20 + i, 40 + 3 * i, 60, 7 * i % 200 + 10][: 1 + i % 4]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 4 * PATIENCE))


async def read(pieces):
    return [piece async for piece in pieces]


def test_agenerate_gives_what_generate_gives(model, plain):
    prompts = [prompt_of(i) for i in range(5)]
    fields = {"n": 3, "max_tokens": 12, "logprobs": True, "top_logprobs": 2, **SAMPLED}
    assert run(model.agenerate(prompts, **fields)) == plain.generate(prompts, **fields)
    constrained = {"regex": "[a-z]{2,9}!", "temperature": 0.8, "max_tokens": 20}
    assert run(model.agenerate("some", n=4, **constrained)) == plain.generate("some", n=4, **constrained)


def test_astream_gives_what_stream_gives(model, plain):
    fields = {"max_tokens": 30, "top_logprobs": 1, "stop": "e", **SAMPLED}
    for i in range(3):
        assert run(read(model.astream(prompt_of(i), **fields))) == list(plain.stream(prompt_of(i), **fields))
    assert run(read(model.astream("x", id="b", max_tokens=9, **SAMPLED))) == list(
        plain.stream("x", id="b", max_tokens=9, **SAMPLED)
    )


@pytest.mark.parametrize("streamed", [False, True])
def test_a_constraint_that_takes_long_to_compile_does_not_hold_the_loop_up(model, plain, monkeypatch, streamed):
    fields = {"regex": "[a-z]{2,9}!", "temperature": 0.8, "max_tokens": 20}
    compiling, meanwhile, compile_ = threading.Event(), threading.Event(), constraints.compile

    def slow(tokenizer, vocabulary, parameters, texts):
        if parameters.constraint is not None:
            compiling.set()
            assert meanwhile.wait(PATIENCE)
        return compile_(tokenizer, vocabulary, parameters, texts)

    async def scene():
        asked = read(model.astream("some", **fields)) if streamed else model.agenerate("some", **fields)
        task = asyncio.create_task(asked)
        await until(compiling.is_set)
        beside = await model.agenerate("beside", max_tokens=9, **SAMPLED)
        meanwhile.set()
        return await task, beside

    expected = list(plain.stream("some", **fields)) if streamed else plain.generate("some", **fields)
    with monkeypatch.context() as patch:
        patch.setattr(constraints, "compile", slow)
        found, beside = run(scene())
    assert found == expected
    assert beside == plain.generate("beside", max_tokens=9, **SAMPLED)


def test_fifty_tasks_at_once(model, plain):
    def fields(i):
        return {"max_tokens": 4 + i % 17, "temperature": i % 6 / 5, "seed": i, "ignore_eos": True}

    async def one(i):
        if i % 2:
            return tuple([piece.token async for piece in model.astream(prompt_of(i), **fields(i))])
        ((completion,),) = await model.agenerate(prompt_of(i), priority=i % 3, **fields(i))
        return completion.tokens

    async def all_of_them():
        return await asyncio.gather(*map(one, range(50)))

    assert run(all_of_them()) == [plain.generate(prompt_of(i), **fields(i))[0][0].tokens for i in range(50)]
    assert model.engine.counters.largest_step >= 25  # they did share steps


def test_a_cancelled_task_gives_its_pages_back_while_others_go_on(model, plain):
    async def scene():
        engine = model.engine
        other = asyncio.create_task(model.agenerate("other", max_tokens=400, **SAMPLED))
        doomed = asyncio.create_task(model.agenerate(list(range(3, 203)), n=3, max_tokens=800, **SAMPLED))
        await until(lambda: len(engine.queue) == 4 and engine.held > 12)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        await until(lambda: len(engine.queue) < 2)
        if engine.queue:
            assert engine.held <= 1 + (5 + 400) // 16
        return await other

    ((found,),) = run(scene())
    assert found == plain.generate("other", max_tokens=400, **SAMPLED)[0][0]


def test_a_stream_that_is_left_ends(model):
    async def scene():
        async for piece in model.astream("some", max_tokens=900, **SAMPLED):
            if piece.token >= 0:
                break
        stream = model.astream("more", max_tokens=900, **SAMPLED)
        await anext(stream)
        await stream.aclose()
        gc.collect()
        await until(lambda: not model.engine.queue)

    run(scene())
    assert model.engine.counters.decoded < 900


def test_a_slow_reader_waits_alone(model, plain):
    fields = {"max_tokens": 500, **SAMPLED}

    async def scene():
        engine = model.engine
        stream = model.astream("slow", **fields)
        first = await anext(stream)
        await until(lambda: engine.queue and next(iter(engine.queue)).request.paused)
        with model.exclusive():  # its step is over
            (slow,) = engine.queue
            drawn = len(slow.output)
        assert UNREAD - 1 <= drawn <= UNREAD + 1 + DRAFTED
        quick = await asyncio.gather(*(model.agenerate(prompt_of(i), max_tokens=40, **SAMPLED) for i in range(9)))
        assert len(slow.output) == drawn  # all that time
        assert slow.request.paused
        await until(lambda: not engine.busy)
        rest = [piece.token async for piece in stream]
        return (first.token, *rest), [completion.tokens for ((completion,),) in quick]

    slow, quick = run(scene())
    assert slow == plain.generate("slow", **fields)[0][0].tokens
    assert quick == [plain.generate(prompt_of(i), max_tokens=40, **SAMPLED)[0][0].tokens for i in range(9)]


def test_a_paused_sample_yields_its_pages_and_comes_back(path, plain):
    page_bytes = intact.load(path, threads=1, page_size=16).executor.page_bytes
    model = intact.load(path, threads=1, page_size=16, cache_bytes=14 * page_bytes, drafter="off")

    async def scene():
        engine = model.engine
        stream = model.astream("slow", max_tokens=150, **SAMPLED)
        head = [await anext(stream)]
        await until(lambda: engine.queue and next(iter(engine.queue)).request.paused)
        assert engine.held >= 4
        await model.agenerate(list(range(3, 163)), max_tokens=50, **SAMPLED)  # needs 14 pages
        await until(lambda: engine.held == 0)
        assert engine.counters.preemptions == 1
        return tuple(piece.token for piece in [*head, *[piece async for piece in stream]])

    assert run(scene()) == plain.generate("slow", max_tokens=150, **SAMPLED)[0][0].tokens
    settle(lambda: model.engine.held == 0)


def test_a_reader_that_crashes_ends_its_own_stream(model, plain):
    async def crashing():
        async for piece in model.astream("doomed", max_tokens=900, **SAMPLED):
            raise ZeroDivisionError(piece.token)

    async def scene():
        other = model.agenerate("other", max_tokens=60, **SAMPLED)
        return await asyncio.gather(crashing(), other, crashing(), return_exceptions=True)

    first, ((found,),), last = run(scene())
    assert isinstance(first, ZeroDivisionError)
    assert isinstance(last, ZeroDivisionError)
    assert found == plain.generate("other", max_tokens=60, **SAMPLED)[0][0]


def test_an_event_loop_that_closes_midway_leaves_nothing(model):
    async def begin():
        stream = model.astream("some", max_tokens=900, **SAMPLED)
        await anext(stream)
        return stream, asyncio.ensure_future(model.agenerate("more", max_tokens=900, **SAMPLED))

    loop = asyncio.new_event_loop()
    left = loop.run_until_complete(begin())
    loop.close()
    assert model.generate("other", max_tokens=30, **SAMPLED)[0][0].finish == "length"
    settle(lambda: all(s.request.paused for s in model.engine.queue))  # nobody reads, nobody draws
    left[1]._log_destroy_pending = False
    del left
    gc.collect()
    settle(lambda: not model.engine.queue)


def test_a_loop_that_ends_by_itself_cancels_what_is_left(model):
    async def begin():
        task = asyncio.create_task(model.agenerate("some", max_tokens=900, n=2, **SAMPLED))
        await until(lambda: model.engine.held > 0)
        assert not task.done()

    run(begin())
    settle(lambda: not model.engine.queue)
    assert model.engine.held == 0


def test_threads_and_coroutines_share_one_model(model, plain):
    found: dict[object, object] = {}

    def ask(number):
        if number % 2:
            pieces = model.stream(prompt_of(number), max_tokens=40, **SAMPLED)
            found[number] = tuple(piece.token for piece in pieces)
        else:
            ((completion,),) = model.generate(prompt_of(number), max_tokens=40, **SAMPLED)
            found[number] = completion.tokens

    async def scene():
        return await asyncio.gather(*(model.agenerate(prompt_of(i), max_tokens=40, **SAMPLED) for i in range(10, 20)))

    def other_loop():
        found["loop"] = [c.tokens for ((c,),) in run(scene())]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    threads.append(threading.Thread(target=other_loop))
    for thread in threads:
        thread.start()
    mine = [c.tokens for ((c,),) in run(scene())]
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    expected = [plain.generate(prompt_of(i), max_tokens=40, **SAMPLED)[0][0].tokens for i in range(20)]
    assert [found[i] for i in range(8)] == expected[:8]
    assert mine == found["loop"] == expected[10:]


def test_errors_surface_in_the_task_that_asked(path, plain):
    page_bytes = intact.load(path, threads=1, page_size=16).executor.page_bytes
    model = intact.load(path, threads=1, page_size=16, cache_bytes=5 * page_bytes)
    a = model.tokenizer.encode("a")[0]
    fields = {"max_tokens": 50, **SAMPLED}

    async def scene():
        return await asyncio.gather(
            model.agenerate("first", **fields),
            model.agenerate("large", **fields | {"max_tokens": 200}),
            read(model.astream("large too", **fields | {"max_tokens": 200})),
            model.agenerate("none", regex="a", logit_bias={a: float("-inf")}),
            read(model.astream("none", regex="a", logit_bias={a: float("-inf")})),
            model.agenerate("wrong", max_tokens=0),
            model.agenerate(list(range(3, 100))),
            model.agenerate("large", on_error="return", **fields | {"max_tokens": 200}),
            model.agenerate("last", **fields),
            return_exceptions=True,
        )

    first, large, too, none, nothing, wrong, long, returned, last = run(scene())
    assert first == plain.generate("first", **fields)
    assert last == plain.generate("last", **fields)
    for error in (large, too, long, returned[0][0].error):
        assert isinstance(error, CapacityError)
    for error in (none, nothing, wrong):
        assert isinstance(error, ParameterError)
    assert 60 < len(returned[0][0].tokens) < 90
    settle(lambda: model.engine.held == 0)
    assert model.generate("first", **fields) == first


def test_a_step_that_breaks_the_background_thread_is_heard_of(model, monkeypatch):
    """What no request caused: all hear of it, and the next calls find a model that works."""
    move = model.engine.scheduler.plan
    monkeypatch.setattr(model.engine.scheduler, "plan", lambda: 1 // 0)

    async def scene():
        stream = read(model.astream("some", max_tokens=9))
        return await asyncio.gather(model.agenerate("more", max_tokens=9), stream, return_exceptions=True)

    for error in run(scene()):
        assert isinstance(error, ZeroDivisionError)
    monkeypatch.setattr(model.engine.scheduler, "plan", move)
    assert run(model.agenerate("some", max_tokens=3, **SAMPLED))[0][0].finish == "length"


def test_the_background_thread_ends_when_nothing_is_left(model, monkeypatch):
    assert LINGER < PATIENCE
    monkeypatch.setattr("intact.engine.driver.LINGER", 0.02)
    for _ in range(3):
        assert run(model.agenerate("some", max_tokens=3, **SAMPLED))[0][0].finish == "length"
        settle(lambda: model._driver._thread is None)


def test_an_interpreter_ends_in_silence_while_the_thread_lingers(path):
    code = "import asyncio, sys, intact; print(len(asyncio.run(intact.load(sys.argv[1]).agenerate('x', max_tokens=3))))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_a_text_that_is_scored_is_left_when_its_step_is_over(model, monkeypatch):
    began, goes_on, steps, step = threading.Event(), threading.Event(), [], model.executor.step

    def held(chunks, wanted):
        began.set()
        assert goes_on.wait(PATIENCE)
        steps.append("ended")
        return step(chunks, wanted)

    async def leave():
        monkeypatch.setattr(model.executor, "step", held)
        scoring = asyncio.create_task(model.ascores(list(range(3, 203)) * 4))
        await until(began.is_set)
        scoring.cancel()
        asyncio.get_running_loop().call_later(0.05, goes_on.set)
        with pytest.raises(asyncio.CancelledError):
            await scoring
        await until(lambda: steps and not model.engine.queue)

    asyncio.run(leave())
    assert steps == ["ended"]
    monkeypatch.undo()


def test_texts_that_are_scored_share_a_small_cache_with_those_who_write(path, model):
    """Each of them fits alone; whoever finds no room waits, or yields and comes back."""
    capped = intact.load(path, threads=1, page_size=16, cache_bytes=40 * model.executor.page_bytes)
    text = [3 + i % 200 for i in range(500)]
    prompt, wanted = text[::-1], {"max_tokens": 40, **SAMPLED}

    async def together():
        writing = [capped.agenerate(prompt[i:], **wanted) for i in range(2)]
        return await asyncio.gather(*(capped.ascores(text[i:], 2) for i in range(3)), *writing)

    *scores, first, second = asyncio.run(together())
    for i, (values, likeliest) in enumerate(scores):
        assert values.tolist() == model.logprobs(text[i:]).tolist()
        assert len(likeliest) == len(values)
    assert [first, second] == [model.generate(prompt[i:], **wanted) for i in range(2)]
    assert capped.engine.held == 0


@pytest.mark.parametrize("top", [1.5, -1, True, 21])
def test_what_no_number_of_likeliest_tokens_is_refused(model, top):
    with pytest.raises(ParameterError, match=f"top_logprobs must be an integer from 0 to 20, got {top}"):
        asyncio.run(model.ascores([1, 2, 3], top))
