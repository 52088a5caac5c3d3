"""Forks, drops, cancellations, preemptions, pauses, in any order: the cache has no say in the text."""

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from intact.engine.drafting import Drafting
from intact.engine.engine import Engine
from support.examples import examples
from support.tally import VOCABULARY, Eager, Oracle, Tally, continued, mixing, request

CONTEXT = 300
KEYS = st.integers(0, 3)


class Machine(RuleBasedStateMachine):
    """Drives an engine at random; every sample is compared with what it must draw by itself."""

    requests = Bundle("requests")

    def __init__(self):
        super().__init__()
        self.known = []

    @initialize(
        seed=st.integers(0, 1 << 30),
        chunk=st.sampled_from([1, 5, 16, 256]),
        rows=st.sampled_from([1, 4, 32, 512]),
        pages=st.sampled_from([None, 40, 56]),  # half of them the partner's
        cached=st.booleans(),
        drafts=st.booleans(),
    )
    def start(self, seed, chunk, rows, pages, cached, drafts):
        self.executor = Tally()
        self.engine = Engine(
            self.executor,
            CONTEXT,
            chunk=chunk,
            rows=rows,
            cache_bytes=None if pages is None else pages * self.executor.page_bytes,
            prefix_cache=cached,
            drafting=Drafting(Oracle(random.Random(seed), [0, 1, 2, 3]), Eager()) if drafts else None,
            partners=[Tally()],
        )

    @rule(
        target=requests,
        shared=st.sampled_from([0, 10, 16, 40]),
        own=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=20),
        keys=st.lists(KEYS, min_size=1, max_size=4),
        limit=st.integers(1, 30),
        priority=st.sampled_from([0, 0, 2, -2]),
    )
    def ask(self, shared, own, keys, limit, priority):
        events, prompt = {}, [i % 5 for i in range(shared)] + own
        added = request(prompt, keys, limit, events, priority=priority)
        self.engine.check(prompt)
        self.engine.add(added)
        self.known.append((added, events))
        return added, events

    @rule(
        target=requests,
        shared=st.sampled_from([0, 10, 16, 40]),
        own=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=20),
        others=st.lists(
            st.tuples(st.integers(0, 1), st.sampled_from([0, 10, 16, 33]), st.integers(1, 9)), min_size=1, max_size=2
        ),
        keys=st.lists(KEYS, min_size=1, max_size=4),
        limit=st.integers(1, 30),
        priority=st.sampled_from([0, 0, 2, -2]),
    )
    def ask_for_a_mix(self, shared, own, others, keys, limit, priority):
        if self.engine.scheduler.rows < 1 + len(others):
            return multiple()
        events, prompt = {}, [i % 5 for i in range(shared)] + own
        streams = [(model, [i % 5 for i in range(begun)] + [3] * more) for model, begun, more in others]
        added = request(prompt, keys, limit, events, priority=priority, mixing=mixing(streams))
        self.engine.check(prompt)
        self.engine.add(added)
        self.known.append((added, events))
        return added, events

    @rule(count=st.integers(1, 12))
    def go_on(self, count):
        for _ in range(count):
            self.engine.step()

    @rule(pair=requests, sample=st.integers(0, 7), keys=st.lists(KEYS, min_size=1, max_size=3))
    def fork(self, pair, sample, keys):
        added, events = pair
        if sample >= len(added.keys) or ("end", sample) in events or len(added.keys) > 8:
            return
        text = list(events.get(sample, ()))
        for number in self.engine.fork(added, sample, keys):
            events[number] = list(text)
            events["from", number] = len(text)

    @rule(pair=requests, samples=st.lists(st.integers(0, 7), max_size=3))
    def cancel_some(self, pair, samples):
        self.engine.cancel(pair[0], samples)

    @rule(pair=consumes(requests))
    def cancel_all(self, pair):
        pair[0].paused = False
        self.engine.cancel(pair[0])
        assert all(("end", sample) in pair[1] for sample in range(len(pair[0].keys)))

    @rule(pair=requests)
    def preempt(self, pair):
        self.engine.preempt(pair[0])

    @rule()
    def preempt_all(self):
        self.engine.preempt()
        assert self.engine.held == 0

    @rule(pair=requests)
    def pause_or_go_on(self, pair):
        pair[0].paused = not pair[0].paused

    @rule(pages=st.integers(1, 5))
    def evict(self, pages):
        self.engine.index.evict(pages)

    @invariant()
    def within_the_cap(self):
        if hasattr(self, "engine"):
            for index in self.engine.scheduler.indexes:
                assert index.pool.used <= index.pool.capacity
                assert 0 <= index.idle <= index.pool.used

    @invariant()
    def every_text_is_its_own(self):
        for added, events in self.known:
            for sample, key in enumerate(added.keys):
                text, start = events.get(sample, []), events.get(("from", sample), 0)
                streams = added.mixing.streams if added.mixing is not None else ()
                others = [[*stream.tokens.tolist(), *text[:start]] for stream in streams]
                assert text[start:] == continued(list(added.prompt) + text[:start], key, len(text) - start, others)

    def teardown(self):
        if not hasattr(self, "engine"):
            return
        for added, _ in self.known:
            added.paused = False
        for _ in range(20_000):
            if not self.engine.queue:
                break
            assert self.engine.step()
        self.every_text_is_its_own()
        for added, events in self.known:
            for sample in range(len(added.keys)):
                finish, error = events["end", sample]
                assert finish in ("length", "cancelled")
                assert error is None
                assert finish == "cancelled" or len(events[sample]) == added.limit
        assert self.engine.held == 0
        self.engine.close()
        assert self.engine.pool.used == 0


TestMachine = Machine.TestCase
TestMachine.settings = settings(examples(60), stateful_step_count=40, suppress_health_check=list(HealthCheck))
