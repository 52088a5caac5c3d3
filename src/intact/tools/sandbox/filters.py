"""Filters on system calls, as the programs that the kernel loads (classic BPF), built by libseccomp.

There are two. `strict` is the whole protection where there is no other: a short list of calls is allowed, none of which
takes an address or another process, and calls on paths find no file. `narrow` stands behind namespaces, which already
hide files, network and processes: it takes away new processes, sockets, memory that no limit counts, and doors into the
kernel.
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
"""What an interpreter needs that has loaded its modules: memory, clocks, and files that are already open."""

STRICT_FCNTL = ("F_GETFD", "F_SETFD", "F_GETFL", "F_DUPFD", "F_DUPFD_CLOEXEC")
"""What `strict` allows of fcntl: others name a process that the kernel shall signal, or take locks and leases."""

STRICT_PATHS = """
    open openat openat2 stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat chdir
    unlink unlinkat rmdir execve
"""
"""Answered by `strict` as where there is no file, which is what bubblewrap's empty file system answers."""

STRICT_SIGNALS = ("kill", "tgkill")
"""Allowed by `strict` on the process itself, as when it aborts."""

OWN_PROCESS = 0x0BADC0DE
"""Stands for the process's own number in the filter: only the process that loads it knows that."""

NARROW = """
    fork vfork clone clone3 execveat memfd_create memfd_secret shmget shmat shmctl msgget semget mq_open
    unshare setns mount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount ptrace
    process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp bpf perf_event_open userfaultfd
    io_uring_setup io_uring_enter io_uring_register add_key request_key keyctl personality init_module
    finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff settimeofday clock_settime
    clock_adjtime adjtimex sethostname setdomainname setxattr lsetxattr fsetxattr setxattrat socket socketpair
"""
"""System calls that no program which computes needs; sockets too, as namespaces do not confine every family of them."""

CLONE_THREAD = 0x10000
"""The flag of `clone` that makes a thread of the caller's process, and no process."""


def available() -> str | None:
    """Return why filters cannot be built here, or None if they can."""
    try:
        import pyseccomp  # noqa: F401
    except ImportError:
        return f"the Python package pyseccomp is missing: {install('pyseccomp')}"
    except (OSError, RuntimeError) as error:
        return f"libseccomp cannot be loaded: {error}"
    return None


@cache
def strict() -> bytes:
    """Return the filter that allows `STRICT`, `STRICT_FCNTL` and `STRICT_SIGNALS` and refuses everything else."""
    import fcntl

    import pyseccomp

    commands = [("fcntl", pyseccomp.Arg(1, pyseccomp.EQ, getattr(fcntl, command))) for command in STRICT_FCNTL]
    itself = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, 0xFFFFFFFF, OWN_PROCESS)
    calls = [*((name,) for name in STRICT.split()), *commands, *((name, itself) for name in STRICT_SIGNALS)]
    absent = [(pyseccomp.ERRNO(errno.ENOENT), name) for name in STRICT_PATHS.split()]
    return _program(pyseccomp.ERRNO(errno.EPERM), pyseccomp.ALLOW, calls, absent)


@cache
def narrow(threads: bool = False) -> bytes:
    """Return the filter that refuses `NARROW` and allows everything else; with `threads`, new threads too."""
    import pyseccomp

    refused = pyseccomp.ERRNO(errno.EPERM)
    if not threads:
        return _program(pyseccomp.ALLOW, refused, [(name,) for name in NARROW.split()])
    calls = [(name,) for name in NARROW.split() if name not in ("clone", "clone3")]
    # as if the kernel had no clone3, whose flags no filter can see: the C library then takes clone
    absent = [(pyseccomp.ERRNO(errno.ENOSYS), "clone3")]
    process = (refused, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, CLONE_THREAD, 0))
    return _program(pyseccomp.ALLOW, refused, calls, [*absent, process])


def _program(default: Any, other: Any, calls: Iterable[tuple[Any, ...]], more: Iterable[tuple[Any, ...]] = ()) -> bytes:
    """Build a filter; `more` has rules with actions of their own."""
    import pyseccomp

    rules = pyseccomp.SyscallFilter(default)
    for action, name, *arguments in [*((other, *call) for call in calls), *more]:
        try:
            number = pyseccomp.resolve_syscall(pyseccomp.system_arch(), name)
        except ValueError:
            continue  # libseccomp is older than the call: refused by `strict`, unknown to `narrow`
        if number >= 0:  # negative: this architecture has no such call
            rules.add_rule(action, name, *arguments)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return bytes(file.read())
