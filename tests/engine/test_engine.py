"""The engine's steps: what shares them, how long they are, and when a branch leaves."""

import numpy as np
import pytest

from intact.engine.cache import PagePool
from intact.engine.engine import Engine
from intact.engine.parameters import SamplingParameters
from intact.errors import ParameterError
from intact.numerics.sampling import Sampling

VOCABULARY = 100


class Arithmetic:
    """Stands in for an executor. The next token is a sum over the sequence's own, read back from its pages."""

    page_size, profile, description = 16, "int8", {}

    def __init__(self):
        self.pages: list[list[int]] = []
        self.steps: list[list[tuple[int, int]]] = []
        self.copied = 0

    def reserve_pages(self, count):
        self.pages += [[-1] * self.page_size for _ in range(count - len(self.pages))]

    def copy_page(self, source, target):
        self.copied += 1
        self.pages[target] = list(self.pages[source])

    def step(self, chunks, wanted):
        self.steps.append([(chunk.position, len(chunk.tokens)) for chunk in chunks])
        totals = []
        for chunk in chunks:
            for i, token in enumerate(chunk.tokens.tolist(), chunk.position):
                self.pages[chunk.pages[i // 16]][i % 16] = token
                read = [self.pages[chunk.pages[k // 16]][k % 16] for k in range(i + 1)]
                assert -1 not in read
                totals.append(following(read))
        return np.array([totals[row] for row in wanted], np.int32)[:, None]

    def draw(self, logits, draws):
        tokens = [(int(logits[d.row, 0]) + d.key) % VOCABULARY for d in draws]
        return np.array(tokens), np.array([-d.position for d in draws])


def following(tokens):
    return sum((i + 1) * token for i, token in enumerate(tokens)) % VOCABULARY


def continued(tokens, key, count):
    """What a branch must draw."""
    out = list(tokens)
    for _ in range(count):
        out.append((following(out) + key) % VOCABULARY)
    return out[len(tokens) :]


@pytest.fixture
def executor():
    return Arithmetic()


def run(engine, limit=None):
    found: dict[int, list[int]] = {}
    for event in engine.run():
        found.setdefault(event.sequence, []).append(event.token)
        assert event.logprob == -event.position
        if limit and len(found[event.sequence]) == limit.get(event.sequence):
            engine.finish(event.sequence)
    return found


@pytest.mark.parametrize("chunk", [1, 3, 16, 256])
@pytest.mark.parametrize("rows", [1, 2, 5, 512])
def test_every_branch_draws_its_own_tokens(executor, chunk, rows):
    engine = Engine(executor, PagePool(executor), 512, chunk, rows)
    prompts = [list(range(5, 5 + n)) for n in (1, 40, 16, 7)]
    keys = [[1], [2, 3, 4], [5, 6], [7] * 9]
    indices = [engine.submit(p, Sampling(), k, 20, VOCABULARY) for p, k in zip(prompts, keys, strict=True)]
    assert indices == [[0], [1, 2, 3], [4, 5], list(range(6, 15))]
    found = run(engine)
    for prompt, group, own in zip(prompts, indices, keys, strict=True):
        for index, key in zip(group, own, strict=True):
            assert found[index] == continued(prompt, key, 20)
    sizes = [sum(count for _, count in step) for step in executor.steps]
    assert max(sizes) <= rows
    assert max(count for step in executor.steps for _, count in step) <= chunk
    assert sum(sizes) == sum(map(len, prompts)) + 19 * 15  # a prompt is run once, whatever the number of its branches
    assert engine.pool.used == 0


def test_a_prompts_branches_share_its_pages(executor):
    engine = Engine(executor, PagePool(executor), 512)
    engine.submit(list(range(40)), Sampling(), range(8), 3, VOCABULARY)
    events = engine.run()
    next(events)
    assert engine.pool.used == 3
    list(events)
    assert executor.copied == 7  # the last page, for all branches but one
    assert engine.pool.used == 0


def test_finished_branches_leave_the_steps(executor):
    engine = Engine(executor, PagePool(executor), 512)
    engine.submit([1, 2], Sampling(), [1, 2, 3], 10, VOCABULARY)
    found = run(engine, {0: 2, 1: 5})
    assert [len(found[i]) for i in range(3)] == [2, 5, 10]
    assert [len(step) for step in executor.steps] == [1, 3, 2, 2, 2, 1, 1, 1, 1, 1]
    engine.finish(0)  # again is harmless


def test_a_prompt_may_come_while_others_run(executor):
    engine = Engine(executor, PagePool(executor), 512)
    engine.submit([1, 2], Sampling(), [1], 6, VOCABULARY)
    events = engine.run()
    next(events)
    next(events)
    engine.submit([3, 4, 5], Sampling(), [9], 4, VOCABULARY)
    found = [event for event in events if event.sequence == 1]
    assert [event.token for event in found] == continued([3, 4, 5], 9, 4)
    assert any(len(step) == 2 for step in executor.steps)


def test_a_branch_that_ends_before_its_prompt_is_run_costs_nothing(executor):
    engine = Engine(executor, PagePool(executor), 512, chunk=2)
    engine.submit([1, 2, 3, 4, 5], Sampling(), [1], 3, VOCABULARY)
    (second,) = engine.submit([6] * 50, Sampling(), [1], 3, VOCABULARY)
    events = engine.run()
    next(events)
    engine.finish(second)
    assert {event.sequence for event in events} == {0}
    assert len(executor.steps) < 8
    assert engine.pool.used == 0


def test_closing_gives_everything_back(executor):
    engine = Engine(executor, PagePool(executor), 512, chunk=4)
    engine.submit([1, 2, 3], Sampling(), [1, 2], 9, VOCABULARY)
    engine.submit([1] * 20, Sampling(), [1, 2], 9, VOCABULARY)
    events = engine.run()
    next(events)
    assert engine.pool.used > 0
    engine.close()
    assert engine.pool.used == 0
    assert list(engine.run()) == []


def test_no_branch_passes_the_context(executor):
    engine = Engine(executor, PagePool(executor), 30)
    engine.submit([1] * 25, Sampling(), [1], 100, VOCABULARY)
    assert len(run(engine)[0]) == 5


@pytest.mark.parametrize(
    ("tokens", "message"), [([], "empty"), ([1] * 30, "30 tokens"), ([100], "got 100"), ([5, -1], "got -1")]
)
def test_an_impossible_prompt_is_refused(executor, tokens, message):
    engine = Engine(executor, PagePool(executor), 30)
    with pytest.raises(ParameterError, match=message):
        engine.submit(tokens, Sampling(), [1], 5, VOCABULARY)
    assert list(engine.run()) == []


def test_prefill_runs_a_text_in_chunks_and_frees_it(executor):
    engine = Engine(executor, PagePool(executor), 512, chunk=7)
    for chunks, wanted in engine.prefill(range(20)):
        assert len(wanted) == len(chunks[0].tokens)
        executor.step(chunks, wanted)
    assert executor.steps == [[(0, 7)], [(7, 7)], [(14, 6)]]
    assert [len(wanted) for _, wanted in engine.prefill(range(20), 5)] == [5] * 4
    assert engine.pool.used == 0


def test_sampling_parameters_are_exact():
    parameters = SamplingParameters(temperature=0.7, top_p=0.95, top_k=40, min_p=0.05)
    assert parameters.sampling == Sampling(2212974293, 40, 950000, 50000)
    assert SamplingParameters().sampling == Sampling()
    assert SamplingParameters(stop="a").stop == ("a",)
