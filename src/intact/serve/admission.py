"""Admission control: a bounded queue before each model, fair between clients."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from intact.serve import telemetry
from intact.serve.errors import ApiError

REMEMBERED = 4096
"""Clients whose account is kept while they have no request."""


def full(waiting: int, after: float) -> ApiError:
    """Return the error for a request that comes when enough wait already."""
    message = f"{waiting} requests are waiting already; try again later"
    return ApiError(429, message, code="queue_full", after=after)


@dataclass(order=True)
class Admission:
    """A request's place in the queue of its client: by priority, then by arrival.

    Attributes
    ----------
    tokens, texts : int
        What it may take: tokens of the cache, and texts that are generated side by side.
    admitted : Event
        Set once the request may begin.
    used : int
        Tokens that it did take; set by the endpoint.
    """

    order: tuple[int, int]
    client: str = field(compare=False)
    tokens: int = field(compare=False)
    texts: int = field(compare=False)
    admitted: asyncio.Event = field(compare=False, default_factory=asyncio.Event)
    used: int | None = field(compare=False, default=None)


class AdmissionControl:
    """Admission of requests as long as there is room, and otherwise in a fair order.

    Every client has an account of the tokens that it was served. Of the waiting clients the one with the least goes
    first; a client that comes back starts from the least account among those present, so that staying away earns no
    credit (virtual token counters: Sheng et al. 2024, arXiv 2401.00588). While the next request does not fit, none
    behind it passes.

    Parameters
    ----------
    tokens : int
        The most that all admitted requests may take together; one alone may take more.
    texts, waiting : int
        The most texts that are generated at a time; the most requests that wait.

    Attributes
    ----------
    accounts : dict of str to int
        Tokens that each client was served.
    """

    def __init__(self, tokens: int, texts: int, waiting: int) -> None:
        self.capacity, self.most_texts, self.most_waiting = tokens, texts, waiting
        self.tokens = self.texts = self.running = self.waiting = 0
        self._queues: dict[str, list[Admission]] = {}
        self.accounts: OrderedDict[str, int] = OrderedDict()
        self._present: dict[str, int] = {}
        self._number = count()
        self._rate = 100.0  # a moving average of the tokens served a second
        self._last_end = time.monotonic()

    @asynccontextmanager
    async def admit(self, client: str, tokens: int, texts: int = 1, priority: int = 0) -> AsyncIterator[Admission]:
        """Wait until a request may begin; it ends with the block.

        Raises
        ------
        ApiError
            429, if too many wait already; it says after how many seconds to try again.
        """
        admission = Admission((-priority, next(self._number)), client, tokens, texts)
        self._arrive(client)
        try:
            with telemetry.span("queue"):
                await self._wait(admission)
            try:
                yield admission
            finally:
                self._end(admission)
        finally:
            self._present[client] -= 1
            if not self._present[client]:
                del self._present[client]
            self._admit_next()

    def _arrive(self, client: str) -> None:
        accounts = self.accounts
        if client not in self._present and self._present:
            accounts[client] = max(accounts.get(client, 0), min(accounts[other] for other in self._present))
        accounts.setdefault(client, 0)
        accounts.move_to_end(client)
        self._present[client] = self._present.get(client, 0) + 1
        for other in list(accounts)[: max(0, len(accounts) - REMEMBERED)]:
            if other not in self._present:
                del accounts[other]

    async def _wait(self, admission: Admission) -> None:
        if not self.waiting and self._fits(admission):
            self._begin(admission)
            return
        if self.waiting >= self.most_waiting:
            raise full(self.waiting, self._retry_after())
        heapq.heappush(self._queues.setdefault(admission.client, []), admission)
        self.waiting += 1
        try:
            await admission.admitted.wait()
        except BaseException:
            if admission.admitted.is_set():
                self._end(admission)
            else:
                self._remove(admission)
            raise

    def _remove(self, admission: Admission) -> None:
        queue = self._queues[admission.client]
        queue.remove(admission)
        heapq.heapify(queue)
        self.waiting -= 1
        if not queue:
            del self._queues[admission.client]

    def _fits(self, admission: Admission) -> bool:
        if not self.running:
            return True
        return self.tokens + admission.tokens <= self.capacity and self.texts + admission.texts <= self.most_texts

    def _begin(self, admission: Admission) -> None:
        self.running += 1
        self.tokens += admission.tokens
        self.texts += admission.texts
        self.accounts[admission.client] += admission.tokens

    def _end(self, admission: Admission) -> None:
        used = admission.tokens if admission.used is None else admission.used
        self.running -= 1
        self.tokens -= admission.tokens
        self.texts -= admission.texts
        self.accounts[admission.client] += used - admission.tokens
        now = time.monotonic()
        weight = min(1.0, (now - self._last_end) / 10)
        self._rate += weight * (used / max(now - self._last_end, 1e-3) - self._rate)
        self._last_end = now

    def _admit_next(self) -> None:
        """Admit the next requests as long as there is room."""
        while self._queues:
            client = min(self._queues, key=lambda client: self.accounts[client])
            admission = self._queues[client][0]
            if not self._fits(admission):
                return
            self._remove(admission)
            self._begin(admission)
            admission.admitted.set()

    def _retry_after(self) -> float:
        """Return the seconds until about half of the waiting requests will have been served."""
        ahead = sum(admission.tokens for queue in self._queues.values() for admission in queue)
        return min(60.0, max(1.0, ahead / 2 / max(self._rate, 1.0)))
