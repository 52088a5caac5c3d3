"""Hard limits on a run: requests, tokens, time and money."""

from __future__ import annotations

import time
from typing import NamedTuple

from intact._base.errors import SpentError
from intact.measure.meter.apis.base import Question

clock = time.monotonic


class Caps(NamedTuple):
    """Limits on a run; None means no limit.

    Attributes
    ----------
    requests
        Requests, including retries.
    tokens
        Prompt and generated tokens.
    seconds
        Wall time.
    cost
        Money, in the unit of the prices.
    prices
        Prices per million prompt tokens and per million generated tokens.
    """

    requests: int = 300
    tokens: int | None = None
    seconds: float | None = 300.0
    cost: float | None = None
    prices: tuple[float, float] = (0.0, 0.0)

    def price(self, read: float, written: float) -> float:
        """Return the cost of tokens."""
        return (read * self.prices[0] + written * self.prices[1]) / 1e6


class Spending:
    """Requests, tokens and money used by a run, plus the maximum usage of pending requests."""

    def __init__(self, caps: Caps) -> None:
        self.caps, self.requests, self.tokens, self.cost = caps, 0, 0, 0.0
        self._pending_tokens, self._pending_cost, self._start = 0, 0.0, clock()

    def start(self) -> None:
        """Count time from now on."""
        self._start = clock()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return clock() - self._start

    def left(self) -> float | None:
        """Return the remaining seconds.

        Raises
        ------
        SpentError
            If the time is up.
        """
        if self.caps.seconds is None:
            return None
        left = self.caps.seconds - self.seconds
        if left <= 0:
            raise SpentError(f"--max-seconds {self.caps.seconds:g} have passed")
        return left

    def reserve(self, question: Question) -> tuple[int, float]:
        """Reserve the maximum usage of a request.

        Raises
        ------
        SpentError
            If a limit would be exceeded.
        """
        caps, tokens = self.caps, question.most_tokens
        cost = caps.price(tokens - question.tokens * question.n, question.tokens * question.n)
        if self.requests + 1 > caps.requests:
            raise SpentError(f"--max-requests {caps.requests} have been sent")
        if caps.tokens is not None and self.tokens + self._pending_tokens + tokens > caps.tokens:
            raise SpentError(f"the next request could exceed --max-tokens-total {caps.tokens}")
        if caps.cost is not None and self.cost + self._pending_cost + cost > caps.cost:
            raise SpentError(f"the next request could exceed --max-cost {caps.cost:g}")
        self.left()
        self.requests += 1
        self._pending_tokens += tokens
        self._pending_cost += cost
        return tokens, cost

    def settle(self, reserved: tuple[int, float], read: int | None, written: int | None) -> None:
        """Replace a reservation with the token counts that the endpoint reported; keep it if there are none."""
        tokens, cost = reserved
        self._pending_tokens -= tokens
        self._pending_cost -= cost
        known = read is not None and written is not None
        self.tokens += (read or 0) + (written or 0) if known else tokens
        self.cost += self.caps.price(read or 0, written or 0) if known else cost
