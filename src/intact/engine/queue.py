"""Sequences in the order in which they are served: those that run, which hold pages, and those that wait."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import merge

from intact.engine.sequence import Request, Sequence


class Line:
    """Who runs and who waits, both in order: what a step costs does not grow with those who wait.

    Attributes
    ----------
    running, waiting : list of Sequence
        Only who runs holds pages.
    """

    def __init__(self) -> None:
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        self._of: dict[Request, dict[Sequence, None]] = {}

    def __iter__(self) -> Iterator[Sequence]:
        return merge(self.running, self.waiting, key=order)

    def __len__(self) -> int:
        return len(self.running) + len(self.waiting)

    def of(self, request: Request) -> list[Sequence]:
        """A request's sequences."""
        return list(self._of.get(request, ()))

    def add(self, sequence: Sequence) -> None:
        """Take a sequence in, at its place."""
        insort(self._part(sequence), sequence, key=order)
        self._of.setdefault(sequence.request, {})[sequence] = None

    def remove(self, sequence: Sequence) -> None:
        """Let a sequence go, its pages with it."""
        self._take_out(sequence)
        sequence.preempt()
        others = self._of[sequence.request]
        del others[sequence]
        if not others:
            del self._of[sequence.request]

    def start(self, sequence: Sequence) -> None:
        """Note that a sequence has its first pages."""
        self._take_out(sequence)
        sequence.running = True
        insort(self.running, sequence, key=order)

    def stop(self, sequence: Sequence) -> None:
        """Take a sequence's pages; it waits to be computed again."""
        self._take_out(sequence)
        sequence.preempt()
        insort(self.waiting, sequence, key=order)

    def _part(self, sequence: Sequence) -> list[Sequence]:
        return self.running if sequence.running else self.waiting

    def _take_out(self, sequence: Sequence) -> None:
        part = self._part(sequence)
        place = bisect_left(part, sequence.order, key=order)
        assert part[place] is sequence
        del part[place]


def order(sequence: Sequence) -> tuple[int, int]:
    """What the line is sorted by."""
    return sequence.order
