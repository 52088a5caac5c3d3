#!/usr/bin/env python3
"""Compare tile heights of the WebAssembly module, the rows that one product takes at a time, in Node on one thread.

    PYTHONPATH=src python benchmarks/wasm_tiles.py MODEL.gguf --rows 1 2 4

Builds a module for each height (`kMaxRows` of native/simd/simd_wasm.h), and measures a prompt of 128 tokens and a text
of 32 with them in turn, in tokens per second: medians, with minimum and maximum in brackets. All give the same tokens.
Needs zig and Node.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLIENT = Path(__file__).parent / "clients" / "wasm_tiles.mjs"
HEADER = Path("native/simd/simd_wasm.h")
ROWS = re.compile(r"\bkMaxRows = (\d+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--tries", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        modules = {str(rows): str(built(Path(folder), rows)) for rows in options.rows}
        print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        job = json.dumps({"model": str(options.model), "modules": modules, "tries": options.tries})
        done = subprocess.run(["node", CLIENT], input=job, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout)
        print(f"load after: {os.getloadavg()[0]:.1f}")
        if len({tuple(one["tokens"]) for one in found.values()}) > 1:
            sys.exit("the modules gave different tokens")
        for rows, one in found.items():
            speeds = ", ".join(
                f"{name} {statistics.median(one[name]):.1f} ({min(one[name]):.1f} to {max(one[name]):.1f})"
                for name in ("prompt", "text")
            )
            print(f"{rows} rows, a module of {Path(modules[rows]).stat().st_size:,} bytes: {speeds}")


def built(folder: Path, rows: int) -> Path:
    """Build a module with tiles of this many rows from a copy of the sources, and return its file."""
    copy = folder / f"rows{rows}"
    for name in ("native", "cmake", "scripts", "CMakeLists.txt"):
        source = ROOT / name
        shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
    header = (copy / HEADER).read_text("utf-8")
    changed, count = ROWS.subn(f"kMaxRows = {rows}", header)
    if count != 1:
        sys.exit(f"{HEADER} states kMaxRows {count} times; expected once")
    (copy / HEADER).write_text(changed, "utf-8")
    out = copy / "intact.wasm"
    subprocess.run([sys.executable, copy / "scripts" / "wasm.py", "--out", out], check=True, stdout=subprocess.DEVNULL)
    return out


if __name__ == "__main__":
    main()
