"""A map from each line to the tests that execute it, from one run under coverage.py on a copy of the checkout."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from coverage import Coverage, CoverageData
from mutants import PACKAGES, ROOT, Mutant

WORK = ROOT / "build" / "mutate_python"
TESTS = {  # run in one process each, by name
    "receipts": "tests/receipts tests/serve/test_receipts.py",
    "solving/receipts": "tests/solving/receipts tests/cli/test_solve.py",
    "tasks/score": "tests/tasks/score tests/measure/audit tests/tasks",
    "stats": "tests/stats",
    "evaluate": "tests/evaluate tests/measure/bench",
    "cli": " ".join(
        f"tests/cli/test_{name}.py"
        for name in ("eval", "keys", "learn", "lock", "perplexity", "receipt", "report", "run", "verify")
    ),
    "reason": "tests/reason tests/solving/receipts/test_versions.py",
    "serve": "tests/serve",
    "shared_cache": "tests/engine/test_shared_cache.py tests/engine/test_shared_workers.py",
}
QUICK = ["-m", "not slow and not nightly", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly"]


def copy_checkout(folder: Path) -> None:
    """Copy all files that git tracks or would add, and the extension."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "build").mkdir(exist_ok=True)
    installed = find_spec("intact")
    for place in (installed.submodule_search_locations or ()) if installed else ():
        for path in Path(place).glob("_native*.so"):
            shutil.copy2(path, folder / "src/intact")


def fork(folder: Path, log: Path, work: Callable[[], int]) -> int:
    """Run `work` in a child process with its own session, importing the copy's package first; return the child's id."""
    if child := os.fork():
        return child
    status = 99
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.chdir(folder)
        sys.path.insert(0, str(folder / "src"))
        os.environ["PYTHONPATH"] = str(folder / "src")
        os.environ.setdefault("INTACT_DATA", str(ROOT.parent / "shared" / "data"))
        os.environ["INTACT_MODELS"] = str(WORK / "no models")  # small ones are quicker, and are always there
        os.environ.pop("PYTEST_ADDOPTS", None)
        status = work()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def processor_seconds() -> float:
    """Return the processor seconds of this process and its finished children, which hardly depend on machine load."""
    return sum(os.times()[:4])


class Recorder:
    """A pytest plugin that tells coverage.py which test or fixture runs; it records processor seconds and fixtures."""

    def __init__(self, coverage: Coverage) -> None:
        self.coverage = coverage
        self.contexts = [""]
        self.seconds: dict[str, float] = {}
        self.bad: set[str] = set()
        self.fixtures: dict[str, list[str]] = {}

    @contextlib.contextmanager
    def within(self, context: str) -> Iterator[None]:
        self.contexts.append(context)
        self._switch()
        yield
        self.contexts.pop()
        self._switch()

    def _switch(self) -> None:
        self.coverage.switch_context(self.contexts[-1])
        os.environ["INTACT_MUTATE_CONTEXT"] = self.contexts[-1]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        definitions = item._fixtureinfo.name2fixturedefs.values()
        self.fixtures[item.nodeid] = [self._name(d) for row in definitions for d in row if d.scope != "function"]
        began = processor_seconds()
        with self.within(item.nodeid):
            result = yield
        self.seconds[item.nodeid] = processor_seconds() - began
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        if fixturedef.scope == "function":
            return (yield)
        with self.within(self._name(fixturedef)):
            return (yield)

    @staticmethod
    def _name(definition: Any) -> str:
        return f"fixture {definition.argname} of {definition.baseid}"

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self.bad.add(report.nodeid)


class Map(NamedTuple):
    """The lines that the tests execute."""

    lines: dict[str, dict[str, list[str]]]
    """For each file and line (a string, as in JSON), the tests; line "0" is the whole file."""
    seconds: dict[str, float]
    modules: list[str]
    """Modules that the tests import, except the package and the tests themselves."""

    def tests(self, mutant: Mutant, budget: float) -> dict[str, float]:
        """Return the tests that execute a mutant, with their seconds: the quickest that fit into a budget.

        If no test is known to execute the file (only types, or the program of a worker process), use all tests that
        execute files in its folder.
        """
        rows = self.lines.get(mutant.file, {})
        names = {name for line in mutant.lines or (0,) for name in rows.get(str(line), ())}
        if not any(rows.values()):
            folder = mutant.file.rpartition("/")[0]
            names = {name for file, of in self.lines.items() if file.startswith(folder) for name in of.get("0", ())}
        chosen = sorted(names, key=lambda name: (self.seconds[name], name))
        spent = accumulate(self.seconds[name] for name in chosen)
        return {name: self.seconds[name] for name, sum_ in zip(chosen, spent, strict=True) if sum_ <= budget}


def record(folder: Path, tests: list[str], out: Path) -> int:
    """Run tests under coverage.py and write the map."""
    settings = out.with_suffix(".cfg")
    packages = "".join(f"\n    {folder}/src/intact/{package}" for package in PACKAGES)
    settings.write_text(
        f"[run]\nparallel = true\ndata_file = {out.with_suffix('.data')}\ncontext = ${{INTACT_MUTATE_CONTEXT-}}\n"
        f"disable_warnings = no-data-collected\nsource = {packages}\n"
    )
    os.environ["COVERAGE_PROCESS_START"] = str(settings)  # coverage.py then starts in our children too
    coverage = Coverage(config_file=str(settings))
    recorder = Recorder(coverage)
    coverage.start()
    status = pytest.main([*QUICK, "--basetemp", str(out.with_suffix(".tmp")), *tests], plugins=[recorder])
    coverage.stop()
    coverage.save()
    if status not in (0, 1):
        return int(status)
    coverage.combine()
    data = coverage.get_data()
    good = {name: value for name, value in recorder.seconds.items() if name not in recorder.bad}
    for name in sorted(recorder.bad):
        print("left out because it does not pass:", name)
    out.write_text(
        json.dumps({"lines": _tests_by_line(data, folder, recorder, good), "seconds": good, "modules": _imported()})
    )
    return 0


def _tests_by_line(
    data: CoverageData, folder: Path, recorder: Recorder, good: dict[str, float]
) -> dict[str, dict[str, list[str]]]:
    users = defaultdict(set)
    for name in good:
        users[name].add(name)
        for fixture in recorder.fixtures[name]:
            users[fixture].add(name)
    table = {}
    for file in data.measured_files():
        by_line = data.contexts_by_lineno(file)
        tests = {line: set().union(*(users[c] for c in contexts)) for line, contexts in by_line.items()}
        tests[0] = set().union(*tests.values())
        table[Path(file).relative_to(folder).as_posix()] = {str(line): sorted(names) for line, names in tests.items()}
    return table


def _imported() -> list[str]:
    own = ("intact", "support", "conftest", "tests", "test_", "coverage", "pytest", "_pytest")
    return sorted(
        name
        for name, module in sys.modules.items()
        if not name.startswith((*own, "__")) and "site-packages" in (getattr(module, "__file__", None) or "")
    )


def make_map(jobs: int, again: bool, groups: list[str]) -> Map:
    """Run groups of TESTS under coverage.py, or load the results of an earlier run."""
    folder, parts = WORK / "covered", {name: WORK / f"map-{name}.json" for name in groups}
    waiting = [name for name, path in parts.items() if again or not path.exists()]
    if waiting:
        shutil.rmtree(folder, ignore_errors=True)
        copy_checkout(folder)
        print(f"mutate_python: running the tests under coverage.py; logs: {WORK}/map-*.log", flush=True)
    children: dict[int, str] = {}
    while waiting or children:
        while waiting and len(children) < jobs:
            name = waiting.pop(0)
            work = partial(record, folder, TESTS[name].split(), parts[name])
            children[fork(folder, WORK / f"map-{name}.log", work)] = name
        child, status = os.wait()
        if status:
            raise SystemExit(
                f"mutate_python: the tests of {children[child]} cannot run: see {WORK}/map-{children[child]}.log"
            )
        del children[child]
    return merged([json.loads(path.read_text()) for path in parts.values()])


def merged(parts: list[dict[str, Any]]) -> Map:
    """Merge the maps of several runs."""
    lines: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for part in parts:
        for file, rows in part["lines"].items():
            for line, names in rows.items():
                lines[file][line] += names
    seconds = {name: value for part in parts for name, value in part["seconds"].items()}
    return Map(lines, seconds, sorted({name for part in parts for name in part["modules"]}))
