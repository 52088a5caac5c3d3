"""The KV cache as a tree: full pages in an index by their tokens, and each sequence's own last pages."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from intact.engine.pages import PagePool

Text = Callable[[int, int], bytes]
"""The tokens of a sequence from one position to another, as bytes of int32."""


class Block:
    """A page whose tokens follow those of its parent; `holders` counts tables that end here and held children.

    A page that is not full is an *end*: what a text left there, for another to copy. It has no holders and no children.
    """

    __slots__ = ("children", "ends", "holders", "page", "parent", "tokens")

    def __init__(self, parent: Block | None, tokens: bytes, page: int) -> None:
        self.parent, self.tokens, self.page = parent, tokens, page
        self.children: dict[bytes, Block] = {}
        self.holders = 0
        self.ends = 0  # of the children


class PrefixIndex:
    """A radix tree over tokens, a page an edge. What no sequence holds stays until its pages are needed.

    Parameters
    ----------
    keep : bool
        False: a page leaves with the last sequence that holds it.
    """

    def __init__(self, pool: PagePool, keep: bool = True) -> None:
        self.pool, self.keep = pool, keep
        self.root = Block(None, b"", -1)
        self.idle = 0  # blocks that nobody holds
        self.evictions = 0
        self._full = 4 * pool.page_size  # bytes of a full page's tokens
        self._leaves: OrderedDict[Block, None] = OrderedDict()  # idle, without children; least recently used first

    def add(self, parent: Block, tokens: bytes, page: int) -> Block:
        """The block of a full page, which the index takes over; an older one with the same tokens serves as well."""
        found = parent.children.get(tokens)
        if found is not None:
            self.pool.release(page)
            return found
        block = parent.children[tokens] = Block(parent, tokens, page)
        self.idle += 1
        return block

    def add_end(self, parent: Block, tokens: bytes, page: int) -> None:
        """Keep a page that is not full, which the index takes over."""
        known = len(parent.children)
        block = self.add(parent, tokens, page)
        parent.ends += len(parent.children) - known
        self.use_end(block)

    def use_end(self, block: Block) -> None:
        """Note that an end has been of use."""
        self._leaves[block] = None
        self._leaves.move_to_end(block)

    def hold(self, block: Block) -> None:
        """One more table ends in the block."""
        while block.parent is not None:
            block.holders += 1
            if block.holders > 1:
                return
            self.idle -= 1
            self._leaves.pop(block, None)
            block = block.parent

    def release(self, block: Block) -> None:
        """One table less ends in the block."""
        while block.parent is not None:
            block.holders -= 1
            if block.holders:
                return
            self.idle += 1
            if not block.children:
                self._leaves[block] = None
                if not self.keep:
                    self._remove(block)
            block = block.parent

    def evict(self, pages: int) -> int:
        """Give up to so many idle pages back, the least recently used first; how many it were."""
        done = 0
        while done < pages and self._leaves:
            parent = self._remove(next(iter(self._leaves)))
            if parent.parent is not None and not parent.holders and not parent.children:
                self._leaves[parent] = None  # as old as the youngest of its children, which went last
                self._leaves.move_to_end(parent, last=False)
            done += 1
        self.evictions += done
        return done

    def _remove(self, block: Block) -> Block:
        parent = block.parent
        assert parent is not None
        del self._leaves[block], parent.children[block.tokens]
        parent.ends -= len(block.tokens) < self._full
        self.pool.release(block.page)
        self.idle -= 1
        return parent


class PageTable:
    """The cached positions of one sequence: blocks of the index, then pages of its own.

    Forks share all pages; a shared page is copied before one of them writes. `length` positions are filled, and those
    up to `writable` may be; there may be room for more, of which `missing` knows.
    """

    __slots__ = ("_pages", "block", "depth", "index", "length", "tail", "writable")

    def __init__(self, index: PrefixIndex) -> None:
        self.index = index
        self.block = index.root  # of `depth` blocks the last
        self.depth = 0
        self.tail: tuple[int, ...] = ()
        self.length = self.writable = 0
        self._pages: NDArray[np.int32] | None = None

    @property
    def held(self) -> int:
        """Pages that the table reaches."""
        return self.depth + len(self.tail)

    @property
    def pages(self) -> NDArray[np.int32]:
        """All pages in order of position."""
        if self._pages is None:
            path, block = [], self.block
            while block.parent is not None:
                path.append(block.page)
                block = block.parent
            self._pages = np.array(path[::-1] + list(self.tail), np.int32)
        return self._pages

    def known(self, text: Text, limit: int) -> int:
        """Positions that `match` would gain; nothing is taken over."""
        return self._walk(text, limit)[1] * self.index.pool.page_size

    def match(self, text: Text, limit: int) -> int:
        """Take over cached blocks that go on with the text, as far as `limit`; the positions gained."""
        block, count = self._walk(text, limit)
        if not count:
            return 0
        self.index.hold(block)
        self.index.release(self.block)
        self.block, self._pages = block, None
        self.depth += count
        self.length += (gained := count * self.index.pool.page_size)
        return gained

    def _walk(self, text: Text, limit: int) -> tuple[Block, int]:
        """The last of the cached blocks that go on with the text, and how many they are."""
        size, block, start = self.index.pool.page_size, self.block, self.length
        if self.tail or not self.index.keep:
            return block, 0
        count = 0
        while start + size <= limit and (child := block.children.get(text(start, start + size))) is not None:
            block, start, count = child, start + size, count + 1
        return block, count

    def match_end(self, text: Text, limit: int) -> int:
        """Take over what another text left in a page that it did not fill; the positions gained."""
        start, block, pool = self.length, self.block, self.index.pool
        if self.tail or not block.ends:
            return 0
        for count in range(min(limit - start, pool.page_size - 1), 0, -1):
            end = block.children.get(text(start, start + count))
            if end is not None:
                pool.retain(end.page)
                self.index.use_end(end)
                self.tail, self._pages = (end.page,), None
                self.length += count
                return count
        return 0

    def leave_end(self, text: Text) -> None:
        """Let the index have the last page, which is not full, before the table is dropped."""
        pool = self.index.pool
        filled = self.length % pool.page_size
        if not filled or not self.index.keep:
            return
        i = self.length // pool.page_size - self.depth
        page = self.tail[i]
        pool.retain(page)
        self.index.add_end(self.block, text(self.length - filled, self.length), page)

    def missing(self, positions: int) -> int:
        """Pages that `reserve` would allocate."""
        pool = self.index.pool
        filled = self.length % pool.page_size
        copy = filled and pool.shared(self.tail[self.length // pool.page_size - self.depth])
        return max(0, -(-(self.length + positions) // pool.page_size) - self.held) + bool(copy)

    def reserve(self, positions: int) -> NDArray[np.int32]:
        """Make so many positions after the filled ones writable; all pages.

        Raises
        ------
        OutOfPagesError
            If the pool has too few; what was allocated stays with the table.
        """
        pool = self.index.pool
        tail = list(self.tail)
        try:
            if self.length % pool.page_size:
                i = self.length // pool.page_size - self.depth
                tail[i] = pool.own(tail[i])
            while (self.depth + len(tail)) * pool.page_size < self.length + positions:
                tail.append(pool.allocate())
        finally:
            if (own := tuple(tail)) != self.tail:
                self.tail, self._pages = own, None
        self.writable = self.held * pool.page_size
        return self.pages

    def advance(self, positions: int, text: Text) -> None:
        """Count so many positions as filled; pages that are full now enter the index."""
        size = self.index.pool.page_size
        self.length += positions
        full = self.length // size - self.depth
        if not full:
            return
        first = self.block
        for page in self.tail[:full]:
            start = self.depth * size
            self.block = self.index.add(self.block, text(start, start + size), page)
            self.depth += 1
        self.index.hold(self.block)
        self.index.release(first)
        self.tail, self._pages = self.tail[full:], None

    def fork(self) -> PageTable:
        """A second table with the same contents."""
        table = PageTable(self.index)
        pool = self.index.pool
        table.block, table.depth, table.length = self.block, self.depth, self.length
        table.tail = self.tail[: -(-self.length // pool.page_size) - self.depth]
        self.writable = 0
        self.index.hold(self.block)
        for page in table.tail:
            pool.retain(page)
        return table

    def drop(self) -> None:
        """Give everything back; the table is empty afterwards."""
        for page in self.tail:
            self.index.pool.release(page)
        self.index.release(self.block)
        self.block, self._pages = self.index.root, None
        self.depth, self.tail, self.length, self.writable = 0, (), 0, 0
