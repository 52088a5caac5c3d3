"""The KV cache: reference-counted pages under a hard cap, a prefix index of full pages, and page tables."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.engine.page_store import Pages, page_key
from intact.executors.base import Executor

UNLIMITED = 1 << 62
Text = Callable[[int, int], bytes]
"""Returns the tokens of a sequence between two positions, as bytes of int32."""


class OutOfPagesError(Exception):
    """Every page that the cap allows is in use."""


class PagePool:
    """Reference-counted page numbers; the executor owns the memory, which grows on demand up to the cap.

    Parameters
    ----------
    limit : int, optional
        Maximum size of all pages together, in bytes; by default limited only by the machine's memory.

    Attributes
    ----------
    most, capacity : int
        Number of pages that the limit allows, and the number that the machine can currently provide.
    """

    def __init__(self, executor: Executor, limit: int | None = None) -> None:
        self._executor = executor
        self.page_size, self.page_bytes = executor.page_size, executor.page_bytes
        self.most = self.capacity = UNLIMITED if limit is None else limit // self.page_bytes
        if self.capacity < 1:
            raise ParameterError(
                f"a KV cache of {limit:,} bytes is too small for one page: "
                f"{self.page_size} positions take {self.page_bytes:,} bytes"
            )
        self._references: list[int] = []
        self._free: list[int] = []

    @property
    def used(self) -> int:
        """Number of pages in use."""
        return len(self._references) - len(self._free)

    @property
    def free(self) -> int:
        """Number of pages that can still be allocated."""
        return self.capacity - self.used

    def allocate(self) -> int:
        """Allocate a page with a reference count of 1 and return its number.

        Raises
        ------
        OutOfPagesError
            If the cap is reached or the machine is out of memory; in the latter case the cap drops to the current size
            until `retry` is called.
        """
        if not self._free:
            self._grow()
        page = self._free.pop()
        self._references[page] = 1
        return page

    def retry(self) -> None:
        """Restore the configured cap after the machine ran out of memory."""
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
        """Add a reference to a page."""
        self._references[page] += 1

    def release(self, page: int) -> None:
        """Drop a reference to a page."""
        self._references[page] -= 1
        if not self._references[page]:
            self._free.append(page)

    def shared(self, page: int) -> bool:
        """Return true if a page has more than one reference."""
        return self._references[page] > 1

    def own(self, page: int) -> int:
        """Return the page itself if it has one reference, else a copy with one reference."""
        if not self.shared(page):
            return page
        copy = self.allocate()
        self._executor.copy_page(page, copy)
        self.release(page)
        return copy

    def read(self, page: int) -> NDArray[np.uint8]:
        """Return a copy of a page's bytes."""
        return self._executor.read_page(page)

    def write(self, page: int, data: NDArray[np.uint8]) -> None:
        """Overwrite a page with bytes that `read` returned."""
        self._executor.write_page(page, data)


class Block:
    """A cached page in the tree; `holders` counts the tables that end here plus the children in use.

    A partly filled page is an *end*: the last page of a sequence, kept so that another sequence can copy it. It has no
    holders and no children.
    """

    __slots__ = ("children", "ends", "holders", "key", "page", "parent", "tokens")

    def __init__(self, parent: Block | None, tokens: bytes, page: int) -> None:
        self.parent, self.tokens, self.page = parent, tokens, page
        self.children: dict[bytes, Block] = {}
        self.holders = 0
        self.ends = 0  # number of children that are ends
        self.key: bytes | None = None  # store key, computed on first use


class PrefixIndex:
    """A radix tree over tokens with one page per edge. Unused pages stay cached until their memory is needed.

    Parameters
    ----------
    keep : bool
        If false, a page is freed together with the last sequence that uses it.
    store : Pages, optional
        On-disk store of prompt pages, which tables can load from as well.
    adapters : sequence of bytes
        Digest of each adapter; the store uses them to keep the adapters' pages apart.
    """

    def __init__(
        self, pool: PagePool, keep: bool = True, store: Pages | None = None, adapters: Sequence[bytes] = ()
    ) -> None:
        self.pool, self.keep, self.store = pool, keep, store
        self.root = Block(None, b"", -1)
        self._roots = {-1: self.root}  # one per adapter: the contents of pages depend on the adapter
        if store is not None:
            self.root.key = store.root
            for number, digest in enumerate(adapters):
                self.root_of(number).key = page_key(store.root, digest)
        self.idle = 0  # blocks without holders
        self.evictions = 0
        self._full = 4 * pool.page_size  # bytes of a full page's tokens
        self._leaves: OrderedDict[Block, None] = OrderedDict()  # idle, without children; least recently used first

    def root_of(self, adapter: int) -> Block:
        """Return the root block for sequences with an adapter; -1 is the root for sequences without one."""
        return self._roots.setdefault(adapter, Block(None, b"", -1))

    def add(self, parent: Block, tokens: bytes, page: int) -> Block:
        """Add a full page, which the index then owns; return its block, or an existing one with the same tokens."""
        found = parent.children.get(tokens)
        if found is not None:
            self.pool.release(page)
            return found
        block = parent.children[tokens] = Block(parent, tokens, page)
        self.idle += 1
        return block

    def add_end(self, parent: Block, tokens: bytes, page: int) -> None:
        """Add a partly filled page, which the index then owns."""
        known = len(parent.children)
        block = self.add(parent, tokens, page)
        parent.ends += len(parent.children) - known
        self.use_end(block)

    def use_end(self, block: Block) -> None:
        """Mark an end as recently used."""
        self._leaves[block] = None
        self._leaves.move_to_end(block)

    def hold(self, block: Block) -> None:
        """Register a table that ends in the block."""
        while block.parent is not None:
            block.holders += 1
            if block.holders > 1:
                return
            self.idle -= 1
            self._leaves.pop(block, None)
            block = block.parent

    def release(self, block: Block) -> None:
        """Unregister a table that ended in the block."""
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
        """Free up to `pages` idle pages, least recently used first; return the number freed."""
        done = 0
        while done < pages and self._leaves:
            parent = self._remove(next(iter(self._leaves)))
            if parent.parent is not None and not parent.holders and not parent.children:
                self._leaves[parent] = None  # as recently used as its last child, which has just been removed
                self._leaves.move_to_end(parent, last=False)
            done += 1
        self.evictions += done
        return done

    def save(self, block: Block) -> None:
        """Save the pages of the sequence that ends in a block to the store."""
        if self.store is None:
            return
        root, *path = _chain(block)
        if root.key is not None:
            self.store.keep([(_key(one), one.page) for one in path], self.pool.read)

    def restore(self, parent: Block, text: Text, start: int, limit: int) -> Iterator[Block]:
        """Load blocks from the store that continue a sequence after `parent`; the caller must hold each one at once.

        Parameters
        ----------
        start, limit : int
            Position at which `parent` ends, and position up to which to load.
        """
        store, size, room = self.store, self.pool.page_size, self.pool.free + self.idle
        if store is None or start + size > limit:
            return
        chain, parts = _chain(parent), list[bytes]()
        if chain[0].key is None:
            return

        def keys() -> Iterator[bytes]:
            *_, key = map(_key, chain)
            for at in range(start, min(limit, start + room * size) - size + 1, size):
                parts.append(text(at, at + size))
                key = page_key(key, parts[-1])
                yield key

        block = parent
        for i, data in enumerate(store.read(keys())):
            if not self.pool.free and not self.evict(1):
                return
            try:
                page = self.pool.allocate()
            except OutOfPagesError:  # the machine has less memory than the cap allows
                return
            self.pool.write(page, data)
            block = self.add(block, parts[i], page)
            yield block

    def _remove(self, block: Block) -> Block:
        parent = block.parent
        assert parent is not None
        del self._leaves[block], parent.children[block.tokens]
        parent.ends -= len(block.tokens) < self._full
        self.pool.release(block.page)
        self.idle -= 1
        return parent


def _chain(block: Block) -> list[Block]:
    """Return the path from the root to a block, both included."""
    chain = [block]
    while (before := chain[-1].parent) is not None:
        chain.append(before)
    return chain[::-1]


def _key(block: Block) -> bytes:
    """Return the store key of a block; its parent's key must already be set."""
    if block.key is None:
        assert block.parent is not None
        assert block.parent.key is not None
        block.key = page_key(block.parent.key, block.tokens)
    return block.key


class PageTable:
    """The cached positions of one sequence: blocks of the index, followed by pages of its own.

    Forks share all pages; a shared page is copied before either fork writes to it. `length` positions are filled, and
    positions up to `writable` can be written. Room beyond that may exist; `missing` takes it into account.
    """

    __slots__ = ("_pages", "block", "depth", "index", "length", "root", "tail", "writable")

    def __init__(self, index: PrefixIndex, root: Block | None = None) -> None:
        self.index, self.root = index, root or index.root
        self.block = self.root  # the last of `depth` blocks
        self.depth = 0
        self.tail: tuple[int, ...] = ()
        self.length = self.writable = 0
        self._pages: NDArray[np.int32] | None = None

    @property
    def held(self) -> int:
        """Number of pages in the table."""
        return self.depth + len(self.tail)

    @property
    def pages(self) -> NDArray[np.int32]:
        """Page numbers in order of position."""
        if self._pages is None:
            self._pages = np.array([block.page for block in _chain(self.block)[1:]] + list(self.tail), np.int32)
        return self._pages

    def known(self, text: Text, limit: int) -> int:
        """Return the number of positions that `match` would gain, without changing the table."""
        return self._walk(text, limit)[1] * self.index.pool.page_size

    def match(self, text: Text, limit: int) -> int:
        """Take over cached blocks that match the sequence, up to `limit`; return the number of positions gained."""
        before = self.length
        block, count = self._walk(text, limit)
        if count:
            self._enter(block, count)
        if not self.tail:
            for block in self.index.restore(self.block, text, self.length, limit):
                self._enter(block, 1)
        return self.length - before

    def _enter(self, block: Block, count: int) -> None:
        """Advance to a block that is `count` levels below the current one."""
        self.index.hold(block)
        self.index.release(self.block)
        self.block, self._pages = block, None
        self.depth += count
        self.length += count * self.index.pool.page_size

    def _walk(self, text: Text, limit: int) -> tuple[Block, int]:
        """Return the last cached block that matches the sequence, and the number of blocks matched."""
        size, block, start = self.index.pool.page_size, self.block, self.length
        if self.tail or not self.index.keep:
            return block, 0
        count = 0
        while start + size <= limit and (child := block.children.get(text(start, start + size))) is not None:
            block, start, count = child, start + size, count + 1
        return block, count

    def match_end(self, text: Text, limit: int) -> int:
        """Take over a partly filled page left by another sequence; return the number of positions gained."""
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
        """Hand the partly filled last page to the index before the table is dropped."""
        pool = self.index.pool
        filled = self.length % pool.page_size
        if not filled or not self.index.keep:
            return
        i = self.length // pool.page_size - self.depth
        page = self.tail[i]
        pool.retain(page)
        self.index.add_end(self.block, text(self.length - filled, self.length), page)

    def missing(self, positions: int) -> int:
        """Return the number of pages that `reserve` would allocate."""
        pool = self.index.pool
        filled = self.length % pool.page_size
        copy = filled and pool.shared(self.tail[self.length // pool.page_size - self.depth])
        return max(0, -(-(self.length + positions) // pool.page_size) - self.held) + bool(copy)

    def reserve(self, positions: int) -> NDArray[np.int32]:
        """Make the next `positions` positions writable; return all page numbers.

        Raises
        ------
        OutOfPagesError
            If the pool runs out; pages allocated so far stay in the table.
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
        """Mark the next `positions` positions as filled; pages that become full move into the index."""
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
        """Return a second table with the same contents."""
        table = PageTable(self.index, self.root)
        pool = self.index.pool
        table.block, table.depth, table.length = self.block, self.depth, self.length
        table.tail = self.tail[: -(-self.length // pool.page_size) - self.depth]
        self.writable = 0
        self.index.hold(self.block)
        for page in table.tail:
            pool.retain(page)
        return table

    def drop(self) -> None:
        """Release all pages; the table is then empty."""
        for page in self.tail:
            self.index.pool.release(page)
        self.index.release(self.block)
        self.block, self._pages = self.root, None
        self.depth, self.tail, self.length, self.writable = 0, (), 0, 0
