#!/usr/bin/env python3
"""Count the logical statements of everything that ships, excluding docstrings.

    scripts/statements.py [--json] [REVISION]      # default: this checkout

Prints a table of packages; given a revision, with its counts, the counts here and the change.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "src/intact"


def statements(source: str) -> int:
    """Return the number of statements of a module; expressions that are only a string do not count."""

    def counts(node: ast.AST) -> bool:
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return isinstance(node, ast.stmt) and not text

    return sum(map(counts, ast.walk(ast.parse(source))))


def here() -> Iterator[tuple[str, str]]:
    """Yield each module's path relative to the package, and its source."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        yield str(path.relative_to(ROOT / PACKAGE)), path.read_text(encoding="utf-8")


def at(revision: str) -> Iterator[tuple[str, str]]:
    """Like `here`, for a revision."""
    archive = subprocess.run(["git", "archive", revision, PACKAGE], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            file = files.extractfile(member) if member.name.endswith(".py") else None
            if file is not None:
                yield member.name.removeprefix(PACKAGE + "/"), file.read().decode()


def table(modules: Iterator[tuple[str, str]]) -> Counter[str]:
    """Return the counts by package; a module outside of packages is listed under its own name."""
    found: Counter[str] = Counter()
    for path, source in modules:
        found[path.split("/")[0].removesuffix(".py")] += statements(source)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    now = table(here())
    before = table(at(options.revision)) if options.revision else None
    if options.json:
        print(json.dumps({"now": now, "before": before}, indent=1, sort_keys=True))
        return
    rows = sorted(now | before) if before else sorted(now)
    print("| package | before | now | change |\n|---|---|---|---|" if before else "| package | statements |\n|---|---|")
    for name in [*rows, "all"]:
        is_all = name == "all"
        new = now.total() if is_all else now[name]
        if before is None:
            print(f"| {name} | {new:,} |")
        else:
            old = before.total() if is_all else before[name]
            change = f"{new / old - 1:+.1%}" if old else "new"
            print(f"| {name} | {old:,} | {new:,} | {change} |")


if __name__ == "__main__":
    main()
