"""Test the statements of miniF2F-rocq with the installed Rocq: which compile, and which automatic tactics prove.

    python benchmarks/minif2f_rocq.py                # which compile
    python benchmarks/minif2f_rocq.py --solve        # which of those lia, lra, nia, nra and others prove
    python benchmarks/minif2f_rocq.py --done         # print the table of the records

Continues from its records. The time limits depend on the machine, so a slower one proves fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from intact.tasks.minif2f_rocq import HEADER
from intact.tools.prove.assistants import find_assistant
from intact.tools.prove.assistants.base import AssistantLimits

RECORDS = Path(__file__).resolve().parent.parent / "study" / "records" / "minif2f_rocq.jsonl"
FILES = {"valid": "valid.jsonl", "test": "test_first_half.jsonl"}
SOLVERS = ("easy", "tauto", "lia", "lra", "ring", "field", "now vm_compute", "nia", "nra")
ABSENT = "Cannot find a physical path"
"""Rocq's message about a missing library, such as Coquelicot (Debian's package libcoq-coquelicot)."""
EACH = 1
"""Time limit of each solver in seconds."""
SECONDS = 60.0


def statements(folder: Path) -> Iterator[dict[str, str]]:
    """Return the statements of both files, in order."""
    for split, file in FILES.items():
        for line in (folder / "minif2f_rocq" / file).read_text("utf-8").splitlines():
            yield {"split": split, **json.loads(line)}


def tactic() -> str:
    """Return a step that tries the solvers in turn, and fails if none proves the goal."""
    tried = " | ".join(f"solve [timeout {EACH} ({one})]" for one in SOLVERS)
    return f"intros; try subst; first [{tried}]"


def measure(row: dict[str, str], known: dict[str, Any], solve: bool) -> dict[str, Any]:
    """Compile a statement and, with `solve`, let the solvers try it."""
    rocq, limits = find_assistant("rocq"), AssistantLimits(SECONDS)
    found = known or {"name": row["name"], "split": row["split"]}
    statement = row["statement"].replace("From Stdlib", "From Coq")
    if "compiles" not in found:
        state = rocq.open(statement, limits)
        found |= {"compiles": state.kind == "open", "error": state.message}
    elif found["error"].startswith(ABSENT) and not found["compiles"]:  # a library that may be here now
        state = rocq.open(statement, limits)
        found |= {"compiles": state.kind == "open", "more": state.message}
    if solve and found["compiles"] and "proved" not in found:
        state = rocq.run(HEADER + statement, (tactic(),), limits)
        found |= {"proved": state.kind == "proved", "why": state.kind}
        if found["proved"] and rocq.open(statement, limits).goals != rocq.open(HEADER + statement, limits).goals:
            found |= {"proved": False, "why": "the header changes the statement"}
    return found


def report(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the table: statements, how many compile, how many are proved, and errors by kind."""
    table: dict[str, Any] = {}
    for split in FILES:
        rows = [one for one in records if one["split"] == split]
        tried = [one for one in rows if "proved" in one]
        table[split] = {
            "statements": len(rows),
            "compile with coq alone": sum(not one["error"] for one in rows),
            "compile": sum(one["compiles"] for one in rows),
            "tried": len(tried),
            "proved": sum(one["proved"] for one in tried),
        }
    errors = Counter(kind_of(one.get("more") or one["error"]) for one in records if not one["compiles"])
    return {"splits": table, "errors": dict(errors.most_common())}


def of_methods(known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the statements that methods proved in runs of scaling.py, compared with the automatic tactics."""
    rows: dict[tuple[str, str, str], list[tuple[dict[str, Any], bool]]] = {}
    for path in sorted(RECORDS.parent.glob("minif2f_rocq-*.jsonl")):
        for one in map(json.loads, path.read_text("utf-8").splitlines()):
            row = rows.setdefault((one["model"], one["setup"], one["budget"]), [])
            row.append((known[one["id"].rpartition("/")[2]], one["correct"]))
    return [
        {
            "model": model,
            "method": setup,
            "budget": budget,
            "statements": len(row),
            "compile": sum(one["compiles"] for one, _ in row),
            "proved": sum(proved for _, proved in row),
            "proved by automatic tactics": sum(one.get("proved", False) for one, _ in row),
            "proved by both": sum(one.get("proved", False) and proved for one, proved in row),
        }
        for (model, setup, budget), row in rows.items()
    ]


def kind_of(error: str) -> str:
    """Classify an error of Rocq."""
    for kind in (ABSENT, "Syntax error", "was not found in the current environment"):
        if kind in error:
            return kind
    return "another type is expected" if "expected to have type" in error else error.splitlines()[0][:60]


def main() -> None:
    """Measure what is not recorded yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solve", action="store_true", help="also try the automatic tactics")
    parser.add_argument("--done", action="store_true", help="only print the table of the records")
    parser.add_argument(
        "--seconds", type=float, default=600, help="stop after this many seconds; a later run continues"
    )
    parser.add_argument("--records", type=Path, default=RECORDS)
    given = parser.parse_args()
    known: dict[str, dict[str, Any]] = {}
    if given.records.is_file():
        known = {one["name"]: one for one in map(json.loads, given.records.read_text("utf-8").splitlines())}
    began = time.monotonic()
    if not given.done:
        for row in statements(Path(os.environ.get("INTACT_DATA") or "../shared/data")):
            if time.monotonic() - began > given.seconds:
                break
            known[row["name"]] = measure(row, known.get(row["name"], {}), given.solve)
            given.records.write_text("".join(json.dumps(one) + "\n" for one in known.values()), "utf-8")
    print(json.dumps(report(list(known.values())) | {"methods": of_methods(known)}, indent=1))


if __name__ == "__main__":
    main()
