"""The memory that this process may use, and its return to the system."""

from __future__ import annotations

import ctypes
import gc
import re
from contextlib import suppress
from pathlib import Path

from intact._base.errors import ParameterError
from intact._base.system import physical_memory

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


def parse_size(size: str, name: str) -> int:
    """Return the bytes of a size such as 300MB, 2G, 1.5GiB or 1048576.

    Parameters
    ----------
    name : str
        What it was given by, for the message.

    Raises
    ------
    ParameterError
        If it is no size.
    """
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)\s*([kmgt]?)(i?)b?", size.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise ParameterError(f"{name} takes a size such as 300MB, 2G or 1048576, got {size!r:.60}")
    power = " kmgt".index(found[2].lower() or " ")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def give_back() -> None:
    """Collect what nobody can reach any more, and give the heap's unused memory back (`trim_heap`).

    It takes as long as a full collection of garbage. Without it the memory of a large object that was part of a cycle
    stays with the process.
    """
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Give the heap's unused memory back to the system, where the C library can do that."""
    with suppress(AttributeError, OSError, TypeError):  # only glibc has it; Windows has no library to look in
        ctypes.CDLL(None).malloc_trim(0)
