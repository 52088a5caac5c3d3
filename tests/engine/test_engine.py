"""The engine's steps: what shares them, who goes first, who must wait, and when a sample leaves."""

import random
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intact._base.errors import CapacityError, ParameterError
from intact.engine.cache import PageTable
from intact.engine.drafting import Drafting
from intact.engine.engine import Engine
from intact.engine.scheduler import FORESEEN, LOOKAHEAD, PATIENCE
from intact.engine.scoring import Scoring
from intact.engine.sequence import SCORED_ROWS, Sequence
from support.examples import examples
from support.tally import PAGE, VOCABULARY, Eager, Oracle, Tally, continued, marks, request

CONTEXT = 400


@pytest.fixture
def executor():
    return Tally()


def make(executor, pages=None, **settings):
    limit = None if pages is None else pages * executor.page_bytes
    return Engine(executor, settings.pop("context", CONTEXT), cache_bytes=limit, **settings)


def prompt_of(seed, length):
    return np.random.default_rng(seed).integers(0, VOCABULARY, length).tolist()


def run(engine, steps=100_000):
    while engine.queue and steps:
        steps -= 1
        assert engine.step() or not engine.queue
        assert engine.pool.used <= engine.pool.capacity
    assert steps, "it never ends"


def submit(engine, prompt, keys, limit, **fields):
    events: dict = {}
    added = request(prompt, keys, limit, events, **fields)
    engine.check(prompt)
    engine.add(added)
    return added, events


def expect(events, prompt, keys, limit, finish="length"):
    for sample, key in enumerate(keys):
        assert events[sample] == continued(prompt, key, limit)
        assert events["end", sample] == (finish, None)


@pytest.mark.parametrize("chunk", [1, 3, 16, 256])
@pytest.mark.parametrize("rows", [1, 2, 5, 512])
def test_every_sample_draws_its_own_tokens(executor, chunk, rows):
    engine = make(executor, chunk=chunk, rows=rows)
    asked = [(prompt_of(i, length), range(i, i + 3), 20) for i, length in enumerate((1, 40, 16, 7, 33))]
    found = [submit(engine, *parts)[1] for parts in asked]
    run(engine)
    for events, parts in zip(found, asked, strict=True):
        expect(events, *parts)
    assert max(sum(step) for step in executor.steps) <= rows
    assert engine.held == 0


def test_samples_that_draw_alike_are_computed_once(executor):
    engine = make(executor)
    _, events = submit(engine, prompt_of(1, 20), [5] * 8, 10)
    run(engine)
    expect(events, prompt_of(1, 20), [5] * 8, 10)
    assert [sum(step) for step in executor.steps] == [20, *[1] * 9]
    assert engine.counters.shared_draws == 9 * 7


def test_numbers_that_the_executor_saturates_are_counted_with_its_steps(executor, monkeypatch):
    monkeypatch.setattr(Tally, "saturated", property(lambda self: 3 * len(self.steps)))
    engine = make(executor)
    submit(engine, prompt_of(1, 20), [5], 4)
    run(engine)
    assert engine.counters.as_dict()["saturated"] == 3 * len(executor.steps) == 12


def test_a_prompt_asked_for_many_times_at_once_is_computed_once(executor):
    engine = make(executor)
    prompt = prompt_of(2, 3 * PAGE + 5)
    found = [submit(engine, prompt, [key], 4)[1] for key in range(6)]
    run(engine)
    for key, events in enumerate(found):
        expect(events, prompt, [key], 4)
    # each other request computes what lies beyond the shared pages, and its draws
    assert engine.counters.prefilled == len(prompt) + 5 * 5
    assert engine.counters.cached_tokens == 5 * 3 * PAGE


def test_without_a_prefix_cache_everything_is_computed(executor):
    engine = make(executor, prefix_cache=False)
    prompt = prompt_of(2, 3 * PAGE + 5)
    for _ in range(2):
        _, events = submit(engine, prompt, [1], 4)
        run(engine)
        expect(events, prompt, [1], 4)
    assert engine.counters.cached_tokens == 0
    assert engine.counters.prefilled == 2 * len(prompt)
    assert engine.pool.used == 0


def test_without_a_prefix_cache_equal_prompts_wait_for_no_other(executor):
    engine = make(executor, prefix_cache=False)
    found = [submit(engine, prompt_of(2, 40), [key], 4)[1] for key in range(12)]
    run(engine)
    for key, events in enumerate(found):
        expect(events, prompt_of(2, 40), [key], 4)
    assert engine.counters.steps == 5  # 480 rows of prompts in the first two


def test_a_text_that_comes_back_with_its_answer_hits_the_cache(executor):
    engine = make(executor)
    prompt = prompt_of(3, 30)
    _, events = submit(engine, prompt, [1], 40)
    run(engine)
    longer = prompt + events[0] + [0, 1]
    _, again = submit(engine, longer, [2], 5)
    run(engine)
    expect(again, longer, [2], 5)
    assert engine.counters.cached_tokens == len(prompt) + 39  # the last token was never computed


@pytest.mark.parametrize("chunk", [7, 256])
@pytest.mark.parametrize("pages", [6, 9, 30, 200])
def test_under_a_cap_the_youngest_yield_and_come_back(executor, pages, chunk):
    engine = make(executor, pages, chunk=chunk)
    asked = [(prompt_of(i, 20 + i), [i, i + 1], 40) for i in range(12)]
    found = [submit(engine, *parts)[1] for parts in asked]
    run(engine)
    for events, parts in zip(found, asked, strict=True):
        expect(events, *parts)
    assert (engine.counters.preemptions > 0) == (pages < 200)
    assert engine.held == 0


class Watched(list):
    """A part of the line that counts how often it is walked through."""

    walks = 0

    def __iter__(self):
        self.walks += 1
        return super().__iter__()

    def __reversed__(self):
        self.walks += 1
        return super().__reversed__()

    def __getitem__(self, place):
        self.walks += isinstance(place, slice)
        return super().__getitem__(place)


class Wide(Tally):
    """Every key draws a token of its own."""

    def draw(self, logits, draws):
        return np.array([draw.key for draw in draws]), np.zeros(len(draws), np.int64)


def test_forks_that_free_nothing_are_not_looked_for_one_by_one():
    engine = make(Wide(), 20, rows=32)
    submit(engine, prompt_of(1, 20), range(1000), 30, sink=lambda event: None)
    most = walks = 0
    for _ in range(8):
        line = engine.queue.running = Watched(engine.queue.running)
        before = engine.counters.preemptions
        engine.step()
        if (taken := engine.counters.preemptions - before) > most:
            most, walks = taken, line.walks
    assert most > 900
    assert walks < 40
    engine.close()


def test_a_step_looks_at_few_of_those_who_wait(monkeypatch):
    """However many wait behind those who could fill it, for a page of another's or for rows."""
    looked = Counter()
    walk = PageTable._walk
    monkeypatch.setattr(PageTable, "_walk", lambda table, *a: looked.update([table]) or walk(table, *a))
    remaining = Sequence.remaining.fget
    monkeypatch.setattr(Sequence, "remaining", property(lambda s: looked.update([s]) or remaining(s)))
    common = prompt_of(1, 30 * PAGE)
    for prompts in ([[*common, i] for i in range(2000)], [prompt_of(i, 3) for i in range(2000)]):
        engine = make(Tally(), chunk=64, context=1000)
        for i, prompt in enumerate(prompts):
            submit(engine, prompt, [i], 2)
        for _ in range(5):
            looked.clear()
            engine.step()
            assert len(looked) < FORESEEN + 2 * LOOKAHEAD + 64
        run(engine)
        assert engine.pool.used == engine.index.idle


def test_the_oldest_is_never_preempted(executor):
    engine = make(executor, 8)
    ends: list[int] = []
    for i in range(6):
        fields = {"sampling": None}
        events: dict = {}
        added = request(prompt_of(i, 30), [i], 60, events, **fields)
        ended = added.ended
        added.ended = lambda *a, i=i, ended=ended: (ends.append(i), ended(*a))
        engine.add(added)
    run(engine)
    assert ends == sorted(ends)
    assert engine.counters.preemptions > 0


def test_idle_prefixes_leave_before_anybody_is_preempted(executor):
    engine = make(executor, 10)
    submit(engine, prompt_of(1, 5 * PAGE), [1], 2)
    run(engine)
    assert engine.index.idle == 6  # five full pages, and one that is not
    _, events = submit(engine, prompt_of(2, 20), [1, 2], 60)
    run(engine)
    expect(events, prompt_of(2, 20), [1, 2], 60)
    assert engine.index.evictions > 0
    assert engine.counters.preemptions == 0


def test_preemption_at_every_step_changes_nothing(executor):
    for cached in (True, False):
        engine = make(executor, prefix_cache=cached)
        asked = [(prompt_of(i, 10 + 9 * i), [i, 50 + i], 12) for i in range(5)]
        found = [submit(engine, *parts)[1] for parts in asked]
        while engine.queue:
            engine.preempt()
            engine.step()
        for events, parts in zip(found, asked, strict=True):
            expect(events, *parts)
        assert engine.counters.preemptions > 50


def test_nobody_starves(executor):
    """A stream of urgent requests without end: the patient one is passed only by those that come soon enough."""
    engine = make(executor, 40, rows=2, chunk=2)
    _, patient = submit(engine, prompt_of(0, 10), [0], 5, priority=-1)
    number = 0
    while ("end", 0) not in patient:
        if sum(s.request.priority == 1 for s in engine.queue) < 6:
            number += 1
            submit(engine, prompt_of(number, 4), [number], 3, priority=1)
        engine.step()
        assert engine.counters.steps < 2 * PATIENCE + 100
    assert engine.counters.steps > 2 * PATIENCE  # the urgent ones did go first
    expect(patient, prompt_of(0, 10), [0], 5)


def test_among_equals_the_first_to_come_is_the_first_to_end(executor):
    engine = make(executor, rows=4, chunk=4)
    order: list[int] = []
    for i in range(8):
        events: dict = {}
        added = request(prompt_of(i, 6), [i], 4, events)
        added.ended = lambda *_, i=i: order.append(i)
        engine.add(added)
    run(engine)
    assert order == sorted(order)


def test_a_long_prompt_does_not_hold_up_those_who_write(executor):
    engine = make(executor, chunk=8, context=2000)
    _, writing = submit(engine, prompt_of(1, 3), [1], 50)
    engine.step()
    submit(engine, prompt_of(2, 1000), [2], 1)
    for expected in range(2, 40):
        engine.step()
        assert len(writing[0]) == expected


@pytest.mark.parametrize("later", [0, 1, 2])
def test_a_short_prompt_does_not_wait_for_a_long_one(executor, later):
    engine = make(executor, context=2000)
    for i in range(64):
        submit(engine, prompt_of(i, 3), [i], 50)
    engine.step()
    _, long = submit(engine, prompt_of(100, 900), [1], 1)
    for _ in range(later):
        engine.step()
    _, short = submit(engine, prompt_of(101, 20), [2], 4)
    engine.step()
    assert len(short[0]) == 1
    for _ in range(3 - later):
        engine.step()
    assert len(long[0]) == 1  # 900 rows in four steps of 256, less 20 for the short one
    expect(long, prompt_of(100, 900), [1], 1)


def test_a_prompt_whose_beginning_is_known_counts_as_short(executor):
    engine = make(executor, chunk=32)
    submit(engine, prompt_of(1, 10 * PAGE), [1], 1)
    run(engine)
    submit(engine, prompt_of(2, 200), [1], 1)
    _, known = submit(engine, prompt_of(1, 10 * PAGE) + prompt_of(3, 9), [2], 3)
    engine.step()
    assert len(known[0]) == 1
    run(engine)
    expect(known, prompt_of(1, 10 * PAGE) + prompt_of(3, 9), [2], 3)


def test_short_prompts_without_end_leave_half_to_the_long_ones(executor):
    engine = make(executor, chunk=8)
    longs = [submit(engine, prompt_of(i, 120), [i], 1)[1] for i in range(3)]
    number, ended = 10, []
    while len(ended) < 3:
        while sum(s.remaining > 1 and len(s.request.prompt) < 8 for s in engine.queue) < 4:
            number += 1
            submit(engine, prompt_of(number, 4), [number], 1)
        engine.step()
        ended += [i for i, events in enumerate(longs) if ("end", 0) in events and i not in ended]
    assert ended == [0, 1, 2]
    assert engine.counters.steps <= 3 * 120 // 4 + 3
    for i, events in enumerate(longs):
        expect(events, prompt_of(i, 120), [i], 1)


@examples(60)
@example(64, [[(length, 0) for length in (20, 20, 130, 20, 20)]])
@given(
    st.sampled_from([1, 2, 7, 16, 64]),
    st.lists(
        st.lists(st.tuples(st.sampled_from([1, 3, 8, 20, 60, 130]), st.sampled_from([0, 0, 1, -1])), max_size=4),
        min_size=1,
        max_size=25,
    ),
)
def test_rows_for_prompts_are_shared_by_the_rules(chunk, arrivals):
    """Full steps; a share for the first in line; short prompts at once, as long as those before them leave room."""
    engine = make(Tally(), chunk=chunk, prefix_cache=False)
    plans, plan = [], engine.scheduler.plan
    engine.scheduler.plan = lambda: plans.append(plan()) or plans[-1]
    asked, kept = [], engine.scheduler.kept
    while arrivals or engine.queue:
        for length, priority in arrivals.pop(0) if arrivals else ():
            parts = prompt_of(1000 + len(asked), length), [len(asked)], 2
            asked.append((submit(engine, *parts, priority=priority)[1], *parts))
        behind = [(s, s.remaining) for s in engine.queue if s.remaining > 1 or not s.output]
        engine.step()
        found = {work.sequence: work.rows for work in plans[-1]}
        assert min(found.values(), default=1) > 0
        assert sum(found.get(s, 0) for s, _ in behind) == min(chunk, sum(remaining for _, remaining in behind))
        if behind:
            assert found[behind[0][0]] >= min(behind[0][1], chunk - kept)
        short = 0
        for sequence, remaining in behind:
            short += remaining if remaining <= kept else 0
            if remaining <= kept and short <= kept:
                assert found[sequence] == remaining
    for events, *parts in asked:
        expect(events, *parts)


def test_cancelled_samples_leave_at_once(executor):
    engine = make(executor)
    added, events = submit(engine, prompt_of(1, 20), [1, 2, 3], 50)
    for _ in range(4):
        engine.step()
    held = engine.held
    engine.cancel(added, [1])
    assert events["end", 1] == ("cancelled", None)
    assert engine.held < held
    engine.cancel(added)
    assert engine.held == 0
    assert not engine.queue
    assert [events["end", i][0] for i in range(3)] == ["cancelled"] * 3


def test_a_sink_may_cancel_its_rivals_within_the_step(executor):
    engine = make(executor)
    events: dict = {}
    added = request(prompt_of(1, 20), range(4), 50, events)
    plain = added.sink

    def race(event):
        plain(event)
        if event.sample == 2 and len(events[2]) == 5:
            engine.cancel(added)
            return "stop"
        return None

    added.sink = race
    engine.add(added)
    run(engine)
    assert sorted(events["end", i][0] for i in range(4)) == ["cancelled"] * 3 + ["stop"]
    assert engine.held == 0


def test_a_sink_that_fails_ends_its_sample_alone(executor):
    engine = make(executor)
    events: dict = {}
    added = request(prompt_of(1, 20), [1, 2], 8, events)
    plain = added.sink

    def broken(event):
        if event.sample == 1 and len(events.get(1, ())) == 3:
            raise OSError("the reader is gone")
        return plain(event)

    added.sink = broken
    engine.add(added)
    _, other = submit(engine, prompt_of(2, 9), [3], 8)
    run(engine)
    finish, error = events["end", 1]
    assert finish == "error"
    assert isinstance(error, OSError)
    assert events[0] == continued(prompt_of(1, 20), 1, 8)
    expect(other, prompt_of(2, 9), [3], 8)
    assert engine.held == 0


def test_forks_go_on_from_the_text_so_far(executor):
    engine = make(executor)
    prompt = prompt_of(4, 21)
    added, events = submit(engine, prompt, [1], 30)
    for _ in range(11):
        engine.step()
    so_far = list(events[0])
    assert engine.fork(added, 0, [7, 8]) == [1, 2]
    run(engine)
    assert events[0] == continued(prompt, 1, 30)
    for sample, key in ((1, 7), (2, 8)):
        assert events[sample] == continued(prompt + so_far, key, 30 - len(so_far))
    with pytest.raises(ParameterError, match="sample 0 has ended: it cannot be forked"):
        engine.fork(added, 0, [9])


def test_ten_thousand_forks_are_light(executor):
    engine = make(executor, context=3000, rows=64)
    added, _ = submit(engine, prompt_of(5, 2000), [1], 40, sink=lambda event: None)
    while engine.step() and engine.counters.decoded < 3:
        pass
    pages = engine.pool.used
    tracemalloc.start()
    engine.fork(added, 0, list(range(10_000)))
    engine.step()  # they draw, and part
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(engine.queue) == VOCABULARY
    assert size < 10e6
    assert engine.pool.used == pages
    engine.cancel(added)
    assert engine.held == 0


def test_ten_thousand_forks_that_all_differ_are_light():
    engine = make(Wide(), context=3000, rows=64)
    added, _ = submit(engine, prompt_of(5, 2000), [1], 40, sink=lambda event: None)
    while engine.step() and engine.counters.decoded < 3:
        pass
    pages = engine.pool.used
    engine.fork(added, 0, list(range(2, 10_002)))
    tracemalloc.start()
    engine.step()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(engine.queue) == 10_001
    assert size < 10e6
    assert engine.pool.used == pages
    engine.close()
    assert engine.pool.used == 0


def test_a_sequence_larger_than_the_cache_fails_alone(executor):
    engine = make(executor, 4)
    _, big = submit(engine, prompt_of(1, 3 * PAGE), [1], 200)
    _, small = submit(engine, prompt_of(2, 5), [2], 10)
    run(engine)
    finish, error = big["end", 0]
    assert finish == "error"
    assert isinstance(error, CapacityError)
    assert "a sequence of 66 tokens needs 5 pages of the KV cache; its limit allows 4 pages of 1,000 bytes" in str(
        error
    )
    assert big[0] == continued(prompt_of(1, 3 * PAGE), 1, 17)
    expect(small, prompt_of(2, 5), [2], 10)
    with pytest.raises(CapacityError, match="a sequence of 80 tokens needs 5 pages"):
        engine.check(prompt_of(1, 80))


def test_a_machine_that_runs_out_of_pages_serves_on_with_those_it_has():
    engine = make(Tally(limit=8))
    asked = [(prompt_of(i, 20), [i], 40) for i in range(6)]
    found = [submit(engine, *parts)[1] for parts in asked]
    run(engine)
    for events, parts in zip(found, asked, strict=True):
        expect(events, *parts)
    assert engine.counters.preemptions > 0


def test_a_step_that_fails_is_tried_in_halves(executor):
    class Poor(Tally):
        def step(self, chunks, wanted):
            if any(6 in chunk.tokens for chunk in chunks if chunk.position == 0):
                raise MemoryError("no room for sixes")
            if sum(len(chunk.tokens) for chunk in chunks) > 11:
                raise MemoryError("too many rows")
            return super().step(chunks, wanted)

    engine = make(Poor())
    prompts = [[1, 2, 3, 4, 5] * 3, [5, 4] * 4, [6], [1] * 20]
    found = [submit(engine, prompt, [i], 9)[1] for i, prompt in enumerate(prompts)]
    run(engine)
    for i, (prompt, events) in enumerate(zip(prompts, found, strict=True)):
        if i == 2:
            assert events["end", 0][0] == "error"
            assert isinstance(events["end", 0][1], MemoryError)
        else:
            expect(events, prompt, [i], 9)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "the prompt is empty"),
        ([1] * CONTEXT, "the prompt has 400 tokens, which leaves no room for a token after it in the context of 400"),
    ],
)
def test_impossible_prompts_are_refused(executor, prompt, message):
    with pytest.raises(ParameterError, match=message):
        make(executor).check(prompt)


@pytest.mark.parametrize("keys", [range(1), range(3)])
def test_drafts_change_no_token(executor, keys):
    engine = make(executor, rows=40, drafting=Drafting(Oracle(random.Random(1), list(keys)), Eager()))
    asked = [(prompt_of(i, 10 + 7 * i), keys, 30) for i in range(5)]
    found = [submit(engine, *parts)[1] for parts in asked]
    run(engine)
    for events, parts in zip(found, asked, strict=True):
        expect(events, *parts)
    counters = engine.counters
    assert 0 < counters.accepted < counters.drafted
    assert executor.moved > 0


def test_drafts_take_only_what_is_left(executor):
    engine = make(executor, 7, rows=6, drafting=Drafting(Oracle(random.Random(1), [0]), Eager()))
    asked = [(prompt_of(i, 20), [0], 30) for i in range(4)]
    found = [submit(engine, *parts)[1] for parts in asked]
    run(engine)
    for events, parts in zip(found, asked, strict=True):
        expect(events, *parts)
    assert max(sum(step) for step in executor.steps) <= 6
    assert engine.counters.drafted > 0


def test_a_request_may_refuse_drafts(executor):
    engine = make(executor, drafting=Drafting(Oracle(random.Random(1), [0])))
    _, events = submit(engine, prompt_of(1, 20), [0], 30, draft=False)
    run(engine)
    expect(events, prompt_of(1, 20), [0], 30)
    assert engine.counters.drafted == engine.drafting.statistics.steps == 0


class Moody(Eager):
    """Wants drafts only now and then."""

    def __init__(self, rng):
        self.rng = rng

    def interested(self, sequences, others=0):
        return self.rng.random() < 0.4


class Witness(Oracle):
    """Sees that its drafts know the text when they are asked."""

    def __init__(self, rng, keys, known):
        super().__init__(rng, keys)
        self.known, self.asked = known, 0

    def open(self, tokens, draws=None):
        draft = super().open(tokens, draws)
        propose = draft.propose

        def checked(limit, floor=0.0):
            assert any(draft.text == prompt + events.get(0, []) for prompt, events in self.known)
            self.asked += 1
            return propose(limit, floor)

        draft.propose = checked
        return draft


def test_drafts_are_told_of_the_text_before_they_are_asked(executor):
    known: list = []
    witness = Witness(random.Random(2), [0, 1, 2], known)
    engine = make(executor, drafting=Drafting(witness, Moody(random.Random(3))))
    for key in range(3):
        prompt = prompt_of(key, 20)
        known.append((prompt, submit(engine, prompt, [key], 40)[1]))
    run(engine)
    for key, (prompt, events) in enumerate(known):
        expect(events, prompt, [key], 40)
    assert engine.counters.accepted > 5
    assert 5 < witness.asked < engine.counters.decoded / 2


@pytest.mark.parametrize("chunk", [7, 256])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("pages", [8, 11, 100])
def test_texts_that_are_scored_share_the_cap_with_those_who_write(executor, pages, cached, chunk):
    engine = make(executor, pages, prefix_cache=cached, chunk=chunk)
    texts = [prompt_of(i, length) for i, length in enumerate((120, 2, 100, 129, 65))]
    texts.append(list(texts[0]))
    scorings = [Scoring(text, top=2) for text in texts]
    found = []
    for i, scoring in enumerate(scorings):
        found.append(submit(engine, prompt_of(10 + i, 30), [i, i + 1], 40)[1])
        engine.step()
        engine.add(scoring.request)
        engine.step()
        if i % 2:
            engine.preempt(scoring.request)
    run(engine)
    for text, scoring in zip(texts, scorings, strict=True):
        assert scoring.done
        values, likeliest = scoring.result()
        assert values.tolist() == marks(text)
        assert likeliest == [((0, 0), (1, 0))] * (len(text) - 1)
    for i, events in enumerate(found):
        expect(events, prompt_of(10 + i, 30), [i, i + 1], 40)
    assert engine.held == 0


def test_a_text_that_is_scored_can_be_left(executor):
    engine = make(executor, drafting=Drafting(Oracle(random.Random(1), [0]), Eager()))
    scoring = Scoring(prompt_of(1, 200))
    engine.add(scoring.request)
    engine.step()
    assert executor.steps == [[SCORED_ROWS]]
    with pytest.raises(ParameterError, match="cannot be forked"):
        engine.fork(scoring.request, 0, [1])
    engine.cancel(scoring.request)
    assert scoring.done
    assert engine.held == 0
    with pytest.raises(RuntimeError, match="before the text was scored"):
        scoring.result()


def test_scoring_a_text_borrows_pages_and_returns_them(executor):
    engine = make(executor, 8, chunk=7)
    _, events = submit(engine, prompt_of(1, 40), [1], 30)
    for _ in range(3):
        engine.step()
    seen = sum(len(chunks[0].tokens) for chunks, _ in engine.prefill(prompt_of(2, 100)))
    assert seen == 100
    assert engine.counters.preemptions == 1
    run(engine)
    expect(events, prompt_of(1, 40), [1], 30)
    assert engine.held == 0
    with pytest.raises(CapacityError):
        list(engine.prefill(prompt_of(2, 200)))
    assert engine.held == 0


def test_scoring_makes_do_with_the_pages_that_the_machine_has():
    engine = make(Tally(limit=8))
    submit(engine, prompt_of(1, 5 * PAGE), [1], 2)
    run(engine)
    assert engine.index.idle == 6
    assert sum(len(chunks[0].tokens) for chunks, _ in engine.prefill(prompt_of(2, 7 * PAGE))) == 7 * PAGE
    assert engine.index.evictions > 0
    long = prompt_of(2, 9 * PAGE)
    with pytest.raises(
        CapacityError, match=r"needs 9 pages .*; the machine has memory for 8 pages of .* bytes: free some"
    ):
        list(engine.prefill(long))
    assert engine.held == 0
    engine.check(long)  # the cap would do: the machine may have more by then


def test_prompts_that_must_wait_hold_no_pages(executor):
    engine = make(executor, chunk=4)
    prompt = prompt_of(1, 2 * PAGE)
    submit(engine, prompt, [1], 2)
    run(engine)
    asked = [submit(engine, prompt + prompt_of(i, 20), [i], 3)[0] for i in range(5)]
    engine.step()  # the first takes the whole chunk
    holding = [s.request for s in engine.queue if s.table.held]
    assert holding == asked[:1]
    run(engine)
