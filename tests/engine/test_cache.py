"""Pages, the index of prefixes, and page tables: who holds what, what is shared, and who leaves first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.engine.cache import OutOfPagesError, PagePool, PageTable, PrefixIndex
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
    with pytest.raises(ParameterError, match=r"999 bytes is too small for one page: 16 positions take 1,000 bytes"):
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


def test_a_page_that_is_not_full_is_left_for_others_to_copy(memory):
    index = make(memory)
    tokens = list(range(PAGE + 7))
    first = PageTable(index)
    write(memory, first, tokens)
    first.leave_end(text_of(tokens))
    first.drop()
    assert index.pool.used == index.idle == 2
    tables = []
    for i in range(3):
        longer = [*tokens, 100 + i, 200 + i]
        table = PageTable(index)
        assert table.match(text_of(longer), len(longer) - 1) == PAGE
        assert table.match_end(text_of(longer), len(longer) - 1) == 7
        assert table.match_end(text_of(longer), len(longer) - 1) == 0
        assert table.missing(2) == 1  # the copy
        write(memory, table, longer, len(tokens))
        tables.append((table, longer))
    for table, longer in tables:
        assert read(memory, table) == longer
        table.drop()
    assert index.pool.used == index.idle == 2


def test_of_pages_that_are_not_full_the_longest_that_fits_is_taken(memory):
    index = make(memory)
    tokens = list(range(12))
    for length in (3, 9, 5):
        table = PageTable(index)
        write(memory, table, tokens[:length])
        table.leave_end(text_of(tokens[:length]))
        table.drop()
    assert index.root.ends == index.idle == 3
    for limit, gained in ((12, 9), (8, 5), (5, 5), (4, 3), (2, 0)):
        table = PageTable(index)
        assert table.match_end(text_of(tokens), limit) == gained
        assert read(memory, table) == tokens[:gained]
        table.drop()
    other = PageTable(index)
    assert other.match_end(text_of([9, *tokens]), 12) == 0
    assert index.pool.used == 3


def test_pages_that_are_not_full_leave_the_least_recently_used_first(memory):
    index = make(memory, pages=4)
    for start in (10, 20, 30):
        table, tokens = PageTable(index), [start, start + 1]
        write(memory, table, tokens)
        table.leave_end(text_of(tokens))
        table.drop()
    kept = PageTable(index)
    assert kept.match_end(text_of([10, 11, 12]), 2) == 2
    assert index.evict(2) == 2
    assert index.root.ends == 1
    assert PageTable(index).match_end(text_of([20, 21, 22]), 2) == 0
    assert index.evict(1) == 1
    assert index.root.ends == 0
    assert read(memory, kept) == [10, 11]  # whoever has taken a page over keeps it
    kept.drop()
    assert index.pool.used == index.idle == 0


def test_without_a_cache_nothing_is_left(memory):
    index = make(memory, keep=False)
    table = PageTable(index)
    write(memory, table, [1, 2, 3])
    table.leave_end(text_of([1, 2, 3]))
    table.drop()
    assert index.pool.used == index.idle == 0


def test_what_stays_below_an_evicted_page_goes_with_it(memory):
    index = make(memory)
    tokens = list(range(PAGE + 2))
    table = PageTable(index)
    write(memory, table, tokens)
    table.leave_end(text_of(tokens))
    table.drop()
    assert index.evict(9) == 2
    assert index.pool.used == index.idle == index.root.ends == 0
