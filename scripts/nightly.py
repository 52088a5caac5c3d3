#!/usr/bin/env python3
"""Keep the last run of each section of `.ci/nightly` in `.ci/nightly.json`, and print them.

scripts/nightly.py note SECTION passed|FAILED SECONDS LOG
scripts/nightly.py status SECTION...      # fails if a section FAILED, never ran, or ran more than seven days ago
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / ".ci" / "nightly.json"
FRESH = timedelta(days=7)
SUMMARIES = re.compile(
    r"container: .*|targets: .*|(?:mutants|mutations): .*|\d+ (?:failed|passed)[^=\n]*|mutate\w*: \d+ of .*"
)


def read() -> dict[str, dict[str, str | int]]:
    """Return the last run of each section."""
    runs: dict[str, dict[str, str | int]] = json.loads(RUNS.read_text(encoding="utf-8")) if RUNS.exists() else {}
    return runs


def note(section: str, result: str, seconds: str, log: str) -> None:
    """Record a run; the summary is the last result line that the section's tools printed."""
    printed = SUMMARIES.findall(Path(log).read_text(encoding="utf-8", errors="replace"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    run = {
        "result": result,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit.stdout.decode().strip(),
        "minutes": -(-int(seconds) // 60),
        "summary": "; ".join(line.strip() for line in printed[-3:])[:160],
    }
    runs = read() | {section: run}
    lines = (f"{json.dumps(name)}: {json.dumps(runs[name])}" for name in sorted(runs))
    RUNS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def status(sections: list[str]) -> int:
    """Print the last run of each section and a line that counts the problems; return the exit status."""
    runs, today = read(), datetime.now(UTC).date()
    wrong: dict[str, list[str]] = {"FAILED": [], "never run": [], "older than seven days": []}
    for section in sections:
        if (run := runs.get(section)) is None:
            wrong["never run"].append(section)
            print(f"{section:18} never run")
            continue
        if run["result"] != "passed":
            wrong["FAILED"].append(section)
        elif today - date.fromisoformat(str(run["date"])) > FRESH:
            wrong["older than seven days"].append(section)
        columns = f"{run['result']:7} {run['date']}  {run['commit']:10} {run['minutes']:4} min"
        print(f"{section:18} {columns}  {run['summary']}".rstrip())
    found = [f"{kind}: {' '.join(names)}" for kind, names in wrong.items() if names]
    print(f"nightly: {'; '.join(found) or f'all {len(sections)} sections passed in the last seven days'}")
    return int(bool(found))


def main() -> int:
    """Record a run, or print all."""
    match sys.argv[1:]:
        case ["note", section, ("passed" | "FAILED") as result, seconds, log]:
            note(section, result, seconds, log)
            return 0
        case ["status", *sections] if sections:
            return status(sections)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
