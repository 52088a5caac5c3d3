"""The memory that this process may use, and what it gives back."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path

from intact.system import physical_memory

GROUPS = Path("/sys/fs/cgroup")


def usable(groups: Path = GROUPS, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes of the machine's memory, or of its control groups' least limit if that is less; None if nothing says it.

    Parameters
    ----------
    groups : Path
        Where Linux shows its control groups (version 2).
    own : Path
        Names the group of this process, whose memory those above it limit too.
    """
    physical = physical_memory()
    limits = [] if physical is None else [physical]
    name = Path()
    with suppress(OSError):
        name = Path(own.read_text().partition("0::/")[2].partition("\n")[0])
    for group in (name, *name.parents):
        with suppress(OSError, ValueError):  # there is none here, or it says "max"
            limits.append(int((groups / group / "memory.max").read_text()))
    return min(limits, default=None)


def give_back() -> None:
    """Collect what nobody can reach any more, and return free memory to the system where the C library can (glibc).

    It takes as long as a full collection of garbage. Without it the memory of a large object that was part of a cycle,
    or that lies between others, stays with the process.
    """
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):  # there is no such function, or no library to look in
        ctypes.CDLL(None).malloc_trim(0)
