"""Constraints that would take many seconds and hundreds of megabytes to compile, or kill the process that does it."""

import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WORDS = ["".join(random.Random(i).choices("abcdefghijklmnopqrstuvwxyz", k=12)) for i in range(10_000)]
BOMBS: dict[str, dict[str, Any]] = {
    "conjunctions": {"grammar": "start: A\nA: " + " & ".join(f"/(.*a.{{{i}}}b.*)/" for i in range(1, 31))},
    "a million letters": {"regex": "a" * 1_000_000},
    "ten thousand properties": {
        "json_schema": {
            "type": "object",
            "properties": {word: {"type": "integer"} for word in WORDS},
            "required": WORDS,
        }
    },
    "a chain of rules": {
        "grammar": "start: r0\n" + "\n".join(f"r{i}: r{i + 1} r{i + 1}" for i in range(5000)) + '\nr5000: "z"'
    },
}


@contextmanager
def contained() -> Iterator[None]:
    """Whatever happens in the block takes little time and memory: on a quiet machine less than a second and 100 MB."""
    began, processor, memory = time.monotonic(), _processor(), _resident()
    yield
    assert _processor() - processor < 3
    assert time.monotonic() - began < 60  # a machine with other work
    assert _resident() - memory < 50 << 20


def _processor() -> float:
    """Seconds of this process and of those that it had."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
