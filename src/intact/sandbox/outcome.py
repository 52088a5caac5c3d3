"""What a program may use, and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, Self

from intact.errors import ParameterError

Ending = Literal["ok", "error", "time", "memory", "output", "signal"]
"""Why a program ended.

By itself with status 0; by itself with another, or by an exception; out of time, memory or output; killed by a signal.
"""


LONGEST = 86400
"""Seconds that a program may take at most."""


@dataclass(frozen=True)
class Limits:
    """What a program may use. It is always one process with one thread, without a network.

    Parameters
    ----------
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
        """So many seconds, all of which the program may compute."""
        return cls(seconds, math.ceil(seconds) if math.isfinite(seconds) and seconds > 0 else cls.cpu_seconds)


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
    def ok(self) -> bool:
        """Whether it came to its end."""
        return self.ended == "ok"
