"""Memory available to this process, and its return to the operating system."""

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
    """Return the bytes of the machine's memory, or the lowest control group limit if that is less; None if unknown.

    Parameters
    ----------
    groups : Path
        Mount point of Linux's control groups (version 2).
    own : Path
        File that names this process's group; the group's ancestors limit memory as well.
    """
    physical = physical_memory()
    limits = [] if physical is None else [physical]
    name = Path()
    with suppress(OSError):
        name = Path(own.read_text().partition("0::/")[2].partition("\n")[0])
    for group in (name, *name.parents):
        with suppress(OSError, ValueError):  # no limit here, or "max"
            limits.append(int((groups / group / "memory.max").read_text()))
    return min(limits, default=None)


def parse_size(size: str, name: str) -> int:
    """Parse a size such as 300MB, 2G, 1.5GiB or 1048576 as bytes.

    Parameters
    ----------
    name : str
        Name of the option or parameter, for error messages.

    Raises
    ------
    ParameterError
        If the size is invalid.
    """
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)\s*([kmgt]?)(i?)b?", size.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise ParameterError(f"{name} must be a size such as 300MB, 2G or 1048576, got {size!r:.60}")
    power = " kmgt".index(found[2].lower() or " ")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def give_back() -> None:
    """Collect garbage, and return the heap's unused memory to the operating system (`trim_heap`).

    This takes as long as a full garbage collection. Without this call, the memory of a large object that was part of a
    reference cycle stays with the process.
    """
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Return the heap's unused memory to the operating system, if the C library supports it."""
    with suppress(AttributeError, OSError, TypeError):  # only glibc has it; Windows has no library to look in
        ctypes.CDLL(None).malloc_trim(0)
