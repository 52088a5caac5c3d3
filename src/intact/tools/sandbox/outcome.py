"""The limits of a program in the sandbox, and its outcome."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

from intact._base.errors import ParameterError

Ending = Literal["ok", "error", "steps", "time", "memory", "output", "signal"]
"""Why a program ended.

With status 0; with another, or by an exception; out of steps, time, memory or output; by a signal.
"""


LONGEST = 86400
"""The largest limit on seconds."""

STEPS_A_SECOND = 1_000_000
"""Steps for each second of a limit: some ten times fewer than a processor makes."""

KILLED = 9
"""The number of SIGKILL, which not every system's module `signal` has."""


@dataclass(frozen=True)
class ProgramLimits:
    """The limits of a program, which is always one process with one thread, without a network.

    The count of steps ends programs that run too long: it is the same on any machine and under any load. The two limits
    on time are a safety net for what is not counted.

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
        """Return limits of so many seconds, all of them of processor time, and of the steps that go with them."""
        if not (math.isfinite(seconds) and seconds > 0):
            return cls(seconds)  # raises
        return cls(seconds, math.ceil(seconds), steps=math.ceil(seconds * STEPS_A_SECOND))

    def times(self, factor: int) -> Self:
        """Return the limits with so many times the steps and the time."""
        steps, seconds, cpu_seconds = self.steps * factor, self.seconds * factor, self.cpu_seconds * factor
        return replace(self, steps=steps, seconds=seconds, cpu_seconds=cpu_seconds)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a program.

    Parameters
    ----------
    stdout, stderr
        Its output up to the limit, as UTF-8; invalid bytes are replaced.
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
        """If true, the program would end like this on any machine.

        It is false if time ran out, or a SIGKILL came from outside, as when the machine has no memory left.
        """
        return self.ended != "time" and self.status != -KILLED

    @property
    def ok(self) -> bool:
        """If true, it ran to its end."""
        return self.ended == "ok"
