"""Kinds of protection, and the commands that run a program inside bubblewrap."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Kind = Literal["bubblewrap", "seccomp", "none"]

SCRATCH = "/scratch"
LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")
"""Folders of the system libraries."""


@dataclass(frozen=True)
class Protection:
    """A means of protection that works on this machine.

    Parameters
    ----------
    kind
        Mechanism that confines the program.
    filtered
        If true, a system call filter is loaded.
    missing
        Reason why no better protection is available; empty if this is the best.
    """

    kind: Kind
    filtered: bool
    missing: str = ""


def interpreter() -> list[str]:
    """Return the command for a bare interpreter: no site packages, no bytecode files, UTF-8.

    It does not use ``-I``, which would ignore the fixed hash seed along with the rest of the environment, which is set
    here anyway.
    """
    base = getattr(sys, "_base_executable", None) or sys.executable
    return [str(Path(base).resolve()), "-P", "-s", "-S", "-B", "-X", "utf8"]


def environment(folder: str) -> dict[str, str]:
    """Return the complete environment of a program."""
    return {"HOME": folder, "TMPDIR": folder, "PWD": folder, "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0"}


def bubblewrap(scratch: int, files: Sequence[str] = ()) -> list[str]:
    """Return the command that runs another command in its own file system and namespaces.

    Parameters
    ----------
    scratch
        Size of the scratch folder, in bytes.
    files
        Readable files in addition to the interpreter's and the system's files.
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
    """Return the executable, the standard library, and the shared libraries that come with them."""
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
    """Return the folders of installed packages that a program would see; each is hidden by an empty folder."""
    places = [*_standard_library(), *(place for root in LIBRARIES for place in Path(root).glob("python3*"))]
    found = [folder for place in places for folder in place.glob("*-packages") if folder.is_dir()]
    return tuple(dict.fromkeys(str(folder.resolve()) for folder in found))
