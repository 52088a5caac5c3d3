"""Progress of long work: an estimate of its end, and lines where there is no terminal."""

import pytest

from intact.cli import output
from intact.cli.output import Pace, occasional_note, time_left


@pytest.mark.parametrize(
    ("seconds", "done", "total", "expected"),
    [
        (10.0, 0, 5, ""),
        (10.0, 5, 5, ""),
        (10.0, 1, 10, "about 1:30 left"),
        (60.0, 1, 121, "about 2:00:00 left"),
    ],
)
def test_the_end_is_estimated_at_the_pace_so_far(seconds, done, total, expected):
    assert time_left(seconds, done, total) == expected


def test_what_came_from_a_journal_says_nothing_of_the_pace(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    pace = Pace()
    now[0] = 5.0
    assert pace.left(0, 40, 100) == "about 0:08 left"
    now[0] = 10.0
    assert pace.left(1, 50, 100) == ""
    now[0] = 70.0
    assert pace.left(900, 60, 100) == "about 4:00 left"


def test_without_a_terminal_a_line_comes_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    report = occasional_note()
    for second in range(65):
        now[0] = float(second)
        report(lambda: f"after {now[0]:.0f} s")
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", "after 30 s\nafter 60 s\n")


def test_an_evaluation_without_a_terminal_says_how_far_it_is(intact_command, tmp_path, monkeypatch):
    monkeypatch.setattr(output, "PAUSE", 0.0)
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "nowhere"))
    from support.tiny import write_tiny

    model = write_tiny(tmp_path / "tiny.gguf", "qwen3", context=400)
    place = str(tmp_path / "result.jsonl")
    result = intact_command("eval", str(model), "gsm8k", "--limit", "3", "--max-tokens", "4", "--out", place, "--json")
    assert result.out.startswith("{")
    assert "3 of 3 problems  " in result.err
    assert "tokens/s" in result.err
