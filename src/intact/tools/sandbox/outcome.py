"""The limits of a program in the sandbox, and its outcome."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

from intact._base.errors import ParameterError

Ending = Literal["ok", "error", "steps", "time", "memory", "output", "signal"]
"""Reason why a program ended.

In order: with status 0; with another status or an exception; out of steps, time, memory or output; by a signal.
"""


LONGEST = 86400
"""Largest allowed time limit, in seconds."""

STEPS_A_SECOND = 1_000_000
"""Steps allowed per second of time limit, about a tenth of what a processor achieves."""

KILLED = 9
"""Number of SIGKILL, which the module `signal` lacks on some systems."""


@dataclass(frozen=True)
class ProgramLimits:
    """The limits of a program, which is always a single process with a single thread and no network access.

    The step count ends programs that run too long: it is the same on any machine and under any load. The two time
    limits are a safety net for work that is not counted.

    Parameters
    ----------
    steps
        Iterations of the program's own loops and comprehensions plus calls of its own functions. Work inside the
        standard library and built-in functions is not counted.
    seconds
        Wall time, including interpreter startup; at most a day.
    cpu_seconds
        CPU time, in whole seconds, as counted by the kernel.
    memory
        Address space in bytes; an idle interpreter uses about 30 MB of it.
    output
        Maximum total size of standard output and standard error, in bytes.
    scratch
        Maximum total size of all files in the scratch folder, in bytes.
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
        """Return limits for a time in seconds, all of which may be CPU time, with the corresponding number of steps."""
        if not (math.isfinite(seconds) and seconds > 0):
            return cls(seconds)  # raises
        return cls(seconds, math.ceil(seconds), steps=math.ceil(seconds * STEPS_A_SECOND))

    def times(self, factor: int) -> Self:
        """Return the limits, with steps and times multiplied by a factor."""
        steps, seconds, cpu_seconds = self.steps * factor, self.seconds * factor, self.cpu_seconds * factor
        return replace(self, steps=steps, seconds=seconds, cpu_seconds=cpu_seconds)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a program.

    Parameters
    ----------
    stdout, stderr
        Output up to the limit, as UTF-8 with invalid bytes replaced.
    status
        Exit status, or the negated number of the signal that ended it.
    ended
        Reason why the program ended.
    seconds
        Wall time; the only field that varies from run to run.
    """

    stdout: str
    stderr: str
    status: int
    ended: Ending
    seconds: float

    @property
    def settled(self) -> bool:
        """If true, the program would end the same way on any machine.

        It is false if the program timed out, or was killed from outside by SIGKILL, for example because the machine ran
        out of memory.
        """
        return self.ended != "time" and self.status != -KILLED

    @property
    def ok(self) -> bool:
        """If true, the program ran to completion."""
        return self.ended == "ok"
