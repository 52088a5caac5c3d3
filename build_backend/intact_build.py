"""scikit-build-core, plus what a bare machine lacks: a C++ compiler (package ``ziglang``), and Debian Python's headers.

A compiler that works is left alone: ``$CXX`` if it is set, else what CMake would find by itself. ``$INTACT_TIERS`` is
handed on to CMake's option of that name: ``best`` (the default), ``all``, or names of tiers between commas or spaces.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scikit_build_core import build as base
from scikit_build_core.build import *  # noqa: F403  (the hooks that need nothing more)

PROBE = "#include <bit>\n#include <vector>\nint main() { return std::popcount(0u); }\n"


def have_compiler() -> bool:
    """Tell whether CMake will find a C++20 compiler; one named by ``$CXX`` is the caller's choice, not doubted."""
    if "CXX" in os.environ:
        return True
    found = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    command = [found or "", "-std=c++20", "-x", "c++", "-fsyntax-only", "-"]
    return found is not None and subprocess.run(command, input=PROBE, text=True, capture_output=True).returncode == 0


def python_headers(scratch: Path) -> Path | None:
    """Return a root with the headers of Debian's package under usr/include, or None where Python has its own."""
    if Path(sysconfig.get_path("include"), "Python.h").exists():
        return None
    package = f"libpython3.{sys.version_info.minor}-dev"
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SystemExit(
            f"intact: Python.h is missing from {sysconfig.get_path('include')}; install Python's headers ({package})"
        )
    # Downloaded and unpacked, not installed: this needs no rights.
    if subprocess.run(["apt-get", "download", "-qq", package], cwd=scratch).returncode != 0:
        raise SystemExit(f"intact: Python.h is missing; run: apt-get update && apt-get install {package}")
    (archive,) = scratch.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, scratch / "headers"], check=True)
    return scratch / "headers"


@contextmanager
def toolchain() -> Iterator[None]:
    """Put what is missing into the environment that CMake is run with."""
    with tempfile.TemporaryDirectory(prefix="intact-build-") as folder:
        scratch, arguments = Path(folder), []
        if not have_compiler():
            # mcpu: or zig would tune every file, the portable tier too, for the machine it runs on.
            for tool, command in {"c++": "c++ -mcpu=baseline", "ar": "ar", "ranlib": "ranlib"}.items():
                script = scratch / tool
                script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ziglang {command} "$@"\n')
                script.chmod(0o755)
            arguments = [
                f"-DCMAKE_{tool}={scratch / name}"
                for tool, name in {"CXX_COMPILER": "c++", "AR": "ar", "RANLIB": "ranlib"}.items()
            ]
        if tiers := re.findall(r"[^\s,;]+", os.environ.get("INTACT_TIERS", "")):
            arguments.append(f"-DINTACT_TIERS={';'.join(tiers)}")
        if headers := python_headers(scratch):
            include = headers / "usr/include"
            arguments += [
                f"-DPython_INCLUDE_DIR={include / f'python3.{sys.version_info.minor}'}",
                f"-DCMAKE_CXX_FLAGS=-I{include}",
            ]
        before = os.environ.get("CMAKE_ARGS")
        os.environ["CMAKE_ARGS"] = shlex.join([*shlex.split(before or ""), *arguments])
        try:
            yield
        finally:
            if before is None:
                del os.environ["CMAKE_ARGS"]
            else:
                os.environ["CMAKE_ARGS"] = before


Settings = dict[str, Any] | None


def compiler_package() -> list[str]:
    return [] if have_compiler() else ["ziglang>=0.14"]


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return [*base.get_requires_for_build_wheel(config_settings), *compiler_package()]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return [*base.get_requires_for_build_editable(config_settings), *compiler_package()]


def build_wheel(folder: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    with toolchain():
        return base.build_wheel(folder, config_settings, metadata_directory)


def build_editable(folder: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    with toolchain():
        return base.build_editable(folder, config_settings, metadata_directory)
