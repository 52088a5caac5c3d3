"""Streams for coroutines: chunks of samples on their way from the engine's thread to a reader, who may fall behind."""

from __future__ import annotations

import asyncio
from collections import deque

from intact.engine.completion import Chunk
from intact.engine.driver import EngineDriver
from intact.engine.request import Request

UNREAD = 64
"""Chunks a sample that may wait for their reader before the request pauses."""


class SampleStream:
    """The chunks of one request's samples. A reader who falls behind pauses the request until half is read.

    Made in the reader's event loop; `open` must come before the request is queued.
    """

    def __init__(self, driver: EngineDriver) -> None:
        self._driver, self._loop = driver, asyncio.get_running_loop()
        self._woken = self._loop.create_future()
        self._written = self._read = 0  # each changed by one side alone: the engine's thread, and the loop's
        self._waiting = self._called = False  # the reader waits; it has been called, and has not come yet

    def open(self, request: Request, samples: int) -> None:
        """Set the request whose chunks come."""
        self._request = request
        self._chunks: list[deque[Chunk | None]] = [deque() for _ in range(samples)]
        self._most = UNREAD * samples

    def listen(self, sample: int, chunk: Chunk | None) -> None:
        """Take a chunk, in the engine's thread; None is a sample's end."""
        self._chunks[sample].append(chunk)
        self._written += 1
        self._request.paused = self._written - self._read >= self._most
        if self._waiting:  # now, or since the line before: another of the samples may be the one it waits for
            self._request.paused = False
        if not self._called:
            self._called = True
            self._driver.notify(self._loop, self._wake)

    def _wake(self) -> None:
        self._called = False
        if not self._woken.done():
            self._woken.set_result(None)

    async def read(self, sample: int) -> Chunk | None:
        """Return the next chunk of a sample; None at its end."""
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
