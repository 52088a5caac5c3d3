#!/usr/bin/env python3
"""Run a stage of the checks, or skip it if none of its inputs has changed since it last passed.

    scripts/stages.py --plan [--known]                  # print for each stage whether it would run, and why
    scripts/stages.py STAGE [--always] -- COMMAND...    # run the command, or print why it is skipped
    scripts/stages.py slow [--always] -- COMMAND...     # the same for the slow tests, whose files are appended

The slow tests of each package of `src/intact` are a stage. It depends on its tests, on everything that these import, on
the package, and on all packages that any of these import; the files themselves are the source, not a list. The slow
tests at the top of `tests/` that belong to no package are one more stage, which depends on everything. The inputs of
other stages are listed below.

`.ci/passed.json` holds the digests of each stage's inputs when it last passed, taken from the working tree, committed
or not. Comments, docstrings and blank lines of Python and C++ do not count, except for a stage that depends on
everything, such as the site, which prints them. A stage that passes writes its line there; commit the file together
with the change.
INTACT_ALL_STAGES=1 has the effect of --always. This script needs only Python and git.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from architecture import PACKAGE, ROOT, files, imported, imports

PASSED = ROOT / ".ci" / "passed.json"
TESTS = ROOT / "tests"
SHARED = ("src/intact/__init__.py", "tests/conftest.py", "tests/support")
NATIVE = ("native", "cmake", "CMakeLists.txt")
WASM = "native/wasm"  # not part of "native"
GPU = ("gpu", "wgpu.py", "__pycache__")


def without_gpu(folder: str) -> tuple[str, ...]:
    """Return what a folder contains, except the GPU executor and its tests: they have no kernels of the CPU."""
    return tuple(sorted(f"{folder}/{path.name}" for path in (ROOT / folder).glob("*") if path.name not in GPU))


KERNEL_TESTS = (
    "tests/native",
    *sorted(
        f"tests/numerics/{path.name}"
        for path in (TESTS / "numerics").glob("test_*.py")
        if b"mark.native" in path.read_bytes()
    ),
    *without_gpu("tests/executors"),
    "tests/test_conformance.py",
)
REFERENCE = (
    "src/intact/numerics",
    "src/intact/models/aspects",
    "src/intact/models/ops",
    *without_gpu("src/intact/executors"),
    "src/intact/measure/conformance",
)
RECIPES = ("docs/dev/adding.md", "docs/dev/operation.md")
JAVASCRIPT = tuple(f"scripts/{name}.py" for name in ("wasm", "js_conformance", "js_definitions"))
PAGE = ("src/intact/_base/markup/verify_page.py", "src/intact/cli/page.py")
EVERYTHING = "."
NO_TESTS = 5  # pytest's exit status if it finds none: a helper may mark tests in some cases only


class Stage(NamedTuple):
    """The inputs of a stage: files and folders, and the tests that it runs in full."""

    paths: tuple[str, ...]
    tests: tuple[str, ...] = ()
    follow: bool = False
    """If true, everything that the tests import is an input too."""


STAGES = {
    "site": Stage((EVERYTHING,), ("tests/test_docsite.py",)),
    "tiers": Stage((*NATIVE, "scripts/check_tiers.sh")),
    "recipes": Stage((*NATIVE, *REFERENCE, "src/intact/models", "tests/support", *RECIPES), ("tests/adding",)),
    "sanitizers on scalar": Stage((*NATIVE, *KERNEL_TESTS, *REFERENCE, "scripts/sanitize.sh", "scripts/site.sh")),
    "bare scalar installation": Stage((*NATIVE, "build_backend", "pyproject.toml", "scripts/bare_install.sh")),
    "few mutations": Stage((*NATIVE, *KERNEL_TESTS, *REFERENCE, "scripts/mutate.py")),
    "browser": Stage((*NATIVE, WASM, *REFERENCE, "js", "conformance/receipts", *JAVASCRIPT, *PAGE), ("tests/js",)),
    "cluster": Stage(
        (), ("tests/evaluate/cluster", "tests/evaluate/test_cluster.py", "tests/serve/test_replicas.py"), True
    ),
    "aarch64": Stage(
        (*NATIVE, *KERNEL_TESTS, *REFERENCE, "scripts/arm64.sh", "scripts/site.sh"), ("tests/arm64",)
    ),
}  # fmt: skip
"""The stages except the slow tests of packages."""
NEVER = "never passed"
LEFT = "never passed; .ci/nightly slow runs it first"
"""Reason for skipping a package's slow tests under --known: the gate has a time limit, and all would take too long."""


@cache
def tree() -> list[str]:
    """Return the names of all files that git tracks or would add, except records of runs."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
    return sorted({name for name in listed if not name.startswith(".ci/") and (ROOT / name).is_file()})


def python_code(text: str) -> str:
    """Return a Python file without docstrings, comment lines and blank lines."""
    lines = text.split("\n")
    strings, dropped = set[int](), set[int]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno != node.lineno:
            strings |= {*range(node.lineno + 1, (node.end_lineno or 0) + 1)}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            before = lines[node.lineno - 1].encode()[: node.col_offset]
            after = lines[(node.end_lineno or 0) - 1].encode()[node.end_col_offset :]
            if not (before + after).strip():
                dropped |= {*range(node.lineno, (node.end_lineno or 0) + 1)}
    kept = (
        line
        for number, line in enumerate(lines, 1)
        if number not in dropped and (number in strings or not re.match(r"\s*(#|$)", line))
    )
    return "\n".join(kept)


CPP = re.compile(
    r'(?P<between>(?:\s|//[^\n]*|/\*.*?\*/)+)|R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\])*"'
    r"|\w+(?:'\w+)*|'(?:\\.|[^'\\])+'",
    re.DOTALL,
)
"""Whitespace and comments of C++; and strings, characters and numbers such as 1'000, inside which neither can begin."""


def cpp_code(text: str) -> str:
    """Return a C++ file without comments, blank lines and indentation."""

    def blank(match: re.Match[str]) -> str:
        between = match["between"]
        return match[0] if between is None else "\n" if "\n" in between else " "

    return CPP.sub(blank, text).strip()


CODE = {".py": python_code, **dict.fromkeys((".cpp", ".h", ".inl"), cpp_code)}


@cache
def digest(path: str, whole: bool = True) -> str:
    """Return the digest of the names and contents of the files at or below a path.

    Parameters
    ----------
    whole : bool, default True
        If false, leave out comments, docstrings and blank lines of Python and C++.
    """
    found = hashlib.sha256()
    for name in tree():
        inside = name == path or name.startswith(f"{path}/")
        if inside and not (path == "native" and name.startswith(f"{WASM}/")):
            content = (ROOT / name).read_bytes()
            if not whole and (code := CODE.get(Path(name).suffix)) is not None:
                content = code(content.decode()).encode()
            found.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return found.hexdigest()[:16]


@cache
def packages() -> list[str]:
    """Return the names of the packages and modules of `src/intact`; "_native" is the extension."""
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix in ("", ".py")}
    return sorted({name for name in names if files(name) and not name.startswith("__")} | {"_native"})


@cache
def imported_by(package: str) -> list[str]:
    """Return the packages that a package imports directly."""
    return imports(package, packages())


def with_imports(wanted: Iterable[str]) -> set[str]:
    """Return the packages and all packages that they import, directly or indirectly."""
    found, left = set[str](), list(wanted)
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += imported_by(name)
    return found


def with_helpers(paths: Iterable[Path]) -> set[Path]:
    """Return test files and all files below `tests/` that they import."""
    found, left = set[Path](), list(paths)
    while left:
        if (path := left.pop()) not in found:
            found.add(path)
            for name in imported(path, TESTS):
                parts = name.split(".")
                places = [TESTS.joinpath(*parts[:end]).with_suffix(".py") for end in range(1, len(parts) + 1)]
                left += [place for place in places if place.is_file()]
    return found


def used_by_tests(paths: Iterable[Path]) -> set[str]:
    """Return the paths that tests depend on: packages, including those named in programs that the tests run.

    The command line imports packages on demand, so only the package `cli` itself is counted for it.
    """
    used, folders = set[str](), set[str]()
    for path in with_helpers(paths):
        text = path.read_text(encoding="utf-8")
        names = {name.partition("intact.")[2] for name in imported(path, TESTS) if name.startswith("intact.")}
        names |= set(re.findall(r"\bintact\.(\w+)", text))
        names = {name.partition(".")[0] for name in names if not name.startswith("__")}
        if "cli" in names or '"intact"' in text:
            folders.add("src/intact/cli")
        used |= names & {*packages()} - {"cli"}
        if not names <= {*packages()}:  # public names, such as intact.load
            homes = imported(PACKAGE / "__init__.py", PACKAGE.parent)
            used |= {name.split(".")[1] for name in homes if "." in name} & {*packages()}
        folders |= set(re.findall(r"[\"'](docs|examples|benchmarks|conformance|scripts|js)[\"'/]", text))
    return folders.union(*(sources(name) for name in with_imports(used)))


def sources(package: str) -> list[str]:
    """Return the paths of a package's sources."""
    if package == "_native":
        return ["src/intact/_native", *NATIVE]
    module = f"src/intact/{package}.py"
    return [module if (ROOT / module).exists() else f"src/intact/{package}"]


@cache
def slow_tests() -> dict[str, list[str]]:
    """Return the slow-test stages with the files that contain their tests, including files that a helper marks."""
    elsewhere = tuple(path for stage in STAGES.values() for path in stage.tests)
    texts = {name: (ROOT / name).read_text("utf-8") for name in tree() if re.fullmatch(r"tests/.*\.py", name)}
    slow = r"\bmark\.slow\b"
    helpers = [Path(name).stem for name in texts if name.startswith("tests/support/") and re.search(slow, texts[name])]
    if helpers:
        slow += rf"|\bsupport(\.| import .*\b)({'|'.join(helpers)})\b"
    found = defaultdict[str, list[str]](list)
    for name, text in texts.items():
        inside = any(name == other or name.startswith(f"{other}/") for other in elsewhere)
        if Path(name).name.startswith("test_") and not inside and re.search(slow, text):
            found[f"slow {owner(name)}"].append(name)
    return dict(sorted(found.items()))


def owner(test: str) -> str:
    """Return the package that a test belongs to, or "others"."""
    folder, _, rest = test.removeprefix("tests/").partition("/")
    name = folder if rest else folder.removeprefix("test_").removesuffix(".py")
    name = "_native" if name == "native" else name
    return name if name in packages() else "others"


def inputs(stage: str) -> dict[str, str]:
    """Return the digest of each path that a stage depends on."""
    if stage == "slow others":
        paths = {EVERYTHING}
    elif stage in STAGES:
        paths = {*STAGES[stage].paths, *STAGES[stage].tests}
        if STAGES[stage].follow:
            tests = [name for name in tree() if name.startswith(STAGES[stage].tests) and name.endswith(".py")]
            paths |= {*SHARED, *used_by_tests(ROOT / name for name in tests)}
    else:
        package, tests = stage.removeprefix("slow "), slow_tests()[stage]
        folder = f"tests/{package.removeprefix('_')}/"
        paths = {*SHARED, *(folder[:-1] if name.startswith(folder) else name for name in tests)}
        paths |= used_by_tests(ROOT / name for name in tests)
        paths |= {path for name in with_imports([package]) for path in sources(name)}
    whole = EVERYTHING in paths
    if whole:
        paths = {WASM, *(name.partition("/")[0] for name in tree())}
    return {path: digest(path, whole) for path in sorted(paths)}


def passed() -> dict[str, Any]:
    """Return the recorded data of each stage."""
    found: dict[str, Any] = json.loads(PASSED.read_text(encoding="utf-8")) if PASSED.exists() else {}
    return found


def note(stage: str, digests: dict[str, str], seconds: float) -> None:
    """Record that a stage has passed; other processes may do so at the same time."""
    with PASSED.with_name("run").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = {name: last for name, last in passed().items() if name in {*STAGES, *slow_tests()}}
        known[stage] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "inputs": digests, "seconds": round(seconds)}
        lines = (f"{json.dumps(name)}: {json.dumps(known[name])}" for name in sorted(known))
        temporary = PASSED.with_suffix(".new")
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        temporary.replace(PASSED)


def why(stage: str, always: bool) -> str:
    """Return the reason why a stage would run, or an empty string if it would not."""
    if always:
        return "asked for"
    if stage not in passed():
        return NEVER
    now, then = inputs(stage), passed()[stage]["inputs"]
    changed = [path for path in sorted({*now, *then}) if now.get(path) != then.get(path)]
    more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
    return f"changed: {', '.join(changed[:4])}{more}" if changed else ""


def plan(always: bool, known: bool) -> None:
    """Print which stages would run."""
    for stage in [*STAGES, *slow_tests()]:
        reason, last = why(stage, always), passed().get(stage)
        if known and stage not in STAGES and reason == NEVER:
            print(f"skip {stage}: {LEFT}")
            continue
        took = f", in {last['seconds']} s" if last and stage in STAGES else ""
        passed_on = f"; passed on {last['date']}{took}" if last else ""
        print(f"{'run ' if reason else 'skip'} {stage}: {reason or 'unchanged'}{passed_on}")


def run(stage: str, command: list[str], always: bool, known: bool) -> int:
    """Run a stage's command, with the files of slow tests appended, or skip it; return the exit status."""
    reason = why(stage, always)
    if known and stage not in STAGES and reason == NEVER:
        print(f"SKIPPED {stage}: {LEFT}", flush=True)
        return 0
    if not reason:
        print(f"SKIPPED {stage}: passed on {passed()[stage]['date']} with these inputs (.ci/passed.json)", flush=True)
        return 0
    print(f"RUNNING {stage}: {reason}", flush=True)
    found, tests = inputs(stage), slow_tests().get(stage, [])
    began = time.monotonic()
    status = subprocess.run([*command, *tests], cwd=ROOT, check=False).returncode
    if tests and status == NO_TESTS:
        status = 0
    if status == 0:
        note(stage, found, time.monotonic() - began)
    return status


def main() -> int:
    """Run or skip one stage, or print the plan."""
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=[*STAGES, "slow"])
    parser.add_argument("--always", action="store_true", default=bool(os.environ.get("INTACT_ALL_STAGES")))
    parser.add_argument("--known", action="store_true", help="leave slow tests that never passed to .ci/nightly")
    parser.add_argument("--plan", action="store_true")
    options, command = parser.parse_args(words[:cut]), words[cut + 1 :]
    if options.plan:
        plan(options.always, options.known)
        return 0
    if not options.stage or not command:
        parser.error("give a stage and, after --, the command that runs it")
    stages = [*slow_tests()] if options.stage == "slow" else [options.stage]
    return max([run(stage, command, options.always, options.known) for stage in stages], default=0)


if __name__ == "__main__":
    sys.exit(main())
