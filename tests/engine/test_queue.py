"""The request queue where Ctrl-C breaks it off, before any of its lines."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from intact.engine import queue as module
from intact.engine.queue import RequestQueue


class HeldSequence:
    """A sequence of a request that holds pages."""

    def __init__(self, request: str, number: int) -> None:
        self.request, self.order = request, (0, number)
        self.running, self.held = False, True

    def preempt(self) -> None:
        self.held = self.running = False


def interrupted(work: Callable[[], Any], line: int) -> bool:
    """Do some work, broken off before this line of the queue's, counted over all; return if it has as many."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename != module.__file__:
            return None
        count += event == "line"
        if count > line:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def filled(*prepare: str) -> tuple[RequestQueue, Any, list[Any]]:
    """Return a queue with sequences before and after one of another request, on which methods were called."""
    queue, others = RequestQueue(), [HeldSequence("other", number) for number in (1, 3, 0, 4)]
    for other in others:
        queue.add(other)  # type: ignore[arg-type]
    for other in others[2:]:
        queue.start(other)  # type: ignore[arg-type]
    sequence: Any = HeldSequence("mine", 2)
    for name in prepare:
        getattr(queue, name)(sequence)
    return queue, sequence, others


@pytest.mark.parametrize("prepare", [["add"], ["add", "start"], ["add", "start", "stop"], ["add", "remove"],
                                     ["add", "start", "remove"]])  # fmt: skip
def test_a_request_can_be_ended_after_an_interrupt_anywhere(prepare: list[str]) -> None:
    *before, last = prepare
    lines = 0
    while True:
        queue, sequence, others = filled(*before)
        if not interrupted(lambda queue=queue, sequence=sequence: getattr(queue, last)(sequence), lines):
            break
        lines += 1
        assert not queue.running or queue.running == sorted(queue.running, key=module.order)
        assert {*queue.known} >= {*others}
        for _ in range(2):  # as `Engine.cancel` does, and `Engine.close` may again
            for one in queue.of(sequence.request):
                queue.remove(one)
        queue.remove(sequence)
        assert [*queue] == queue.known == sorted(others, key=module.order)
        assert queue.running == sorted(others[2:], key=module.order)
        assert (sequence.held, queue.of("mine")) == (False, [])  # type: ignore[arg-type]
        assert all(other.held for other in others)
    assert lines > 4


def test_all_that_is_known_can_be_closed_where_a_move_was_broken_off() -> None:
    queue, sequence, others = filled("add")
    assert interrupted(lambda: queue.start(sequence), 12)
    assert {*queue.known} == {sequence, *others}
