"""What a program may use, and what became of it."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

from intact.errors import ParameterError

Ending = Literal["ok", "error", "steps", "time", "memory", "output", "signal"]
"""Why a program ended.

By itself with status 0; by itself with another, or by an exception; out of steps, time, memory or output; killed by a
signal.
"""


LONGEST = 86400
"""Seconds that a program may take at most."""

STEPS_A_SECOND = 1_000_000
"""Steps that a program may take for each second that it may compute: some ten times fewer than a processor makes."""


@dataclass(frozen=True)
class Limits:
    """What a program may use. It is always one process with one thread, without a network.

    The count of steps is what ends programs that run too long: it is the same on any machine and under any load. The
    two limits on time are a safety net for what is not counted.

    Parameters
    ----------
    steps
        Iterations of the program's own loops and comprehensions, and entries of its own functions, taken together.
        What the standard library and built-in functions do inside is not counted.
    seconds
        Wall time, the start of the interpreter included; at most a day.
    cpu_seconds
        Processor time, in whole seconds because the kernel counts so.
    memory
        Bytes of address space, of which an interpreter that does nothing has some 30 MB.
    output
        Bytes of standard output and standard error together.
    scratch
        Bytes that the files in the scratch folder may hold together.
    """

    seconds: float = 10.0
    cpu_seconds: int = 5
    memory: int = 512 << 20
    output: int = 1 << 20
    scratch: int = 16 << 20
    steps: int = 10 * STEPS_A_SECOND

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise ParameterError(f"{field.name} must be positive and finite, got {value!r}")
            if field.name != "seconds" and not isinstance(value, int):
                raise ParameterError(f"{field.name} must be a whole number, got {value!r}")
            if field.name.endswith("seconds") and value > LONGEST:
                raise ParameterError(f"{field.name} must be at most {LONGEST:,}, got {value!r}")

    @classmethod
    def of(cls, seconds: float) -> Self:
        """So many seconds, all of which the program may compute, and as many steps as go with them."""
        if not (math.isfinite(seconds) and seconds > 0):
            return cls(seconds)  # which is refused
        return cls(seconds, math.ceil(seconds), steps=math.ceil(seconds * STEPS_A_SECOND))

    def times(self, factor: int) -> Self:
        """So many times the steps and the time."""
        steps, seconds, cpu_seconds = self.steps * factor, self.seconds * factor, self.cpu_seconds * factor
        return replace(self, steps=steps, seconds=seconds, cpu_seconds=cpu_seconds)


@dataclass(frozen=True)
class Outcome:
    """What became of a program.

    Parameters
    ----------
    stdout, stderr
        What it wrote, up to the limit, as UTF-8 with what is none replaced.
    status
        Its exit status, or the negated number of the signal that ended it.
    ended
        Why it ended.
    seconds
        Wall time; the one field that differs from run to run.
    """

    stdout: str
    stderr: str
    status: int
    ended: Ending
    seconds: float

    @property
    def settled(self) -> bool:
        """Return whether the program ended by what it is, not by how fast or how busy this machine is.

        It is not where time ran out, or where a SIGKILL came from outside, as when the machine has no memory left.
        """
        return self.ended != "time" and self.status != -signal.SIGKILL

    @property
    def ok(self) -> bool:
        """Whether it came to its end."""
        return self.ended == "ok"
