"""Measure start-up costs: import, `intact --help`, first token of `intact run`, load time and memory of each model.

    python benchmarks/startup.py MODEL...

Each number is the minimum over several runs of a fresh process, with the files in the page cache. First token: from the
start of `intact run PROMPT` on the default model to the first byte of its answer, once with the model loaded by the
command, once by an `intact serve` of the same user that has it in memory. Resident memory is that of the process after
loading, and in parentheses before it, when everything that `intact.load` needs is imported. Peak memory is the kernel's
resident high-water mark after loading and one token; mapped pages of the file count in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import machine, parser

LOAD = """
import json, resource, sys, time
import intact
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
intact.load
before = resident()
started = time.perf_counter()
model = intact.load(sys.argv[1])
loaded = time.perf_counter()
after = resident()
counted = time.perf_counter()
list(model.stream("Hello", max_tokens=1))
first = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([loaded - started, first - counted, before, after, peak, model.info()["weight_bytes"]]))
"""
LOAD_LIMITS = {"SmolLM2-135M": 1.0, "qwen2.5-coder-1.5b": 8.0}


def least_import(repeats: int) -> float:
    code = "import time; t = time.perf_counter(); import intact; print(time.perf_counter() - t)"
    return min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(repeats))


def least_load_import(repeats: int) -> float:
    """Measure the import of everything that `intact.load` needs."""
    code = "import time; t = time.perf_counter(); import intact; intact.load; print(time.perf_counter() - t)"
    return min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(repeats))


def help_shown() -> float:
    """Return the seconds of `intact --help`."""
    started = time.perf_counter()
    subprocess.check_output([sys.executable, "-m", "intact.cli", "--help"])
    return time.perf_counter() - started


def first_token(model: Path | None, *options: str) -> float:
    """Return the seconds from the start of the command until the first byte of the answer."""
    command = [sys.executable, "-m", "intact.cli", "run", "--no-log", *options]
    command += ["Why is the sky blue?"] if model is None else ["-m", str(model), "Why is the sky blue?"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        byte = process.stdout.read(1)
        seconds = time.perf_counter() - started
        process.kill()
        if not byte:
            raise SystemExit(f"`intact run` printed nothing: {process.stderr.read().decode()[-500:]}")
    return seconds


def warm_first_token(model: Path | None, repeats: int) -> float:
    """Return the minimum of `first_token` with the model of a server, which is started for it."""
    command = [sys.executable, "-m", "intact.cli", "serve", "--port", "0", *([str(model)] if model else [])]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            end = time.monotonic() + 120
            while "answered by the server" not in answered_by(model):
                if time.monotonic() > end or server.poll() is not None:
                    raise SystemExit("`intact serve` did not answer `intact run`")
            return min(first_token(model) for _ in range(repeats))
        finally:
            server.terminate()


def answered_by(model: Path | None) -> str:
    """Return what `intact run -v` reports about a server."""
    command = [sys.executable, "-m", "intact.cli", "run", "--no-log", "-v", "--max-tokens", "1"]
    command += ["-m", str(model), "Hi"] if model else ["Hi"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stderr


def load(path: Path, repeats: int) -> dict[str, Any]:
    command = [sys.executable, "-c", LOAD, str(path)]
    runs = [json.loads(subprocess.check_output(command)) for _ in range(repeats)]
    size = path.stat().st_size
    return {
        "model": path.name,
        "file_bytes": size,
        "weight_bytes": runs[0][5],
        "load": min(run[0] for run in runs),
        "load_limit": next((v for k, v in LOAD_LIMITS.items() if k in path.name), None),
        "first_token_after": min(run[1] for run in runs),
        "bare_bytes": max(run[2] for run in runs),
        "resident_bytes": max(run[3] for run in runs),
        "peak_bytes": max(run[4] for run in runs),
        "peak_limit": int(2.2 * size) + 150_000_000,
    }


def main() -> None:
    p = parser(__doc__, text=False)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--default", type=Path, help="file to use for the first token instead of the default model")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    imports = least_import(args.repeats), least_load_import(args.repeats)
    shown = min(help_shown() for _ in range(args.repeats))
    first = min(first_token(args.default, "--no-server") for _ in range(args.repeats))
    warm = warm_first_token(args.default, args.repeats)
    results = [load(path, args.repeats) for path in args.models]
    if args.json:
        seconds = {"import": imports[0], "import_load": imports[1], "help": shown}
        seconds |= {"first_token": first, "warm_first_token": warm}
        print(json.dumps({"machine": machine(), "seconds": seconds, "models": results}, indent=2))
        return
    print("| what | seconds | limit |\n|---|---|---|")
    print(f"| import intact | {imports[0]:.3f} | 0.3 |")
    print(f"| import intact, and what `intact.load` needs | {imports[1]:.3f} | 0.3 |")
    print(f"| intact --help | {shown:.3f} | 0.4 |")
    print(f"| first token of `intact run`, default model | {first:.2f} | 1.5 |")
    print(f"| the same by a model in a server's memory | {warm:.2f} | |")
    print(
        "\n| model | file, MB | weights, MB | load, s | limit | then first token, s | resident, MB | peak, MB | limit |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for r in results:
        print(
            f"| {r['model']} | {r['file_bytes'] / 1e6:.0f} | {r['weight_bytes'] / 1e6:.0f} | {r['load']:.2f} "
            f"| {r['load_limit'] or ''} | {r['first_token_after']:.2f} | {r['resident_bytes'] / 1e6:.0f} "
            f"({r['bare_bytes'] / 1e6:.0f}) | {r['peak_bytes'] / 1e6:.0f} | {r['peak_limit'] / 1e6:.0f} |"
        )


if __name__ == "__main__":
    main()
