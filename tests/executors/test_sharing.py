"""Sequences that share pages: attention reads these once, and gives the bits of sequences that share none."""

import numpy as np
import pytest

from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from support.tiny import write_tiny

pytestmark = pytest.mark.native
TIERS = available_tiers()


@pytest.fixture(scope="module", params=["gemma3", "llama"])
def program(request, tmp_path_factory):
    """With windows of 24 in every other layer, and without."""
    shape = {"heads": 6, "kv_heads": 2, "head_width": 72} if request.param == "llama" else {}
    return build_program(open_checkpoint(write_tiny(tmp_path_factory.mktemp("model") / "m", request.param, **shape)))


class Sequences:
    """Sequences on pages of an executor: forks share full pages, or copies of them."""

    def __init__(self, executor, share):
        self.executor, self.share = executor, share
        self.pages, self.length, self.used = [], [], 0

    def _new(self, count):
        self.used += count
        self.executor.reserve_pages(self.used)
        return list(range(self.used - count, self.used))

    def add(self, origin=None, length=0):
        """A sequence of the first `length` slots of another."""
        size, pages = self.executor.page_size, []
        for i in range(-(-length // size)):
            page = self.pages[origin][i]
            if not self.share or (i + 1) * size > length:
                copy = self._new(1)[0]
                self.executor.copy_page(page, copy)
                page = copy
            pages.append(page)
        self.pages.append(pages)
        self.length.append(length)
        return len(self.pages) - 1

    def chunk(self, i, tokens, parents=None):
        size = self.executor.page_size
        self.length[i] += len(tokens)
        self.pages[i] += self._new(max(0, -(-self.length[i] // size) - len(self.pages[i])))
        start = self.length[i] - len(tokens)
        return SequenceChunk(start, np.array(tokens, np.int32), np.array(self.pages[i], np.int32), parents)


def grow(executor, share, seed):
    """The logits of a few steps of a family of sequences that fork at random places, in random order."""
    rng = np.random.default_rng(seed)
    family, out = Sequences(executor, share), []

    def run(chunks):
        rows = sum(len(c.tokens) for c in chunks)
        out.append(executor.step([chunks[i] for i in rng.permutation(len(chunks))], np.arange(rows)).copy())

    for _ in range(2):
        family.add()
    run([family.chunk(i, rng.integers(0, 301, rng.integers(40, 90))) for i in range(2)])
    for _ in range(3):
        for _ in range(4):
            origin = int(rng.integers(len(family.pages)))
            family.add(origin, int(rng.integers(1, family.length[origin] + 1)))
        chunks = []
        for i in rng.permutation(len(family.pages))[: rng.integers(3, 12)]:
            count = int(rng.choice([1, 1, 1, 2, 7, 40]))
            tree = np.array([rng.integers(-1, j) for j in range(count)], np.int32) if 1 < count < 8 else None
            chunks.append(family.chunk(i, rng.integers(0, 301, count), tree))
        run(chunks)
    return out


@pytest.mark.parametrize(
    "seed", [0, 1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_shared_pages_give_the_bits_of_copies(program, seed):
    """On several threads with the best tier, and with all in slow forms."""
    expected = None
    for tier in TIERS:
        several = seed > 1 or tier == TIERS[0]
        for share, threads, page_size in ((False, 1, 32), (True, 2, 16), (True, 3, 48)):
            threads = threads if several else 1
            executor = NativeExecutor(program, tier=tier, threads=threads, page_size=page_size)
            results = grow(executor, share, seed)
            expected = expected or results
            for a, b in zip(results, expected, strict=True):
                assert np.array_equal(a, b), (tier, share, threads, page_size)
            if page_size < 48:  # else forks may be too short to share a page
                assert (executor.counters["shared_positions"] > 0) == share


def chunk(position, count, pages):
    return SequenceChunk(position, np.arange(5, 5 + count, dtype=np.int32), np.array(pages, np.int32))


@pytest.mark.parametrize(
    ("chunks", "shared"),
    [
        ([chunk(40, 1, [0, 1, 2])], 0),
        ([chunk(40, 1, [0, 1, 2]), chunk(40, 1, [3, 4, 5])], 0),
        ([chunk(40, 1, [0, 1, 2]), chunk(40, 1, [3, 1, 2])], 0),  # behind pages that differ
        ([chunk(40, 1, [0, 1, 2]), chunk(40, 1, [0, 1, 3])], 2 * 32),
        ([chunk(40, 3, [0, 1, 2]), chunk(33, 1, [0, 1, 3])], 4 * 32),
        ([chunk(40, 1, [0, 1, 2]), chunk(41, 1, [3, 4, 5]), chunk(35, 1, [0, 6, 7])], 2 * 16),
        # a tree of forks: page 0 of all four, page 1 of two of them, page 4 of the others
        ([chunk(40, 1, [0, 1, 2]), chunk(40, 1, [0, 4, 5]), chunk(33, 2, [0, 1, 3]), chunk(34, 1, [0, 4, 6])],
         5 * 16 + 3 * 16 + 2 * 16),
        # the second one ends within what they share; pages that it doesn't use don't count
        ([chunk(70, 1, [0, 1, 2, 3, 4]), chunk(20, 1, [0, 1, 7]), chunk(70, 1, [0, 1, 2, 5, 6])], 3 * 32 + 2 * 16),
    ],
)  # fmt: skip
def test_what_sequences_share_is_found(program, chunks, shared):
    executor = NativeExecutor(program, threads=1, page_size=16)
    executor.reserve_pages(8)
    executor.step(chunks, np.array([0]))
    assert executor.counters["shared_positions"] == shared


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_a_step_long_enough_for_rows_of_each_threads_own_gives_the_bits_of_short_ones(program, threads):
    tokens = [np.random.default_rng(i).integers(0, 301, count) for i, count in enumerate((210, 160))]

    def logits(executor, pieces):
        """Of the last rows, both sequences being fed in so many pieces."""
        family = Sequences(executor, share=True)
        for _ in range(2):
            family.add()
        for a, b in zip(*(np.array_split(x, pieces) for x in tokens), strict=True):
            chunks = [family.chunk(0, a), family.chunk(1, b)]
            found = executor.step(chunks, np.array([len(a) - 1, len(a) + len(b) - 1])).copy()
        return found

    expected = logits(NativeExecutor(program, tier="scalar", threads=1, page_size=16), 10)
    for tier in TIERS:
        executor = NativeExecutor(program, tier=tier, threads=threads, page_size=16)
        assert np.array_equal(logits(executor, 1), expected), tier
        assert executor.counters["largest_step"] == 370
