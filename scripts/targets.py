#!/usr/bin/env python3
"""Compile and link the core for other systems, and run it where possible.

    scripts/targets.py [--build-type Release] [TARGET...]     (default: all)

The core is all of `native/` except the Python module; `tests/native/core/core.cpp` is its program, which tests threads,
memory and each tier's products. The compiler is zig's clang, as for the wheels. Warnings are errors. The program runs
on this machine, and under wine for Windows if that is installed; both must print the same digest. Programs compiled for
macOS cannot run here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wheels import ROOT, compiler, own_tools

BUILD = ROOT / "build" / "targets"


@dataclass(frozen=True)
class Target:
    """A system and processor.

    Attributes
    ----------
    system, processor : str
        Their names in CMake.
    runners : tuple of str
        Programs that can run the target's programs, any one of which is enough; an empty name means that none is
        needed.
    """

    system: str
    processor: str
    runners: tuple[str, ...] = ()


TARGETS = {
    "x86_64-linux-gnu.2.17": Target("Linux", "x86_64", ("",)),
    "x86_64-windows-gnu": Target("Windows", "AMD64", ("wine64", "wine")),
    "x86_64-macos.11.0": Target("Darwin", "x86_64"),
    "aarch64-macos.11.0": Target("Darwin", "arm64"),
}
"""Targets by zig's names; aarch64 on Linux has separate tests (`scripts/arm64.sh`)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--build-type", default="Release", choices=["Debug", "Release"])
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"unknown target {', '.join(sorted(unknown))}: expected one of {', '.join(TARGETS)}")
    digests = {}
    for name in options.targets or TARGETS:
        program = build(name, options.build_type)
        runner = find_runner(TARGETS[name])
        if runner is None:
            print(f"targets: {name}: compiled and linked ({program.stat().st_size:,} bytes), not run", flush=True)
            continue
        printed = subprocess.run([*runner, program], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        print(f"targets: {name}: ran, tiers {' '.join(printed[:-1])}, digest {printed[-1]}", flush=True)
        digests[name] = printed[-1]
    if len(set(digests.values())) > 1:
        sys.exit(f"targets: these should have the same digest: {digests}")


def build(name: str, build_type: str) -> Path:
    """Build the program of a target."""
    folder = BUILD / name
    configure_and_build(name, folder, {"CMAKE_BUILD_TYPE": build_type, "INTACT_BINDINGS": "OFF", "INTACT_WERROR": "ON"})
    return folder / ("intact_core.exe" if TARGETS[name].system == "Windows" else "intact_core")


def configure_and_build(name: str, folder: Path, settings: Mapping[str, str]) -> None:
    """Build a target in a folder, with CMake's variables from `settings`."""
    target, tools = TARGETS[name], own_tools() / "bin"
    settings = {
        **{f"CMAKE_{tool}": str(path) for tool, path in compiler(name).items()},
        "CMAKE_SYSTEM_NAME": target.system,
        "CMAKE_SYSTEM_PROCESSOR": target.processor,
        "CMAKE_MAKE_PROGRAM": str(tools / "ninja"),
        **settings,
    }
    if target.system == "Darwin":
        settings |= {"CMAKE_INSTALL_NAME_TOOL": "/bin/false", "CMAKE_OSX_SYSROOT": ""}  # nothing is installed
    if shutil.which("ccache"):
        settings["CMAKE_CXX_COMPILER_LAUNCHER"] = "ccache"
    environment = {**os.environ, "CCACHE_COMPILERCHECK": "content"}
    arguments = [f"-D{key}={value}" for key, value in settings.items()]
    configure = [tools / "cmake", "-G", "Ninja", "-S", ROOT, "-B", folder, *arguments]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL, env=environment)
    subprocess.run([tools / "cmake", "--build", folder, "--", "--quiet"], check=True, env=environment)


def find_runner(target: Target) -> list[str] | None:
    """Return the command that runs a target's program here, or None."""
    for runner in target.runners:
        if not runner or shutil.which(runner):
            return [runner] if runner else []
    return None


if __name__ == "__main__":
    main()
