"""Measure time and size of an installation: from an empty environment and a wheel to the first token.

    python benchmarks/installing.py dist/intact_llm-VERSION-...whl [--extra solve]... [--uv uv]

The environment is created before the clock starts. `pip install WHEEL` then takes its dependencies from the cache,
which an earlier installation fills, and `intact run` answers with one token; its model is on the local disk. Seconds
are wall-clock; the processor seconds next to them vary less on a busy machine. The size is that of all files that pip
added, with the largest distributions listed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import machine, model_path

SIZES = """
import json
from importlib.metadata import distributions
def size(files):
    return sum(path.stat().st_size for path in (file.locate() for file in files or ()) if path.is_file())
print(json.dumps({one.name: size(one.files) for one in distributions()}))
"""


def timed(command: list[str | Path], **options: object) -> tuple[float, float]:
    """Run a command; return wall-clock and processor seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def installer(venv: Path, uv: str | None) -> list[str | Path]:
    """Return the command prefix that installs packages into an environment."""
    if uv is None:
        return [venv / "bin" / "pip", "install", "-q"]
    return [uv, "pip", "install", "-q", "--python", venv / "bin" / "python"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("wheel", type=Path)
    options.add_argument("--extra", action="append", default=[], help="extra to install as well")
    options.add_argument("--uv", metavar="COMMAND", help="uv command to install with instead of pip")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--model", type=model_path, default="smollm2-135m")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    extras = f"[{','.join(given.extra)}]" if given.extra else ""
    runs: dict[str, list[tuple[float, float]]] = {"install": [], "intact run, one token": []}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch, "home")
        for repeat in range(given.repeats + 1):
            venv = Path(scratch, "venv")
            shutil.rmtree(venv, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            install = timed([*installer(venv, given.uv), f"{given.wheel.resolve()}{extras}"])
            environment = {**os.environ, "INTACT_HOME": str(home)}
            first = timed(
                [venv / "bin" / "intact", "run", "-m", str(given.model), "Hello", "--max-tokens", "1"], env=environment
            )
            if repeat:  # the first fills pip's cache
                runs["install"].append(install)
                runs["intact run, one token"].append(first)
        found = subprocess.check_output([venv / "bin" / "python", "-c", SIZES], text=True)
        sizes = {name: size for name, size in json.loads(found).items() if name not in ("pip", "setuptools")}
    runs["together"] = [
        (one[0] + other[0], one[1] + other[1]) for one, other in zip(*list(runs.values())[:2], strict=True)
    ]
    if given.json:
        print(json.dumps({"machine": machine(), "wheel": given.wheel.name, "runs": runs, "bytes": sizes}))
        return
    print(f"{given.wheel.name}{extras}: {machine()}\n\n| | s (least to most) | processor s |\n|---|---|---|")
    for name, values in runs.items():
        clock = [value[0] for value in values]
        median, processor = statistics.median(clock), statistics.median(value[1] for value in values)
        print(f"| {name} | {median:.1f} ({min(clock):.1f} to {max(clock):.1f}) | {processor:.1f} |")
    largest = sorted(sizes.items(), key=lambda one: -one[1])[:6]
    print(
        f"\n{sum(sizes.values()) / 1e6:.0f} MB: {', '.join(f'{name} {size / 1e6:.0f}' for name, size in largest)}, ..."
    )


if __name__ == "__main__":
    main()
