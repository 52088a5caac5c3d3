#!/usr/bin/env python3
"""Run a long stage of the checks, or skip it where nothing that it depends on has changed since it last passed.

    scripts/stages.py STAGE [--always] -- COMMAND...    # run the command, or say why it is skipped
    scripts/stages.py --list                            # each stage: would it run, and when it last passed

What a stage depends on is listed below; its digest covers names and contents of these files. `.ci/passed.json` holds
the digest with which each stage passed last. A stage that passes writes its line there; commit the file together with
the change. `.ci/nightly` runs every stage, whatever the file says.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PASSED = ROOT / ".ci" / "passed.json"
NATIVE = ["native", ":(exclude)native/wasm", "cmake", "CMakeLists.txt"]
WASM = ["native", "cmake", "CMakeLists.txt"]
KERNEL_TESTS = ["tests/native", "tests/numerics", "tests/executors", "tests/test_conformance.py"]
REFERENCE = ["src/intact/numerics", "src/intact/executors", "src/intact/conformance", "src/intact/weights"]
RECIPES = ["docs/adding.md", "docs/operation.md"]
JAVASCRIPT = [f"scripts/{name}.py" for name in ("wasm", "js_conformance", "js_definitions")]
PAGE = ["src/intact/markup/verify_page.py", "src/intact/cli/page.py"]
CLUSTER = ["src/intact/cluster", "src/intact/evaluate/cluster.py", "src/intact/serve/replicas"]
CLUSTER_TESTS = ["tests/cluster", "tests/evaluate/test_cluster.py", "tests/serve/test_replicas.py"]
STAGES = {
    "tiers": [*NATIVE, "scripts/check_tiers.sh"],
    "recipes": [*NATIVE, *REFERENCE, "src/intact/models", "tests/adding", "tests/support", *RECIPES],
    "mutations": [*NATIVE, *KERNEL_TESTS, *REFERENCE, "scripts/mutate.py"],
    "sanitizers": [*NATIVE, *KERNEL_TESTS, *REFERENCE, "scripts/sanitize.sh", "scripts/tiers.sh", "scripts/site.sh"],
    "bare installation": [*NATIVE, "build_backend", "pyproject.toml", "scripts/bare_install.sh", "scripts/tiers.sh"],
    "browser": [*WASM, *REFERENCE, "js", "tests/js", "conformance/receipts", *JAVASCRIPT, *PAGE],
    "cluster": [*CLUSTER, *CLUSTER_TESTS],
    "aarch64": [*NATIVE, *KERNEL_TESTS, *REFERENCE, "tests/arm64", "scripts/arm64.sh", "scripts/site.sh"],
}
"""Stages, and the files and folders that each depends on."""


def inputs(stage: str) -> str:
    """Return the digest of what a stage depends on: of the working tree, whether committed or not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *STAGES[stage]],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    digest = hashlib.sha256()
    for name in sorted({name for name in listed.stdout.decode().split("\0") if name}):
        path = ROOT / name
        if path.is_file():
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def passed() -> dict[str, Any]:
    """Return what is known of each stage."""
    found: dict[str, Any] = json.loads(PASSED.read_text(encoding="utf-8")) if PASSED.exists() else {}
    return found


def note(stage: str, digest: str, seconds: float) -> None:
    """Write that a stage has passed; stages may run beside each other."""
    with PASSED.with_name("run").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = passed()
        known[stage] = {"inputs": digest, "date": f"{datetime.now(UTC):%Y-%m-%d}", "seconds": round(seconds)}
        temporary = PASSED.with_suffix(".new")
        temporary.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        temporary.replace(PASSED)


def main() -> int:
    """Run or skip one stage."""
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=STAGES)
    parser.add_argument("--always", action="store_true", default=bool(os.environ.get("INTACT_ALL_STAGES")))
    parser.add_argument("--list", action="store_true")
    options, command = parser.parse_args(words[:cut]), words[cut + 1 :]
    if options.list:
        for stage in STAGES:
            last = passed().get(stage, {})
            state = "unchanged" if last.get("inputs") == inputs(stage) else "would run"
            print(f"{stage}: {state}; passed {last.get('date', 'never')}")
        return 0
    if not options.stage or not command:
        parser.error("name a stage, and behind -- the command that runs it")
    digest, last = inputs(options.stage), passed().get(options.stage, {})
    if last.get("inputs") == digest and not options.always:
        print(f"SKIPPED {options.stage}: passed on {last['date']} with these inputs ({digest[:12]}, .ci/passed.json)")
        return 0
    began = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status == 0:
        note(options.stage, digest, time.monotonic() - began)
    return status


if __name__ == "__main__":
    sys.exit(main())
