"""Run `intact` in a process that kills itself at a counted instant: no clock decides where a kill strikes.

    python -m support.killed POINT COUNT WORD...

POINT is `statement` (right before the COUNT-th SQL statement on a journal, so that transactions are torn too) or
`step` (right before the COUNT-th step of an engine, with requests under way). The words are those behind `intact`.
What was counted of both stands in the last line of the standard error of a run that comes to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import intact

POINTS = ("statement", "step")
TESTS = Path(__file__).parents[1]


class Ended(NamedTuple):
    """How a process ended: if it killed itself, what it printed, and what it counted if it came to its end."""

    killed: bool
    out: bytes
    error: str
    counted: Mapping[str, int]


def run(
    words: Sequence[str], environment: Mapping[str, str], point: str = "step", count: int = 0, text: str = ""
) -> Ended:
    """Run a command that is killed right before the count-th event of that kind; never, if count is 0.

    Its standard input is `text`.
    """
    places = os.pathsep.join([str(Path(intact.__file__).parents[1]), str(TESTS)])
    command = [sys.executable, "-m", "support.killed", point, str(count), *words]
    done = subprocess.run(
        command,
        env={**os.environ, **environment, "PYTHONPATH": places},
        input=text.encode(),
        capture_output=True,
        timeout=600,
        check=False,
    )
    error = done.stderr.decode()
    assert done.returncode in (0, -signal.SIGKILL), error
    killed = done.returncode != 0
    return Ended(killed, done.stdout, error, {} if killed else json.loads(error.splitlines()[-1]))


def entries(journal: Path) -> tuple[int, int]:
    """Return how many requests of a journal have a result, and how many have begun without one."""
    if not journal.exists():
        return 0, 0
    database = sqlite3.connect(journal)
    try:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries'").fetchall():
            return 0, 0
        rows = dict(database.execute("SELECT value IS NOT NULL, COUNT(*) FROM entries GROUP BY 1"))
        return rows.get(1, 0), rows.get(0, 0)
    finally:
        database.close()


def _main(point: str, count: int, words: list[str]) -> None:
    from intact.cli import main
    from intact.engine.engine import Engine

    counted = Counter(dict.fromkeys(POINTS, 0))

    def reach(name: str) -> None:
        counted[name] += 1
        if name == point and counted[name] == count:
            os.kill(os.getpid(), signal.SIGKILL)

    connect, step = sqlite3.connect, Engine.step

    def connected(*values: Any, **options: Any) -> sqlite3.Connection:
        database = connect(*values, **options)
        database.set_trace_callback(lambda _: reach("statement"))
        return database

    def stepped(engine: Engine) -> int:
        reach("step")
        return step(engine)

    sqlite3.connect, Engine.step = connected, stepped  # type: ignore[assignment, method-assign]
    sys.argv = ["intact", *words]
    try:
        main()
    finally:
        sys.stdout.flush()
        print(json.dumps(counted), file=sys.stderr, flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
