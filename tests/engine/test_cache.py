"""Pages, the index of prefixes, and page tables: who holds what, what is shared, and who leaves first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.engine.cache import PageTable, PrefixIndex
from intact.engine.pages import OutOfPagesError, PagePool
from intact.errors import ParameterError
from support.tally import PAGE, Tally


@pytest.fixture
def memory():
    return Tally()


def make(memory, pages=None, keep=True):
    return PrefixIndex(PagePool(memory, None if pages is None else pages * memory.page_bytes), keep)


def text_of(tokens):
    return lambda start, end: np.array(tokens[start:end], np.int32).tobytes()


def write(memory, table, tokens, start=0):
    """Fill a table as steps do, with tokens[start:]."""
    pages = table.reserve(len(tokens) - start)
    for i in range(start, len(tokens)):
        memory.pages[pages[i // PAGE]][i % PAGE] = tokens[i]
    table.advance(len(tokens) - start, text_of(tokens))


def read(memory, table):
    return [int(memory.pages[table.pages[i // PAGE]][i % PAGE]) for i in range(table.length)]


def test_a_cap_counts_whole_pages(memory):
    assert PagePool(memory, 5 * memory.page_bytes + 999).capacity == 5
    with pytest.raises(ParameterError, match=r"999 bytes holds no page: one of 16 positions has 1,000"):
        PagePool(memory, 999)


def test_a_pool_takes_little_more_memory_than_is_held(memory):
    pool = PagePool(memory)
    for held in range(1, 600):
        pool.allocate()
        assert pool.used == held <= len(memory.pages) <= max(held + 3, 1.1 * held)


def test_a_full_pool_says_so_and_recovers(memory):
    pool = PagePool(memory, 3 * memory.page_bytes)
    pages = [pool.allocate() for _ in range(3)]
    assert pool.free == 0
    with pytest.raises(OutOfPagesError):
        pool.allocate()
    pool.release(pages[1])
    assert pool.allocate() == pages[1]


def test_a_machine_with_less_than_the_cap_sets_the_cap():
    memory = Tally(limit=10)
    pool = PagePool(memory)
    held = [pool.allocate() for _ in range(8)]
    with pytest.raises(OutOfPagesError):
        pool.allocate()
    assert pool.capacity == len(held) == 8


def test_forks_share_until_one_writes(memory):
    index = make(memory)
    table = PageTable(index)
    write(memory, table, list(range(20)))
    fork = table.fork()
    assert fork.pages.tolist() == table.pages.tolist()
    assert index.pool.used == 2
    write(memory, fork, [*range(20), 100], 20)
    write(memory, table, [*range(20), 200], 20)
    assert read(memory, fork) == [*range(20), 100]
    assert read(memory, table) == [*range(20), 200]
    assert (index.pool.used, memory.copied) == (3, 1)  # the last of them writes in place
    fork.drop()
    table.drop()
    assert index.pool.used - index.idle == 0


def test_a_prefix_is_found_again_by_whole_pages_and_never_whole(memory):
    index = make(memory)
    first = PageTable(index)
    tokens = list(range(3 * PAGE))
    write(memory, first, tokens)
    first.drop()
    assert index.idle == 3
    again = PageTable(index)
    assert again.match(text_of(tokens), len(tokens) - 1) == 2 * PAGE  # the last token must be computed
    assert read(memory, again) == tokens[: 2 * PAGE]
    assert index.idle == 1
    other = PageTable(index)
    assert other.match(text_of([0, *tokens]), 100) == 0
    again.drop()


def test_a_page_filled_twice_is_kept_once(memory):
    index = make(memory)
    tables = [PageTable(index) for _ in range(2)]
    for table in tables:
        write(memory, table, list(range(PAGE + 1)))
    assert tables[0].pages[0] == tables[1].pages[0]
    assert tables[0].pages[1] != tables[1].pages[1]
    assert index.pool.used == 3


def test_the_least_recently_used_leaves_first_and_from_the_end(memory):
    index = make(memory)
    texts = [[k] * (2 * PAGE) for k in range(3)]
    for tokens in texts:
        table = PageTable(index)
        write(memory, table, tokens)
        table.drop()
    toucher = PageTable(index)
    toucher.match(text_of(texts[0]), 2 * PAGE)
    toucher.drop()
    assert index.evict(3) == 3  # all of text 1, and the second page of text 2
    left = []
    for tokens in texts:
        table = PageTable(index)
        left.append(table.match(text_of(tokens), 2 * PAGE) // PAGE)
        table.drop()
    assert left == [2, 0, 1]


def test_what_a_sequence_holds_is_never_evicted(memory):
    index = make(memory)
    table = PageTable(index)
    write(memory, table, list(range(3 * PAGE)))
    assert index.evict(10) == 0
    table.drop()
    assert index.evict(10) == 3
    assert index.pool.used == 0


def test_without_a_cache_pages_leave_with_their_last_holder(memory):
    index = make(memory, keep=False)
    table = PageTable(index)
    write(memory, table, list(range(40)))
    fork = table.fork()
    table.drop()
    assert index.pool.used == 3
    fork.drop()
    assert (index.pool.used, index.idle) == (0, 0)


def test_missing_foretells_what_reserve_takes(memory):
    index = make(memory)
    table = PageTable(index)
    write(memory, table, list(range(20)))
    fork = table.fork()
    for positions in (1, 12, 13, 40):
        expected = fork.missing(positions)
        trial = fork.fork()
        before = index.pool.used
        trial.reserve(positions)
        assert index.pool.used - before == expected
        trial.drop()
    fork.drop()
    table.drop()


@given(st.data())
def test_tables_equal_a_list_each(data):
    """Random writes, forks, drops, searches and evictions against lists of tokens."""
    memory = Tally()
    index = make(memory, keep=data.draw(st.booleans()))
    tables: list[tuple[PageTable, list[int]]] = []
    for _ in range(data.draw(st.integers(1, 40))):
        action = data.draw(st.sampled_from(["new", "write", "write", "fork", "drop", "evict"]))
        if action == "new" or not tables:
            tokens = data.draw(st.lists(st.integers(0, 1), max_size=3 * PAGE))
            table = PageTable(index)
            table.match(text_of(tokens), len(tokens))
            tables.append((table, tokens[: table.length]))
        elif action == "evict":
            index.evict(data.draw(st.integers(1, 3)))
        else:
            table, tokens = tables[data.draw(st.integers(0, len(tables) - 1))]
            if action == "write":
                start = len(tokens)
                tokens += data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=2 * PAGE))
                write(memory, table, tokens, start)
            elif action == "fork":
                tables.append((table.fork(), list(tokens)))
            else:
                table.drop()
                tables = [pair for pair in tables if pair[0] is not table]
        for table, tokens in tables:
            assert read(memory, table) == tokens
    for table, _ in tables:
        table.drop()
    assert index.pool.used == index.idle
    index.evict(index.idle)
    assert index.pool.used == 0
