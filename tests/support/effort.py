"""How much Python does for its part, counted and not timed: in lines, as instructions change with the interpreter."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import intact

SOURCE = tuple([str(Path(intact.__file__).parent / folder) for folder in ("reason", "tasks/score")])
TOY = str(Path(intact.__file__).parent / "reason" / "testing")
"""The back end that stands in for a model: its work is not counted."""


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Count the calls of functions in the block, in Python and in C."""
    counted: Counter[str] = Counter()

    def profiled(frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            counted[event] += 1

    profiler = sys.getprofile()
    sys.setprofile(profiled)
    try:
        yield counted
    finally:
        sys.setprofile(profiler)


def effort(work: Callable[[], Any]) -> int:
    """Count lines executed in methods, driver and scorers, and calls of C functions from there."""
    spent = 0

    def traced(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal spent
        if not _counts(frame):
            return None
        spent += event == "line"
        return traced

    def profiled(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal spent
        spent += event == "c_call" and _counts(frame)

    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(traced)
    sys.setprofile(profiled)
    try:
        work()
    finally:
        sys.setprofile(profiler)
        sys.settrace(tracer)
    return spent


def _counts(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.startswith(SOURCE) and not file.startswith(TOY)
