"""Constraints that would take many seconds and hundreds of megabytes to compile, or kill the process that does it."""

import random
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
    """Whatever happens in the block takes little memory of this process, at any moment: a bomb goes off elsewhere."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    memory = _peak()
    yield
    assert _peak() - memory < 50 << 20


def _peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024
