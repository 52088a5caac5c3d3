#!/usr/bin/env python3
"""Run a newcomer's first steps from a clean clone in an empty environment, and print the time and memory of each.

    scripts/first_minutes.py [--without-compiler] [--json FILE]

It uses a clone in an empty folder, a new environment, and empty pip and compiler caches. Packages and the default model
are downloaded in separate steps, whose seconds depend on the network; the other steps work offline. Columns: wall-clock
seconds, processor seconds, the largest process in megabytes, and the megabytes that the step added to the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BUILD_TOOL = re.compile(
    r"(.*-)?(c\+\+|g\+\+|cc|gcc|clang|clang\+\+|cpp|c89|c99|ld|ld\..*|as|ar|ranlib|cmake|ninja|make|gmake|zig)"
    r"(-[\d.]+)?"
)
FREED = re.compile(r"CXX|CC|CXXFLAGS|CMAKE_.*|INTACT_.*|PYTHONPATH|VIRTUAL_ENV")
"""Environment variables of this process that a newcomer does not have."""
DOWNLOADS = ("download", "fetch")
"""Name prefixes of steps whose time depends on the network."""


class Step(NamedTuple):
    """The time, memory and disk space of a step."""

    name: str
    seconds: float
    processor_seconds: float
    peak_megabytes: float
    megabytes: float


def take(name: str, command: list[str], folder: Path, measured: Path, environment: dict[str, str]) -> Step:
    """Run a command in a folder as a step; `measured` is the folder whose growth is recorded."""
    before, began = disk_bytes(measured), time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=2)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        sys.exit(f"first_minutes: {name}: exit status {os.waitstatus_to_exitcode(status)}: {' '.join(command)}")
    grown = disk_bytes(measured) - before
    return Step(name, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, grown / 1e6)


def disk_bytes(folder: Path) -> int:
    """Return the total size of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) if folder.is_dir() else 0


def path_without_compiler(folder: Path) -> str:
    """Fill a folder with links to all programs except compilers and build tools, and return it."""
    folder.mkdir()
    for source in ("/usr/local/bin", "/usr/bin", "/bin"):
        for tool in sorted(Path(source).iterdir()):
            if not BUILD_TOOL.fullmatch(tool.name) and not (folder / tool.name).exists():
                (folder / tool.name).symlink_to(tool)
    return str(folder)


def requirements(clone: Path, without_compiler: bool) -> list[str]:
    """Return the packages that an installation downloads: for the build, and at run time."""
    import tomllib

    project = tomllib.loads((clone / "pyproject.toml").read_text(encoding="utf-8"))
    build = [*project["build-system"]["requires"], "cmake>=3.26", "ninja>=1.5"]
    return [*build, *project["project"]["dependencies"], *(["ziglang>=0.14"] if without_compiler else [])]


def run_steps(work: Path, without_compiler: bool) -> list[Step]:
    """Run all steps in an empty folder."""
    clone, wheels, home = work / "clone", work / "wheels", work / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not FREED.fullmatch(name)}
    environment |= {"HOME": str(home), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}
    if without_compiler:
        environment["PATH"] = path_without_compiler(work / "bin")
    python = str(clone / ".venv/bin/python")
    offline = ["--no-index", f"--find-links={wheels}"]
    intact = str(clone / ".venv/bin/intact")
    votes = ["solve", "self_consistency", "What is 17 * 23?", "-n", "4", "--budget", "tokens=1k"]
    evaluation = ["eval", "-m", "smollm2-135m-instruct", "gsm8k", "--limit", "5", "--budget", "tokens=2k", "--out"]
    steps: list[Step] = []

    def step(name: str, command: list[str], measured: Path) -> None:
        steps.append(take(name, command, clone if clone.is_dir() else work, measured, environment))
        print(f"first_minutes: {name}: {steps[-1].seconds:.1f} s", file=sys.stderr)

    step("clone", ["git", "clone", "-q", str(ROOT), str(clone)], clone)
    step("create an environment", [sys.executable, "-m", "venv", ".venv"], clone)
    download = [python, "-m", "pip", "wheel", "-q", "-w", str(wheels), *requirements(clone, without_compiler)]
    step("download packages", download, wheels)
    made = work / "made"
    step("compile", [python, "-m", "pip", "wheel", "-q", "--no-deps", *offline, "-w", str(made), "."], made)
    (wheel,) = made.glob("*.whl")
    step("install", [python, "-m", "pip", "install", "-q", *offline, str(wheel)], clone)
    step("fetch the model", [intact, "pull", "smollm2-135m-instruct"], home)
    question = ["Why is the sky blue?", "--max-tokens", "24", "--receipt", "sky.receipt"]
    step("first answer", [intact, "run", *question], clone)
    step("solve, 4 votes", [intact, *votes], clone)
    step("eval --limit 5", [intact, *evaluation, "five.jsonl"], clone)
    step("report", [intact, "report", "five.jsonl"], clone)
    step("verify", [intact, "verify", "sky.receipt"], clone)
    return steps


def processor() -> str:
    """Return the processor's name and the number of available cores."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-compiler", action="store_true", help="hide compilers and build tools")
    parser.add_argument("--json", type=Path, help="also write the rows to a file")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="intact-first-minutes-"))
    try:
        steps = run_steps(work, options.without_compiler)
    finally:
        shutil.rmtree(work)
    if options.json:
        rows = [step._asdict() for step in steps]
        document = {"processor": processor(), "steps": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print("| step | seconds | processor seconds | peak MB | MB on disk |\n|---|---|---|---|---|")
    for step in steps:
        seconds = f"{step.seconds:.1f} | {step.processor_seconds:.1f}"
        print(f"| {step.name} | {seconds} | {step.peak_megabytes:.0f} | {step.megabytes:.1f} |")
    last = [step.name for step in steps].index("first answer")
    counted = [step for step in steps[: last + 1] if not step.name.startswith(DOWNLOADS)]
    seconds, used = sum(step.seconds for step in counted), sum(step.processor_seconds for step in counted)
    print(f"\nTime to the first answer, excluding downloads: {seconds:.0f} s, {used:.0f} processor seconds.")
    print(f"Machine: {processor()}.")


if __name__ == "__main__":
    main()
