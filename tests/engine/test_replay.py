"""Tokens that are known before they are drawn: many are checked in one step, and none is other than without it."""

from typing import NamedTuple

import pytest

import intact
from intact.engine.replay import CHECKED_ROWS
from intact.engine.request import Event
from intact.engine.sampling.parameters import SamplingParameters
from intact.numerics.sampling import branch_key
from support.tiny import write_tiny

PROMPT = list(range(20, 90))
KINDS = {
    "greedy": {},
    "sampled": {"temperature": 0.9, "top_p": 0.95, "seed": 3},
    "penalised": {"temperature": 0.8, "repetition_penalty": 1.3, "frequency_penalty": 0.3, "min_tokens": 40},
    "regex": {"temperature": 1.0, "regex": "[a-z ]{30,40}[0-9]{2}", "ignore_eos": False},
}


class Listening(NamedTuple):
    """Keeps all events."""

    events: list[Event]

    def watch(self, event):
        self.events.append(event)

    def receipt(self, sample, completion):
        return None


@pytest.fixture(scope="module", params=["int8", "fp32"])
def model(request, tmp_path_factory):
    path = write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "gemma3", context=512)
    return intact.load(path, request.param, threads=2)


def run(model, fields, known=None, rows=None, preempt=False):
    """A completion, the events behind it, and the steps it took."""
    events = []
    parameters = SamplingParameters(**({"max_tokens": 200, "ignore_eos": True} | fields))
    key = [branch_key(parameters.seed, ("some", 0))]
    known = None if known is None else [known]
    job = model.job(PROMPT, parameters, key, draft=False, recorder=Listening(events), known=known)
    with model.exclusive() as engine:
        before, steps = engine.scheduler.rows, engine.counters.steps
        engine.scheduler.rows = rows or before
        engine.add(job.request)
        while not job.done:
            if preempt:
                engine.preempt()
            assert engine.step()
        engine.scheduler.rows = before
    assert model.engine.held == 0
    return job.completion(0, True), events, model.engine.counters.steps - steps


@pytest.mark.parametrize("kind", KINDS)
def test_known_tokens_change_the_steps_alone(model, kind):
    if kind == "regex":
        pytest.importorskip("llguidance")
    plain, events, steps = run(model, KINDS[kind])
    count = len(plain.tokens)
    assert steps == count
    assert all(len(event.head) == len(events[0].head) > 0 for event in events)
    assert len({event.head for event in events}) == count
    again = run(model, KINDS[kind], plain.tokens)
    assert again[:2] == (plain, events)
    assert again[2] <= 1 + -(-count // CHECKED_ROWS)
    assert run(model, KINDS[kind], plain.tokens, rows=50)[:2] == (plain, events)
    assert run(model, KINDS[kind], plain.tokens, rows=80, preempt=True)[:2] == (plain, events)


@pytest.mark.parametrize("kind", KINDS)
def test_false_ones_mislead_nobody(model, kind):
    if kind == "regex":
        pytest.importorskip("llguidance")
    plain, events, steps = run(model, KINDS[kind])
    for place in (0, 7, len(plain.tokens) - 1):
        false = [*plain.tokens[:place], (plain.tokens[place] + 1) % 301, *plain.tokens[place + 1 :]]
        found, told, taken = run(model, KINDS[kind], false)
        assert (found, told) == (plain, events)
        assert taken <= steps
    assert run(model, KINDS[kind], [])[:2] == (plain, events)
    assert run(model, KINDS[kind], [*plain.tokens, 5, 6, 7])[:2] == (plain, events)


@pytest.mark.parametrize("kind", ["greedy", "sampled", "penalised"])
def test_samples_of_one_request_are_checked_together(model, kind):
    """Some alike, which go one way, some that end early, some false."""
    parameters = SamplingParameters(**({"max_tokens": 60} | KINDS[kind] | {"stop": ("e", "t")}))
    keys = [branch_key(parameters.seed, ("some", branch)) for branch in (0, 0, 1, 2, 3, 3)]

    def together(known):
        events = []
        job = model.job(PROMPT, parameters, list(keys), draft=False, recorder=Listening(events), known=known)
        steps = model.engine.counters.steps
        model.run([job])
        events.sort(key=lambda event: (event.sample, event.position))
        assert job.request.live == 0
        assert model.engine.held == 0
        return [job.completion(i, True) for i in range(len(keys))], events, model.engine.counters.steps - steps

    plain, events, steps = together(None)
    known = [sample.tokens for sample in plain]
    again = together(known)
    assert again[:2] == (plain, events)
    assert again[2] < max(steps, 4)
    false = [tokens[: i + 1] if i % 2 else (*tokens[:i], 7, *tokens[i + 1 :]) for i, tokens in enumerate(known)]
    assert together(false)[:2] == (plain, events)
