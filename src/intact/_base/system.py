"""Differences between operating systems, in one place; each function documents its behaviour on unsupported systems.

Only the standard library is imported, since worker processes load this file without the package.
"""

from __future__ import annotations

import importlib
import math
import mmap
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subprocess import Popen

try:
    resource: Any = importlib.import_module("resource")
except ImportError:  # Windows
    resource = None


def processors() -> int:
    """Return the number of CPUs that this process may use, or of all CPUs if the system does not report it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_memory() -> int | None:
    """Return the size of this machine's memory in bytes, or None if the system does not report it."""
    if not hasattr(os, "sysconf"):
        return None
    try:
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except ValueError:  # this system does not know the name
        return None


def zeroed(size: int) -> mmap.mmap:
    """Return zeroed memory that is allocated when first written; a forked process gets its own copy."""
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def release_pages(map_: mmap.mmap) -> None:
    """Release the memory of a mapped file, which is reread when needed; without madvise, do nothing."""
    if hasattr(mmap, "MADV_DONTNEED") and hasattr(map_, "madvise"):
        map_.madvise(mmap.MADV_DONTNEED)


def read_in_small_parts(file: int) -> None:
    """Make the system read an open file into its cache page by page; by default, it may read larger parts.

    A process that maps the file and touches one page of a larger part would load all of that part. Without advice, do
    nothing.
    """
    if sys.platform not in ("win32", "darwin") and hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)


def flush_and_forget(file: int) -> None:
    """Wait until an open file is on disk, then drop it from the system's cache; without advice, only wait."""
    os.fsync(file)
    if sys.platform not in ("win32", "darwin") and hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def can_page() -> bool:
    """Return true if programs can decide which pages of a mapped file stay in memory, which only Linux supports."""
    return sys.platform.startswith("linux")


def allow_files(wanted: int) -> int | None:
    """Allow this process to open the given number of files; return the actual limit if it is lower, else None.

    Many systems start with a limit of 1,024. Without `resource`, there is no such limit to raise.
    """
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed if allowed < wanted else None


def lower_limits(limits: dict[str, int]) -> None:
    """Permanently lower limits of this process; names are as in `resource`, without `RLIMIT_`.

    Limits that the system lacks or cannot lower (such as the address space limit on macOS) are skipped.
    """
    for name, wanted in limits.items():
        kind = getattr(resource, "RLIMIT_" + name, None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except ValueError:
            if name != "AS":
                raise


def limit_processor_time(seconds: float) -> None:
    """Make the kernel kill this process after a number of seconds of CPU time from now; 0 cancels the limit.

    Without CPU timers, do nothing: the waiting process then ends this one by wall-clock time.
    """
    if resource is None or sys.platform == "win32":
        return
    if seconds:
        used = resource.getrusage(resource.RUSAGE_SELF)
        end = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1  # in case the timer is lost
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)


def lacking_for_programs() -> str | None:
    """Return the feature that this system lacks for running a program within limits and ending it reliably, or None."""
    has = {"resource limits": resource is not None, "process groups": hasattr(os, "killpg")}
    return " and no ".join(name for name, there in has.items() if not there) or None


def is_root() -> bool:
    """Return true if this process has all privileges on a Unix system."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def end_group(leader: int) -> None:
    """Kill a process that leads a session, and everything it started there; processes that have ended are skipped."""
    if sys.platform == "win32":
        raise OSError("Windows has no process groups")  # `lacking_for_programs`
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def prepare_pipe(file: int) -> None:
    """Make reads and writes of a pipe non-blocking, if `wait_for_pipe` can wait for them."""
    if hasattr(select, "poll") and hasattr(os, "set_blocking"):
        os.set_blocking(file, False)


def wait_for_pipe(file: int, *, write: bool, deadline: float) -> bool:
    """Wait until a pipe is readable or writable; return false at the deadline (by `time.monotonic`).

    Without poll, return true: the read or write itself then blocks, until `watch` ends it.
    """
    if sys.platform == "win32" or not hasattr(select, "poll"):
        return True
    poll, events = select.poll(), (select.POLLOUT if write else select.POLLIN)
    poll.register(file, events)
    left = deadline - time.monotonic()
    return left > 0 and bool(poll.poll(left * 1000))


@contextmanager
def watch(process: Popen[bytes], deadline: float) -> Iterator[None]:
    """End a process at a deadline if `wait_for_pipe` cannot: its pipes then close, which unblocks waiting readers."""
    if hasattr(select, "poll"):
        yield
        return
    import threading  # imported late, since workers load this file too

    timer = threading.Timer(max(deadline - time.monotonic(), 0), process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
