"""Page tables: forks share pages until one writes, and every page comes back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.engine.cache import PagePool, PageTable


class Memory:
    """Stands in for an executor: pages of what was written in them."""

    page_size = 16

    def __init__(self):
        self.pages: list[list[object]] = []

    def reserve_pages(self, count):
        self.pages += [[None] * self.page_size for _ in range(count - len(self.pages))]

    def copy_page(self, source, target):
        self.pages[target] = list(self.pages[source])


def write(memory, table, values):
    """Append to a sequence as a step does."""
    start = table.length
    pages = table.extend(len(values))
    for i, value in enumerate(values, start):
        memory.pages[pages[i // 16]][i % 16] = value


def read(memory, table):
    return [memory.pages[table.pages[i // 16]][i % 16] for i in range(table.length)]


@pytest.fixture
def memory():
    return Memory()


def test_a_table_grows_by_pages(memory):
    pool = PagePool(memory)
    table = PageTable(pool)
    assert len(table.extend(0)) == 0
    for length, pages in ((1, 1), (16, 1), (17, 2), (40, 3), (48, 3)):
        assert len(table.extend(length - table.length)) == pages == pool.used
        assert table.extend(0).dtype == np.int32
    table.drop()
    assert (pool.used, table.length, table.pages) == (0, 0, [])
    table.drop()  # twice is harmless
    assert pool.used == 0


def test_a_fork_costs_nothing_until_it_writes(memory):
    pool = PagePool(memory)
    table = PageTable(pool)
    write(memory, table, range(40))
    forks = [table.fork() for _ in range(5)]
    assert pool.used == 3
    table.drop()
    assert pool.used == 3
    write(memory, forks[0], ["a"])  # its last page alone is copied
    assert pool.used == 4
    assert forks[0].pages[:2] == forks[1].pages[:2]
    for fork in forks[1:4]:
        fork.drop()
    write(memory, forks[4], ["b"])  # nobody else holds that page now
    assert pool.used == 4
    assert read(memory, forks[0]) == [*range(40), "a"]
    assert read(memory, forks[4]) == [*range(40), "b"]


def test_a_fork_at_a_pages_end_copies_nothing(memory):
    pool = PagePool(memory)
    table = PageTable(pool)
    write(memory, table, range(32))
    fork = table.fork()
    write(memory, fork, ["a"])
    write(memory, table, ["b"])
    assert pool.used == 4
    assert (read(memory, fork)[-1], read(memory, table)[-1]) == ("a", "b")


@given(
    st.lists(st.tuples(st.sampled_from(["write", "fork", "drop"]), st.integers(0, 7), st.integers(1, 40)), max_size=60)
)
def test_tables_read_as_lists_whatever_happens(operations):
    memory = Memory()
    pool = PagePool(memory)
    tables, lists = [PageTable(pool)], [[]]
    for step, (what, which, count) in enumerate(operations):
        i = which % len(tables)
        if what == "write":
            values = [(step, k) for k in range(count)]
            write(memory, tables[i], values)
            lists[i] = lists[i] + values
        elif what == "fork":
            tables.append(tables[i].fork())
            lists.append(lists[i])
        else:
            tables[i].drop()
            lists[i] = []
        assert [read(memory, table) for table in tables] == lists
        assert pool.used == len({page for table in tables for page in table.pages})
    for table in tables:
        table.drop()
    assert pool.used == 0
