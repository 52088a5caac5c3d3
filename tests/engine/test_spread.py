"""Entropy and certainty of whole distributions: near the real ones, and the same bits however they are computed."""

import math
from decimal import Decimal, localcontext
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact.engine.sampling.parameters import SamplingParameters
from intact.engine.sampling.spread import Spread, spread_of
from intact.numerics.sampling import LOGPROB_SCALE, log_probability
from intact.reason.backends.base import Generation
from intact.reason.backends.native import NativeBackend
from intact.reason.problem import State
from support.examples import examples
from support.tiny import write_tiny


def real(logits):
    """The entropy and the certainty of a row, by 40 digits."""
    with localcontext() as context:
        context.prec = 40
        values = [Decimal(int(one)) / 65536 for one in logits]
        high = max(values)
        mass = sum(((value - high).exp() for value in values), Decimal(0))
        logs = [value - high - mass.ln() for value in values]
        entropy = -sum((one.exp() * one for one in logs), Decimal(0))
        return float(entropy), float(-sum(logs) / len(logs) - Decimal(len(logs)).ln())


def bounds(count):
    """How far both may be from it, in nats: docs/spec/numerics.md, section 10."""
    rounded = count * 2**-31
    return 2**-17 * (1 + 2 * math.log(count)) + 24 * rounded + 2**-22, 2**-17 + rounded + 2**-22


def check(logits):
    found, limits = spread_of(np.array(logits, np.int32)), bounds(len(logits))
    for value, exact, limit in zip(found, real(logits), limits, strict=True):
        assert value >= 0
        assert abs(value / LOGPROB_SCALE - exact) <= limit


WHOLE = st.integers(-(1 << 31) + 1, (1 << 31) - 1)
NEAR = st.integers(-(25 << 16), 0)


@given(st.lists(WHOLE, min_size=1, max_size=40) | st.lists(NEAR, min_size=1, max_size=40))
@examples(200)
def test_both_are_within_the_bound_of_the_real_ones(logits):
    check(logits)


@pytest.mark.parametrize("scale", [0.1, 1, 4, 12])
def test_both_are_within_the_bound_for_a_vocabulary_of_many_tokens(scale):
    check(np.rint(np.random.default_rng(1).normal(size=3000) * scale * 65536).astype(np.int32))


@pytest.mark.parametrize("count", [1, 2, 3, 1000, 151_936])
def test_the_uniform_distribution_has_the_largest_entropy_and_no_certainty(count):
    found = spread_of(np.full(count, -77_000, np.int32))
    assert found.certainty == 0
    assert abs(found.entropy / LOGPROB_SCALE - math.log(count)) < 2**-22


def test_a_certain_token_leaves_no_entropy():
    logits = np.full(300, -(1 << 31) + 1, np.int32)
    logits[7] = (1 << 31) - 1
    entropy, certainty = spread_of(logits)
    assert entropy == 0
    assert certainty / LOGPROB_SCALE == pytest.approx(65536 * 299 / 300 - math.log(300))


def test_sums_beyond_64_bits_are_exact():
    """All tokens but one are a nat below it, where a weight times its gap is largest."""
    count = 1 << 20
    logits = np.full(count, -65536, np.int32)
    logits[5] = 0
    mass = 1 + (count - 1) / math.e
    entropy = math.log(mass) + (count - 1) / math.e / mass
    assert spread_of(logits).entropy / LOGPROB_SCALE == pytest.approx(entropy, abs=2**-16)


@given(st.lists(NEAR, min_size=2, max_size=30))
@examples(50)
def test_the_certainty_is_that_of_the_reported_log_probabilities(logits):
    row = np.array(logits, np.int32)
    mean = sum(log_probability(row, token) for token in range(len(row))) / len(row)
    assert abs(spread_of(row).certainty - max(0, -mean - math.log(len(row)) * LOGPROB_SCALE)) < 3


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("models") / "m.gguf", context=512)


PROMPTS = ("What is 2 + 2?", "Once", "A longer text that fills more than one small chunk of the prompt.")


def written(model, prompt, places, spread=True, **options):
    parameters = SamplingParameters(**{"max_tokens": 12, "temperature": 1.0} | options)
    return [Generation(State(prompt, ("p",)), parameters, ("p", place), spread=spread) for place in places]


def run(backend, generations):
    backend.start(generations)
    left = len(generations)
    while left:
        left -= len(backend.step())
    return [one.written for one in generations]


def test_spreads_are_those_of_the_rows_that_tokens_were_drawn_from(file):
    with intact.load(file, threads=1) as model:
        backend = NativeBackend(model)
        for prompt in PROMPTS:
            (text,) = run(backend, written(model, prompt, [0], top_p=0.9))
            tokens = [*backend.tokens_of(State(prompt, ("p",))), *text.tokens]
            rows, scale = model.logits(tokens, raw=True)
            rows = rows[-len(text.tokens) - 1 : -1]
            assert list(text.spread) == [spread_of(row) for row in rows]
            for spread, row in zip(text.spread, rows, strict=True):
                logits = row.astype(np.float64) / scale
                logs = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
                found = -(np.exp(logs) * logs).sum(), -logs.mean() - math.log(len(logs))
                for value, real_one, limit in zip(spread, found, bounds(len(row)), strict=True):
                    assert abs(value / LOGPROB_SCALE - real_one) <= limit


def test_spreads_have_the_same_bits_whatever_runs_beside_and_however_steps_are_cut(file):
    seen = set()
    for threads, chunk, rows, drafter in [(1, 256, 512, "auto"), (2, 3, 5, "off"), (2, 16, 64, "recycling")]:
        with intact.load(file, threads=threads, chunk=chunk, rows=rows, drafter=drafter) as model:
            backend = NativeBackend(model)
            alone = [run(backend, written(model, p, [i]))[0].spread for p, i in product(PROMPTS, range(3))]
            together = run(backend, [one for p in PROMPTS for one in written(model, p, range(3))])
            assert alone == [one.spread for one in together]
            seen.add(tuple(alone))
    assert len(seen) == 1


def test_spreads_change_no_text_and_are_told_where_they_are_asked_for(file):
    with intact.load(file, threads=1) as model:
        backend = NativeBackend(model)
        with_them, without = (run(backend, written(model, PROMPTS[0], range(3), told)) for told in (True, False))
        assert [one._replace(spread=()) for one in with_them] == without
        assert all(len(one.spread) == len(one.tokens) for one in with_them)
        assert all(isinstance(value, Spread) for one in with_them for value in one.spread)
        cut = backend.cut(State(PROMPTS[0], ("p",)), with_them[0], 5, "length")
        assert cut.spread == with_them[0].spread[:5]
