"""The differences of operating systems, in one place; each function says what it does where a system lacks the means.

Only the standard library is imported: worker processes load this file without the package.
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
    """Return the number of processors that this process may use, or of all where the system does not say which."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_memory() -> int | None:
    """Return the bytes of this machine's memory, or None where the system does not say."""
    if not hasattr(os, "sysconf"):
        return None
    try:
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except ValueError:  # a name that this system does not know
        return None


def zeroed(size: int) -> mmap.mmap:
    """Return zeros, which take memory when they are first written; a forked process has its own."""
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def release_pages(map_: mmap.mmap) -> None:
    """Release the memory of a mapped file, which is read again when it is needed; without madvise, do nothing."""
    if hasattr(mmap, "MADV_DONTNEED") and hasattr(map_, "madvise"):
        map_.madvise(mmap.MADV_DONTNEED)


def read_in_small_parts(file: int) -> None:
    """Have the system cache what is read of an open file page by page; by itself it may take larger parts.

    Who maps the file and touches a page of a larger part gets all of it into memory. Without advice, do nothing.
    """
    if sys.platform not in ("win32", "darwin") and hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)


def flush_and_forget(file: int) -> None:
    """Wait until an open file is on the disk, and have the system's cache drop it; without advice, the former alone."""
    os.fsync(file)
    if sys.platform not in ("win32", "darwin") and hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def can_page() -> bool:
    """Return true if this system lets a program decide which pages of a mapped file stay in memory: Linux alone."""
    return sys.platform.startswith("linux")


def allow_files(wanted: int) -> int | None:
    """Let this process open so many files; return how many it may if they are fewer, else None.

    Many systems begin with 1,024. Without `resource` there is no such limit to raise.
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
    """Lower limits of this process for good; names are those of `resource`, less `RLIMIT_`.

    A limit that the system does not have, or does not let a process lower (macOS: that of address space), is left out.
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
    """Have the kernel end this process after so many seconds of processor time from now; 0 takes that back.

    Without timers of processor time, do nothing: who waits for this process ends it by the clock.
    """
    if resource is None or sys.platform == "win32":
        return
    if seconds:
        used = resource.getrusage(resource.RUSAGE_SELF)
        end = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1  # should the timer be lost
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)


def lacking_for_programs() -> str | None:
    """Return what this system lacks to run a program within limits and to end it for sure, or None if nothing."""
    has = {"resource limits": resource is not None, "process groups": hasattr(os, "killpg")}
    return " and no ".join(name for name, there in has.items() if not there) or None


def is_root() -> bool:
    """Return true if this process has all rights of a Unix system."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def end_group(leader: int) -> None:
    """Kill a process that leads a session, and all that it started there; those that have ended are left alone."""
    if sys.platform == "win32":
        raise OSError("Windows has no process groups")  # `lacking_for_programs`
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def prepare_pipe(file: int) -> None:
    """Have reads and writes of a pipe return at once, if `wait_for_pipe` can wait for them."""
    if hasattr(select, "poll") and hasattr(os, "set_blocking"):
        os.set_blocking(file, False)


def wait_for_pipe(file: int, *, write: bool, deadline: float) -> bool:
    """Wait until a pipe can be read or written; return false if it cannot at the deadline, by `time.monotonic`.

    Without poll, return true: the read or write itself waits then, until `watch` ends it.
    """
    if sys.platform == "win32" or not hasattr(select, "poll"):
        return True
    poll, events = select.poll(), (select.POLLOUT if write else select.POLLIN)
    poll.register(file, events)
    left = deadline - time.monotonic()
    return left > 0 and bool(poll.poll(left * 1000))


@contextmanager
def watch(process: Popen[bytes], deadline: float) -> Iterator[None]:
    """End a process at a deadline where `wait_for_pipe` cannot: its pipes then close, and whoever waits goes on."""
    if hasattr(select, "poll"):
        yield
        return
    import threading  # late: a worker, which loads this file, need not

    timer = threading.Timer(max(deadline - time.monotonic(), 0), process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
