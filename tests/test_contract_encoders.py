"""The contract of encoders: a text's vector is a function of weights and text alone.

What enters the head is compared bit for bit over tier, threads, page size, rows of a step, company, order and executor;
counters show that each setting took effect.
"""

import random
import threading
from functools import cache

import numpy as np
import pytest

import intact
from intact.engine.encoding import EncodingJob
from intact.executors.native import available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.models.aspects.step import SequenceChunk
from support.tiers import tiers_with
from support.tiny import write_tiny

pytestmark = pytest.mark.native
TIERS = tuple(available_tiers())
LENGTHS = (1, 2, 15, 16, 17, 33, 70, 300)
TEXTS = [[(53 * i * i + 7 * i * n + 40) % 256 + 3 for i in range(n)] for n in LENGTHS]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "bert.gguf", "bert", kv_heads=3)


def load(tiny, tier=None, **options):
    with pytest.MonkeyPatch.context() as patch:
        if tier is not None:
            patch.setenv("INTACT_ISA", tier)
        return intact.load(tiny, **options)


def read(model, texts, rows="all"):
    jobs = [EncodingJob(text, rows) for text in texts]
    model.run(jobs)
    return [job.results() for job in jobs]


@pytest.fixture(scope="module")
def expected(tiny):
    """What the simplest run gives: one thread, each text alone."""

    @cache
    def outcome(profile):
        model = load(tiny, TIERS[-1], threads=1, profile=profile)
        return [read(model, [text])[0] for text in TEXTS]

    return outcome


@pytest.mark.parametrize("profile", ["int8", "fp32", "int8_row", "mxfp8", "int8+kv-int4"])
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 3))
def test_no_setting_changes_a_bit(tiny, expected, tier, threads, profile):
    for page_size, rows in ((16, 512), (64, 40)):
        model = load(tiny, tier, threads=threads, page_size=page_size, rows=rows, profile=profile)
        assert (model.executor.description["tier"], model.executor.description["threads"]) == (tier, threads)
        order = list(range(len(TEXTS)))
        random.Random(threads).shuffle(order)
        found = read(model, [TEXTS[i] for i in order])
        for i, heads in zip(order, found, strict=True):
            assert heads == expected(profile)[i], LENGTHS[i]
        counters = model.engine.counters
        assert counters.largest_step == (454 if rows == 512 else 300)  # all at once, or the longest alone
        assert counters.rows == sum(LENGTHS)
        assert model.engine.held == 0


@pytest.mark.parametrize("rows", ["first", "last"])
def test_rows_that_are_wanted_alone_have_the_same_bits(tiny, expected, rows):
    """Behind the last attention only these go on."""
    for profile in ("int8", "fp32"):
        found = read(load(tiny, profile=profile), TEXTS, rows)
        assert [one[0] for one in found] == [one[0 if rows == "first" else -1] for one in expected(profile)]
        assert all(len(one) == 1 for one in found)


@pytest.mark.parametrize("profile", ["int8", "int8_row", "mxfp8", "int8+wina50", "int8+kv-int8", "int8+kv-int4"])
def test_the_reference_gives_the_same(tiny, expected, profile):
    model = load(tiny, executor="reference", profile=profile)
    assert isinstance(model.executor, ReferenceExecutor)
    assert read(model, TEXTS[:6]) == expected(profile)[:6]


def test_texts_that_begin_alike_do_not_share(tiny):
    """Rows depend on what follows them: nothing of one text may be used for another."""
    model = load(tiny)
    texts = [TEXTS[-1][:n] for n in (100, 90, 64, 100)]
    together, alone = read(model, texts), [read(load(tiny), [text])[0] for text in texts]
    assert together == alone
    assert together[0] == together[3]
    assert together[0][:64] != together[2]
    assert model.engine.counters.cache_hits == 0
    assert read(model, texts) == alone


def test_rows_see_what_follows_them(tiny):
    model = load(tiny)
    text = TEXTS[-1][:40]
    (plain,), (changed,) = read(model, [text]), read(model, [[*text[:-1], text[-1] + 1]])
    assert all(a != b for a, b in zip(plain, changed, strict=True))


def test_a_small_cache_and_priorities_change_no_bit(tiny, expected):
    whole = load(tiny)
    page = whole.executor.page_bytes
    model = load(tiny, cache_bytes=10 * page)  # 320 positions
    jobs = [EncodingJob(text, "all", priority) for text, priority in zip(TEXTS, range(-4, 4), strict=True)]
    model.run(jobs)
    assert [job.results() for job in jobs] == expected("int8")
    small = load(tiny, cache_bytes=4 * page)
    with pytest.raises(intact.CapacityError, match="a sequence of 300"):
        small.embed([TEXTS[-1]], pooling="mean")


def test_threads_that_embed_together_get_their_own(tiny):
    model = load(tiny)
    alone = [model.embed([text], pooling="mean")[0].vector for text in TEXTS]
    found: dict[int, np.ndarray] = {}

    def embed(i):
        found[i] = model.embed([TEXTS[i]], pooling="mean")[0].vector

    threads = [threading.Thread(target=embed, args=(i,)) for i in range(len(TEXTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], alone[i]) for i in range(len(TEXTS)))


def test_random_steps_of_both_executors_are_equal(tiny):
    """Texts of any lengths in a step, pages in any order, any rows wanted."""
    model, draw = load(tiny, page_size=16), random.Random(7)
    native, reference = model.executor, ReferenceExecutor(model.program, page_size=16)
    for executor in (native, reference):
        executor.reserve_pages(24)
    for _ in range(12):
        pages = draw.sample(range(24), 24)
        chunks = []
        for _ in range(draw.randint(1, 4)):
            length = draw.randint(1, 50)
            own, pages = pages[: -(-length // 16)], pages[-(-length // 16) :]
            tokens = np.array([draw.randrange(301) for _ in range(length)], np.int32)
            chunks.append(SequenceChunk(0, tokens, np.array(own, np.int32)))
        rows = sum(len(chunk.tokens) for chunk in chunks)
        wanted = np.array(sorted(draw.sample(range(rows), draw.randint(1, rows))))
        results = []
        for executor in (native, reference):
            assert executor.step(chunks, wanted).shape == (len(wanted), 0)
            results.append(executor.head_inputs(np.arange(len(wanted))))
        assert np.array_equal(*results)


@pytest.mark.parametrize("weights_memory", [None, "64MB"])
def test_weights_in_a_mapped_file_give_the_same(tiny, expected, weights_memory, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = {} if weights_memory is None else {"weights_memory": weights_memory}
    assert read(load(tiny, **options), TEXTS) == expected("int8")
