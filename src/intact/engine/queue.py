"""The queue: running sequences, which hold pages, and waiting ones, both in service order."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import merge

from intact.engine.request import Request
from intact.engine.sequence import Sequence


class RequestQueue:
    """Running and waiting sequences, both in order; a step's cost does not grow with the number of waiting ones.

    Ctrl-C may interrupt any method at any point. `of` and `known` then still include the sequence until `remove` has
    finished, and `remove` removes it from wherever it is; calling it twice is safe.

    Attributes
    ----------
    running, waiting : list of Sequence
        Only running sequences hold pages.
    """

    def __init__(self) -> None:
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        self._of: dict[Request, dict[Sequence, None]] = {}

    def __iter__(self) -> Iterator[Sequence]:
        return merge(self.running, self.waiting, key=order)

    def __len__(self) -> int:
        return len(self.running) + len(self.waiting)

    @property
    def known(self) -> list[Sequence]:
        """All sequences in order, including one whose move between the lists was interrupted."""
        return sorted([sequence for own in self._of.values() for sequence in own], key=order)

    def of(self, request: Request) -> list[Sequence]:
        """Return the sequences of a request."""
        return list(self._of.get(request, ()))

    def add(self, sequence: Sequence) -> None:
        """Insert a sequence in order."""
        self._of.setdefault(sequence.request, {})[sequence] = None
        insort(self._part(sequence), sequence, key=order)

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence and release its pages."""
        self._take_out(sequence)
        sequence.preempt()
        others = self._of.get(sequence.request, {})
        others.pop(sequence, None)
        if not others:
            self._of.pop(sequence.request, None)

    def start(self, sequence: Sequence) -> None:
        """Move a sequence that has its first pages to the running list."""
        self._take_out(sequence)
        sequence.running = True
        insort(self.running, sequence, key=order)

    def stop(self, sequence: Sequence) -> None:
        """Release a sequence's pages and move it to the waiting list, to be recomputed."""
        self._take_out(sequence)
        sequence.preempt()
        insort(self.waiting, sequence, key=order)

    def _part(self, sequence: Sequence) -> list[Sequence]:
        return self.running if sequence.running else self.waiting

    def _take_out(self, sequence: Sequence) -> None:
        """Delete a sequence from whichever list contains it; `running` may not match the list after an interrupt."""
        for part in (self.running, self.waiting):
            place = bisect_left(part, sequence.order, key=order)
            if place < len(part) and part[place] is sequence:
                del part[place]


def order(sequence: Sequence) -> tuple[int, int]:
    """Return the sort key of a sequence."""
    return sequence.order
