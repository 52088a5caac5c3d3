"""Admission control: a bounded queue for each model, fair between clients."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from intact.serve import telemetry
from intact.serve.errors import ApiError

REMEMBERED = 4096
"""Maximum number of clients whose account is kept while they have no requests."""


def full(waiting: int, after: float) -> ApiError:
    """Return the error for a request that arrives when the queue is full."""
    message = f"{waiting} requests are already waiting; try again later"
    return ApiError(429, message, code="queue_full", after=after)


@dataclass(eq=False)
class Admission:
    """A request that is queued or admitted.

    Attributes
    ----------
    order : tuple of int
        Position among the requests of the same client: by priority, then by arrival.
    tokens, texts : int
        Expected resources: KV cache tokens, and sequences generated concurrently.
    admitted : Event
        Set once the request may begin.
    used : int
        Tokens that the request actually used; set by the endpoint.
    """

    order: tuple[int, int]
    client: str
    tokens: int
    texts: int
    admitted: asyncio.Event = field(default_factory=asyncio.Event)
    used: int | None = None


class AdmissionControl:
    """Admit requests while there is room, and queue the rest in a fair order.

    Every client has an account of the tokens served to it. Among the waiting clients, the one with the lowest account
    goes first; a returning client starts from the lowest account among those present, so being idle earns no credit
    (virtual token counters: Sheng et al. 2024, arXiv 2401.00588). While the next request does not fit, no later request
    overtakes it.

    Parameters
    ----------
    tokens : int
        Maximum total tokens of all admitted requests; a single request may exceed it.
    texts, waiting : int
        Maximum number of sequences generated concurrently; maximum number of queued requests.

    Attributes
    ----------
    accounts : dict of str to int
        Tokens served to each client.
    """

    def __init__(self, tokens: int, texts: int, waiting: int) -> None:
        self.capacity, self.most_texts, self.most_waiting = tokens, texts, waiting
        self.tokens = self.texts = self.running = 0
        self._queue: list[Admission] = []
        self.accounts: OrderedDict[str, int] = OrderedDict()
        self._present = Counter[str]()
        self._number = count()
        self._rate = 100.0  # a moving average of the tokens served a second
        self._last_end = time.monotonic()

    @property
    def waiting(self) -> int:
        """The number of queued requests."""
        return len(self._queue)

    @property
    def busy(self) -> float:
        """The fraction of the capacity in use by admitted requests, in sequences or in tokens, whichever is higher."""
        return max(self.tokens / max(self.capacity, 1), self.texts / max(self.most_texts, 1))

    @asynccontextmanager
    async def admit(self, client: str, tokens: int, texts: int = 1, priority: int = 0) -> AsyncIterator[Admission]:
        """Wait until a request may begin; the admission ends with the block.

        Raises
        ------
        ApiError
            429, if the queue is full; it states after how many seconds to retry.
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
            self._present -= Counter([client])  # also forgets clients without requests
            self._admit_next()

    def _arrive(self, client: str) -> None:
        accounts = self.accounts
        if client not in self._present and self._present:
            accounts[client] = max(accounts.get(client, 0), min(accounts[other] for other in self._present))
        accounts.setdefault(client, 0)
        accounts.move_to_end(client)
        self._present[client] += 1
        for other in list(accounts)[: max(0, len(accounts) - REMEMBERED)]:
            if other not in self._present:
                del accounts[other]

    async def _wait(self, admission: Admission) -> None:
        if not self.waiting and self._fits(admission):
            self._begin(admission)
            return
        if self.waiting >= self.most_waiting:
            raise full(self.waiting, self._retry_after())
        self._queue.append(admission)
        try:
            await admission.admitted.wait()
        except BaseException:
            if admission.admitted.is_set():
                self._end(admission)
            else:
                self._queue.remove(admission)
            raise

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
        """Admit the next requests while there is room."""
        while self._queue:
            client = min(self._queue, key=lambda one: self.accounts[one.client]).client
            admission = min((one for one in self._queue if one.client == client), key=lambda one: one.order)
            if not self._fits(admission):
                return
            self._queue.remove(admission)
            self._begin(admission)
            admission.admitted.set()

    def _retry_after(self) -> float:
        """Estimate the seconds until about half of the queued requests have been served."""
        ahead = sum(admission.tokens for admission in self._queue)
        return min(60.0, max(1.0, ahead / 2 / max(self._rate, 1.0)))
