"""``intact solve --task`` is killed again and again, and ends as if nothing had happened."""

import json
import random

import pytest

from support.killed import POINTS, entries, run
from support.tiny import write_tiny

PROBLEMS = 24


@pytest.mark.slow
@pytest.mark.parametrize("method", ["best_of_n", "particle_filter"])
@pytest.mark.parametrize("kills", [8, pytest.param(25, marks=pytest.mark.nightly)])
def test_a_task_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path, method, kills):
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {2 * i}"} for i in range(PROBLEMS)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = write_tiny(tmp_path / "tiny.gguf")
    environment = {"INTACT_DATA": str(tmp_path / "data"), "INTACT_THREADS": "1"}

    def solve(journal, point="step", count=0):
        words = f"solve {method} --task gsm8k --set scorer=likelihood --max-tokens 12 --parallel 1 -n 4 --json"
        return run([*words.split(), "--journal", str(tmp_path / journal), "-m", str(model)], environment, point, count)

    def results(ended):
        told = json.loads(ended.out)["results"]
        for result in told:
            result["cost"].pop("seconds")
        return told

    whole, journal = solve("whole"), tmp_path / "killed" / "journal.sqlite"
    expected, (requests, _) = results(whole), entries(tmp_path / "whole" / "journal.sqlite")
    opening = solve("whole").counted["statement"] - requests  # beside one statement for each result that is found

    rng, struck, under_way = random.Random(2), 0, 0
    for attempt in range(kills):
        point = POINTS[attempt % 2]
        finished, _ = entries(journal)
        # A problem's work at most half of the time: the run would come to its end only after most of the kills.
        count = rng.randint(1, 2 * whole.counted[point] // PROBLEMS)
        ended = solve("killed", point, count + (opening + finished if point == "statement" else 0))
        now, begun = entries(journal)
        assert now >= finished, "a result was lost"
        struck += ended.killed and not ended.out and now < requests
        under_way += begun > 0
    assert struck >= 0.8 * kills, "most must strike while results are missing"
    assert under_way >= 0.4 * kills, "a kill by an engine's step strikes requests that are being answered"
    finished, _ = entries(journal)
    last = solve("killed")
    assert results(last) == expected
    assert finished > 0
    assert last.counted["step"] < whole.counted["step"], "what was finished has been written again"
