"""Pages of the KV cache: counted references under a hard cap."""

from __future__ import annotations

from intact.errors import ParameterError
from intact.executors.base import Executor

UNLIMITED = 1 << 62


class OutOfPagesError(Exception):
    """All pages that the cap allows are held."""


class PagePool:
    """Numbers of pages and how many hold each; the executor owns their memory, which grows as needed up to the cap.

    Parameters
    ----------
    limit : int, optional
        The most bytes of all pages together; by default as many as the machine gives.

    Attributes
    ----------
    most, capacity : int
        Pages that the limit allows, and of these what the machine had when it was last asked.
    """

    def __init__(self, executor: Executor, limit: int | None = None) -> None:
        self._executor = executor
        self.page_size, self.page_bytes = executor.page_size, executor.page_bytes
        self.most = self.capacity = UNLIMITED if limit is None else limit // self.page_bytes
        if self.capacity < 1:
            raise ParameterError(
                f"a KV cache of {limit:,} bytes holds no page: "
                f"one of {self.page_size} positions has {self.page_bytes:,}"
            )
        self._references: list[int] = []
        self._free: list[int] = []

    @property
    def used(self) -> int:
        """Pages that are held."""
        return len(self._references) - len(self._free)

    @property
    def free(self) -> int:
        """Pages that may still be allocated."""
        return self.capacity - self.used

    def allocate(self) -> int:
        """A page held once.

        Raises
        ------
        OutOfPagesError
            If the cap is reached, or the machine has no more memory; the cap is then what there is, until `retry`.
        """
        if not self._free:
            self._grow()
        page = self._free.pop()
        self._references[page] = 1
        return page

    def retry(self) -> None:
        """Let the cap be what was asked for, though the machine did not have it a while ago."""
        self.capacity = self.most

    def _grow(self) -> None:
        first = len(self._references)
        count = min(max(4, first // 16), self.capacity - first)
        if not count:
            raise OutOfPagesError
        try:
            self._executor.reserve_pages(first + count)
        except MemoryError:
            self.capacity = first
            raise OutOfPagesError from None
        self._references += [0] * count
        self._free += range(first + count - 1, first - 1, -1)

    def retain(self, page: int) -> None:
        """One more holds the page."""
        self._references[page] += 1

    def release(self, page: int) -> None:
        """One less holds the page."""
        self._references[page] -= 1
        if not self._references[page]:
            self._free.append(page)

    def shared(self, page: int) -> bool:
        """Whether more than one holds the page."""
        return self._references[page] > 1

    def own(self, page: int) -> int:
        """The page itself if held once, else a copy, held once."""
        if not self.shared(page):
            return page
        copy = self.allocate()
        self._executor.copy_page(page, copy)
        self.release(page)
        return copy
