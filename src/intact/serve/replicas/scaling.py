"""Scaling by queue: how many replicas there should be, by the requests that wait and by how full the replicas are."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from intact._base.errors import ParameterError

GROW = 5.0
"""Seconds for which requests have waited at every look, until there should be one replica more."""
SHRINK = 300.0
"""Seconds for which one replica fewer would have had room at every look, until it goes."""
FULL = 0.75
"""Of what the replicas that stay admit: so much may be taken when one goes."""
_FORM = re.compile(r"([1-9]\d{0,3})(?:-([1-9]\d{0,3}))?")


class FleetSize(NamedTuple):
    """The least and the most replicas."""

    least: int
    most: int

    @classmethod
    def parse(cls, text: str) -> FleetSize:
        """Read `4`, or `1-4` for a number that follows the load.

        Raises
        ------
        ParameterError
            If it is neither.
        """
        found = _FORM.fullmatch(text)
        least, most = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if most < least:
            raise ParameterError(
                f"{text!r:.40} is no number of replicas; expected one from 1 to 9999, or two as in 1-4"
            )
        return cls(least, most)


class ReplicaReport(NamedTuple):
    """The state of a replica's requests.

    Attributes
    ----------
    waiting : int
        Requests that are not admitted yet.
    busy : float
        The part that the admitted ones take of what it admits, of texts or of tokens, whichever is more.
    """

    waiting: int
    busy: float


class QueueScaler:
    """The number of replicas, which follows the requests.

    One is added once some have waited for `GROW` seconds, and once it is ready, another if some still wait. One goes
    once for `SHRINK` seconds nothing has waited, and what was admitted would have taken at most `FULL` of the others.
    """

    def __init__(self, size: FleetSize) -> None:
        self._size = size
        self.wanted = size.least
        self._waits_since = self._room_since = -1.0

    def look(self, now: float, ready: int, reports: Collection[ReplicaReport]) -> int:
        """Return how many replicas there should be.

        Parameters
        ----------
        now : float
            Seconds, of a clock that does not go back.
        ready : int
            The replicas that take requests.
        reports : collection of ReplicaReport
            Of those that have reported.
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
