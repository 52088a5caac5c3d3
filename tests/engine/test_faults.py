"""What goes wrong ends one request; the others keep their bits, the pages come back, the model can be used again."""

import gc
import random
import re
import time
import weakref

import numpy as np
import pytest

import intact
from intact._base.errors import CapacityError, ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.engine.draft.base import Drafter, Tree
from intact.engine.drafting import Drafting
from intact.engine.engine import Engine
from intact.engine.sampling import grammars
from support.gguf_writer import write_gguf
from support.patience import PATIENCE
from support.tally import Eager, Oracle, Tally, continued, request
from support.tiny import write_tiny

CONTEXT = 128
SAMPLED = {"temperature": 1.0, "seed": 3, "ignore_eos": True}
PROMPTS = [[40 + i, 50, 3 * i + 20, 60][: 1 + i % 4] for i in range(6)]


# On texts instead of a model: what may fail within a step


def submit(engine, prompt, keys, limit, **fields):
    events: dict = {}
    engine.add(request(prompt, keys, limit, events, **fields))
    return events


def run(engine):
    while engine.queue:
        assert engine.step() or not engine.queue
    assert engine.held == 0


class PoorDraws(Tally):
    """Too little memory for three draws at once, and for any with an odd key."""

    def draw(self, logits, draws):
        if len(draws) > 2 or any(draw.key % 2 for draw in draws):
            raise MemoryError("no room to draw")
        return super().draw(logits, draws)


def test_draws_that_fail_end_their_own_samples_only():
    engine = Engine(PoorDraws(), CONTEXT)
    found = [submit(engine, [key % 7, 1, 2], [key], 12) for key in range(6)]
    run(engine)
    for key, events in enumerate(found):
        if key % 2:
            finish, error = events["end", 0]
            assert finish == "error"
            assert isinstance(error, MemoryError)
        else:
            assert events[0] == continued([key, 1, 2], key, 12)
            assert events["end", 0] == ("length", None)


def test_a_listener_that_fails_at_the_end_fails_alone(caplog):
    engine = Engine(Tally(), CONTEXT)

    def broken(*_):
        raise OSError("nobody listens")

    left = request([1, 2], [3], 2, {})
    left.ended = broken
    engine.add(left)
    other = submit(engine, [1, 2], [5], 9)
    run(engine)
    assert other[0] == continued([1, 2], 5, 9)
    assert left.live == 0
    assert "nobody listens" in caplog.text


class HatesDrafts(Tally):
    """Cannot run more than one row of a sequence that decodes."""

    def __init__(self):
        super().__init__()
        self.refused = 0

    def step(self, chunks, wanted):
        if any(chunk.position and len(chunk.tokens) > 1 for chunk in chunks):
            self.refused += 1
            raise MemoryError("no room for drafts")
        return super().step(chunks, wanted)


def test_a_draft_that_fails_costs_nothing_but_time():
    executor = HatesDrafts()
    engine = Engine(executor, CONTEXT, drafting=Drafting(Oracle(random.Random(1), [0]), Eager()))
    found = [submit(engine, [i, 1], [0], 12) for i in range(4)]
    run(engine)
    for i, events in enumerate(found):
        assert events[0] == continued([i, 1], 0, 12)
        assert events["end", 0] == ("length", None)
    assert executor.refused > 5
    assert engine.counters.drafted == 0


def test_an_interrupt_while_tokens_are_handed_out_ends_all_that_run():
    """Nobody can say any more what was handed out; but nobody waits for ever."""
    engine = Engine(Tally(), CONTEXT)

    def interrupted(event):
        raise KeyboardInterrupt

    other = submit(engine, [1, 2], [5], 9)
    submit(engine, [1, 2, 3], [4], 9, sink=interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(engine)
    finish, error = other["end", 0]
    assert finish == "error"
    assert "a step was interrupted: KeyboardInterrupt()" in str(error)
    assert engine.held == 0
    again = submit(engine, [1, 2], [5], 9)
    run(engine)
    assert again[0] == continued([1, 2], 5, 9)


# On models


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=CONTEXT)


@pytest.fixture(scope="module")
def expected(path):
    """What the prompts give on a model to which nothing happened, each alone."""
    model = intact.load(path, threads=1, page_size=16, drafter="off")
    return [model.generate(prompt, **USUAL)[0] for prompt in PROMPTS]


USUAL = {"max_tokens": 14, "n": 2, "logprobs": True, **SAMPLED}


@pytest.fixture
def model(path, expected):
    """A model that must be as good as new after the test."""
    model = intact.load(path, threads=1, page_size=16)
    yield model
    assert model.engine.held == 0
    assert not model.engine.queue
    assert model.generate(PROMPTS, **USUAL) == expected


def capped(path, pages):
    page_bytes = intact.load(path, page_size=16).executor.page_bytes
    return intact.load(path, threads=1, page_size=16, cache_bytes=pages * page_bytes)


def test_a_cap_too_small_for_a_sequence_is_its_own_error(path, expected, model):
    small, long = capped(path, 3), list(range(10, 45))
    found = small.generate([*PROMPTS[:3], long, *PROMPTS[3:]], on_error="return", **USUAL | {"max_tokens": 20})
    (free,) = model.generate(long, **USUAL | {"max_tokens": 20})
    for completion, other in zip(found[3], free, strict=True):
        assert completion.finish == "error"
        assert isinstance(completion.error, CapacityError)
        assert "a sequence of 50 tokens needs 4 pages of the KV cache; its limit allows 3" in str(completion.error)
        assert completion.tokens == other.tokens[:14]
        assert completion.logprobs == other.logprobs[:14]
    assert found[:3] + found[4:] == model.generate(PROMPTS, **USUAL | {"max_tokens": 20})
    with pytest.raises(CapacityError, match="a sequence of 50 tokens"):
        small.generate([*PROMPTS, long], **USUAL | {"max_tokens": 20})
    with pytest.raises(CapacityError, match="a sequence of 60 tokens needs 4 pages"):
        small.generate(list(range(10, 70)))
    assert small.engine.held == 0
    assert small.generate(PROMPTS, **USUAL) == expected


def test_a_context_that_ends_is_no_error(model, expected):
    long = list(range(3, 3 + CONTEXT - 6))
    found = model.generate([PROMPTS[0], long, PROMPTS[1]], **USUAL)
    assert [found[0], found[2]] == expected[:2]
    (short,) = model.generate(long, **USUAL | {"max_tokens": 6})
    assert [(c.finish, c.error) for c in found[1]] == [("context", None)] * 2
    assert [(c.tokens, c.logprobs) for c in found[1]] == [(c.tokens, c.logprobs) for c in short]


def read(pieces):
    for left, _ in zip(range(4, -1, -1), pieces, strict=False):
        assert 1 / left


def test_a_reader_that_fails_ends_its_own_stream(model, expected):
    beside = model.stream(PROMPTS[0], max_tokens=14, **SAMPLED)
    head = [next(beside) for _ in range(3)]
    failing = model.stream("some text", max_tokens=50)
    with pytest.raises(ZeroDivisionError):
        read(failing)
    assert len(model.engine.queue) == 2  # somebody still holds the iterator
    failing.close()
    assert len(model.engine.queue) == 1
    assert tuple(piece.token for piece in [*head, *beside]) == expected[0][0].tokens


def test_a_stream_that_is_collected_in_the_midst_of_a_step_ends(model, expected, monkeypatch):
    stream = model.stream("some text", max_tokens=100, ignore_eos=True)
    next(stream)
    loop = [stream]
    loop.append(loop)
    gone = weakref.ref(stream)
    del stream, loop
    step = model.executor.step
    monkeypatch.setattr(model.executor, "step", lambda *parts: (gone() and gc.collect(), step(*parts))[1])
    assert model.generate(PROMPTS, **USUAL) == expected
    end = time.monotonic() + PATIENCE
    while model.engine.queue:
        assert time.monotonic() < end
        time.sleep(0.002)
    assert model.engine.counters.decoded < 100 + len(PROMPTS) * 2 * USUAL["max_tokens"] - 80


def digits_of(model):
    """Tokens with a digit in them."""
    size, spell = model.tokenizer.size, model.tokenizer.token_bytes
    return [token for token in range(size) if any(byte in b"0123456789" for byte in spell(token))]


@pytest.mark.parametrize("case", ["biases", "end"])
def test_a_constraint_that_comes_to_allow_no_token(model, expected, case):
    fields = {"max_tokens": 40, "temperature": 1.0}
    if case == "biases":
        fields |= {"regex": "[a-c]{3}[0-9]", "logit_bias": dict.fromkeys(digits_of(model), float("-inf"))}
        message = "no token is allowed here: the constraint and the biases rule out every token"
    else:
        fields |= {"regex": "[a-c]{3}", "min_tokens": 6}  # it must end where it may not
        message = r"no token is allowed here: the constraint and min_tokens \(6\) rule out every token"
    beside = model.stream(PROMPTS[0], max_tokens=14, **SAMPLED)
    head = [next(beside) for _ in range(3)]
    (found,) = model.generate("some", n=3, on_error="return", **fields)
    for completion in found:
        assert completion.finish == "error"
        assert isinstance(completion.error, ParameterError)
        assert re.fullmatch(message, str(completion.error))
        assert len(completion.text) == 3
        assert set(completion.text) <= set("abc")
    with pytest.raises(ParameterError, match=message):
        model.generate("some", n=3, **fields)
    assert tuple(piece.token for piece in [*head, *beside]) == expected[0][0].tokens


def test_a_constraint_that_explodes_midway_spoils_no_other(model, expected, monkeypatch):
    """What it costs shows only when a b has come, to whom one comes."""
    monkeypatch.setattr(grammars, "LIMITS", grammars.LIMITS | {"step_lexer_fuel": 3000})
    a, b = model.tokenizer.encode("ab")
    fields = {"regex": "(a{1,1000}){1,1000}b{9999}", "max_tokens": 8, "logit_bias": {b: 100.0}}
    beside = model.stream(PROMPTS[0], max_tokens=14, **SAMPLED)
    head = [next(beside) for _ in range(3)]
    patient = model.stream("some", **fields | {"logit_bias": {a: 100.0}})
    assert next(patient).token == a
    for _ in range(2):
        (found,) = model.generate("some", on_error="return", **fields)[0]
        assert found.finish == "error"
        assert isinstance(found.error, ParameterError)
        assert "too many expressions" in str(found.error)
        assert found.tokens == (a, b, b)
    assert [piece.token for piece in patient] == [a] * 7
    assert tuple(piece.token for piece in [*head, *beside]) == expected[0][0].tokens


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens is 9, but max_tokens is only 8"),
        ({"regex": "a", "grammar": 'start: "a"'}, "regex and grammar are given"),
        ({"json_schema": {}, "ignore_eos": True}, "ignore_eos contradicts json_schema"),
        ({"logit_bias": {100_000: 1.0}}, "logit_bias names token 100000"),
        ({"regex": "("}, "the regex cannot be used"),
        ({"grammar": "start: nothing"}, "the grammar cannot be used"),
        ({"json_schema": {"type": "never"}}, "the json_schema cannot be used"),
        ({"n": 0}, "n must be an integer from 1 to 1048576, got 0"),
        ({"priority": 9}, "priority must be an integer from -8 to 8"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(model, fields, message):
    with pytest.raises(ParameterError, match=message):
        model.generate(PROMPTS, **fields)
    assert model.engine.counters.steps == 0


@pytest.mark.parametrize("error", [MemoryError("no room"), ModelError("a logit is not finite"), RuntimeError("why?")])
def test_a_step_that_fails_for_one_request_fails_for_it_alone(model, expected, monkeypatch, error):
    step, marked = model.executor.step, 77

    def failing(chunks, wanted):
        if any(marked in chunk.tokens for chunk in chunks):
            raise error
        return step(chunks, wanted)

    monkeypatch.setattr(model.executor, "step", failing)
    found = model.generate([*PROMPTS[:2], [9, marked, 9], *PROMPTS[2:]], on_error="return", **USUAL)
    mine = [c for several in expected for c in several]
    assert not any(marked in c.tokens for c in mine)
    assert found[:2] + found[3:] == expected
    assert [(c.finish, c.tokens, c.error) for c in found[2]] == [("error", (), error)] * 2
    with pytest.raises(type(error), match=str(error)):
        model.generate([*PROMPTS, [9, marked, 9]], **USUAL)


def test_a_machine_with_less_memory_than_the_cap(model, expected, monkeypatch):
    reserve = model.executor.reserve_pages

    def poor(count):
        if count > 8:
            raise MemoryError("no more pages")
        reserve(count)

    monkeypatch.setattr(model.executor, "reserve_pages", poor)
    asked = [*PROMPTS, list(range(30, 60))]
    assert model.generate(asked, **USUAL)[: len(PROMPTS)] == expected
    assert model.engine.pool.used <= 8
    assert (preempted := model.engine.counters.preemptions) > 0
    monkeypatch.undo()  # somebody else has given memory back
    assert model.generate(asked, **USUAL)[: len(PROMPTS)] == expected
    assert model.engine.pool.used > 8
    assert model.engine.counters.preemptions == preempted


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_step_ends_the_call_that_was_interrupted(model, expected, monkeypatch, fatal):
    beside = model.stream(PROMPTS[0], max_tokens=14, **SAMPLED)
    head = [next(beside) for _ in range(3)]
    step, count = model.executor.step, [0]

    def interrupted(chunks, wanted):
        count[0] += 1
        if count[0] == 6:
            raise fatal
        return step(chunks, wanted)

    monkeypatch.setattr(model.executor, "step", interrupted)
    with pytest.raises(fatal):
        model.generate(PROMPTS, **USUAL)
    assert count == [6]
    assert [s.request.prompt.tolist() for s in model.engine.queue] == [PROMPTS[0]]
    assert tuple(piece.token for piece in [*head, *beside]) == expected[0][0].tokens


POISON = 200


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory):
    """A model that passes the largest float where one token has a 1 that all others lack."""
    path = write_tiny(tmp_path_factory.mktemp("poisoned") / "tiny.gguf", "llama", ["F32"], context=CONTEXT)
    with open_checkpoint(path) as checkpoint:
        metadata = dict(checkpoint.metadata)
        floats = {t.name: (t.shape, t.data.tobytes()) for t in checkpoint.tensors.values()}
    arrays = {name: np.frombuffer(data, "<f4").reshape(shape).copy() for name, (shape, data) in floats.items()}
    arrays["token_embd.weight"][:, 5] = np.arange(len(arrays["token_embd.weight"])) == POISON
    arrays["blk.0.attn_v.weight"][:, 5] = 3e38
    tensors = {name: ("F32", array.shape, array.tobytes()) for name, array in arrays.items()}
    return write_gguf(path, metadata, tensors)


class Poisoner(Drafter):
    """A drafter that knows only one token."""

    name, trees = "poisoner", False

    def open(self, tokens, draws=None):
        return self

    def extend(self, tokens):
        pass

    def propose(self, limit, floor=0.0):
        return Tree(np.int32([POISON]), np.int32([-1]), (0.5,), ("poisoner",)) if limit else None


def test_logits_that_are_not_finite_are_their_own_requests_error(poisoned):
    plain = intact.load(poisoned, "fp32", threads=1, drafter="off")
    alone = [plain.generate(prompt, **USUAL)[0] for prompt in PROMPTS]
    assert not any(POISON in c.tokens for several in alone for c in several)
    found = plain.generate([*PROMPTS, [9, POISON, 30]], on_error="return", **USUAL)
    assert found[:-1] == alone
    for completion in found[-1]:
        assert (completion.finish, completion.tokens) == ("error", ())
        assert "a logit is not finite in FP32" in str(completion.error)
    assert plain.engine.held == 0
    assert plain.generate(PROMPTS, **USUAL) == alone


def test_a_draft_whose_logits_are_not_finite_ends_nobody(poisoned):
    model = intact.load(poisoned, "fp32", threads=1, drafter="off")
    alone = [model.generate(prompt, **USUAL)[0] for prompt in PROMPTS]
    model.engine.drafting = Drafting(Poisoner(), Eager())
    tried = []
    step = model.executor.step
    model.executor.step = lambda chunks, wanted: (
        tried.extend(POISON in chunk.tokens for chunk in chunks) or step(chunks, wanted)
    )
    assert model.generate(PROMPTS, **USUAL) == alone
    assert any(tried)
    assert model.engine.counters.drafted == 0
