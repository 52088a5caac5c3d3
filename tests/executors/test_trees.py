"""Trees of drafts: every row's logits are those of its path alone, and an accepted path goes on as if never drafted."""

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from support.tiny import write_tiny

pytestmark = pytest.mark.native
TIERS = available_tiers()
PAGES = 12


@pytest.fixture(scope="module", params=["gemma3", "llama", "lfm2"])
def program(request, tmp_path_factory):
    """With windows of 24 in every other layer; without; with convolutions."""
    shape = {"heads": 4, "kv_heads": 2, "head_width": 40} if request.param == "llama" else {}
    return build_program(open_checkpoint(write_tiny(tmp_path_factory.mktemp("model") / "m", request.param, **shape)))


def chunk(position, tokens, pages, parents=None):
    return SequenceChunk(
        position,
        np.array(tokens, np.int32),
        np.array(pages, np.int32),
        None if parents is None else np.array(parents, np.int32),
    )


def random_tree(rng, count, deep):
    """Parents of `count` rows; of a deep tree mostly the row before."""
    return [int(i - 1 if rng.random() < deep else rng.integers(-1, i)) for i in range(count)]


def path(parents, row):
    line = []
    while row >= 0:
        line.insert(0, row)
        row = parents[row]
    return line


def run(executor, *chunks):
    rows = sum(len(c.tokens) for c in chunks)
    return executor.step(chunks, np.arange(rows)).copy()


def alone(executor, text, tokens, parents):
    """The logits of each row of a tree, from a chain that holds its path and nothing else."""
    pages, out = range(PAGES // 2), np.zeros((len(tokens), executor.program.vocabulary), np.int32)
    leaves = set(range(len(tokens))) - set(parents)
    for leaf in leaves:
        line = path(parents, leaf)
        out[line] = run(executor, chunk(0, [*text, *(tokens[i] for i in line)], pages))[len(text) :]
    return out


CASES = [(40, 9, 0.3), (0, 12, 0.5), (15, 64, 0.6), (23, 50, 1.0), (17, 31, 0.9), (64, 5, 0.0)]


@pytest.mark.parametrize(("before", "count", "deep"), CASES)
def test_a_tree_equals_its_paths(program, before, count, deep):
    rng = np.random.default_rng(before)
    text, tokens = rng.integers(0, 301, before).tolist(), rng.integers(0, 301, count).tolist()
    parents = random_tree(rng, count, deep)
    expected = None
    for tier, threads, page_size in [(tier, 1 + i, (16, 48, 32)[i % 3]) for i, tier in enumerate(TIERS)] + [
        ("", 1, 16)
    ]:
        if tier:
            executor = NativeExecutor(program, tier=tier, threads=threads, page_size=page_size)
        else:
            executor = ReferenceExecutor(program, page_size=page_size)
        executor.reserve_pages(PAGES)
        if expected is None:
            expected = alone(executor, text, tokens, parents)
        pages = rng.permutation(PAGES)
        if text:
            run(executor, chunk(0, text, pages))
        assert np.array_equal(run(executor, chunk(before, tokens, pages, parents)), expected), tier or "reference"


def test_trees_share_a_step_with_chains(program):
    executor, rng = NativeExecutor(program, threads=2, page_size=16), np.random.default_rng(1)
    executor.reserve_pages(40)
    texts = [rng.integers(0, 301, n).tolist() for n in (30, 3, 16, 21)]
    tables = [range(i * 10, i * 10 + 10) for i in range(4)]
    trees = [random_tree(rng, n, 0.5) for n in (7, 20)]
    tokens = [rng.integers(0, 301, n).tolist() for n in (7, 20, 1, 5)]
    for text, table in zip(texts, tables, strict=True):
        run(executor, chunk(0, text, table))
    chunks = [chunk(len(texts[i]), tokens[i], tables[i], trees[i] if i < 2 else None) for i in range(4)]
    together = run(executor, *(chunks[i] for i in (2, 0, 3, 1)))
    assert executor.counters["tree_rows"] == 27
    parts = np.split(together, np.cumsum([1, 7, 5]))
    for part, i in zip(parts, (2, 0, 3, 1), strict=True):
        assert np.array_equal(part, run(executor, chunks[i]))


@pytest.mark.parametrize("make", [*TIERS, "reference"])
@pytest.mark.parametrize("before", [5, 40])
def test_an_accepted_path_goes_on_as_if_never_drafted(program, make, before):
    rng = np.random.default_rng(before)
    executor = (
        ReferenceExecutor(program, page_size=16)
        if make == "reference"
        else NativeExecutor(program, tier=make, threads=2, page_size=16)
    )
    executor.reserve_pages(PAGES)
    text, tokens = rng.integers(0, 301, before).tolist(), rng.integers(0, 301, 30).tolist()
    parents = random_tree(rng, 30, 0.7)
    accepted = max((path(parents, row) for row in range(30)), key=len)
    pages = rng.permutation(PAGES // 2) + PAGES // 2
    run(executor, chunk(0, text, pages))
    run(executor, chunk(before, tokens, pages, parents))
    sources = before + np.array(accepted)
    assert len(accepted) > 3
    assert not np.array_equal(sources, before + np.arange(len(accepted)))
    executor.move(np.array(pages, np.int32), sources, before + np.arange(len(accepted)))
    following = [7, 8, 9]
    drafted = run(executor, chunk(before + len(accepted), following, pages))
    plain = run(executor, chunk(0, [*text, *(tokens[i] for i in accepted), *following], range(PAGES // 2)))
    assert np.array_equal(drafted, plain[-3:])


@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_moved_slots_hold_the_same(program, profile):
    executor = NativeExecutor(program, profile, threads=1, page_size=16)
    executor.reserve_pages(4)
    expected = run(executor, chunk(0, [*range(50, 66), 5], [0, 1]))[-1]
    executor.copy_page(0, 2)
    executor.move(np.array([3, 2], np.int32), np.arange(16, 32), np.arange(16))
    assert np.array_equal(run(executor, chunk(16, [5], [3, 1]))[0], expected)


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ([-1, 1], "a row before its child"),
        ([-1, 2], "a row before its child"),
        ([-2, 0], "a row before its child"),
        ([-1], "every row of a tree needs a parent"),
        ([-1, 0, 1], "every row of a tree needs a parent"),
    ],
)
def test_an_impossible_tree_is_refused(program, parents, message):
    executor = NativeExecutor(program, threads=1)
    executor.reserve_pages(1)
    with pytest.raises(ParameterError, match=message):
        run(executor, chunk(0, [5, 6], [0], parents))


def test_trees_have_at_most_64_rows_and_none_in_fp32(program):
    executor = NativeExecutor(program, threads=1)
    executor.reserve_pages(3)
    with pytest.raises(ParameterError, match="at most 64 rows"):
        run(executor, chunk(0, [5] * 65, range(3), [-1] * 65))
    run(executor, chunk(0, [5] * 64, range(3), [-1] * 64))
    assert (executor.trees, ReferenceExecutor(program).trees) == (True, True)
    floats = NativeExecutor(program, "fp32", threads=1)
    floats.reserve_pages(1)
    assert not floats.trees
    with pytest.raises(ParameterError, match="fp32 profile takes no trees"):
        run(floats, chunk(0, [5, 6], [0], [-1, 0]))


@pytest.mark.parametrize(
    ("sources", "targets", "message"),
    [
        ([3], [4], "towards the front"),
        ([32], [4], "towards the front"),
        ([3, 2], [1, 2], "ascend"),
        ([3, 4], [1, 1], "ascend"),
        ([-1], [-1], "ascend"),
        ([3, 4], [1], "every source needs a target"),
    ],
)
def test_an_impossible_move_is_refused(program, sources, targets, message):
    executor = NativeExecutor(program, threads=1, page_size=16)
    executor.reserve_pages(2)
    with pytest.raises(ParameterError, match=message):
        executor.move(np.array([0, 1], np.int32), np.array(sources), np.array(targets))


def test_views_of_old_logits_stay_readable(program):
    executor = NativeExecutor(program, threads=1)
    executor.reserve_pages(2)
    small = executor.step([chunk(0, [5], [0])], np.array([0]))
    before = small.copy()
    executor.step([chunk(0, [5] * 40, [0, 1])], np.arange(40))
    del executor
    assert np.array_equal(small, before)  # the larger step took other memory
