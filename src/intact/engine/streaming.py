"""Streams for coroutines: chunks pass from the engine's thread to a reader that may fall behind."""

from __future__ import annotations

import asyncio
from collections import deque

from intact.engine.completion import Chunk
from intact.engine.driver import EngineDriver
from intact.engine.request import Request

UNREAD = 64
"""Maximum number of unread chunks per sample before the request is paused."""


class SampleStream:
    """The chunks of one request's samples. A request whose reader falls behind is paused until half are read.

    Create it in the reader's event loop; call `open` before the request is queued.
    """

    def __init__(self, driver: EngineDriver) -> None:
        self._driver, self._loop = driver, asyncio.get_running_loop()
        self._woken = self._loop.create_future()
        self._written = self._read = 0  # each changed by one side only: the engine's thread and the loop's
        self._waiting = self._called = False  # the reader waits; a wake-up is pending

    def open(self, request: Request, samples: int) -> None:
        """Set the request whose chunks will arrive."""
        self._request = request
        self._chunks: list[deque[Chunk | None]] = [deque() for _ in range(samples)]
        self._most = UNREAD * samples

    def listen(self, sample: int, chunk: Chunk | None) -> None:
        """Add a chunk, called in the engine's thread; None ends a sample."""
        self._chunks[sample].append(chunk)
        self._written += 1
        self._request.paused = self._written - self._read >= self._most
        if self._waiting:  # checked after pausing: the reader may be waiting for another sample
            self._request.paused = False
        if not self._called:
            self._called = True
            self._driver.notify(self._loop, self._wake)

    def _wake(self) -> None:
        self._called = False
        if not self._woken.done():
            self._woken.set_result(None)

    async def read(self, sample: int) -> Chunk | None:
        """Return the next chunk of a sample, or None at its end."""
        while not self._chunks[sample]:
            self._woken = self._loop.create_future()
            self._waiting = True
            if self._request.paused:
                self._resume()
            if not self._chunks[sample]:
                await self._woken
            self._waiting = False
        chunk = self._chunks[sample].popleft()
        self._read += 1
        if self._request.paused and self._written - self._read <= self._most // 2:
            self._resume()
        return chunk

    def _resume(self) -> None:
        self._request.paused = False
        self._driver.post(lambda: None)
