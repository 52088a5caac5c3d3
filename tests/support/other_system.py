"""Run code in a process whose Python lacks what those of macOS or Windows lack, as do the workers that it starts."""

import os
import subprocess
import sys

HIDE = """\
import asyncio  # which asks the real system, from Python 3.13 on
import importlib.abc, mmap, os, select, signal, socket, subprocess, sys, tempfile

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

for name in {modules!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Absent())
for module, names in {names!r}.items():
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
"""
WORKERS = """\
import intact._base.process.worker
START = {hide!r} + "import runpy; runpy.run_path(sys.argv[1], run_name='__main__')"
intact._base.process.worker._FLAGS += ("-c", START)
"""
MACOS = {"os": ["sched_getaffinity"], "mmap": ["MADV_HUGEPAGE"], "select": ["epoll"]}
WINDOWS = {
    "os": [
        *("sched_getaffinity", "fork", "register_at_fork", "geteuid", "getuid", "getpgid", "killpg", "setsid"),
        *("sysconf", "sysconf_names", "set_blocking", "pread", "fchmod"),
    ],
    "select": ["poll", "epoll"],
    "signal": ["setitimer", "ITIMER_PROF", "ITIMER_VIRTUAL", "SIGPROF", "SIGVTALRM", "SIGXCPU", "alarm"],
    "mmap": ["MADV_DONTNEED", "MADV_HUGEPAGE"],
    "socket": ["AF_UNIX"],
}
UNIX = ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog")
SYSTEMS = {"macos": ((), MACOS), "windows": (UNIX, WINDOWS)}


def run_on(system: str, code: str, *arguments: object) -> str:
    """Return what code prints in such a process; an exception fails the test."""
    modules, names = SYSTEMS[system]
    hide = HIDE.format(modules=modules, names=names)
    command = [sys.executable, "-c", hide + WORKERS.format(hide=hide) + code, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=dict(os.environ))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
