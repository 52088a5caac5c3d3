"""Pages of the KV cache: counted references, copied when a shared one is about to be written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.executors.base import Executor


class PageTable:
    """The pages of one sequence, in order of position. Forks share pages until one of them writes.

    `length` positions are filled; a page is written only by `extend`'s caller, after `extend` made it this table's own.
    """

    def __init__(self, pool: PagePool) -> None:
        self._pool = pool
        self.pages: list[int] = []
        self.length = 0

    def extend(self, count: int) -> NDArray[np.int32]:
        """Make room for `count` more positions, which count as filled from now on; the whole table."""
        size = self._pool.page_size
        if self.length % size and count:
            last = self.length // size
            self.pages[last] = self._pool.own(self.pages[last])
        self.length += count
        while len(self.pages) * size < self.length:
            self.pages.append(self._pool.allocate())
        return np.array(self.pages, np.int32)

    def fork(self) -> PageTable:
        """A second table with the same contents, for free."""
        table = PageTable(self._pool)
        table.pages, table.length = list(self.pages), self.length
        for page in self.pages:
            self._pool.retain(page)
        return table

    def drop(self) -> None:
        """Give the pages back; the table is empty afterwards."""
        for page in self.pages:
            self._pool.release(page)
        self.pages, self.length = [], 0


class PagePool:
    """Numbers of pages and how many tables hold each; the executor owns their memory, which grows as needed."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.page_size = executor.page_size
        self._references: list[int] = []
        self._free: list[int] = []

    @property
    def used(self) -> int:
        """Pages that some table holds."""
        return len(self._references) - len(self._free)

    def allocate(self) -> int:
        """A page held once."""
        if not self._free:
            first = len(self._references)
            count = max(8, first // 4)
            self._executor.reserve_pages(first + count)
            self._references += [0] * count
            self._free += range(first + count - 1, first - 1, -1)
        page = self._free.pop()
        self._references[page] = 1
        return page

    def retain(self, page: int) -> None:
        """One table more holds the page."""
        self._references[page] += 1

    def release(self, page: int) -> None:
        """One table less holds the page."""
        self._references[page] -= 1
        if not self._references[page]:
            self._free.append(page)

    def own(self, page: int) -> int:
        """The page itself if held once, else a copy, held once."""
        if self._references[page] == 1:
            return page
        copy = self.allocate()
        self._executor.copy_page(page, copy)
        self.release(page)
        return copy
