"""Choose the protection that works here, and build the command that runs a program behind it.

bubblewrap, where it is installed and may make namespaces, gives the program a user namespace of its own, no network, no
other processes, and a file system of the interpreter and the system's libraries, read-only, with a scratch folder in
memory. Otherwise seccomp refuses all system calls but those on memory, clocks and open files: it has no files at all.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from intact._base.errors import ParameterError, SandboxError
from intact._base.system import is_root, lacking_for_programs
from intact.tools.sandbox import filters

Kind = Literal["bubblewrap", "seccomp", "none"]

SCRATCH = "/scratch"
LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")
"""The folders of the system's libraries."""
AGAIN = 60.0
"""Seconds after which a protection that failed is tried again."""
_failures: dict[Protection, tuple[float, str]] = {}


@dataclass(frozen=True)
class Protection:
    """A protection that works here.

    Parameters
    ----------
    kind
        What keeps the program in.
    filtered
        Whether a filter on system calls is loaded.
    missing
        Why there is nothing better, in words; empty for the best.
    """

    kind: Kind
    filtered: bool
    missing: str = ""


def protection(kind: Kind | None = None) -> Protection:
    """Return the protection in force: of this kind, else of the one that INTACT_SANDBOX names, else the best there is.

    Raises
    ------
    ParameterError
        If INTACT_SANDBOX names none.
    SandboxError
        If the kind that was asked for does not work here.
    """
    if kind is not None:
        _failures.clear()  # who names one wants it tried
    kind = kind or requested()
    lacking = lacking_for_programs()
    if lacking is not None and kind in (None, "none"):
        return Protection("none", False, f"this system has no {lacking}")
    if lacking is not None:
        raise SandboxError(f"no protection by {kind}: this system has no {lacking}")
    if kind == "none":
        return Protection("none", False, "INTACT_SANDBOX=none, or the caller, asked for it")
    no_bubblewrap, no_filter = _without_bubblewrap(), _without_seccomp()
    if kind != "seccomp" and no_bubblewrap is None:
        return Protection("bubblewrap", no_filter is None, no_filter or "")
    if kind != "bubblewrap" and no_filter is None:
        return Protection("seccomp", True, no_bubblewrap or "")
    reasons = {"bubblewrap": no_bubblewrap, "seccomp": no_filter}
    if kind is not None:
        raise SandboxError(f"no protection by {kind}: {reasons[kind]}")
    return Protection("none", False, f"bubblewrap: {no_bubblewrap}; seccomp: {no_filter}")


def requested() -> Kind | None:
    """Return the kind that INTACT_SANDBOX names; with ``none`` a user agrees to run code without protection."""
    value = os.environ.get("INTACT_SANDBOX") or None
    known = {kind: kind for kind in get_args(Kind)}
    if value is not None and value not in known:
        raise ParameterError(f"INTACT_SANDBOX must be one of {', '.join(known)}, got {value!r}")
    return known.get(value)


def _without_seccomp() -> str | None:
    """Return why seccomp cannot protect here, or None if it can."""
    if sys.platform != "linux":
        return "only Linux has it"
    return filters.available() or _failure(Protection("seccomp", True))


def _without_bubblewrap() -> str | None:
    """Return why bubblewrap cannot protect here, or None if it can."""
    program = shutil.which("bwrap")
    if program is None:
        return "bwrap is not installed"
    if not _is_new(program):
        return f"{program} is older than 0.8"
    filtered = _without_seccomp() is None
    if is_root() and not filtered:
        return f"root may start processes without limit unless a filter stops it: {_without_seccomp()}"
    return _failure(Protection("bubblewrap", filtered))


@cache
def _is_new(bwrap: str) -> bool:
    help_text = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False).stdout
    return all(option in help_text for option in ("--size", "--disable-userns"))


def _failure(candidate: Protection) -> str | None:
    """Return what goes wrong with the smallest program, or None if it runs.

    That it runs is remembered for good; what goes wrong once may go well later, but is not tried for each program.
    """
    when, reason = _failures.get(candidate, (-math.inf, ""))
    if time.monotonic() - when < AGAIN:
        return reason
    try:
        _try(candidate)
    except (OSError, SandboxError) as error:
        _failures[candidate] = time.monotonic(), str(error)
        return str(error)
    return None


@cache
def _try(candidate: Protection) -> None:
    """Run the smallest program."""
    from intact.tools.sandbox.outcome import ProgramLimits
    from intact.tools.sandbox.run import execute

    outcome = execute("print(6 * 7)", None, ProgramLimits(), candidate)
    if not outcome.ok or outcome.stdout != "42\n":
        lines = outcome.stderr.strip().splitlines()
        raise SandboxError(lines[-1] if lines else f"a first program ended with status {outcome.status}")


def interpreter() -> list[str]:
    """Return the command of a bare interpreter: no site packages, no bytecode files, UTF-8.

    Not ``-I``, which would ignore the fixed hash seed along with the rest of an environment that is ours anyway.
    """
    base = getattr(sys, "_base_executable", None) or sys.executable
    return [str(Path(base).resolve()), "-P", "-s", "-S", "-B", "-X", "utf8"]


def environment(folder: str) -> dict[str, str]:
    """Return all that a program finds in its environment."""
    return {"HOME": folder, "TMPDIR": folder, "PWD": folder, "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0"}


def bubblewrap(scratch: int, files: Sequence[str] = ()) -> list[str]:
    """Return the command that puts another one into a file system and namespaces of its own.

    Parameters
    ----------
    scratch
        Bytes that the scratch folder may hold.
    files
        Files that can be read, beside those of the interpreter and the system.
    """
    program = shutil.which("bwrap")
    assert program is not None
    arguments = [
        program,
        "--unshare-all",
        "--unshare-user",
        "--die-with-parent",
        "--disable-userns",
        "--cap-drop",
        "ALL",
    ]
    arguments += ["--uid", "65534", "--gid", "65534"]
    arguments += ["--hostname", "sandbox", "--size", "1048576", "--tmpfs", "/"]
    for path in LIBRARIES:
        if Path(path).is_symlink():
            arguments += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).is_dir():
            arguments += ["--ro-bind", path, path]
    for path in (*_interpreter_files(), *files):
        arguments += ["--ro-bind", path, path]
    for path in _site_packages():
        arguments += ["--size", "4096", "--tmpfs", path, "--remount-ro", path]
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        arguments += ["--dev-bind", device, device]
    arguments += ["--size", str(scratch), "--tmpfs", SCRATCH, "--chdir", SCRATCH, "--remount-ro", "/", "--"]
    return arguments


@cache
def _interpreter_files() -> tuple[str, ...]:
    """Return the executable, the standard library, and the libraries that stand beside them."""
    executable = Path(interpreter()[0])
    found = [executable, *Path(sys.base_prefix).glob("lib/*.so*"), *_standard_library()]
    found += [Path("/nix/store")] if executable.is_relative_to("/nix/store") else []
    found = [path for path in found if path.exists()]
    return tuple(dict.fromkeys(str(path) for path in found if not path.is_relative_to("/usr/lib")))


def _standard_library() -> list[Path]:
    root = str(Path(sys.base_prefix))
    bases = dict.fromkeys(("base", "platbase", "installed_base", "installed_platbase"), root)
    return [Path(sysconfig.get_path(name, vars=bases)) for name in ("stdlib", "platstdlib")]


@cache
def _site_packages() -> tuple[str, ...]:
    """Return the folders of installed packages that a program would see: each is hidden by an empty one."""
    places = [*_standard_library(), *(place for root in LIBRARIES for place in Path(root).glob("python3*"))]
    found = [folder for place in places for folder in place.glob("*-packages") if folder.is_dir()]
    return tuple(dict.fromkeys(str(folder.resolve()) for folder in found))
