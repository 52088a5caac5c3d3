"""Remote prefill: requests wait for prompt pages that another process computes (docs/cluster.md)."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import IntactError, ModelError
from intact.engine.cache import PageTable
from intact.engine.engine import Engine
from intact.engine.page_store import StoreCounts, page_key
from intact.engine.request import GenerateRequest, Request

_LOG = logging.getLogger("intact")


class PageBox:
    """In-memory pages received from another process, for the engine to take over.

    Parameters
    ----------
    root : bytes
        Key of the empty sequence.
    page_bytes : int
        Size of a page in bytes.
    limit : int
        Maximum size of all pages together; the least recently used are dropped.
    """

    def __init__(self, root: bytes, page_bytes: int, limit: int) -> None:
        self.root, self.counts, self.most = root, StoreCounts(), limit // page_bytes
        self._pages: OrderedDict[bytes, NDArray[np.uint8]] = OrderedDict()
        self._lock = Lock()

    def held(self, keys: Sequence[bytes]) -> int:
        """Return the number of leading keys whose pages are present."""
        with self._lock:
            return next((i for i, key in enumerate(keys) if key not in self._pages), len(keys))

    def put(self, key: bytes, page: NDArray[np.uint8]) -> None:
        """Add a page."""
        with self._lock:
            self._pages[key] = page
            self._pages.move_to_end(key)
            while len(self._pages) > self.most:
                self._pages.popitem(last=False)
                self.counts.removed += 1

    def read(self, keys: Iterable[bytes]) -> Iterator[NDArray[np.uint8]]:
        """Yield the pages of successive keys, up to the first missing one."""
        for key in keys:
            with self._lock:
                page = self._pages.get(key)
                if page is None:
                    return
                self._pages.move_to_end(key)
            self.counts.read += 1
            yield page

    def keep(self, pages: Sequence[tuple[bytes, int]], read: Callable[[int], NDArray[np.uint8]]) -> None:
        """Do nothing: the engine already holds the pages that it computed."""

    def close(self) -> None:
        """Drop all pages."""
        with self._lock:
            self._pages.clear()


class PageSource(Protocol):
    """Another process that computes prompts."""

    box: PageBox

    def fetch(self, tokens: NDArray[np.int32], keys: Sequence[bytes], first: int) -> None:
        """Have the full pages of a prompt computed, starting at number `first`, and put them into the box.

        Raises
        ------
        IntactError
            If that fails.
        """

    def close(self) -> None:
        """End the connection, and any wait for it in another thread."""


class RemotePrompts:
    """Queues requests once their prompt pages have arrived; a thread fetches one prompt at a time.

    Failures only cost time: the prompt is then computed here, and a warning is logged once.

    Parameters
    ----------
    post : callable
        Runs a task between steps; callable from any thread.
    """

    def __init__(self, source: PageSource, engine: Engine, post: Callable[[Callable[[], None]], None]) -> None:
        self._source, self._engine, self._post = source, engine, post
        self._waiting: dict[Request, None] = {}
        self._thread = ThreadPoolExecutor(1, "intact-prompts")
        self._failed, self._process = False, os.getpid()

    def add(self, request: Request) -> None:
        """Queue a request now, or once its missing pages have arrived; called between steps, like the other methods."""
        first = self._first_lacking(request)
        if first is None:
            self._engine.add(request)
            return
        self._waiting[request] = None
        self._thread.submit(self._fetch, request, first)

    def release(self, request: Request) -> None:
        """Queue a waiting request as it is, because it is about to be cancelled or the model is closing."""
        if request in self._waiting:
            del self._waiting[request]
            self._engine.add(request)

    def close(self) -> None:
        """Release all requests and end the thread; called without the engine's lock."""
        self._failed = True
        self._source.close()
        self._thread.shutdown(cancel_futures=True)
        for request in list(self._waiting):
            self._release_later(request)

    def _first_lacking(self, request: Request) -> int | None:
        """Return the number of a prompt's first page that is not cached; None to compute the prompt here."""
        if self._failed or os.getpid() != self._process:  # a forked process does not have the thread
            return None
        if not isinstance(request, GenerateRequest) or request.adapter != -1 or request.mixing:
            return None
        count = self._count(request)
        table = PageTable(self._engine.index)
        size = self._engine.pool.page_size
        known = table.known(lambda start, stop: request.prompt[start:stop].tobytes(), count * size) // size
        return known if known < count else None

    def _count(self, request: Request) -> int:
        """Return how many of a prompt's pages may be computed remotely; its last token is computed here, to draw."""
        return min((len(request.prompt) - 1) // self._engine.pool.page_size, self._source.box.most)

    def _fetch(self, request: Request, first: int) -> None:
        try:
            if request in self._waiting and not self._failed:
                self._fetch_pages(request, first)
        except IntactError as error:
            if not self._failed:
                self._failed = True
                _LOG.warning("prompts are computed here from now on: %s", error)
        finally:
            self._release_later(request)

    def _fetch_pages(self, request: Request, first: int) -> None:
        box, size = self._source.box, self._engine.pool.page_size
        keys, key = [], box.root
        for i in range(self._count(request)):
            key = page_key(key, request.prompt[i * size : (i + 1) * size].tobytes())
            keys.append(key)
        first += box.held(keys[first:])
        if first < len(keys):
            self._source.fetch(request.prompt[: len(keys) * size + 1], keys, first)

    def _release_later(self, request: Request) -> None:
        with suppress(ModelError):  # the model has been closed
            self._post(lambda: self.release(request))
