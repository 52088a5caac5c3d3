"""Work that takes long, in threads of its own: it ends once nobody waits for it, and nobody goes before that."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar

from intact.serve import tracing
from intact.serve.errors import ApiError

T = TypeVar("T")


async def to_the_end(work: Awaitable[T]) -> T:
    """Wait for what cannot be left midway; whoever is cancelled meanwhile is so afterwards."""
    future, cancelled = asyncio.ensure_future(work), None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        with suppress(Exception):  # nobody hears of it any more
            future.result()
        raise cancelled
    return future.result()


class Work(ABC, Generic[T]):
    """Something that a thread does, and another may end.

    Parameters
    ----------
    name : str
        What traces call it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._left = threading.Event()

    @abstractmethod
    def run(self) -> T:
        """Do it; `check` is called again and again meanwhile."""

    def leave(self) -> None:
        """Nobody waits for it any more."""
        self._left.set()

    def check(self) -> None:
        """Go on if somebody waits.

        Raises
        ------
        ApiError
            503, otherwise; whoever still hears of it asked a server that ends.
        """
        if self._left.is_set():
            raise ApiError(503, "the server is about to end", code="ending")


class Threads:
    """Threads for one kind of work.

    Parameters
    ----------
    most : int
        Pieces of work at a time; more wait for a thread.
    """

    def __init__(self, most: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(most, name)
        self._under_way: set[Work[Any]] = set()

    @asynccontextmanager
    async def at_work(self, work: Work[T]) -> AsyncIterator[asyncio.Future[T]]:
        """Have something done until it ends, or the block does; no thread is at it afterwards."""
        with tracing.span(work.name):
            begun = self._pool.submit(work.run)
            future = asyncio.wrap_future(begun)
            self._under_way.add(work)
            try:
                yield future
            finally:
                work.leave()
                if not begun.cancel():  # it has a thread, or had one
                    with suppress(Exception):  # of which the block has heard, if it still listened
                        await to_the_end(asyncio.wrap_future(begun) if future.cancelled() else future)
                self._under_way.discard(work)

    async def close(self) -> None:
        """End what is under way, and wait until it has ended."""
        for work in self._under_way:
            work.leave()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
