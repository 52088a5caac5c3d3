"""``intact solve --task`` is killed again and again, and ends as if nothing had happened."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import intact
from support.tiny import write_tiny


@pytest.mark.slow
def test_a_task_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path):
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {2 * i}"} for i in range(6)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = write_tiny(tmp_path / "tiny.gguf", layers=4, hidden=1024)
    environment = {**os.environ, "PYTHONPATH": str(Path(intact.__file__).parents[1])}
    environment |= {"INTACT_DATA": str(tmp_path / "data"), "INTACT_THREADS": "1"}

    def start(journal: str, method: str) -> subprocess.Popen[bytes]:
        words = (
            f"solve {method} --task gsm8k --set scorer=likelihood --max-tokens 40 --json --journal {tmp_path / journal}"
        )
        return subprocess.Popen(
            [sys.executable, "-m", "intact.cli", *words.split(), "-n", "8", "-m", str(model)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def results(process: subprocess.Popen[bytes]) -> list[dict[str, object]]:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err.decode()
        told = json.loads(out)["results"]
        for result in told:
            result["cost"].pop("seconds")
        return told

    def under_way(journal: str) -> bool:
        """Whether requests have begun that have no result."""
        path = tmp_path / journal / "journal.sqlite"
        try:
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            (count,) = database.execute("SELECT COUNT(*) FROM entries WHERE value IS NULL").fetchone()
            database.close()
        except sqlite3.Error:
            return False
        return count > 0

    rng = random.Random(2)
    for method in ("best_of_n", "particle_filter"):
        expected, killed = results(start(f"{method}-whole", method)), 0
        for attempt in range(4):
            process = start(method, method)
            time.sleep(0.3)  # what an earlier one left unfinished shall be taken up first
            while process.poll() is None and not under_way(method):
                time.sleep(0.005)
            time.sleep(attempt and rng.uniform(0, 0.3))  # the first at once: a fast machine has little left to do then
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.communicate()
        assert killed
        assert results(start(method, method)) == expected
