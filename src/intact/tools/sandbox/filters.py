"""System call filters, as classic BPF programs that the kernel loads, built by libseccomp.

There are two. `strict` is the entire protection where there is no other: it allows a short list of calls, none of which
takes a network address or refers to another process, and makes calls on paths report that no file exists. `narrow` is
used inside namespaces, which already hide files, the network and processes: it forbids new processes, sockets, memory
that is not counted by any limit, and risky kernel interfaces.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterable
from functools import cache
from typing import Any

from intact._base.packages import install

STRICT = """
    read readv write writev close lseek fstat dup dup2 dup3 pipe pipe2 brk mmap munmap mprotect mremap madvise
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall futex set_robust_list sched_yield
    sched_getaffinity getpid gettid getuid geteuid getgid getegid getrandom getrusage times uname
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time select pselect6 poll ppoll
    alarm getitimer setitimer pause exit exit_group
"""
"""Calls that an interpreter needs after loading its modules: memory, clocks, and files that are already open."""

STRICT_FCNTL = ("F_GETFD", "F_SETFD", "F_GETFL", "F_DUPFD", "F_DUPFD_CLOEXEC")
"""fcntl commands that `strict` allows; others name a process for the kernel to signal, or take locks and leases."""

STRICT_PATHS = """
    open openat openat2 stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat chdir
    unlink unlinkat rmdir execve
"""
"""Calls for which `strict` reports that no file exists, as bubblewrap's empty file system does."""

STRICT_SIGNALS = ("kill", "tgkill")
"""Calls that `strict` allows on the process itself, for example when it aborts."""

OWN_PROCESS = 0x0BADC0DE
"""Placeholder in the filter for the process ID, which only the process that loads the filter knows."""

NARROW = """
    fork vfork clone clone3 execveat memfd_create memfd_secret shmget shmat shmctl msgget semget mq_open
    unshare setns mount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount ptrace
    process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp bpf perf_event_open userfaultfd
    io_uring_setup io_uring_enter io_uring_register add_key request_key keyctl personality init_module
    finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff settimeofday clock_settime
    clock_adjtime adjtimex sethostname setdomainname setxattr lsetxattr fsetxattr setxattrat socket socketpair
"""
"""System calls that computations do not need, including sockets, since namespaces do not confine every address family.
"""

CLONE_THREAD = 0x10000
"""Flag of `clone` that creates a thread of the caller's process instead of a new process."""


def available() -> str | None:
    """Return the reason why filters cannot be built here, or None if they can."""
    try:
        import pyseccomp  # noqa: F401
    except ImportError:
        return f"the Python package pyseccomp is missing: {install('pyseccomp')}"
    except (OSError, RuntimeError) as error:
        return f"libseccomp cannot be loaded: {error}"
    return None


@cache
def strict() -> bytes:
    """Return the filter that allows `STRICT`, `STRICT_FCNTL` and `STRICT_SIGNALS` and rejects everything else."""
    import fcntl

    import pyseccomp

    commands = [("fcntl", pyseccomp.Arg(1, pyseccomp.EQ, getattr(fcntl, command))) for command in STRICT_FCNTL]
    itself = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, 0xFFFFFFFF, OWN_PROCESS)
    calls = [*((name,) for name in STRICT.split()), *commands, *((name, itself) for name in STRICT_SIGNALS)]
    absent = [(pyseccomp.ERRNO(errno.ENOENT), name) for name in STRICT_PATHS.split()]
    return _program(pyseccomp.ERRNO(errno.EPERM), pyseccomp.ALLOW, calls, absent)


@cache
def narrow(threads: bool = False) -> bytes:
    """Return the filter that rejects `NARROW` and allows everything else; with `threads`, also new threads."""
    import pyseccomp

    refused = pyseccomp.ERRNO(errno.EPERM)
    if not threads:
        return _program(pyseccomp.ALLOW, refused, [(name,) for name in NARROW.split()])
    calls = [(name,) for name in NARROW.split() if name not in ("clone", "clone3")]
    # Pretend that the kernel lacks clone3, whose flags a filter cannot see; the C library then falls back to clone.
    absent = [(pyseccomp.ERRNO(errno.ENOSYS), "clone3")]
    process = (refused, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, CLONE_THREAD, 0))
    return _program(pyseccomp.ALLOW, refused, calls, [*absent, process])


def _program(default: Any, other: Any, calls: Iterable[tuple[Any, ...]], more: Iterable[tuple[Any, ...]] = ()) -> bytes:
    """Build a filter; `more` contains rules with their own actions."""
    import pyseccomp

    rules = pyseccomp.SyscallFilter(default)
    for action, name, *arguments in [*((other, *call) for call in calls), *more]:
        try:
            number = pyseccomp.resolve_syscall(pyseccomp.system_arch(), name)
        except ValueError:
            continue  # libseccomp is older than the call, which `strict` rejects and `narrow` does not know
        if number >= 0:  # negative: this architecture has no such call
            rules.add_rule(action, name, *arguments)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return bytes(file.read())
