#!/usr/bin/env python3
"""Mutate packages whose Python code decides verdicts and answers, one line at a time: the tests must fail.

    scripts/mutate_python.py [--of PACKAGE]... [--number N] [--seed S] [--jobs N] [--tests GROUP]... [TEXT...]

The operators are cosmic-ray's, plus one that removes a statement. Lines are drawn uniformly among those that can be
mutated, then one mutation of each. The draw depends only on the seed and the lines' text: after a change elsewhere, the
same lines are drawn again. Annotations, and swaps of `is` and `==`, are left out.

All work is done on a copy of the checkout in `build/mutate_python`. The tests run there once under coverage.py, which
records for each line the tests that execute it (setting up a shared fixture counts for all tests that use it). Then
each mutant is tested by these tests in its own process, quickest files first, up to the first failure. Results are
appended to `results.jsonl` there: an interrupted run continues, and a killed mutant is not tested again. `--fresh`
starts over.

`mutants.toml` next to this script lists mutants that no test can kill ("equivalent", not counted), and known
survivors. The exit status is 1 if the share of killed mutants is below `--target`, or if an unlisted mutant survives.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import resource
import shutil
import signal
import time
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from covering import QUICK, TESTS, WORK, Map, copy_checkout, fork, make_map
from mutants import PACKAGES, ROOT, Mutant, draw

LIST = Path(__file__).with_name("mutants.toml")


class Selection:
    """A pytest plugin that runs only the given tests, quickest files first."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.files: dict[str, float] = defaultdict(float)
        for name, value in seconds.items():
            self.files[name.split("::")[0]] += value

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if item.nodeid in self.seconds]
        items.sort(key=lambda i: (self.files[(file := i.nodeid.split("::")[0])], file, self.seconds[i.nodeid]))


def preload(modules: list[str]) -> None:
    """Import the modules that tests need, once for all children."""
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def test(folder: Path, tests: dict[str, float], seconds: int) -> int:
    """Run tests up to the first failure, within a limit of processor seconds; return pytest's exit status."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    files = sorted({name.split("::")[0] for name in tests})
    words = [*QUICK, "-x", "--tb=line", "--basetemp", str(folder / "build" / "tmp"), *files]
    return int(pytest.main(words, plugins=[Selection(tests)]))


class Worker:
    """A copy of the checkout, and the mutant that is being tested in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mutant: Mutant | None = None
        copy_checkout(folder)

    def start(self, mutant: Mutant, tests: dict[str, float]) -> None:
        self.mutant, self.began = mutant, time.monotonic()
        processor = round(30 + 4 * sum(tests.values()))  # an endless loop takes all of it
        self.limit = 20 * processor  # for those that wait and do nothing
        self.path = self.folder / mutant.file
        self.original = self.path.read_bytes()
        self._write(mutant.source.encode())
        self.log = self.folder.with_suffix(".log")
        self.child = fork(self.folder, self.log, lambda: test(self.folder, tests, processor))

    def check(self, mutant: Mutant, tests: dict[str, float]) -> None:
        """Raise if tests fail without the mutation."""
        self.start(mutant._replace(source=(self.folder / mutant.file).read_text()), tests)
        while (found := self.outcome()) is None:
            time.sleep(0.1)
        if found["killed_by"]:
            raise SystemExit(
                f"mutate_python: the tests fail without any mutation: {found['killed_by']}: see {self.log}"
            )

    def _write(self, source: bytes) -> None:
        self.path.write_bytes(source)
        for stale in self.path.parent.glob(f"__pycache__/{self.path.stem}.*.pyc"):  # it may look as recent
            stale.unlink()

    def outcome(self) -> dict[str, Any] | None:
        """Return the mutant's result, or None if it is not finished."""
        done, status = os.waitpid(self.child, os.WNOHANG)
        late = time.monotonic() - self.began > self.limit
        if not done and not late:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child, signal.SIGKILL)
        if not done:
            os.waitpid(self.child, 0)
        mutant, self.mutant = self.mutant, None
        self._write(self.original)
        code = -1 if late else os.waitstatus_to_exitcode(status)
        if code in (5, 99):
            raise SystemExit(f"mutate_python: the tests of {mutant.file}:{mutant.line} could not run: see {self.log}")
        killed_by = ""
        if code:
            rows = self.log.read_text(errors="replace").splitlines()
            failed = [row for row in rows if row.startswith(("FAILED ", "ERROR "))]
            killed_by = "timeout" if late else failed[0].split(" - ")[0] if failed else f"exit status {code}"
        return result(mutant, killed_by, time.monotonic() - self.began)


def described(mutant: Mutant) -> dict[str, Any]:
    return {name: value for name, value in mutant._asdict().items() if name not in ("source", "lines")}


def result(mutant: Mutant, killed_by: str, seconds: float) -> dict[str, Any]:
    return described(mutant) | {"killed_by": killed_by, "seconds": round(seconds, 1), "digest": mutant.digest}


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    rows = path.read_text().splitlines() if path.exists() else []
    return {row["digest"]: row for row in map(json.loads, rows)}


def run(mutants: list[Mutant], covering: Map, jobs: int, budget: float) -> list[dict[str, Any]]:
    """Test mutants, except those that were killed before."""
    path = WORK / "results.jsonl"
    known = {digest: row for digest, row in read_results(path).items() if row["killed_by"]}
    results = [known[m.digest] | described(m) for m in mutants if m.digest in known]
    waiting = [m for m in mutants if m.digest not in known]
    preload(covering.modules)
    for stale in WORK.glob("copy*"):
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    workers = [Worker(WORK / f"copy{i}") for i in range(min(jobs, len(waiting)))]
    if workers:
        chosen = filter(None, (covering.tests(mutant, budget) for mutant in waiting))
        workers[0].check(waiting[0], min(chosen, key=lambda tests: sum(tests.values())))
    with path.open("a") as out:
        while waiting or any(worker.mutant for worker in workers):
            for worker in workers:
                row = None
                if worker.mutant:
                    row = worker.outcome()
                elif waiting:
                    mutant = waiting.pop(0)
                    if tests := covering.tests(mutant, budget):
                        worker.start(mutant, tests)
                    else:
                        row = result(mutant, "", 0.0)
                if row:
                    results.append(row)
                    print(json.dumps(row), file=out, flush=True)
                    verdict = f"killed, {row['killed_by']}" if row["killed_by"] else "SURVIVED"
                    print(f"{row['file']}:{row['line']}: {verdict} ({row['seconds']} s)", flush=True)
            time.sleep(0.02)
    return sorted(results, key=lambda row: (row["file"], row["line"]))


def read_list(kind: str) -> dict[tuple[str, ...], str]:
    rows = tomllib.loads(LIST.read_text()).get(kind, []) if LIST.exists() else []
    return {(row["file"], row["place"], row["was"], row["becomes"]): row["because"] for row in rows}


def report(results: list[dict[str, Any]], lines: int, target: float) -> int:
    """Print the rate and the survivors; return the exit status."""
    from intact.stats.intervals import wilson

    equivalent, known = read_list("equivalent"), read_list("survivor")
    keys = {(row["file"], row["place"], row["was"], row["becomes"]): row for row in results}
    wrong = [row for key, row in keys.items() if key in equivalent and row["killed_by"]]
    left = [row for row in results if (row["file"], row["place"], row["was"], row["becomes"]) not in equivalent]
    survivors = [row for row in left if not row["killed_by"]]
    unknown = 0
    for row in survivors:
        because = known.get((row["file"], row["place"], row["was"], row["becomes"]))
        unknown += because is None
        print(f"\n{row['file']}:{row['line']} in {row['place'] or 'the module'}: {because or 'NOT LISTED'}")
        print(f"  - {row['was']}\n  + {row['becomes']}")
    for row in wrong:
        print(
            f"\n{row['file']}:{row['line']} is listed as equivalent, but killed by {row['killed_by']}: {row['becomes']}"
        )
    killed = len(left) - len(survivors)
    low, high = wilson(killed, len(left))
    print(
        f"\nmutate_python: {killed} of {len(left)} mutants killed, {killed / max(len(left), 1):.1%} "
        f"(95% interval {low:.1%} to {high:.1%}; {len(results) - len(left)} more are equivalent; "
        f"{lines} lines can be mutated); {len(survivors)} survive, {unknown} of these are not listed"
    )
    return 1 if unknown or wrong or killed < target * len(left) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "texts", nargs="*", help='test only drawn mutants whose "file:line: changed line" contains one of these'
    )
    parser.add_argument("--of", action="append", choices=PACKAGES, help="package to draw from (default: all)")
    parser.add_argument("--number", type=int, default=300, help="number of lines to draw (default 300)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="number of mutants tested in parallel (default 1)")
    parser.add_argument("--target", type=float, default=0.9, help="share of mutants that must be killed (default 0.9)")
    parser.add_argument("--budget", type=float, default=120, help="processor seconds per mutant (default 120)")
    parser.add_argument(
        "--tests", action="append", choices=TESTS, help="group of tests that may kill mutants (default: all groups)"
    )
    parser.add_argument("--fresh", action="store_true", help="discard earlier results and the map of tests")
    parser.add_argument("--map", action="store_true", help="rebuild the map of tests")
    parser.add_argument("--list", action="store_true", help="print the mutants and exit")
    options = parser.parse_args()
    installed = importlib.util.find_spec("intact")
    if installed and installed.origin and Path(installed.origin).is_relative_to(ROOT / "src"):
        raise SystemExit("mutate_python: intact is installed as editable here, so the tests would never see a mutant")
    if options.fresh:
        shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    mutants, lines = draw(options.seed, options.number, options.of or PACKAGES)
    if options.texts:
        mutants = [m for m in mutants if any(t in f"{m.file}:{m.line}: {m.becomes}" for t in options.texts)]
    if options.list:
        for m in mutants:
            print(f"{m.file}:{m.line}: {m.operator}\n  - {m.was}\n  + {m.becomes}")
        return 0
    results = run(mutants, make_map(options.jobs, options.map, options.tests or [*TESTS]), options.jobs, options.budget)
    return report(results, lines, options.target)


if __name__ == "__main__":
    raise SystemExit(main())
