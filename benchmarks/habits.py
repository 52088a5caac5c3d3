"""Measure how well the phrases of `intact.tasks.score.markers` detect the four habits, on lines labelled by hand.

    python benchmarks/habits.py           # precision and recall of each habit, on the labels in records/habits.jsonl
    python benchmarks/habits.py --draw    # print the drawn lines, without labels

There are two sets of 200 lines. The phrases were revised after the first set was labelled and not changed after the
second, so the results on the second set are the ones to trust. The lines come from the recorded texts of
Qwen2.5-Coder-0.5B-Instruct on GSM8K (records/gsm8k.journal.jsonl.xz and records/sweep_gsm8k.journal.jsonl.xz). Most
lines show no habit, so half of the lines are drawn from all of them, and half from lines with one of `CUES`, 25 for
each habit; a habit's cues are much broader than its phrases. Order of the draw: SHA-256 of seed and line.

The labels are the developers' own. One reader, who knew the phrases, labelled every line before any was matched
with them, by these definitions, after arXiv 2503.01307:

- verification: the writer checks a result, a step or an assumption, or announces a check, possibly by a program;
- backtracking: the writer abandons a result, a step or an approach of the text and tries another;
- subgoals: the writer states what is to be found on the way to the answer, as a heading, an announcement or an item of
  a plan;
- backward chaining: the writer starts from the wanted result, or an assumed one, and reasons towards the givens.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from intact.stats.intervals import wilson
from intact.tasks.score.markers import HABITS, count_markers

RECORDS = Path(__file__).resolve().parent.parent / "study" / "records"
LABELS = RECORDS / "habits.jsonl"
JOURNALS = ("gsm8k", "sweep_gsm8k")
SETS = {"first": 1, "second": 2}
"""Seeds of the sets: the phrases were revised after the first was labelled, and are evaluated on the second."""
LINES, FOR_HABIT = 100, 25
CUES = {
    "verification": "check verif confirm correct consisten valid prove reflection sense ensure",
    "backtracking": "wait mistake wrong incorrect error again instead however actually misunderst another contradict",
    "subgoals": "step first next then need determin find plan break",
    "backward chaining": "back revers goal target reach assum suppose work desired final",
}
"""Word prefixes, separated by spaces."""


class LabelledLine(NamedTuple):
    """A line of a text.

    Attributes
    ----------
    set : {"first", "second"}
    drawn : str
        "any" if drawn from all lines, otherwise the habit of which it contains a cue.
    text : str
        The stripped line.
    habits : tuple of str
        The habits that the reader found in it.
    """

    set: str
    drawn: str
    text: str
    habits: tuple[str, ...]


def lines() -> set[str]:
    """Return all distinct lines of the recorded texts that have at least three words."""
    found: set[str] = set()
    for name in JOURNALS:
        with lzma.open(RECORDS / f"{name}.journal.jsonl.xz", "rt", encoding="utf-8") as file:
            for row in file:
                value = json.loads(row)[2]
                texts = [one[0] for one in value if isinstance(one, list)] if isinstance(value, list) else []
                found |= {line.strip() for text in texts if isinstance(text, str) for line in text.splitlines()}
    return {line for line in found if len(re.findall("[A-Za-z]{2,}", line)) >= 3}


def draw() -> Iterator[tuple[str, str, str]]:
    """Yield the drawn lines, each with its set and the pool it was drawn from."""
    cues = {habit: (FOR_HABIT, rf"\b(?:{'|'.join(words.split())})") for habit, words in CUES.items()}
    sources = {"any": (LINES, ""), **cues}
    left = lines()
    for name, seed in SETS.items():
        ordered = sorted(left, key=lambda line: hashlib.sha256(f"{seed}:{line}".encode()).digest())
        for source, (count, pattern) in sources.items():
            taken = [line for line in ordered if line in left and re.search(pattern, line, re.IGNORECASE)][:count]
            left -= set(taken)
            yield from ((name, source, line) for line in taken)


class HabitScore(NamedTuple):
    """The hits and misses of a habit's phrases on labelled lines.

    Attributes
    ----------
    both, phrases_only, reader_only : int
        Number of lines in which both, only the phrases, or only the reader find the habit.
    """

    both: int
    phrases_only: int
    reader_only: int


def labelled() -> list[LabelledLine]:
    """Read the labels."""
    rows = [json.loads(line) for line in LABELS.read_text("utf-8").splitlines()]
    return [LabelledLine(row["set"], row["drawn"], row["text"], tuple(row["habits"])) for row in rows]


def score(habit: str, rows: list[LabelledLine]) -> HabitScore:
    """Compare the phrases of a habit with the labels."""
    pairs = [(count_markers(row.text)[habit] > 0, habit in row.habits) for row in rows]
    return HabitScore(pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True)))


def _share(part: int, whole: int) -> str:
    if not whole:
        return "none"
    low, high = wilson(part, whole)
    return f"{part}/{whole} = {part / whole:.0%} ({low:.0%} to {high:.0%})"


def measure() -> dict[str, dict[str, HabitScore]]:
    """Score all habits on each set, and on the part of the second set that was drawn from all lines."""
    rows = labelled()
    parts = {f"{name} set": [row for row in rows if row.set == name] for name in SETS}
    parts["second set, drawn from all lines"] = [row for row in parts["second set"] if row.drawn == "any"]
    return {name: {habit: score(habit, part) for habit in HABITS} for name, part in parts.items()}


def main() -> None:
    """Print the scores of all habits, or the drawn lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="print the drawn lines, without labels")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    arguments = parser.parse_args()
    if arguments.draw:
        for name, drawn, text in draw():
            print(json.dumps({"set": name, "drawn": drawn, "text": text}, ensure_ascii=False))
        return
    found = measure()
    if arguments.json:
        print(json.dumps({name: {habit: one._asdict() for habit, one in of.items()} for name, of in found.items()}))
        return
    print(table(found))


def table(found: dict[str, dict[str, HabitScore]]) -> str:
    """Return the scores as a Markdown table."""
    rows = ["| lines | habit | precision | recall |", "|---|---|---|---|"]
    for name, of in found.items():
        for habit, one in of.items():
            precision = _share(one.both, one.both + one.phrases_only)
            recall = _share(one.both, one.both + one.reader_only)
            rows.append(f"| {name} | {habit} | {precision} | {recall} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
