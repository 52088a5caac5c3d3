#!/usr/bin/env python3
"""Compile the extension from scratch and print the processor seconds and the peak memory of each file.

    scripts/compile_times.py [--jobs N] [--json FILE] [-D OPTION=VALUE ...]

Needs CMake, ninja and nanobind in the environment of the Python that runs it (``pip install cmake ninja nanobind``).
CMake options are passed on: ``-D INTACT_TIERS=all`` compiles every tier of this processor family.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def record(log: str, command: list[str]) -> int:
    """Run a compiler and append a line with its time and memory; CMake starts this for each compilation."""
    status = subprocess.run(command, check=False).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    source = next((word for word in command if word.endswith((".cpp", ".cc", ".cxx"))), command[-1])
    line = {"source": source, "seconds": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1024}
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")  # one write of less than a page: processes do not mix their lines
    return status


def compile_all(options: list[str], jobs: int) -> tuple[list[dict[str, object]], float]:
    """Configure and compile in an empty folder; return a row for each file, and the wall-clock seconds."""
    with tempfile.TemporaryDirectory(prefix="intact-compile-") as folder:
        log = Path(folder) / "times.jsonl"
        launcher = ";".join([sys.executable, str(Path(__file__).resolve()), "--record", str(log)])
        build = ["-G", "Ninja", "-S", str(ROOT), "-B", folder, f"-DPython_EXECUTABLE={sys.executable}"]
        environment = {key: value for key, value in os.environ.items() if key != "CMAKE_CXX_COMPILER_LAUNCHER"}
        configure = ["cmake", *build, "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}"]
        subprocess.run([*configure, *(f"-D{option}" for option in options)], check=True, env=environment, stdout=2)
        log.unlink(missing_ok=True)  # what CMake tried
        began = time.monotonic()
        subprocess.run(["cmake", "--build", folder, "--parallel", str(jobs)], check=True, env=environment, stdout=2)
        seconds = time.monotonic() - began
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        path = Path(str(row["source"]))
        row["source"] = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
    return sorted(rows, key=lambda row: -float(str(row["seconds"]))), seconds


def main() -> int:
    """Print the table."""
    if sys.argv[1:2] == ["--record"]:
        return record(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="number of parallel compilers (default: cores)"
    )
    parser.add_argument("--json", type=Path, help="also write the rows to a file")
    parser.add_argument("-D", dest="options", action="append", default=[], metavar="OPTION=VALUE")
    options = parser.parse_args()
    rows, seconds = compile_all(options.options, options.jobs)
    if options.json:
        options.json.write_text(json.dumps({"seconds": seconds, "files": rows}, indent=1) + "\n", encoding="utf-8")
    print("| file | processor seconds | peak megabytes |\n|---|---|---|")
    for row in rows:
        print(f"| {row['source']} | {row['seconds']:.1f} | {row['megabytes']:.0f} |")
    total = sum(float(str(row["seconds"])) for row in rows)
    peak = max(float(str(row["megabytes"])) for row in rows)
    print(
        f"\n{len(rows)} files: {total:.0f} processor seconds, {seconds:.0f} s with {options.jobs} at a time, "
        f"peak {peak:.0f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
