"""Who may begin: a bounded queue before each model, fair between clients."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from intact.serve import tracing
from intact.serve.errors import ApiError

REMEMBERED = 4096
"""Clients whose account is kept while they ask for nothing."""


def full(waiting: int, after: float) -> ApiError:
    """What those are told who come when enough wait already."""
    message = f"{waiting} requests are waiting already; try again later"
    return ApiError(429, message, code="queue_full", after=after)


@dataclass(order=True)
class Ticket:
    """A request's place in the queue of its client: by priority, then by its coming.

    Attributes
    ----------
    tokens, texts : int
        What it may take: tokens of the cache, and texts that are written side by side.
    used : int
        Tokens that it did take; whoever serves it says so.
    """

    order: tuple[int, int]
    client: str = field(compare=False)
    tokens: int = field(compare=False)
    texts: int = field(compare=False)
    turn: asyncio.Event = field(compare=False, default_factory=asyncio.Event)
    used: int | None = field(compare=False, default=None)


class Gate:
    """Lets requests in as long as there is room, and otherwise in a fair order.

    Every client has an account of the tokens that it was served. Of those who wait, the one with the least goes first;
    one who comes back starts from the least account among those who are there, so that nobody saves up a claim by
    staying away (virtual token counters: Sheng et al. 2024, arXiv 2401.00588). A request that is next but does not fit
    yet is waited for; what is behind it does not pass.

    Parameters
    ----------
    tokens : int
        The most that all who are inside may take together; one alone may take more.
    texts, waiting : int
        The most texts that are written at a time; the most requests that wait.

    Attributes
    ----------
    accounts : dict of str to int
        Tokens that each client was served.
    """

    def __init__(self, tokens: int, texts: int, waiting: int) -> None:
        self.capacity, self.most_texts, self.most_waiting = tokens, texts, waiting
        self.tokens = self.texts = self.inside = self.waiting = 0
        self._queues: dict[str, list[Ticket]] = {}
        self.accounts: OrderedDict[str, int] = OrderedDict()
        self._present: dict[str, int] = {}
        self._number = count()
        self._rate = 100.0  # tokens a second that leave, a moving average
        self._left = time.monotonic()

    @asynccontextmanager
    async def enter(self, client: str, tokens: int, texts: int = 1, priority: int = 0) -> AsyncIterator[Ticket]:
        """Wait for one's turn, and be inside.

        Raises
        ------
        ApiError
            429, if too many wait already; it says in how many seconds to come again.
        """
        ticket = Ticket((-priority, next(self._number)), client, tokens, texts)
        self._arrive(client)
        try:
            with tracing.span("queue"):
                await self._wait(ticket)
            try:
                yield ticket
            finally:
                self._leave(ticket)
        finally:
            self._present[client] -= 1
            if not self._present[client]:
                del self._present[client]
            self._open()

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

    async def _wait(self, ticket: Ticket) -> None:
        if not self.waiting and self._fits(ticket):
            self._admit(ticket)
            return
        if self.waiting >= self.most_waiting:
            raise full(self.waiting, self._patience())
        heapq.heappush(self._queues.setdefault(ticket.client, []), ticket)
        self.waiting += 1
        try:
            await ticket.turn.wait()
        except BaseException:
            if ticket.turn.is_set():
                self._leave(ticket)
            else:
                self._forget(ticket)
            raise

    def _forget(self, ticket: Ticket) -> None:
        queue = self._queues[ticket.client]
        queue.remove(ticket)
        heapq.heapify(queue)
        self.waiting -= 1
        if not queue:
            del self._queues[ticket.client]

    def _fits(self, ticket: Ticket) -> bool:
        if not self.inside:
            return True
        return self.tokens + ticket.tokens <= self.capacity and self.texts + ticket.texts <= self.most_texts

    def _admit(self, ticket: Ticket) -> None:
        self.inside += 1
        self.tokens += ticket.tokens
        self.texts += ticket.texts
        self.accounts[ticket.client] += ticket.tokens

    def _leave(self, ticket: Ticket) -> None:
        used = ticket.tokens if ticket.used is None else ticket.used
        self.inside -= 1
        self.tokens -= ticket.tokens
        self.texts -= ticket.texts
        self.accounts[ticket.client] += used - ticket.tokens
        now = time.monotonic()
        weight = min(1.0, (now - self._left) / 10)
        self._rate += weight * (used / max(now - self._left, 1e-3) - self._rate)
        self._left = now

    def _open(self) -> None:
        """Let in who is next, as long as there is room."""
        while self._queues:
            client = min(self._queues, key=lambda client: self.accounts[client])
            ticket = self._queues[client][0]
            if not self._fits(ticket):
                return
            self._forget(ticket)
            self._admit(ticket)
            ticket.turn.set()

    def _patience(self) -> float:
        """Seconds until about half of those who wait will have been served."""
        ahead = sum(ticket.tokens for queue in self._queues.values() for ticket in queue)
        return min(60.0, max(1.0, ahead / 2 / max(self._rate, 1.0)))
