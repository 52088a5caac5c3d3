#!/usr/bin/env python3
"""Build the core as a WebAssembly module for JavaScript: js/dist/intact.wasm.

    scripts/wasm.py [--out js/dist/intact.wasm] [--build-type Release]

The compiler is zig's clang, from the package index (`pip install ziglang`) or on the PATH; CMake and ninja come from
the build environment. `npm run build` in `js/` runs this.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "wasm"
TARGET = "wasm32-wasi"
OUT = ROOT / "js" / "dist" / "intact.wasm"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="file to write")
    parser.add_argument("--build-type", default="Release", choices=["Debug", "Release"])
    options = parser.parse_args()
    zig = find_zig()
    if zig is None:
        sys.exit("wasm: zig is missing: `pip install ziglang`, or put zig on the PATH")
    install(zig, options.out, options.build_type)
    print(f"wasm: wrote {options.out} ({options.out.stat().st_size:,} bytes)", flush=True)


def install(zig: Path, out: Path = OUT, build_type: str = "Release") -> None:
    """Build the module and copy it to a file."""
    built = build(zig, build_type)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(built, out)


def find_zig() -> Path | None:
    """Return zig's program, from the package ziglang or on the PATH; None if there is neither."""
    package = importlib.util.find_spec("ziglang")
    if package is not None and package.submodule_search_locations:
        found = Path(package.submodule_search_locations[0]) / "zig"
        if found.exists():
            return found
    path = shutil.which("zig")
    return None if path is None else Path(path)


def build(zig: Path, build_type: str) -> Path:
    """Compile and link the module; return its file."""
    BUILD.mkdir(parents=True, exist_ok=True)
    commands = {"CXX_COMPILER": f"c++ -target {TARGET}", "AR": "ar", "RANLIB": "ranlib"}
    settings = {
        "CMAKE_SYSTEM_NAME": "Generic",
        "CMAKE_SYSTEM_PROCESSOR": "wasm32",
        "CMAKE_BUILD_TYPE": build_type,
        # CMake's compiler checks would make zig build its C++ library once more, without optimisation.
        "CMAKE_CXX_COMPILER_FORCED": "ON",
        "CMAKE_CXX_COMPILER_ID": "Clang",
        "CMAKE_CXX_COMPILER_ID_RUN": "ON",
        "CMAKE_CXX_STANDARD_COMPUTED_DEFAULT": "17",
        "CMAKE_CXX_COMPILE_FEATURES": "cxx_std_20",
        "CMAKE_CXX_FLAGS": "-std=c++20",
        "INTACT_BINDINGS": "OFF",
        "INTACT_WERROR": "ON",
    }
    for name, command in commands.items():
        script = BUILD / f"zig-{name.lower()}"
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(zig))} {command} "$@"\n', "utf-8")
        script.chmod(0o755)
        settings[f"CMAKE_{name}"] = str(script)
    if shutil.which("ccache"):
        settings["CMAKE_CXX_COMPILER_LAUNCHER"] = "ccache"
    arguments = [f"-D{key}={value}" for key, value in settings.items()]
    environment = {**os.environ, "CCACHE_COMPILERCHECK": "content"}
    configure = ["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(BUILD / build_type), *arguments]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL, env=environment)
    subprocess.run(["cmake", "--build", str(BUILD / build_type)], check=True, env=environment)
    return BUILD / build_type / "intact.wasm"


if __name__ == "__main__":
    main()
