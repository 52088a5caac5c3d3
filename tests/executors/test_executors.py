"""Executors, called as the engine calls them: steps of several chunks, pages, copies, draws."""

import hashlib
from functools import cache

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.base import choose_threads, choose_tier, fixed_logits
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.ops.embed import embed_multiplier
from intact.numerics.sampling import Draw, make_sampling
from support.tiny import write_tiny

TIERS = available_tiers()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build_program(open_checkpoint(write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "gemma3")))


@pytest.fixture
def pair(program):
    """The reference and a native executor, with pages."""
    both = ReferenceExecutor(program, page_size=16), NativeExecutor(program, threads=2, page_size=16)
    for executor in both:
        executor.reserve_pages(8)
    return both


def chunk(position, tokens, pages):
    return SequenceChunk(position, np.array(tokens, np.int32), np.array(pages, np.int32))


@pytest.mark.native
def test_steps_of_many_chunks_equal_the_reference(pair):
    steps = [
        ([chunk(0, range(10, 30), [4, 1])], [19]),
        ([chunk(20, [7], [4, 1]), chunk(0, [1, 2, 3], [6])], [0, 3, 1]),
        ([chunk(3, range(40, 60), [6, 0]), chunk(21, [9, 9], [4, 1]), chunk(0, [5], [2])], [22, 0, 19]),
        ([chunk(1, [6], [2])], []),
    ]
    for chunks, wanted in steps:
        reference, native = (executor.step(chunks, np.array(wanted, np.int64)) for executor in pair)
        assert reference.dtype == native.dtype == np.int32
        assert reference.shape == (len(wanted), 301)
        assert np.array_equal(reference, native)


@pytest.mark.native
def test_a_copied_page_holds_the_same(pair):
    results = []
    for executor in pair:
        executor.step([chunk(0, range(20, 30), [3])], np.array([], np.int64))
        executor.copy_page(3, 5)
        one = executor.step([chunk(10, [8], [3])], np.array([0])).copy()
        executor.step([chunk(5, [99], [3])], np.array([0]))  # written over in the first page alone
        two = executor.step([chunk(10, [8], [5])], np.array([0])).copy()
        assert np.array_equal(one, two)
        results.append(two)
    assert np.array_equal(*results)


@pytest.mark.native
def test_the_bytes_of_a_page_restore_it(pair):
    results = []
    for executor in pair:
        executor.step([chunk(0, range(20, 36), [3])], np.array([], np.int64))
        data = executor.read_page(3)
        assert (data.dtype, data.shape) == (np.uint8, (executor.page_bytes,))
        one = executor.step([chunk(16, [8], [3, 2])], np.array([0])).copy()
        executor.step([chunk(0, range(60, 76), [3])], np.array([], np.int64))  # the bytes are a copy
        executor.write_page(5, data)
        assert np.array_equal(executor.read_page(5), data)
        two = executor.step([chunk(16, [8], [5, 2])], np.array([0])).copy()
        assert np.array_equal(one, two)
        results.append(two)
        with pytest.raises(ParameterError, match=f"a page has {executor.page_bytes} bytes, got 7"):
            executor.write_page(5, np.zeros(7, np.uint8))
    assert np.array_equal(*results)
    for page in (8, 1 << 40):
        with pytest.raises(ParameterError, match="there is no such page"):
            pair[1].read_page(page)
        with pytest.raises(ParameterError, match="there is no such page"):
            pair[1].write_page(page, data)


LAYOUTS = {
    ("native 1", "int8"): "cefc6947f8572c8a",
    ("native 1", "fp32"): "170d1b1a6ccdf84b",
    ("reference 1", "int8"): "571cb06a5ebcedf7",
}


@pytest.mark.native
def test_a_layout_names_the_bytes_of_pages_on_every_tier(program):
    """Pages lie on disks: whoever changes their layout gives it another version."""
    executors = [NativeExecutor(program, p, 1, tier, page_size=16) for p in ("int8", "fp32") for tier in TIERS]
    found = {}
    for executor in (*executors, ReferenceExecutor(program, page_size=16)):
        executor.reserve_pages(1)
        executor.step([chunk(0, range(20, 36), [0])], np.array([], np.int64))
        digest = hashlib.sha256(executor.read_page(0)).hexdigest()[:16]
        assert found.setdefault((executor.layout, executor.profile), digest) == digest
    assert found == LAYOUTS


@pytest.mark.native
def test_pages_that_are_used_again_leave_no_trace(pair):
    fresh = pair[1].step([chunk(0, [5, 6, 7], [0])], np.arange(3)).copy()
    pair[1].step([chunk(0, range(100, 132), [0, 1])], np.arange(3))
    assert np.array_equal(pair[1].step([chunk(0, [5, 6, 7], [1])], np.arange(3)), fresh)


@cache
def logits_and_draws():
    """Logits of 40 rows, ties and extremes among them, draws from them by all rules, and tokens."""
    rng = np.random.default_rng(4)
    logits = rng.integers(-(1 << 20), 1 << 20, (40, 301)).astype(np.int32)
    logits[3] = logits[3, 0]  # all alike
    logits[4, 17] = 2**31 - 1
    logits[5] = -(2**31) + 1
    logits[6, ::2] = logits[6].max()  # ties
    sampling = [
        make_sampling(t, k, p, m)
        for t, k, p, m in zip(
            [0, 0.7, 1.0, 0.000001, 1000.0] * 8,
            [0, 1, 5, 300, 1000] * 8,
            [1.0, 0.5, 0.000001, 0.9] * 10,
            [0.0, 0.05, 1.0, 0.0] * 10,
            strict=True,
        )
    ]
    keys = rng.integers(0, 1 << 64, 40, dtype=np.uint64).tolist()
    positions = rng.integers(0, 1 << 20, 40).tolist()
    draws = [Draw(*each) for each in zip(range(40), sampling, keys, positions, strict=True)]
    return logits, draws, rng.integers(0, 301, 40), rng.integers(0, 40, 60)


@pytest.fixture(scope="module")
def drawn(program):
    """What the reference draws, scores and ranks."""
    reference, (logits, draws, chosen, rows) = ReferenceExecutor(program), logits_and_draws()
    ranked = {k: (reference.top(logits, rows, k), reference.likeliest(logits, rows, k)) for k in (1, 8, 301)}
    return reference.draw(logits, draws), reference.log_probabilities(logits, chosen), ranked


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
def test_draws_equal_the_reference(program, drawn, tier):
    native, (logits, draws, chosen, rows) = NativeExecutor(program, tier=tier, threads=2), logits_and_draws()
    expected, scores, ranked = drawn
    for theirs, ours in zip(expected, native.draw(logits, draws), strict=True):
        assert np.array_equal(theirs, ours)
    assert np.array_equal(scores, native.log_probabilities(logits, chosen))
    for k, (top, likeliest) in ranked.items():
        found = native.top(logits, rows, k)
        for theirs, ours in zip(top, found, strict=True):
            assert np.array_equal(theirs, ours)
        assert np.array_equal(likeliest, found[0])
        assert np.array_equal(native.likeliest(logits, rows, k), found[0])
    for wrong in ([0], 0), ([0], 302), ([40], 1), ([-1], 1):
        with pytest.raises(ParameterError):
            native.likeliest(logits, np.array(wrong[0]), wrong[1])


@pytest.mark.native
def test_float_logits_are_a_view_of_the_integers(pair):
    parts = [chunk(0, [5, 6, 7], [0])], np.arange(3)
    for executor in pair:
        view, raw = executor.step_float(*parts), executor.step(*parts)
        assert view.dtype == np.float32
        assert np.array_equal(view, raw / np.float32(65536))


def test_the_fp32_profile_samples_from_rounded_logits(program):
    executor = NativeExecutor(program, "fp32", threads=2)
    executor.reserve_pages(1)
    parts = [chunk(0, [5, 6, 7], [0])], np.arange(3)
    floats, raw = executor.step_float(*parts), executor.step(*parts)
    assert np.array_equal(raw, np.floor(floats.astype(np.float64) * 65536 + 0.5))
    extreme = np.array([1e9, -1e9, 0.0, -1e-9, 7.62939453125e-06, 32767.999], np.float32)
    assert fixed_logits(extreme).tolist() == [2**31 - 1, -(2**31) + 1, 0, 0, 1, 2**31 - 128]


@pytest.mark.native
@pytest.mark.parametrize(
    ("chunks", "wanted", "message"),
    [
        ([chunk(0, [5], [8])], [0], "no such page"),
        ([chunk(0, [5], [-1])], [0], "no such page"),
        ([chunk(16, [5], [0])], [0], "outside its pages"),
        ([chunk(-1, [5], [0])], [0], "outside its pages"),
        ([chunk(0, [301], [0])], [0], "outside the vocabulary"),
        ([chunk(0, [-1], [0])], [0], "outside the vocabulary"),
        ([chunk(0, [5], [0])], [1], "outside the step"),
        ([chunk(0, [5], [0])], [-1], "outside the step"),
        ([chunk(0, [], [0])], [], "outside its pages"),
    ],
)
def test_an_impossible_step_is_refused(pair, chunks, wanted, message):
    with pytest.raises(ParameterError, match=message):
        pair[1].step(chunks, np.array(wanted, np.int64))


@pytest.mark.native
@pytest.mark.parametrize("threads", [1, 3])
def test_rows_that_nobody_wants_end_behind_the_last_attention(program, threads):
    executor = NativeExecutor(program, threads=threads, page_size=16)
    executor.reserve_pages(4)
    executor.step([chunk(0, [*range(5, 22)], [2, 0])], np.array([16]))
    # Two sequences that share a page, and one of its own.
    chunks = [chunk(17, [5, 6, 7, 8], [2, 0]), chunk(16, [9, 4], [2, 1]), chunk(0, [9, 8, 7, 6, 5], [3])]
    every = executor.step(chunks, np.arange(11)).copy()
    assert executor.counters["ended_rows"] == 16
    for wanted in [], [0], [10], [2, 3, 9], [0, 10], [10, 2], [4, 4, 7], [*range(10)]:
        before = executor.counters["ended_rows"]
        assert np.array_equal(executor.step(chunks, np.array(wanted, np.int64)), every[wanted])
        ended = executor.counters["ended_rows"] - before
        assert ended == (11 - len(wanted) if wanted == sorted(set(wanted)) else 0)


@pytest.mark.native
def test_counters_count(program):
    executor = NativeExecutor(program, threads=1)
    executor.reserve_pages(2)
    assert executor.counters == {
        "steps": 0,
        "rows": 0,
        "largest_step": 0,
        "chunks": 0,
        "tree_rows": 0,
        "shared_positions": 0,
        "ended_rows": 0,
    }
    executor.step([chunk(0, [5] * 9, [0]), chunk(0, [6], [1])], np.array([9]))
    executor.step([chunk(9, [5], [0])], np.array([0]))
    assert executor.counters == {
        "steps": 2,
        "rows": 11,
        "largest_step": 10,
        "chunks": 3,
        "tree_rows": 0,
        "shared_positions": 0,
        "ended_rows": 9,
    }
    assert executor.description["executor"] == "native"
    assert executor.description["weight_bytes"] > 100_000


def test_a_tier_and_threads_are_chosen_by_argument_environment_machine(program, monkeypatch):
    for tier in TIERS:
        assert NativeExecutor(program, tier=tier).description["tier"] == tier
    monkeypatch.setenv("INTACT_ISA", TIERS[-1])
    assert choose_tier(TIERS) == TIERS[-1]
    monkeypatch.delenv("INTACT_ISA")
    assert choose_tier(TIERS) == TIERS[0]
    monkeypatch.setenv("INTACT_THREADS", "5")
    assert (choose_threads(None), choose_threads(2)) == (5, 2)
    monkeypatch.delenv("INTACT_THREADS")
    assert choose_threads(None) >= 1
    for wrong in (0, -1, 1025, "x", 2.5):
        with pytest.raises(ParameterError, match="threads must be an integer"):
            choose_threads(wrong)  # type: ignore[arg-type]


def test_an_embeddings_factor_is_rounded_once(program):
    from fractions import Fraction

    assert embed_multiplier(Fraction(1)) == 1 << 24
    assert embed_multiplier(Fraction(1, 3)) == round(2**24 / 3)
