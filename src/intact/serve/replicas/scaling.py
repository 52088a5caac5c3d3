"""Queue-based scaling: the desired number of replicas, from the queued requests and the load of the replicas."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from intact._base.errors import ParameterError

GROW = 5.0
"""Seconds for which requests must have waited at every check before a replica is added."""
SHRINK = 300.0
"""Seconds for which one replica fewer must have sufficed at every check before one is removed."""
FULL = 0.75
"""Maximum load of the remaining replicas, as a fraction of their capacity, when one is removed."""
_FORM = re.compile(r"([1-9]\d{0,3})(?:-([1-9]\d{0,3}))?")


class FleetSize(NamedTuple):
    """The minimum and maximum number of replicas."""

    least: int
    most: int

    @classmethod
    def parse(cls, text: str) -> FleetSize:
        """Parse `4`, or `1-4` for a number that adapts to the load.

        Raises
        ------
        ParameterError
            If it is neither.
        """
        found = _FORM.fullmatch(text)
        least, most = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if most < least:
            raise ParameterError(
                f"{text!r:.40} is not a number of replicas; expected one from 1 to 9999, or two as in 1-4"
            )
        return cls(least, most)


class ReplicaReport(NamedTuple):
    """The state of a replica's requests.

    Attributes
    ----------
    waiting : int
        Number of requests not yet admitted.
    busy : float
        Fraction of the capacity that admitted requests use, in sequences or in tokens, whichever is higher.
    """

    waiting: int
    busy: float


class QueueScaler:
    """Adapts the number of replicas to the load.

    A replica is added once requests have waited for `GROW` seconds and, after it is ready, another if some still wait.
    One is removed once no request has waited for `SHRINK` seconds and the load of the rest would have been at most
    `FULL`.
    """

    def __init__(self, size: FleetSize) -> None:
        self._size = size
        self.wanted = size.least
        self._waits_since = self._room_since = -1.0

    def look(self, now: float, ready: int, reports: Collection[ReplicaReport]) -> int:
        """Return the desired number of replicas.

        Parameters
        ----------
        now : float
            Seconds of a monotonic clock.
        ready : int
            Number of replicas that accept requests.
        reports : collection of ReplicaReport
            Reports of the replicas that have sent one.
        """
        waits = any(one.waiting for one in reports)
        has_room = not waits and sum(one.busy for one in reports) <= FULL * (ready - 1)
        settled = ready == self.wanted
        self._waits_since = self._since(self._waits_since, now, waits and settled)
        self._room_since = self._since(self._room_since, now, has_room and settled)
        if 0 <= self._waits_since <= now - GROW and self.wanted < self._size.most:
            self._turn(1)
        elif 0 <= self._room_since <= now - SHRINK and self.wanted > self._size.least:
            self._turn(-1)
        return self.wanted

    def _turn(self, by: int) -> None:
        self.wanted += by
        self._waits_since = self._room_since = -1.0

    @staticmethod
    def _since(before: float, now: float, holds: bool) -> float:
        if not holds:
            return -1.0
        return now if before < 0 else before
